//! Attacks on a server that does not know its client yet.

use std::io::{Read, Write};

use tidemark_tests::server::{Options, Server};

use crate::clients::{PASSWORD, protected};
use crate::raw::{
    GSSENC_REQUEST, PROTOCOL_3_0, Raw, SSL_REQUEST, execute, message, parse, query, request, run_extended,
    startup, startup_of, string, sync, tcp,
};

const MIB: u64 = 1 << 20;

/// Attacks the server, and checks that it took no memory for it and serves others.
pub(crate) fn unharmed(server: &mut Server, attack: impl FnOnce(&Server)) {
    let mut witness = Raw::connect(server.pg);
    assert_eq!(witness.value("SELECT 1"), "1");
    let before = server.memory_bytes("VmHWM");
    attack(server);
    assert!(server.is_running(), "the server is gone:\n{}", server.log());
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 48 * MIB, "the server took {} MiB", grown / MIB);
    assert_eq!(witness.value("SELECT 2"), "2");
    assert_eq!(Raw::connect(server.pg).value("SELECT 3"), "3");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// A client that sent all this, and waits for what the server says until it closes.
fn told(server: &Server, sent: &[u8]) -> Vec<String> {
    let mut raw = Raw::open(server.pg);
    raw.send_anyway(sent);
    raw.until_closed()
}

fn start_as(user: &str, database: &str) -> Vec<u8> {
    startup(&[("user", user), ("database", database)])
}

#[test]
fn nothing_is_answered_before_authentication() {
    let (server, _certificate) = protected();
    let ask = [query("SELECT 1"), parse("", "SELECT 1", &[]), execute("", 0), sync()].concat();
    let refused = "error FATAL 08P01 expected SASL response, got message type";
    for (sent, tag) in [
        (ask.clone(), 'Q'),
        (run_extended("SELECT 1"), 'P'),
        (sync(), 'S'),
        (message(b'd', b"1"), 'd'),
        (message(b'F', b"\0\0\0\0"), 'F'),
    ] {
        let answer = told(&server, &[start_as("tidemark", "tidemark"), sent].concat());
        assert_eq!(answer, ["authentication 10".to_owned(), format!("{refused} {}", u32::from(tag))]);
    }
    // Without a startup message at all.
    let answer = told(&server, &ask);
    assert_eq!(answer, ["error FATAL 08P01 invalid length of startup packet"]);
    // After an answer that is none.
    for answer in [
        b"".to_vec(),
        b"SCRAM-SHA-256\0".to_vec(),
        b"SCRAM-SHA-256\0\xff\xff\xff\xff".to_vec(),
        b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=x".to_vec(),
        b"SCRAM-SHA-256\0\0\0\0\x03n,,".to_vec(),
        b"SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=".to_vec(),
        b"SCRAM-SHA-256\0\0\0\0\x09p=a,,n=,r".to_vec(),
        b"PLAIN\0\0\0\0\x01x".to_vec(),
        vec![0xff; 64],
    ] {
        let sent = [start_as("tidemark", "tidemark"), message(b'p', &answer), ask.clone()].concat();
        let told = told(&server, &sent);
        assert!(told.len() == 2 || told.len() == 3, "{told:?}");
        assert!(told.last().unwrap().starts_with("error FATAL "), "{told:?}");
        assert!(!told.iter().any(|line| line.starts_with("row") || line.starts_with("ready")), "{told:?}");
    }
}

#[test]
fn what_is_sent_with_the_request_for_encryption_is_not_taken() {
    let (server, _certificate) = protected();
    for code in [SSL_REQUEST, GSSENC_REQUEST] {
        let answer = told(&server, &[request(code, b""), start_as("tidemark", "tidemark")].concat());
        assert_eq!(answer, ["error FATAL 08P01 received unencrypted data after SSL request"]);
    }
    let plain = Server::start();
    let answer = told(&plain, &[request(SSL_REQUEST, b""), start_as("tidemark", "tidemark")].concat());
    assert_eq!(answer, ["error FATAL 08P01 received unencrypted data after SSL request"]);
}

#[test]
fn encryption_may_be_asked_for_in_either_order_and_once() {
    let server = Server::start();
    for order in [
        &[GSSENC_REQUEST, SSL_REQUEST][..],
        &[SSL_REQUEST, GSSENC_REQUEST],
        &[SSL_REQUEST],
        &[GSSENC_REQUEST],
    ] {
        let mut raw = Raw::open(server.pg);
        for code in order {
            raw.send(&request(*code, b""));
            assert_eq!(raw.read_bytes(1), b"N");
        }
        raw.send(&start_as("tidemark", "tidemark"));
        raw.finish_startup();
        assert_eq!(raw.value("SELECT 1"), "1");
    }
    let mut raw = Raw::open(server.pg);
    raw.send(&request(SSL_REQUEST, b""));
    raw.read_bytes(1);
    raw.send(&request(SSL_REQUEST, b""));
    assert_eq!(raw.until_closed(), ["error FATAL 08P01 repeated encryption request"]);
}

#[test]
fn a_message_before_authentication_is_small() {
    unharmed(&mut Server::start(), |server| {
        let huge = 400_u32 << 20;
        // A startup message of 400 MB, of which 1 MB comes.
        let mut raw = Raw::open(server.pg);
        raw.send_anyway(&[&huge.to_be_bytes()[..], &PROTOCOL_3_0.to_be_bytes()].concat());
        raw.send_anyway(&vec![b'a'; 1 << 20]);
        assert!(raw.until_closed().iter().all(|it| it.contains("invalid length of startup packet")));
    });
    let (server, _certificate) = protected();
    let before = server.memory_bytes("VmHWM");
    let mut raw = Raw::open(server.pg);
    raw.send(&start_as("tidemark", "tidemark"));
    assert_eq!(raw.read().show(), "authentication 10");
    raw.send_anyway(&[&b"p"[..], &(400_u32 << 20).to_be_bytes()].concat());
    let answer = raw.until_closed();
    assert_eq!(
        answer,
        ["error FATAL 08P01 invalid message length 419430400: at most 10000 bytes are allowed"]
    );
    assert!(server.memory_bytes("VmHWM").saturating_sub(before) < 16 * MIB);
}

#[test]
fn garbage_instead_of_a_startup_message_is_refused() {
    let mut server = Server::start();
    let length = "error FATAL 08P01 invalid length of startup packet";
    let layout = "error FATAL 08P01 invalid startup packet layout: expected terminator as last byte";
    unharmed(&mut server, |server| {
        let cases: &[(&[u8], &str)] = &[
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", length),
            (b"\0\0\0\0\0\x03\0\0", length),
            (b"\0\0\0\x07\0\x03\0\0", length),
            (b"\xff\xff\xff\xff\0\x03\0\0", length),
            (&[0xff; 5000], length),
            (&request(PROTOCOL_3_0, b""), "error FATAL 08P01 invalid string in message"),
            (&request(PROTOCOL_3_0, b"user\0tidemark"), "error FATAL 08P01 invalid string in message"),
            (&request(PROTOCOL_3_0, b"user\0tidemark\0\0x"), layout),
            (
                &request(PROTOCOL_3_0, b"\0"),
                "error FATAL 28000 no PostgreSQL user name specified in startup packet",
            ),
            (
                &request(PROTOCOL_3_0, b"user\0\xff\0\0"),
                "error FATAL 22021 invalid byte sequence for encoding \"UTF8\": 0xff",
            ),
            (
                &startup_of(0x0002_0000, &[]),
                "error FATAL 0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.0",
            ),
            (
                &startup_of(0x0004_0000, &[("user", "tidemark")]),
                "error FATAL 0A000 unsupported frontend protocol 4.0: server supports 3.0 to 3.0",
            ),
        ];
        for (sent, expected) in cases {
            assert_eq!(told(server, sent), [*expected], "{sent:?}");
        }
        // Nothing at all, and half a message, from clients that go away.
        drop(tcp(server.pg));
        tcp(server.pg).write_all(b"\0\0").unwrap();
        tcp(server.pg).write_all(&start_as("tidemark", "tidemark")[..20]).unwrap();
    });
}

#[test]
fn a_later_protocol_is_negotiated_down() {
    let server = Server::start();
    let cases: &[(u32, &[(&str, &str)], &str)] = &[
        (0x0003_0002, &[], "version 30000"),
        (0x0003_0000, &[("_pq_.wish", "1")], "version 30000 _pq_.wish"),
        (0x0003_ffff, &[("_pq_.a", ""), ("_pq_.b", "2")], "version 30000 _pq_.a _pq_.b"),
    ];
    for (version, options, expected) in cases {
        let mut raw = Raw::open(server.pg);
        raw.send(&startup_of(*version, &[&[("user", "tidemark")][..], options].concat()));
        assert_eq!(raw.read().show(), *expected);
        assert_eq!(raw.read().show(), "authentication 0");
        raw.finish_startup();
        assert_eq!(raw.value("SELECT 1"), "1");
    }
}

#[test]
fn what_a_client_may_not_have_is_told_in_postgresqls_words() {
    let server = Server::start();
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("user", "nobody")], "28000 role \"nobody\" does not exist"),
        (&[("user", "tidemark"), ("database", "nowhere")], "3D000 database \"nowhere\" does not exist"),
        (
            &[("user", "tidemark"), ("nonsense", "1")],
            "42704 unrecognized configuration parameter \"nonsense\"",
        ),
        (
            &[("user", "tidemark"), ("options", "-c statement_timeout=soon")],
            "22023 invalid value for parameter \"statement_timeout\": \"soon\"",
        ),
        (
            &[("user", "tidemark"), ("client_encoding", "LATIN1")],
            "22023 invalid value for parameter \"client_encoding\": \"LATIN1\"",
        ),
    ];
    for (parameters, expected) in cases {
        let answer = told(&server, &startup(parameters));
        assert_eq!(answer.last().unwrap(), &format!("error FATAL {expected}"), "{answer:?}");
        assert!(!answer.iter().any(|line| line.starts_with("ready")), "{answer:?}");
    }
    // Settings in the startup message are in force, and RESET goes back to them.
    let mut raw = Raw::open(server.pg);
    raw.send(&startup(&[
        ("user", "tidemark"),
        ("application_name", "check"),
        ("options", "-c statement_timeout=5s --TimeZone=Europe/Berlin -c search_path=a\\ b"),
    ]));
    raw.finish_startup();
    assert_eq!(raw.parameter("TimeZone"), Some("Europe/Berlin"));
    assert_eq!(raw.parameter("application_name"), Some("check"));
    raw.run("SET statement_timeout = 0");
    raw.run("RESET ALL");
    assert_eq!(raw.value("SHOW statement_timeout"), "5s");
}

#[test]
fn who_is_not_known_learns_nothing_of_roles_and_databases() {
    let (server, _certificate) = protected();
    // The same first answer for a role that is there and one that is not.
    for user in ["tidemark", "nobody"] {
        let mut raw = Raw::open(server.pg);
        raw.send(&start_as(user, "nowhere"));
        assert_eq!(raw.read().show(), "authentication 10");
        let first = "n,,n=,r=rOprNGfwEbeRWgbNEkqO";
        let len = u32::try_from(first.len()).unwrap().to_be_bytes();
        raw.send(&message(b'p', &[&string("SCRAM-SHA-256")[..], &len, first.as_bytes()].concat()));
        let challenge = raw.read();
        assert_eq!(challenge.show(), "authentication 11");
        let text = String::from_utf8(challenge.body[4..].to_vec()).unwrap();
        assert!(text.starts_with("r=rOprNGfwEbeRWgbNEkqO") && text.ends_with(",i=4096"), "{text}");
        let nonce = text.split(',').next().unwrap();
        // No proof is right.
        let proof = "A".repeat(43);
        raw.send(&message(b'p', format!("c=biws,{nonce},p={proof}=").as_bytes()));
        let expected = format!("error FATAL 28P01 password authentication failed for user \"{user}\"");
        assert_eq!(raw.until_closed(), [expected]);
    }
    assert!(!server.log().contains(PASSWORD));
}

#[test]
fn there_are_only_so_many_connections() {
    let server = Options::new().setting("max-connections", 3).start();
    let mut held: Vec<Raw> = (0..3).map(|_| Raw::connect(server.pg)).collect();
    let refused = told(&server, &start_as("tidemark", "tidemark"));
    assert_eq!(refused.last().unwrap(), "error FATAL 53300 sorry, too many clients already");
    assert_eq!(held[0].value("SELECT 1"), "1");
    // A place that is given back can be had again: the server closes it after the goodbye.
    let mut gone = held.pop().unwrap();
    gone.send(&message(b'X', b""));
    assert!(gone.until_closed().is_empty());
    assert_eq!(Raw::connect(server.pg).value("SELECT 1"), "1");
}

#[test]
fn clients_that_never_say_who_they_are_take_no_place_from_others() {
    let mut server = Options::new().setting("max-connections", 10).start();
    unharmed(&mut server, |server| {
        let mut silent: Vec<_> = (0..300).map(|_| tcp(server.pg)).collect();
        // Most were told to go, and the server holds no more open than it allows.
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.process_id())).unwrap().count();
        let refused = silent.drain(..).filter_map(|stream| {
            stream.set_nonblocking(true).unwrap();
            let mut answer = Vec::new();
            let ended = (&stream).read_to_end(&mut answer);
            ended.is_ok().then_some(answer)
        });
        let refused: Vec<Vec<u8>> = refused.collect();
        assert!(open < 150, "{open} files are open");
        assert!(refused.iter().any(|answer| String::from_utf8_lossy(answer).contains("53300")));
    });
}
