//! `numeric` as text and binary, with what PostgreSQL 15 answers.

use super::check;
use crate::pgtype::PgType;

#[test]
#[rustfmt::skip]
fn numbers_keep_the_digits_they_show() {
    check(&PgType::NUMERIC, -1, &[], &[
        ("0", Ok(("0", "0000000000000000"))),
        ("1.50", Ok(("1.50", "000200000000000200011388"))),
        ("-0.00", Ok(("0.00", "0000000000000002"))),
        ("1e10", Ok(("10000000000", "00010002000000000064"))),
        ("1.5e-5", Ok(("0.000015", "0001fffe0000000605dc"))),
        ("NaN", Ok(("NaN", "00000000c0000000"))),
        (" inf ", Ok(("Infinity", "00000000d0000020"))),
        ("-Infinity", Ok(("-Infinity", "00000000f0000020"))),
        ("+infinity", Ok(("Infinity", "00000000d0000020"))),
        ("12345678901234567890.123456789", Ok(("12345678901234567890.123456789", "000800040000000904d2162e23340d801ed204d2162e2328"))),
        (".5", Ok(("0.5", "0001ffff000000011388"))),
        ("5.", Ok(("5", "00010000000000000005"))),
        ("+.5e1", Ok(("5", "00010000000000000005"))),
        ("1e 5", Ok(("100000", "0001000100000000000a"))),
        ("1e+3", Ok(("1000", "000100000000000003e8"))),
        ("0.0001", Ok(("0.0001", "0001ffff000000040001"))),
        ("10000", Ok(("10000", "00010001000000000001"))),
        ("100000000", Ok(("100000000", "00010002000000000001"))),
        ("0.00010000", Ok(("0.00010000", "0001ffff000000080001"))),
        ("99999999999999999999999999999999999999.99", Ok(("99999999999999999999999999999999999999.99", "000b0009000000020063270f270f270f270f270f270f270f270f270f26ac"))),
        ("1E-10", Ok(("0.0000000001", "0001fffd0000000a0064"))),
        ("  7  ", Ok(("7", "00010000000000000007"))),
        ("00012.30", Ok(("12.30", "0002000000000002000c0bb8"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_is_no_number_is_refused() {
    check(&PgType::NUMERIC, -1, &[], &[
        ("", Err("22P02: invalid input syntax for type numeric: \"\"")),
        (".", Err("22P02: invalid input syntax for type numeric: \".\"")),
        ("1e", Err("22P02: invalid input syntax for type numeric: \"1e\"")),
        ("1e+", Err("22P02: invalid input syntax for type numeric: \"1e+\"")),
        ("1..2", Err("22P02: invalid input syntax for type numeric: \"1..2\"")),
        ("1.2.3", Err("22P02: invalid input syntax for type numeric: \"1.2.3\"")),
        ("0x1f", Err("22P02: invalid input syntax for type numeric: \"0x1f\"")),
        ("1_0", Err("22P02: invalid input syntax for type numeric: \"1_0\"")),
        ("abc", Err("22P02: invalid input syntax for type numeric: \"abc\"")),
        ("1 2", Err("22P02: invalid input syntax for type numeric: \"1 2\"")),
        ("infi", Err("22P02: invalid input syntax for type numeric: \"infi\"")),
        ("nanx", Err("22P02: invalid input syntax for type numeric: \"nanx\"")),
        ("- 1", Err("22P02: invalid input syntax for type numeric: \"- 1\"")),
        ("--1", Err("22P02: invalid input syntax for type numeric: \"--1\"")),
        ("1e131072", Err("22003: value overflows numeric format")),
        ("1e-16384", Err("22003: value overflows numeric format")),
        ("0e-20000", Err("22003: value overflows numeric format")),
        ("1e2147483648", Err("22003: value overflows numeric format")),
        ("1e99999999999999999999", Err("22003: value overflows numeric format")),
    ]);
}

#[test]
#[rustfmt::skip]
fn numbers_are_rounded_to_their_type() {
    check(&PgType::NUMERIC, 327686, &[], &[
        ("99.995", Ok(("100.00", "00010000000000020064"))),
        ("999.994", Ok(("999.99", "000200000000000203e726ac"))),
        ("999.995", Err("22003: numeric field overflow\nDETAIL: A field with precision 5, scale 2 must round to an absolute value less than 10^3.")),
        ("-999.995", Err("22003: numeric field overflow\nDETAIL: A field with precision 5, scale 2 must round to an absolute value less than 10^3.")),
        ("1000", Err("22003: numeric field overflow\nDETAIL: A field with precision 5, scale 2 must round to an absolute value less than 10^3.")),
        ("0.005", Ok(("0.01", "0001ffff000000020064"))),
        ("-0.005", Ok(("-0.01", "0001ffff400000020064"))),
        ("0.0049", Ok(("0.00", "0000000000000002"))),
        ("1e2", Ok(("100.00", "00010000000000020064"))),
        ("1e-2000", Ok(("0.00", "0000000000000002"))),
        ("1e200000", Err("22003: numeric field overflow\nDETAIL: A field with precision 5, scale 2 must round to an absolute value less than 10^3.")),
        ("NaN", Ok(("NaN", "00000000c0000000"))),
        ("inf", Err("22003: numeric field overflow\nDETAIL: A field with precision 5, scale 2 cannot hold an infinite value.")),
    ]);
    check(&PgType::NUMERIC, 196617, &[], &[
        ("0.01234", Err("22003: numeric field overflow\nDETAIL: A field with precision 3, scale 5 must round to an absolute value less than 10^-2.")),
        ("0.012345", Err("22003: numeric field overflow\nDETAIL: A field with precision 3, scale 5 must round to an absolute value less than 10^-2.")),
        ("0.1", Err("22003: numeric field overflow\nDETAIL: A field with precision 3, scale 5 must round to an absolute value less than 10^-2.")),
        ("-0.00999", Ok(("-0.00999", "0002ffff4000000500632328"))),
        ("1e-20000", Ok(("0.00000", "0000000000000005"))),
    ]);
    check(&PgType::NUMERIC, 133121, &[], &[
        ("12345", Ok(("12000", "0002000100000000000107d0"))),
        ("99499", Ok(("99000", "000200010000000000092328"))),
        ("99500", Err("22003: numeric field overflow\nDETAIL: A field with precision 2, scale -3 must round to an absolute value less than 10^5.")),
        ("-99500", Err("22003: numeric field overflow\nDETAIL: A field with precision 2, scale -3 must round to an absolute value less than 10^5.")),
        ("499", Ok(("0", "0000000000000000"))),
        ("500", Ok(("1000", "000100000000000003e8"))),
    ]);
    check(&PgType::NUMERIC, 65541, &[], &[
        ("0.5", Ok(("0.5", "0001ffff000000011388"))),
        ("0.4", Ok(("0.4", "0001ffff000000010fa0"))),
        ("1", Err("22003: numeric field overflow\nDETAIL: A field with precision 1, scale 1 must round to an absolute value less than 1.")),
        ("-0.5", Ok(("-0.5", "0001ffff400000011388"))),
    ]);
}
