//! psycopg 3: a script that asserts what it finds, run over plain TCP and over TLS.

use std::process::Command;

use tidemark_tests::server::source_path;

use crate::clients::{PASSWORD, install, output_of, protected};
use crate::raw::Peer;

fn psycopg(arguments: &[&str]) -> String {
    let python = std::env::var("TIDEMARK_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(&python);
    command.arg(source_path("wire/client.py")).args(arguments);
    let missing = install(&python, "Python 3 with psycopg[binary], and name it in TIDEMARK_TEST_PYTHON");
    output_of(command, missing)
}

#[test]
fn psycopg_finds_what_it_expects() {
    let peer = Peer::start();
    let connection =
        format!("host={} port={} user=tidemark dbname=tidemark", peer.address.ip(), peer.address.port());
    let output = psycopg(&["session", &connection, peer.table_options]);
    assert!(output.ends_with("all is well\n"), "{output}");
}

#[test]
fn psycopg_proves_its_password_over_tls() {
    let (server, certificate) = protected();
    let root = certificate.certificate.display().to_string();
    let output = psycopg(&["password", &server.connection_string(), PASSWORD, &root]);
    assert!(output.ends_with("all is well\n"), "{output}");
}
