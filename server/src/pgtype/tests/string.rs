//! Texts, names, characters and bytes, with what PostgreSQL 15 answers.

use super::check;
use crate::pgtype::PgType;

#[test]
#[rustfmt::skip]
fn texts_have_the_length_of_their_type() {
    check(&PgType::VARCHAR, 7, &[], &[
        ("abc", Ok(("abc", "616263"))),
        ("abcd", Err("22001: value too long for type character varying(3)")),
        ("ab ", Ok(("ab ", "616220"))),
        ("abc  ", Ok(("abc", "616263"))),
        ("abc d", Err("22001: value too long for type character varying(3)")),
        ("éàü", Ok(("éàü", "c3a9c3a0c3bc"))),
        ("éàü ", Ok(("éàü", "c3a9c3a0c3bc"))),
        ("éàüx", Err("22001: value too long for type character varying(3)")),
        ("", Ok(("", ""))),
    ]);
    check(&PgType::VARCHAR, -1, &[], &[
        ("abcd  ", Ok(("abcd  ", "616263642020"))),
    ]);
    check(&PgType::BPCHAR, 7, &[], &[
        ("a", Ok(("a  ", "612020"))),
        ("abc", Ok(("abc", "616263"))),
        ("abc  ", Ok(("abc", "616263"))),
        ("abcd", Err("22001: value too long for type character(3)")),
        ("é", Ok(("é  ", "c3a92020"))),
        ("", Ok(("   ", "202020"))),
    ]);
    check(&PgType::BPCHAR, -1, &[], &[
        ("a ", Ok(("a ", "6120"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn names_are_cut_off() {
    check(&PgType::NAME, -1, &[], &[
        ("a", Ok(("a", "61"))),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Ok(("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161"))),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Ok(("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161"))),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaé", Ok(("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "6161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161"))),
        ("éééééééééééééééééééééééééééééééééééééééé", Ok(("ééééééééééééééééééééééééééééééé", "c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn characters_are_one_byte() {
    check(&PgType::CHAR, -1, &[], &[
        ("", Ok(("", "00"))),
        ("a", Ok(("a", "61"))),
        ("ab", Ok(("a", "61"))),
        ("é", Ok(("\\303", "c3"))),
        ("\\101", Ok(("A", "41"))),
        ("\\400", Ok(("", "00"))),
        ("\\", Ok(("\\", "5c"))),
        ("\\12", Ok(("\\", "5c"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn bytes_are_hexadecimal_or_escaped() {
    check(&PgType::BYTEA, -1, &[], &[
        ("\\xDEADbeef", Ok(("\\xdeadbeef", "deadbeef"))),
        ("\\x de ad", Ok(("\\xdead", "dead"))),
        ("abc", Ok(("\\x616263", "616263"))),
        ("a\\\\b\\000", Ok(("\\x615c6200", "615c6200"))),
        ("\\400", Err("22P02: invalid input syntax for type bytea")),
        ("\\x1", Err("22023: invalid hexadecimal data: odd number of digits")),
        ("\\x1g", Err("22023: invalid hexadecimal digit: \"g\"")),
        ("\\xé", Err("22023: invalid hexadecimal digit: \"é\"")),
    ]);
    check(&PgType::BYTEA, -1, &[("bo", "escape")], &[
        ("\\xDEADbeef", Ok(("\\336\\255\\276\\357", "deadbeef"))),
        ("a\\\\b\\000é", Ok(("a\\\\b\\000\\303\\251", "615c6200c3a9"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn other_types_are_read_and_written() {
    check(&PgType::BOOL, -1, &[], &[
        ("t", Ok(("t", "01"))),
        ("FALSE", Ok(("f", "00"))),
        ("of", Ok(("f", "00"))),
        ("o", Err("22P02: invalid input syntax for type boolean: \"o\"")),
    ]);
    check(&PgType::INT2, -1, &[], &[
        ("-32768", Ok(("-32768", "8000"))),
        ("32768", Err("22003: value \"32768\" is out of range for type smallint")),
    ]);
    check(&PgType::INT8, -1, &[], &[
        (" -9223372036854775808 ", Ok(("-9223372036854775808", "8000000000000000"))),
        ("9223372036854775808", Err("22003: value \"9223372036854775808\" is out of range for type bigint")),
    ]);
    check(&PgType::OID, -1, &[], &[
        ("4294967295", Ok(("4294967295", "ffffffff"))),
        ("-1", Ok(("4294967295", "ffffffff"))),
        ("4294967296", Err("22003: value \"4294967296\" is out of range for type oid")),
    ]);
    check(&PgType::FLOAT4, -1, &[], &[
        ("1.5e10", Ok(("1.5000001e+10", "505f8476"))),
        ("16777217", Ok(("1.6777216e+07", "4b800000"))),
        ("NaN", Ok(("NaN", "7fc00000"))),
        ("1e39", Err("22003: \"1e39\" is out of range for type real")),
        (" 1e39 ", Err("22003: \" 1e39 \" is out of range for type real")),
        ("1e-46", Err("22003: \"1e-46\" is out of range for type real")),
        ("x", Err("22P02: invalid input syntax for type real: \"x\"")),
    ]);
    check(&PgType::FLOAT8, -1, &[], &[
        ("1e23", Ok(("9.999999999999999e+22", "44b52d02c7e14af6"))),
        ("-0", Ok(("-0", "8000000000000000"))),
        ("Infinity", Ok(("Infinity", "7ff0000000000000"))),
        ("1e309", Err("22003: \"1e309\" is out of range for type double precision")),
    ]);
    check(&PgType::UUID, -1, &[], &[
        ("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", Ok(("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"))),
        ("x", Err("22P02: invalid input syntax for type uuid: \"x\"")),
    ]);
}
