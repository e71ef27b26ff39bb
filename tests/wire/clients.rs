//! Running clients that are programs of their own.

use std::process::{Command, Output};

use tidemark_tests::server::{Options, Server};

use crate::certificate::{Certificate, Key, make};

/// The password of servers that have one; with what passwords like to trip over.
pub(crate) const PASSWORD: &str = "pä ss'w\\ord%";

/// A server that takes a password, over TLS or without.
pub(crate) fn protected() -> (Server, Certificate) {
    let certificate = make(Key::EllipticCurve);
    let server = Options::new()
        .setting("password", PASSWORD)
        .setting("tls-cert", certificate.certificate.display())
        .setting("tls-key", certificate.key.display())
        .start();
    (server, certificate)
}

/// What a test says that finds no client.
pub(crate) fn install(program: &str, package: &str) -> String {
    format!("{program} is needed for this test: install {package}, or start the tests by tests/run")
}

/// Runs a program that ends well.
///
/// # Panics
/// It is not there, which `missing` explains, or it fails, which its output explains.
pub(crate) fn output_of(mut command: Command, missing: String) -> String {
    let output = run(&mut command, &missing);
    let (stdout, stderr) = texts(&output);
    assert!(output.status.success(), "{command:?} ended with {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Runs a program, however it ends.
///
/// # Panics
/// It is not there, which `missing` explains.
pub(crate) fn run(command: &mut Command, missing: &str) -> Output {
    command.output().unwrap_or_else(|error| panic!("{missing} ({error})"))
}

/// What a program said.
pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
