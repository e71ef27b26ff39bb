//! `json` and `jsonb`, with what PostgreSQL 15 answers.

use super::check;
use crate::pgtype::PgType;

#[test]
#[rustfmt::skip]
fn jsonb_has_a_normal_form() {
    check(&PgType::JSONB, -1, &[], &[
        ("{\"a\":1,\"b\":[1,2,{\"c\":null}]}", Ok(("{\"a\": 1, \"b\": [1, 2, {\"c\": null}]}", "017b2261223a20312c202262223a205b312c20322c207b2263223a206e756c6c7d5d7d"))),
        ("[]", Ok(("[]", "015b5d"))),
        ("{}", Ok(("{}", "017b7d"))),
        ("\"\"", Ok(("\"\"", "012222"))),
        ("\"a\\n\\u00e9\\ud83d\\ude00\\u0001\"", Ok(("\"a\\né😀\\u0001\"", "0122615c6ec3a9f09f98805c753030303122"))),
        ("1.50", Ok(("1.50", "01312e3530"))),
        ("-0", Ok(("0", "0130"))),
        ("-0.0", Ok(("0.0", "01302e30"))),
        ("1e5", Ok(("100000", "01313030303030"))),
        ("1E-5", Ok(("0.00001", "01302e3030303031"))),
        ("1.5e+10", Ok(("15000000000", "013135303030303030303030"))),
        ("true", Ok(("true", "0174727565"))),
        (" [1 , 2 ] ", Ok(("[1, 2]", "015b312c20325d"))),
        ("{\"b\":1,\"a\":2,\"aa\":3,\"b\":4}", Ok(("{\"a\": 2, \"b\": 4, \"aa\": 3}", "017b2261223a20322c202262223a20342c20226161223a20337d"))),
        ("{\"a\":{\"z\":1,\"y\":[]},\"\":2}", Ok(("{\"\": 2, \"a\": {\"y\": [], \"z\": 1}}", "017b22223a20322c202261223a207b2279223a205b5d2c20227a223a20317d7d"))),
        ("{\"b\":{\"d\":1,\"c\":2},\"a\":{\"d\":1,\"c\":2,\"d\":3}}", Ok(("{\"a\": {\"c\": 2, \"d\": 3}, \"b\": {\"c\": 2, \"d\": 1}}", "017b2261223a207b2263223a20322c202264223a20337d2c202262223a207b2263223a20322c202264223a20317d7d"))),
        ("[[[[]]]]", Ok(("[[[[]]]]", "015b5b5b5b5d5d5d5d"))),
        ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", Ok(("\"\\\"\\\\/\\b\\f\\n\\r\\t\"", "01225c225c5c2f5c625c665c6e5c725c7422"))),
        ("[1,[2,{\"a\":[]}],{}]", Ok(("[1, [2, {\"a\": []}], {}]", "015b312c205b322c207b2261223a205b5d7d5d2c207b7d5d"))),
        ("{\"é\":1,\"e\":2,\"zz\":3}", Ok(("{\"e\": 2, \"zz\": 3, \"é\": 1}", "017b2265223a20322c20227a7a223a20332c2022c3a9223a20317d"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn json_stays_as_it_is() {
    check(&PgType::JSON, -1, &[], &[
        (" [1 , 2 ] ", Ok((" [1 , 2 ] ", "205b31202c2032205d20"))),
        ("{\"b\":1,\"a\":2,\"b\":4}", Ok(("{\"b\":1,\"a\":2,\"b\":4}", "7b2262223a312c2261223a322c2262223a347d"))),
        ("\"\\u0000\\ud800\"", Ok(("\"\\u0000\\ud800\"", "225c75303030305c756438303022"))),
        ("1e1000000", Ok(("1e1000000", "316531303030303030"))),
        ("\"\u{7f}\"", Ok(("\"\u{7f}\"", "227f22"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_is_no_json_is_refused() {
    check(&PgType::JSON, -1, &[], &[
        ("", Err("22P02: invalid input syntax for type json\nDETAIL: The input string ended unexpectedly.\nCONTEXT: JSON data, line 1: ")),
        ("  ", Err("22P02: invalid input syntax for type json\nDETAIL: The input string ended unexpectedly.\nCONTEXT: JSON data, line 1:   ")),
        ("[1,]", Err("22P02: invalid input syntax for type json\nDETAIL: Expected JSON value, but found \"]\".\nCONTEXT: JSON data, line 1: [1,]")),
        ("{\"a\"}", Err("22P02: invalid input syntax for type json\nDETAIL: Expected \":\", but found \"}\".\nCONTEXT: JSON data, line 1: {\"a\"}")),
        ("{\"a\":}", Err("22P02: invalid input syntax for type json\nDETAIL: Expected JSON value, but found \"}\".\nCONTEXT: JSON data, line 1: {\"a\":}")),
        ("{a:1}", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"a\" is invalid.\nCONTEXT: JSON data, line 1: {a...")),
        ("[1 2]", Err("22P02: invalid input syntax for type json\nDETAIL: Expected \",\" or \"]\", but found \"2\".\nCONTEXT: JSON data, line 1: [1 2...")),
        ("tru", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"tru\" is invalid.\nCONTEXT: JSON data, line 1: tru")),
        ("\"abc", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"\"abc\" is invalid.\nCONTEXT: JSON data, line 1: \"abc")),
        ("\"\\x\"", Err("22P02: invalid input syntax for type json\nDETAIL: Escape sequence \"\\x\" is invalid.\nCONTEXT: JSON data, line 1: \"\\x...")),
        ("\"\\u00\"", Err("22P02: invalid input syntax for type json\nDETAIL: \"\\u\" must be followed by four hexadecimal digits.\nCONTEXT: JSON data, line 1: \"\\u00\"")),
        ("01", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"01\" is invalid.\nCONTEXT: JSON data, line 1: 01")),
        ("1.", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"1.\" is invalid.\nCONTEXT: JSON data, line 1: 1.")),
        ("-", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"-\" is invalid.\nCONTEXT: JSON data, line 1: -")),
        ("1e", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"1e\" is invalid.\nCONTEXT: JSON data, line 1: 1e")),
        ("+1", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"+\" is invalid.\nCONTEXT: JSON data, line 1: +...")),
        ("[", Err("22P02: invalid input syntax for type json\nDETAIL: The input string ended unexpectedly.\nCONTEXT: JSON data, line 1: [")),
        ("{", Err("22P02: invalid input syntax for type json\nDETAIL: The input string ended unexpectedly.\nCONTEXT: JSON data, line 1: {")),
        ("{\"a\":1", Err("22P02: invalid input syntax for type json\nDETAIL: The input string ended unexpectedly.\nCONTEXT: JSON data, line 1: {\"a\":1")),
        ("{\"a\":1,", Err("22P02: invalid input syntax for type json\nDETAIL: The input string ended unexpectedly.\nCONTEXT: JSON data, line 1: {\"a\":1,")),
        ("{\"a\":1,}", Err("22P02: invalid input syntax for type json\nDETAIL: Expected string, but found \"}\".\nCONTEXT: JSON data, line 1: {\"a\":1,}")),
        ("]", Err("22P02: invalid input syntax for type json\nDETAIL: Expected JSON value, but found \"]\".\nCONTEXT: JSON data, line 1: ]")),
        (",", Err("22P02: invalid input syntax for type json\nDETAIL: Expected JSON value, but found \",\".\nCONTEXT: JSON data, line 1: ,")),
        ("\"tab\there\"", Err("22P02: invalid input syntax for type json\nDETAIL: Character with value 0x09 must be escaped.\nCONTEXT: JSON data, line 1: \"tab...")),
        ("\n\n{\"a\":\n  tru}", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"tru\" is invalid.\nCONTEXT: JSON data, line 4:   tru...")),
        ("\"éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé\" x", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"x\" is invalid.\nCONTEXT: JSON data, line 1: ...ééééééééééééééééééééééé\" x")),
        ("{\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\": bad}", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"bad\" is invalid.\nCONTEXT: JSON data, line 1: ...kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\": bad...")),
        ("[1]x", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"x\" is invalid.\nCONTEXT: JSON data, line 1: [1]x")),
        ("nulll", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"nulll\" is invalid.\nCONTEXT: JSON data, line 1: nulll")),
        ("1x", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"1x\" is invalid.\nCONTEXT: JSON data, line 1: 1x")),
        ("é", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"é\" is invalid.\nCONTEXT: JSON data, line 1: é")),
        ("\"\\é\"", Err("22P02: invalid input syntax for type json\nDETAIL: Escape sequence \"\\é\" is invalid.\nCONTEXT: JSON data, line 1: \"\\é...")),
        ("{1:2}", Err("22P02: invalid input syntax for type json\nDETAIL: Expected string or \"}\", but found \"1\".\nCONTEXT: JSON data, line 1: {1...")),
        ("{,}", Err("22P02: invalid input syntax for type json\nDETAIL: Expected string or \"}\", but found \",\".\nCONTEXT: JSON data, line 1: {,...")),
        ("[}", Err("22P02: invalid input syntax for type json\nDETAIL: Expected JSON value, but found \"}\".\nCONTEXT: JSON data, line 1: [}")),
        ("NaN", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"NaN\" is invalid.\nCONTEXT: JSON data, line 1: NaN")),
        ("'a'", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"'\" is invalid.\nCONTEXT: JSON data, line 1: '...")),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_jsonb_cannot_hold_is_refused() {
    check(&PgType::JSONB, -1, &[], &[
        ("\"\\u0000\"", Err("22P05: unsupported Unicode escape sequence\nDETAIL: \\u0000 cannot be converted to text.\nCONTEXT: JSON data, line 1: \"\\u0000...")),
        ("\"\\ud800\"", Err("22P02: invalid input syntax for type json\nDETAIL: Unicode low surrogate must follow a high surrogate.\nCONTEXT: JSON data, line 1: \"\\ud800\"")),
        ("\"\\udc00\"", Err("22P02: invalid input syntax for type json\nDETAIL: Unicode low surrogate must follow a high surrogate.\nCONTEXT: JSON data, line 1: \"\\udc00...")),
        ("\"\\ud800\\ud800\"", Err("22P02: invalid input syntax for type json\nDETAIL: Unicode high surrogate must not follow a high surrogate.\nCONTEXT: JSON data, line 1: \"\\ud800\\ud800...")),
        ("\"\\ud800x\"", Err("22P02: invalid input syntax for type json\nDETAIL: Unicode low surrogate must follow a high surrogate.\nCONTEXT: JSON data, line 1: \"\\ud800x...")),
        ("\"\\ud800\\n\"", Err("22P02: invalid input syntax for type json\nDETAIL: Unicode low surrogate must follow a high surrogate.\nCONTEXT: JSON data, line 1: \"\\ud800\\n...")),
        ("1e1000000", Err("22003: value overflows numeric format")),
        ("1e1000000 x", Err("22P02: invalid input syntax for type json\nDETAIL: Token \"x\" is invalid.\nCONTEXT: JSON data, line 1: 1e1000000 x")),
    ]);
}
