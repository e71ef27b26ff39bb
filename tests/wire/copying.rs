//! COPY, message by message: what PostgreSQL 15 makes of every format, option and mistake.
//!
//! `copying.txt` holds the cases. With `TIDEMARK_TEST_REFERENCE` a real PostgreSQL answers them, and with
//! `TIDEMARK_WIRE_WRITE=1` besides, its answers are written into the file.
//!
//! ```text
//! table ts timestamptz NOT NULL, v int4, w text       the table of the cases that follow
//!
//! COPY t FROM STDIN                                    a statement
//! < 2024-01-01\t1\ta\n                                 what is sent, whole and in pieces
//! done COPY 1                                          what is answered,
//! row 2024-01-01 00:00:00+00|1|a                       and what is in the table then
//!
//! COPY t FROM STDIN
//! < x\n
//! error 22007 invalid input syntax for …
//! context COPY t, line 1, column ts: "x"
//! ```

use std::fmt::Write as _;

use tidemark_tests::server::source_path;

use crate::raw::{Message, Peer, Raw, message, query};

/// Statements with their answers, as they are in the file.
struct Case {
    /// Comments, the table, the statement, and what is sent.
    head: Vec<String>,
    answer: Vec<String>,
}

impl Case {
    fn line(&self, prefix: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(prefix))
    }

    fn statement(&self) -> Option<&str> {
        let is_statement = |line: &&String| !["#", "< ", "table "].iter().any(|it| line.starts_with(it));
        self.head.iter().find(is_statement).map(String::as_str)
    }
}

fn read_cases(text: &str) -> Vec<Case> {
    let is_answer = |line: &&str| {
        ["done", "row", "data", "error", "detail", "hint", "context"]
            .iter()
            .any(|word| line.split(' ').next() == Some(word))
    };
    let blocks = text.trim_end().split("\n\n").map(|block| {
        let lines = block.lines();
        Case {
            head: lines.clone().filter(|line| !is_answer(line)).map(str::to_owned).collect(),
            answer: lines.filter(is_answer).map(str::to_owned).collect(),
        }
    });
    blocks.collect()
}

#[test]
fn copy_answers_as_postgresql_does() {
    let path = source_path("wire").join("copying.txt");
    let mut cases = read_cases(&std::fs::read_to_string(&path).unwrap());
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run("SET TIME ZONE 'UTC'");
    let (mut table, mut differences) = (String::new(), String::new());
    let writes = std::env::var_os("TIDEMARK_WIRE_WRITE").is_some();
    for case in &mut cases {
        if let Some(columns) = case.line("table ") {
            columns.clone_into(&mut table);
        }
        let Some(statement) = case.statement().map(str::to_owned) else { continue };
        let data = unescaped(case.line("< ").unwrap_or_default());
        let halves = data.split_at(data.len() / 2);
        let bytes: Vec<&[u8]> = data.chunks(1).collect();
        for parts in [vec![data.as_slice()], vec![halves.0, halves.1], bytes] {
            raw.run(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t ({table}) {}", peer.table_options));
            let answer = answer(&mut raw, &statement, &parts);
            if writes {
                case.answer = answer;
            } else if answer != case.answer {
                let (expected, parts) = (&case.answer, parts.len());
                writeln!(
                    differences,
                    "{}\nin {parts} parts\nexpected {expected:#?}\nanswered {answer:#?}\n",
                    case.head.join("\n")
                )
                .unwrap();
            }
        }
    }
    if writes {
        let blocks = cases.iter().map(|case| [&case.head[..], &case.answer[..]].concat().join("\n"));
        std::fs::write(path, blocks.collect::<Vec<_>>().join("\n\n") + "\n").unwrap();
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Runs a COPY: its end, and what it wrote or gave.
fn answer(raw: &mut Raw, statement: &str, parts: &[&[u8]]) -> Vec<String> {
    raw.send(&query(statement));
    let mut lines = Vec::new();
    loop {
        let message = raw.read();
        match message.tag {
            b'G' => {
                let data = parts.iter().map(|part| self::message(b'd', part));
                raw.send(&[data.collect::<Vec<_>>().concat(), self::message(b'c', b"")].concat());
            }
            b'd' => lines.push(format!("data {}", escaped(&message.body))),
            b'C' => lines.push(message.show()),
            b'E' => lines.extend(error(&message)),
            b'Z' => break,
            _ => {}
        }
    }
    if statement.contains("FROM") && lines.iter().any(|line| line.starts_with("done")) {
        raw.send(&query("SELECT * FROM t ORDER BY 1, 2, 3"));
        loop {
            let message = raw.read();
            match message.tag {
                b'D' => {
                    let values = message.values().into_iter();
                    let values = values.map(|value| value.map_or("NULL".to_owned(), |it| escaped(&it)));
                    lines.push(format!("row {}", values.collect::<Vec<_>>().join("|")));
                }
                b'Z' => break,
                _ => {}
            }
        }
    }
    lines
}

fn error(message: &Message) -> Vec<String> {
    let field = |name| message.field(name);
    let mut lines =
        vec![format!("error {} {}", field(b'C').unwrap(), escaped(field(b'M').unwrap().as_bytes()))];
    for (name, word) in [(b'D', "detail"), (b'H', "hint"), (b'W', "context")] {
        lines.extend(field(name).map(|text| format!("{word} {}", escaped(text.as_bytes()))));
    }
    lines
}

/// Bytes on one line.
fn escaped(bytes: &[u8]) -> String {
    let mut line = String::new();
    for byte in bytes {
        match byte {
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            b'\\' => line.push_str("\\\\"),
            b' '..=b'~' => line.push(char::from(*byte)),
            other => write!(line, "\\x{other:02x}").unwrap(),
        }
    }
    line
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let (escape, after) = rest.split_first().expect("an escape is of two characters");
        rest = after;
        bytes.push(match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            }
            other => *other,
        });
    }
    bytes
}
