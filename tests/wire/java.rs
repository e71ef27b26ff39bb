//! pgjdbc: a class that asserts what it finds, compiled by the test.

use std::process::Command;

use tempfile::TempDir;
use tidemark_tests::server::source_path;

use crate::clients::{PASSWORD, install, output_of, protected};
use crate::raw::Peer;

/// Where Debian's libpostgresql-jdbc-java puts it.
const DRIVER: &str = "/usr/share/java/postgresql.jar";

fn pgjdbc(arguments: &[&str]) -> String {
    assert!(
        std::path::Path::new(DRIVER).exists(),
        "{}",
        install(DRIVER, "the Debian package libpostgresql-jdbc-java")
    );
    let missing = || install("a JDK", "the Debian package default-jdk-headless");
    let directory = TempDir::new().unwrap();
    let mut compiler = Command::new("javac");
    compiler.args(["-cp", DRIVER, "-d"]).arg(directory.path()).arg(source_path("wire/Client.java"));
    output_of(compiler, missing());
    let mut java = Command::new("java");
    java.args(["-ea", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp"]);
    java.arg(format!("{}:{DRIVER}", directory.path().display())).arg("Client").args(arguments);
    output_of(java, missing())
}

#[test]
fn pgjdbc_finds_what_it_expects() {
    let peer = Peer::start();
    let url = format!("jdbc:postgresql://{}/tidemark", peer.address);
    let output = pgjdbc(&["session", &url, peer.table_options]);
    assert!(output.ends_with("all is well\n"), "{output}");
}

#[test]
fn pgjdbc_proves_its_password_over_tls() {
    let (server, certificate) = protected();
    let url = format!("jdbc:postgresql://localhost:{}/tidemark", server.pg.port());
    let root = certificate.certificate.display().to_string();
    let output = pgjdbc(&["password", &url, PASSWORD, &root]);
    assert!(output.ends_with("all is well\n"), "{output}");
}
