//! Binary forms that a client may send, with what PostgreSQL 15 answers.

use super::{lines, settings, unhex};
use crate::pgtype::PgType;
use crate::pgtype::binary::parse_binary;
use crate::pgtype::text::to_text;

fn check_sent(pg_type: &PgType, cases: &[(&str, Result<&str, &str>)]) {
    for (sent, expected) in cases {
        let read = parse_binary(&unhex(sent), pg_type, -1);
        let answer =
            read.map(|datum| to_text(&datum, pg_type, &settings(&[]))).map_err(|error| lines(&error));
        let answer = answer.as_ref().map(String::as_str).map_err(String::as_str);
        assert_eq!(answer, *expected, "{sent} as {pg_type}");
    }
}

const SHORT: Result<&str, &str> = Err("08P01: insufficient data left in message");
const LONG: Result<&str, &str> = Err("22P03: incorrect binary data format");

#[test]
fn lengths_must_be_right() {
    check_sent(
        &PgType::BOOL,
        &[("00", Ok("f")), ("07", Ok("t")), ("", Err("08P01: no data left in message")), ("0101", LONG)],
    );
    check_sent(&PgType::CHAR, &[("61", Ok("a")), ("e9", Ok("\\351")), ("6162", LONG)]);
    check_sent(&PgType::INT2, &[("8000", Ok("-32768")), ("80", SHORT), ("800000", LONG)]);
    check_sent(&PgType::INT4, &[("ffffffff", Ok("-1")), ("ffffff", SHORT), ("ffffffffff", LONG)]);
    check_sent(&PgType::INT8, &[("00000000000000ff", Ok("255")), ("ff", SHORT)]);
    check_sent(&PgType::OID, &[("ffffffff", Ok("4294967295"))]);
    check_sent(&PgType::FLOAT8, &[("7ff8000000000001", Ok("NaN")), ("00", SHORT)]);
    check_sent(&PgType::UUID, &[("00", SHORT), ("0000000000000000000000000000000000", LONG)]);
}

#[test]
fn texts_must_be_utf8_without_nul() {
    let invalid = "22021: invalid byte sequence for encoding \"UTF8\": ";
    let cases = [
        ("ff", "0xff"),
        ("e228a1", "0xe2 0x28 0xa1"),
        ("e282", "0xe2 0x82"),
        ("610062", "0x00"),
        ("c3", "0xc3"),
        ("eda080", "0xed 0xa0 0x80"),
        ("f5808080", "0xf5 0x80 0x80 0x80"),
        ("6162c32878", "0xc3 0x28"),
        ("80", "0x80"),
        ("f888808080", "0xf8"),
    ];
    for (sent, bytes) in cases {
        check_sent(&PgType::TEXT, &[(sent, Err(&format!("{invalid}{bytes}")))]);
    }
    check_sent(&PgType::TEXT, &[("c3a9f09f9880", Ok("é😀"))]);
    let detail = "42622: identifier too long\nDETAIL: Identifier must be less than 64 characters.";
    check_sent(&PgType::NAME, &[(&"78".repeat(63), Ok(&"x".repeat(63))), (&"78".repeat(64), Err(detail))]);
}

#[test]
fn numbers_are_checked_part_by_part() {
    check_sent(
        &PgType::NUMERIC,
        &[
            ("00000000c0000000", Ok("NaN")),
            ("00000000d0000000", Ok("Infinity")),
            ("00000000f0000005", Ok("-Infinity")),
            ("0001000000000000270f", Ok("9999")),
            ("00020000000000020001270f", Ok("1.99")),
            ("00020000400000000001270f", Ok("-1")),
            ("0001ffff00000006270f", Ok("0.999900")),
            ("000200010000000000000001", Ok("1")),
            ("0001fffe00000002270f", Ok("0.00")),
            ("0000000010000000", Err("22P03: invalid sign in external \"numeric\" value")),
            ("0000000000004000", Err("22P03: invalid scale in external \"numeric\" value")),
            ("00010000000000002710", Err("22P03: invalid digit in external \"numeric\" value")),
            ("0001000000000000", SHORT),
            ("000100000000000000010001", LONG),
        ],
    );
}

#[test]
fn times_have_limits() {
    check_sent(
        &PgType::DATE,
        &[
            ("7fffffff", Ok("infinity")),
            ("80000000", Ok("-infinity")),
            ("ffda97a7", Ok("4714-11-24 BC")),
            ("ffda97a6", Err("22008: date out of range")),
            ("7fda970c", Ok("5874897-12-31")),
            ("7fda970d", Err("22008: date out of range")),
        ],
    );
    check_sent(
        &PgType::TIME,
        &[
            ("000000141dd76000", Ok("24:00:00")),
            ("000000141dd76001", Err("22008: time out of range")),
            ("ffffffffffffffff", Err("22008: time out of range")),
        ],
    );
    check_sent(
        &PgType::TIMETZ,
        &[
            ("00000000000000000000e0ff", Ok("00:00:00-15:59:59")),
            ("00000000000000000000e100", Err("22009: time zone displacement out of range")),
        ],
    );
    check_sent(
        &PgType::TIMESTAMP,
        &[
            ("7fffffffffffffff", Ok("infinity")),
            ("fd0f7cc1411fa000", Ok("4714-11-24 00:00:00 BC")),
            ("fd0f7cc1411f9fff", Err("22008: timestamp out of range")),
        ],
    );
}

#[test]
fn documents_have_a_version() {
    check_sent(
        &PgType::JSONB,
        &[
            ("017b7d", Ok("{}")),
            ("027b7d", Err("XX000: unsupported jsonb version number 2")),
            ("", Err("08P01: no data left in message")),
        ],
    );
}

#[test]
fn arrays_are_checked_part_by_part() {
    let wrong_type = "42804: binary data has array element type 25 (text) instead of expected 23 (integer)";
    check_sent(
        &PgType::INT4_ARRAY,
        &[
            ("000000000000000000000017", Ok("{}")),
            ("000000010000000100000017000000020000000100000004ffffffffffffffff", Ok("{-1,NULL}")),
            (
                "00000002000000000000001700000002000000000000000100000005\
                 00000004000000010000000400000002",
                Ok("[0:1][5:5]={{1},{2}}"),
            ),
            ("000000010000000000000017000000000000000100", LONG),
            ("00000001000000000000001900000001000000010000000161", Err(wrong_type)),
            (
                "00000001000000000000001700000001000000010000000500000001ff",
                Err("22P03: improper binary format in array element 1"),
            ),
            ("00000001000000000000001700000001000000010000000300000001", SHORT),
            (
                "0000000100000000000000170000000100000001fffffffe",
                Err("22P03: insufficient data left in message"),
            ),
            (
                "000000070000000000000017",
                Err("54000: number of array dimensions (7) exceeds the maximum allowed (6)"),
            ),
            ("ffffffff0000000000000017", Err("22P03: invalid number of dimensions: -1")),
            ("000000010000000200000017", Err("22P03: invalid array flags")),
            (
                "000000020000000000000017000186a000000001000186a000000001",
                Err("54000: array size exceeds the maximum allowed (134217727)"),
            ),
        ],
    );
}

#[test]
fn records_are_not_read() {
    let refused = Err("0A000: input of anonymous composite types is not implemented");
    check_sent(&PgType::RECORD, &[("00000000", refused)]);
}
