//! psycopg 3, and the clients of Arrow: scripts that assert what they find, run over plain TCP and over TLS.

use std::process::Command;

use tidemark_tests::server::source_path;

use crate::clients::{PASSWORD, install, output_of, protected};
use crate::raw::Peer;

fn script(name: &str, arguments: &[&str]) -> String {
    let python = std::env::var("TIDEMARK_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(&python);
    command.arg(source_path("wire").join(name)).args(arguments);
    let missing = "Python 3 with what tests/requirements.txt lists, and name it in TIDEMARK_TEST_PYTHON";
    output_of(command, install(&python, missing))
}

fn psycopg(arguments: &[&str]) -> String {
    script("client.py", arguments)
}

#[test]
fn clients_of_arrow_read_and_write_by_binary_copy() {
    let peer = Peer::start();
    let uri = format!("postgresql://tidemark@{}/tidemark", peer.address);
    let output = script("arrow_client.py", &[&uri, peer.table_options]);
    assert!(output.ends_with("all is well\n"), "{output}");
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
