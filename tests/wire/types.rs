//! Every type, as text and as PostgreSQL's binary form, in results and in parameters.
//!
//! `types.tsv` has, a line each: a type, its OID, its size, a literal of the type, and the value as
//! PostgreSQL 15 sends it, as text and in binary.

use crate::raw::{Bind, Peer, Raw, bind, execute, hex, parse, sync};

struct Case {
    type_name: &'static str,
    oid: u32,
    literal: &'static str,
    text: &'static str,
    binary: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let case = |line: &'static str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [type_name, oid, _size, literal, text, binary] = fields[..] else { panic!("six fields: {line}") };
        Case { type_name, oid: oid.parse().unwrap(), literal, text, binary: bytes_of(binary) }
    };
    include_str!("types.tsv").lines().map(case).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The values of the only row of an answer, or what went wrong.
fn values(raw: &mut Raw, said: &[u8]) -> Result<Vec<Option<Vec<u8>>>, String> {
    raw.send(said);
    let mut outcome = Err("no row".to_owned());
    loop {
        let message = raw.read();
        match message.tag {
            b'D' => outcome = Ok(message.values()),
            b'E' => outcome = Err(message.show()),
            b'Z' => return outcome,
            _ => {}
        }
    }
}

/// A value as a test shows it.
fn shown(value: Result<Option<Vec<u8>>, String>, format: i16) -> String {
    match value {
        Ok(None) => "NULL".to_owned(),
        Ok(Some(bytes)) if format == 0 => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Some(bytes)) => hex(&bytes),
        Err(error) => error,
    }
}

fn expected(case: &Case, format: i16) -> String {
    if format == 0 { case.text.to_owned() } else { hex(&case.binary) }
}

/// What differs is gathered, so that one run shows all of it.
fn check_all(check: impl Fn(&mut Raw, &Case, i16) -> String) {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    let mut wrong = Vec::new();
    for case in cases() {
        for format in [0, 1] {
            let (got, wanted) = (check(&mut raw, &case, format), expected(&case, format));
            if got != wanted {
                wrong.push(format!(
                    "{} '{}' in format {format}: {got}, not {wanted}",
                    case.type_name, case.literal
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn constants_of_every_type_are_sent_as_postgresql_sends_them() {
    check_all(|raw, case, format| {
        let sql = format!("SELECT '{}'::{}", case.literal.replace('\'', "''"), case.type_name);
        let bound = bind(Bind { result_formats: &[format], ..Bind::default() });
        let row = values(raw, &[parse("", &sql, &[]), bound, execute("", 0), sync()].concat());
        shown(row.map(|mut row| row.remove(0)), format)
    });
}

#[test]
fn parameters_of_every_type_are_understood_in_both_formats() {
    check_all(|raw, case, format| {
        let sql = format!("SELECT $1::{}", case.type_name);
        let value = if format == 0 { case.text.as_bytes() } else { &case.binary };
        let bound = bind(Bind {
            parameter_formats: &[format],
            parameters: &[Some(value)],
            result_formats: &[format],
            ..Bind::default()
        });
        // A client may say the type, or leave it to the server.
        let declared = if format == 0 { 0 } else { case.oid };
        let row = values(raw, &[parse("", &sql, &[declared]), bound, execute("", 0), sync()].concat());
        shown(row.map(|mut row| row.remove(0)), format)
    });
}

#[test]
fn columns_of_every_type_keep_values_and_nulls() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    let cases = cases();
    let columns: Vec<String> =
        cases.iter().enumerate().map(|(at, case)| format!("c{at} {}", case.type_name)).collect();
    raw.run(&format!("CREATE TABLE t (ts timestamptz, {}) {}", columns.join(", "), peer.table_options));
    let names: Vec<String> = (0..cases.len()).map(|at| format!("c{at}")).collect();
    let places: Vec<String> = (0..cases.len()).map(|at| format!("${}", at + 1)).collect();
    let mut wrong = Vec::new();
    for (day, format, is_null) in [(1, 0, false), (2, 1, false), (3, 0, true)] {
        let sql = format!(
            "INSERT INTO t (ts, {}) VALUES ('2024-01-0{day}', {})",
            names.join(", "),
            places.join(", ")
        );
        let parameters: Vec<Option<&[u8]>> = cases
            .iter()
            .map(|case| if format == 0 { case.text.as_bytes() } else { case.binary.as_slice() })
            .map(|value| Some(value).filter(|_| !is_null))
            .collect();
        let bound = bind(Bind { parameter_formats: &[format], parameters: &parameters, ..Bind::default() });
        let answer = raw.ask(&[parse("", &sql, &[]), bound, execute("", 0), sync()].concat());
        assert_eq!(answer, ["parsed", "bound", "done INSERT 0 1", "ready I"]);
        for format in [0, 1] {
            let sql = format!("SELECT {} FROM t WHERE ts = '2024-01-0{day}'", names.join(", "));
            let bound = bind(Bind { result_formats: &[format], ..Bind::default() });
            let row = values(&mut raw, &[parse("", &sql, &[]), bound, execute("", 0), sync()].concat());
            for (value, case) in row.unwrap().into_iter().zip(&cases) {
                let wanted = if is_null { "NULL".to_owned() } else { expected(case, format) };
                let got = shown(Ok(value), format);
                if got != wanted {
                    wrong.push(format!("{} on day {day}: {got}, not {wanted}", case.type_name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn numbers_with_many_digits_keep_all_of_them_or_are_refused() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    let long = "-1.0000000000000000000000000000000000000001";
    assert_eq!(raw.value(&format!("SELECT '{long}'::numeric(60,40)")), long);
    raw.run(&format!("CREATE TABLE t (ts timestamptz, v numeric(60,40)) {}", peer.table_options));
    let bound = bind(Bind { parameters: &[Some(long.as_bytes())], ..Bind::default() });
    let insert = parse("", "INSERT INTO t VALUES ('2024-01-01', $1)", &[]);
    let answer = raw.ask(&[insert, bound.clone(), execute("", 0), sync()].concat());
    assert_eq!(answer, ["parsed", "bound", "done INSERT 0 1", "ready I"]);
    assert_eq!(raw.value("SELECT v FROM t"), long);
    // Ours has fewer digits where no precision is said, and never rounds unseen.
    let answer = raw.ask(&[parse("", "SELECT $1::numeric", &[]), bound, execute("", 0), sync()].concat());
    let kept = answer.contains(&format!("row {long}"));
    let refused = answer.contains(&"error ERROR 22003 numeric field overflow".to_owned());
    assert!(kept || refused, "{answer:?}");
}

#[test]
fn results_name_the_type_of_every_column() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    for case in cases() {
        let sql = format!("SELECT '{}'::{} AS v", case.literal.replace('\'', "''"), case.type_name);
        let answer = raw.query(&sql);
        let column = answer[0].strip_prefix("columns v:").unwrap_or_else(|| panic!("{sql}: {answer:?}"));
        let oid = column.split('(').next().unwrap();
        assert_eq!(oid, case.oid.to_string(), "{sql}");
    }
}
