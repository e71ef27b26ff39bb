//! Encryption, and what it binds passwords to.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tidemark_tests::server::Options;

use crate::certificate::{Certificate, Key, make};
use crate::clients::protected;
use crate::raw::{Raw, SSL_REQUEST, message, query, request, startup, string, tcp};

/// A client's side of TLS that trusts nobody but this certificate.
pub(crate) fn trusting(certificate: &Certificate, protocols: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificate.certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    config
}

fn over_tls(stream: std::net::TcpStream, config: ClientConfig) -> Raw {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    Raw::over(StreamOwned::new(connection, stream))
}

#[test]
fn a_session_runs_over_tls_that_was_asked_for_and_over_tls_from_the_start() {
    for key in [Key::EllipticCurve, Key::Rsa] {
        let certificate = make(key);
        let server = Options::new()
            .setting("tls-cert", certificate.certificate.display())
            .setting("tls-key", certificate.key.display())
            .start();
        let stream = tcp(server.pg);
        let mut asking = Raw::over(stream.try_clone().unwrap());
        asking.send(&request(SSL_REQUEST, b""));
        assert_eq!(asking.read_bytes(1), b"S");
        let direct = trusting(&certificate, &[b"postgresql"]);
        for mut raw in [over_tls(stream, trusting(&certificate, &[])), over_tls(tcp(server.pg), direct)] {
            raw.send(&startup(&[("user", "tidemark")]));
            raw.finish_startup();
            assert_eq!(raw.value("SELECT 1"), "1");
            // More than fits any record or buffer on the way.
            raw.send(&query("SELECT g FROM generate_series(1, 200000) AS t (g)"));
            let answer = raw.until_ready();
            assert_eq!(answer.len(), 200_003);
            assert_eq!(answer[200_000], "row 200000");
        }
    }
}

#[test]
fn tls_from_the_start_needs_the_protocols_name() {
    let certificate = make(Key::EllipticCurve);
    let server = Options::new()
        .setting("tls-cert", certificate.certificate.display())
        .setting("tls-key", certificate.key.display())
        .start();
    for protocols in [&[][..], &[b"http/1.1".as_slice()]] {
        let mut raw = over_tls(tcp(server.pg), trusting(&certificate, protocols));
        raw.send_anyway(&startup(&[("user", "tidemark")]));
        assert!(refused(&mut raw), "{protocols:?}");
    }
}

/// Whether the server closed without a word; TLS says so in several ways.
fn refused(raw: &mut Raw) -> bool {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| raw.try_read()));
    !matches!(read, Ok(Some(_)))
}

#[test]
fn a_client_that_was_made_to_believe_there_is_no_channel_binding_is_refused() {
    let (server, certificate) = protected();
    let stream = tcp(server.pg);
    let mut asking = Raw::over(stream.try_clone().unwrap());
    asking.send(&request(SSL_REQUEST, b""));
    assert_eq!(asking.read_bytes(1), b"S");
    let mut raw = over_tls(stream, trusting(&certificate, &[]));
    raw.send(&startup(&[("user", "tidemark")]));
    let offer = raw.read();
    assert_eq!(offer.body[4..], *b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    let first = "y,,n=,r=rOprNGfwEbeRWgbNEkqO";
    let len = u32::try_from(first.len()).unwrap().to_be_bytes();
    raw.send(&message(b'p', &[&string("SCRAM-SHA-256")[..], &len, first.as_bytes()].concat()));
    let answer = raw.until_closed();
    assert_eq!(answer.len(), 1, "{answer:?}");
    assert!(answer[0].starts_with("error FATAL 08P01 "), "{answer:?}");
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let (one, other) = (make(Key::EllipticCurve), make(Key::EllipticCurve));
    let cases = [
        (
            one.certificate.display().to_string(),
            other.key.display().to_string(),
            "cannot use the certificate and key",
        ),
        (one.certificate.display().to_string(), "/nowhere/key.pem".to_owned(), "/nowhere/key.pem"),
        ("/nowhere/certificate.pem".to_owned(), one.key.display().to_string(), "/nowhere/certificate.pem"),
        (one.key.display().to_string(), one.key.display().to_string(), "TLS"),
    ];
    for (certificate, key, expected) in cases {
        let started = Options::new().setting("tls-cert", certificate).setting("tls-key", key).try_start();
        let error = started.expect_err("the server does not start");
        assert_eq!(error.status.code(), Some(1));
        assert!(error.log.contains(expected), "{error}");
    }
}
