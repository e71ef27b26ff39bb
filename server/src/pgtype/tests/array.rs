//! Arrays as text and binary, with what PostgreSQL 15 answers.

use super::check;
use crate::pgtype::PgType;

#[test]
#[rustfmt::skip]
fn arrays_of_any_shape_are_read() {
    check(&PgType::INT4_ARRAY, -1, &[], &[
        ("{1,2,3}", Ok(("{1,2,3}", "0000000100000000000000170000000300000001000000040000000100000004000000020000000400000003"))),
        ("{}", Ok(("{}", "000000000000000000000017"))),
        ("{ }", Ok(("{}", "000000000000000000000017"))),
        ("{NULL,1}", Ok(("{NULL,1}", "0000000100000001000000170000000200000001ffffffff0000000400000001"))),
        ("{{1,2},{3,4}}", Ok(("{{1,2},{3,4}}", "000000020000000000000017000000020000000100000002000000010000000400000001000000040000000200000004000000030000000400000004"))),
        ("[0:2]={1,2,3}", Ok(("[0:2]={1,2,3}", "0000000100000000000000170000000300000000000000040000000100000004000000020000000400000003"))),
        ("[2]={1,2}", Ok(("{1,2}", "000000010000000000000017000000020000000100000004000000010000000400000002"))),
        ("[1:2][0:1]={{1,2},{3,4}}", Ok(("[1:2][0:1]={{1,2},{3,4}}", "000000020000000000000017000000020000000100000002000000000000000400000001000000040000000200000004000000030000000400000004"))),
        (" { 1 , 2 } ", Ok(("{1,2}", "000000010000000000000017000000020000000100000004000000010000000400000002"))),
        ("{{{{{{1}}}}}}", Ok(("{{{{{{1}}}}}}", "0000000600000000000000170000000100000001000000010000000100000001000000010000000100000001000000010000000100000001000000010000000400000001"))),
        ("[-2:-1]={1,2}", Ok(("[-2:-1]={1,2}", "00000001000000000000001700000002fffffffe00000004000000010000000400000002"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_is_no_array_is_refused() {
    check(&PgType::INT4_ARRAY, -1, &[], &[
        ("", Err("22P02: malformed array literal: \"\"\nDETAIL: Array value must start with \"{\" or dimension information.")),
        ("1", Err("22P02: malformed array literal: \"1\"\nDETAIL: Array value must start with \"{\" or dimension information.")),
        ("{1,2", Err("22P02: malformed array literal: \"{1,2\"\nDETAIL: Unexpected end of input.")),
        ("1,2}", Err("22P02: malformed array literal: \"1,2}\"\nDETAIL: Array value must start with \"{\" or dimension information.")),
        ("{1,,2}", Err("22P02: malformed array literal: \"{1,,2}\"\nDETAIL: Unexpected \",\" character.")),
        ("{1 2}", Err("22P02: invalid input syntax for type integer: \"1 2\"")),
        ("{{1,2},{3}}", Err("22P02: malformed array literal: \"{{1,2},{3}}\"\nDETAIL: Multidimensional arrays must have sub-arrays with matching dimensions.")),
        ("{{1},2}", Err("22P02: malformed array literal: \"{{1},2}\"\nDETAIL: Unexpected array element.")),
        ("{1,{2}}", Err("22P02: malformed array literal: \"{1,{2}}\"\nDETAIL: Unexpected \"{\" character.")),
        ("{{}}", Err("22P02: malformed array literal: \"{{}}\"\nDETAIL: Unexpected \"}\" character.")),
        ("{{1}{2}}", Err("22P02: malformed array literal: \"{{1}{2}}\"\nDETAIL: Unexpected \"{\" character.")),
        ("{{{{{{{1}}}}}}}", Err("54000: number of array dimensions (7) exceeds the maximum allowed (6)")),
        ("[1:0]={}", Err("2202E: upper bound cannot be less than lower bound")),
        ("[1:2]={1}", Err("22P02: malformed array literal: \"[1:2]={1}\"\nDETAIL: Specified array dimensions do not match array contents.")),
        ("[a]={1}", Err("22P02: malformed array literal: \"[a]={1}\"\nDETAIL: \"[\" must introduce explicitly-specified array dimensions.")),
        ("[1={1}", Err("22P02: malformed array literal: \"[1={1}\"\nDETAIL: Missing \"]\" after array dimensions.")),
        ("[1:]={1}", Err("22P02: malformed array literal: \"[1:]={1}\"\nDETAIL: Missing array dimension value.")),
        ("[1]{1}", Err("22P02: malformed array literal: \"[1]{1}\"\nDETAIL: Missing \"=\" after array dimensions.")),
        ("[1]=1", Err("22P02: malformed array literal: \"[1]=1\"\nDETAIL: Array contents must start with \"{\".")),
        ("[1:1][1:1]={1}", Err("22P02: malformed array literal: \"[1:1][1:1]={1}\"\nDETAIL: Specified array dimensions do not match array contents.")),
        ("{1}x", Err("22P02: malformed array literal: \"{1}x\"\nDETAIL: Junk after closing right brace.")),
        ("{1,}", Err("22P02: malformed array literal: \"{1,}\"\nDETAIL: Unexpected \"}\" character.")),
        ("{,1}", Err("22P02: malformed array literal: \"{,1}\"\nDETAIL: Unexpected \",\" character.")),
        ("{a}", Err("22P02: invalid input syntax for type integer: \"a\"")),
        ("{\"a}", Err("22P02: malformed array literal: \"{\"a}\"\nDETAIL: Unexpected end of input.")),
        ("{\\", Err("22P02: malformed array literal: \"{\\\"\nDETAIL: Unexpected end of input.")),
        ("[1:2147483647]={1}", Err("22P02: malformed array literal: \"[1:2147483647]={1}\"\nDETAIL: Specified array dimensions do not match array contents.")),
        ("[-2147483648:2147483647]={1}", Err("22P02: malformed array literal: \"[-2147483648:2147483647]={1}\"\nDETAIL: Specified array dimensions do not match array contents.")),
        ("[1][1][1][1][1][1][1]={1}", Err("54000: number of array dimensions (7) exceeds the maximum allowed (6)")),
        ("{99999999999}", Err("22003: value \"99999999999\" is out of range for type integer")),
    ]);
}

#[test]
#[rustfmt::skip]
fn elements_are_quoted_where_they_must_be() {
    check(&PgType::TEXT_ARRAY, -1, &[], &[
        ("{a b, c }", Ok(("{\"a b\",c}", "0000000100000000000000190000000200000001000000036120620000000163"))),
        ("{\"a b\",\"c\\\"d\",e\\ f}", Ok(("{\"a b\",\"c\\\"d\",\"e f\"}", "0000000100000000000000190000000300000001000000036120620000000363226400000003652066"))),
        ("{null,\"null\",NuLL,nul}", Ok(("{NULL,\"null\",NULL,nul}", "0000000100000001000000190000000400000001ffffffff000000046e756c6cffffffff000000036e756c"))),
        ("{\"\",x}", Ok(("{\"\",x}", "0000000100000000000000190000000200000001000000000000000178"))),
        ("{é,\"ü\"}", Ok(("{é,ü}", "000000010000000000000019000000020000000100000002c3a900000002c3bc"))),
        ("{\"\\\\\"}", Ok(("{\"\\\\\"}", "0000000100000000000000190000000100000001000000015c"))),
        ("{a\\,b}", Ok(("{\"a,b\"}", "000000010000000000000019000000010000000100000003612c62"))),
        ("{\"{}\"}", Ok(("{\"{}\"}", "0000000100000000000000190000000100000001000000027b7d"))),
        ("{\"a,b\"}", Ok(("{\"a,b\"}", "000000010000000000000019000000010000000100000003612c62"))),
        ("{a\"b\"}", Err("22P02: malformed array literal: \"{a\"b\"}\"\nDETAIL: Unexpected array element.")),
        ("{\"a\"b}", Err("22P02: malformed array literal: \"{\"a\"b}\"\nDETAIL: Unexpected array element.")),
        ("{\"1\",\"2\"}", Ok(("{1,2}", "000000010000000000000019000000020000000100000001310000000132"))),
    ]);
    check(&PgType::JSONB_ARRAY, -1, &[], &[
        ("{\"{\\\"b\\\": 1, \\\"a\\\": \\\"x\\\"}\",1,null}", Ok(("{\"{\\\"a\\\": \\\"x\\\", \\\"b\\\": 1}\",1,NULL}", "000000010000000100000eda000000030000000100000013017b2261223a202278222c202262223a20317d000000020131ffffffff"))),
    ]);
    check(&PgType::BOOL_ARRAY, -1, &[], &[
        ("{t,f,yes,NULL}", Ok(("{t,f,t,NULL}", "0000000100000001000000100000000400000001000000010100000001000000000101ffffffff"))),
    ]);
    check(&PgType::FLOAT8_ARRAY, -1, &[], &[
        ("{1.5,NaN,-inf,1e20}", Ok(("{1.5,NaN,-Infinity,1e+20}", "0000000100000000000002bd0000000400000001000000083ff8000000000000000000087ff800000000000000000008fff0000000000000000000084415af1d78b58c40"))),
    ]);
    check(&PgType::TIMESTAMPTZ_ARRAY, -1, &[], &[
        ("{2024-01-05,\"2024-01-05 10:00+02\"}", Ok(("{\"2024-01-05 00:00:00+00\",\"2024-01-05 08:00:00+00\"}", "0000000100000000000004a00000000200000001000000080002b1264c46c000000000080002b12d00e3e000"))),
    ]);
    check(&PgType::NUMERIC_ARRAY, -1, &[], &[
        ("{1.50,NaN}", Ok(("{1.50,NaN}", "0000000100000000000006a400000002000000010000000c0002000000000002000113880000000800000000c0000000"))),
    ]);
    check(&PgType::DATE_ARRAY, -1, &[], &[
        ("{2024-01-05,\"0044-03-15 BC\"}", Ok(("{2024-01-05,\"0044-03-15 BC\"}", "00000001000000000000043a0000000200000001000000040000224200000004fff49d7b"))),
    ]);
}

#[test]
#[rustfmt::skip]
fn vectors_have_no_braces() {
    check(&PgType::INT2_VECTOR, -1, &[], &[
        ("1 2 3", Ok(("1 2 3", "0000000100000000000000150000000300000000000000020001000000020002000000020003"))),
        ("", Ok(("", "0000000100000000000000150000000000000000"))),
        (" 5 ", Ok(("5", "0000000100000000000000150000000100000000000000020005"))),
        ("1,2", Err("22P02: invalid input syntax for type smallint: \"1,2\"")),
        ("99999", Err("22003: value \"99999\" is out of range for type smallint")),
    ]);
    check(&PgType::OID_VECTOR, -1, &[], &[
        ("1 2", Ok(("1 2", "00000001000000000000001a000000020000000000000004000000010000000400000002"))),
        ("4294967295", Ok(("4294967295", "00000001000000000000001a000000010000000000000004ffffffff"))),
        ("x", Err("22P02: invalid input syntax for type oid: \"x\"")),
    ]);
}
