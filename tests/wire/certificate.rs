//! Certificates that openssl makes, for servers under test.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::clients::{install, output_of};

/// The key of a certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    EllipticCurve,
    Rsa,
}

/// A certificate for `localhost` and 127.0.0.1 that is its own authority, and its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    _directory: TempDir,
}

const CONFIGURATION: &str = "\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = localhost
[extensions]
basicConstraints = critical,CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1
";

pub(crate) fn make(key: Key) -> Certificate {
    let directory = TempDir::new().unwrap();
    let path = |name| directory.path().join(name);
    std::fs::write(path("openssl.cnf"), CONFIGURATION).unwrap();
    let kind: &[&str] = match key {
        Key::EllipticCurve => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        Key::Rsa => &["-newkey", "rsa:2048"],
    };
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "2", "-sha256"]).args(kind);
    openssl.arg("-config").arg(path("openssl.cnf"));
    openssl.arg("-keyout").arg(path("key.pem")).arg("-out").arg(path("certificate.pem"));
    output_of(openssl, install("openssl", "the Debian package openssl"));
    Certificate { certificate: path("certificate.pem"), key: path("key.pem"), _directory: directory }
}
