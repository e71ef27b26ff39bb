//! Expressions without tables.

use super::*;

#[test]
fn numbers_are_computed_as_postgresql_does() {
    check(&[
        ("select 1", "1"),
        ("select 1 + 2, 7 / 2, -7 / 2, 7 % 3, -7 % 3", "3|3|-3|1|-1"),
        ("select 2147483647 + 1", "22003: integer out of range"),
        ("select 9223372036854775807 + 1", "22003: bigint out of range"),
        ("select 2147483647 + 1::int8", "2147483648"),
        ("select 1 / 0", "22012: division by zero"),
        (
            "select 1.5 + 2, 1.10 * 2.0, 1.0 / 3, 10.0 / 4",
            "3.5|2.200|0.33333333333333333333|2.5000000000000000",
        ),
        (
            "select 100000.0 / 7, 1 / 12345.678, 0.001 / 3",
            "14285.714285714286|0.000081000006642000544644|0.00033333333333333333",
        ),
        ("select 1e10, 12345678901234567890", "10000000000|12345678901234567890"),
        ("select -2147483648, - 5", "-2147483648|-5"),
        ("select 0.1::float8 + 0.2::float8", "0.30000000000000004"),
        ("select 1 = 1.0, 2 > 1::float8, 'a' < 'b', null = 1", "t|t|t|"),
    ]);
}

#[test]
fn casts_and_texts() {
    check(&[
        ("select 'abc'::varchar(2), 1::text || 'x', 'a' || 1", "ab|1x|a1"),
        ("select '5'::int + 1, '12'::text::int, true::int, 0::bool", "6|12|1|f"),
        ("select 'x'::int", "22P02: invalid input syntax for type integer: \"x\""),
        ("select 'abc' like 'a%', 'abc' not like '_b_', 'ABC' ilike 'a_c'", "t|f|t"),
        ("select 'abc' ~ '^a', 'abc' ~* 'B', 'abc' !~ 'c$'", "t|t|f"),
        ("select substring('hello' from 2 for 3), position('l' in 'hello'), trim('  x ')", "ell|3|x"),
        ("select case when 1 > 2 then 'a' else 'b' end, coalesce(null, 'z'), nullif(1, 1)", "b|z|"),
        ("select 1 in (1, 2), 3 not in (1, 2), 3 in (1, null)", "t|t|"),
        ("select 5 between 1 and 6, not true, null is null, 1 is distinct from null", "t|f|t|t"),
        (
            "select upper('ä'), length('äö'), concat('a', null, 1, true), concat_ws('-', 'a', null, 'b')",
            "Ä|2|a1t|a-b",
        ),
        (
            "select quote_ident('Abc'), quote_ident('select'), quote_ident('abc'), quote_literal('a''b')",
            "\"Abc\"|\"select\"|abc|'a''b'",
        ),
        (
            "select 'pg_class'::regclass, 'pg_class'::regclass::oid, 'int4'::regtype, 'character varying'::regtype::oid",
            "pg_class|1259|integer|1043",
        ),
        ("select 1259::regclass, 0::regclass, 4711::regclass", "pg_class|-|4711"),
        ("select 'nope'::regclass", "42P01: relation \"nope\" does not exist"),
        ("select to_regclass('nope'), to_regclass('pg_type')", "|pg_type"),
        (
            "select format_type(1043, 14), format_type(1700, 655366), format_type(1184, null), format_type(1007, -1)",
            "character varying(10)|numeric(10,2)|timestamp with time zone|integer[]",
        ),
    ]);
}

#[test]
fn escapes_and_formats() {
    check(&[
        ("select 'a_c' like 'a/_c' escape '/', 'abc' like 'a/_c' escape '/'", "t|f"),
        ("select format('%s %I %L %2$s %%', 1, 'A b', null)", "1 \"A b\" NULL A b %"),
        (
            "select row_to_json(t) from (select 1 as a, 'x' as b, null as c) t",
            "{\"a\":1,\"b\":\"x\",\"c\":null}",
        ),
        (
            "select json_build_object('a', 1, 'b', true), json_agg(x) from generate_series(1, 2) x",
            "{\"a\" : 1, \"b\" : true}|[1, 2]",
        ),
        ("select 'a'::char(3) = 'a', 'a'::char(3) = 'b', quote_literal('a\\b')", "t|f|E'a\\\\b'"),
        ("select 'a' || '%' like 'a%', 'ab' not like 'a' || '%'", "t|f"),
    ]);
}

#[test]
fn arrays() {
    check(&[
        ("select array[1,2,3], array['a','b'], '{1,2}'::int[]", "{1,2,3}|{a,b}|{1,2}"),
        ("select (array[1,2,3])[2], (array[1,2,3])[2:3], (array[1,2,3])[9]", "2|{2,3}|"),
        ("select 2 = any(array[1,2]), 3 = any('{1,2}'), 1 <> all(array[2,3])", "t|f|t"),
        ("select array_upper(array[1,2], 1), array_length('{}'::int[], 1), cardinality(array[1,2])", "2||2"),
        ("select array_to_string(array['a',null,'b'], ','), string_to_array('a,b', ',')", "a,b|{a,b}"),
        ("select array[1] || 2, array[1] || array[2,3], array[1,2] @> array[2]", "{1,2}|{1,2,3}|t"),
        ("select array(select i * 2 from generate_series(1, 3) i)", "{2,4,6}"),
        ("select unnest(array[1,2]), generate_series(1, 3)", "1|1\n2|2\n|3"),
        ("select (information_schema._pg_expandarray(array['a','b'])).n", "1\n2"),
        (
            "select (x).n, (x).x from (select information_schema._pg_expandarray(array[7,8]) as x) t",
            "1|7\n2|8",
        ),
    ]);
}

#[test]
fn what_is_not_certain_is_left_to_others() {
    check(&[
        ("select to_char(now(), 'YYYY')", "2020"),
        ("select date_trunc('year', now())", "not ours"),
        ("select nonsense(1)", "not ours"),
        ("select count(*) from generate_series(1, 1000000)", "not ours"),
        ("select now() at time zone 'UTC'", "2020-09-13 12:26:40"),
    ]);
}

#[test]
fn set_config_is_handed_back() {
    let context = context();
    let query = CatalogQuery::analyze(
        &parse("select set_config('search_path', 'a', false)"),
        &[],
        &context,
        Reach::Catalog,
    );
    let answer = query.unwrap().run(&[], &context).unwrap();
    assert_eq!(answer.rows, [[Datum::Text("a".to_owned())]]);
    assert_eq!(answer.effects.len(), 1);
}

#[test]
fn columns_without_a_name_get_postgresql_s() {
    let cases = [
        (
            "select 1, 'a'::text, 1::int8::text, now(), relname::text from pg_class",
            "?column?,text,text,now,relname",
        ),
        ("select case when true then 1 end, case when true then 'a' else version() end", "case,version"),
        (
            "select substr('a', 1), substring('a' from 1), (select 1 as x), array[1], exists(select 1)",
            "substr,substring,x,array,exists",
        ),
        (
            "select current_user, 'pg_class'::regclass, (array[1])[1], coalesce(1, 2), 1 + 1",
            "current_user,regclass,array,coalesce,?column?",
        ),
    ];
    let context = context();
    for (text, wanted) in cases {
        let query = CatalogQuery::analyze(&parse(text), &[], &context, Reach::Catalog).unwrap();
        let names: Vec<&str> = query.fields().iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names.join(","), wanted, "{text}");
    }
}

#[test]
fn parameters_get_types_from_their_places() {
    let context = context();
    let cases = [
        ("select $1::int + 1", vec![PgType::INT4]),
        ("select * from pg_class where oid = $1 and relname = $2", vec![PgType::OID, PgType::NAME]),
        ("select $1", vec![PgType::TEXT]),
        ("select 1 where $1 = any($2::text[])", vec![PgType::TEXT, PgType::TEXT_ARRAY]),
        ("select 1 limit $1", vec![PgType::INT8]),
    ];
    for (text, wanted) in cases {
        let query = CatalogQuery::analyze(&parse(text), &[], &context, Reach::Catalog).unwrap();
        assert_eq!(query.parameters(), wanted, "{text}");
    }
    let query =
        CatalogQuery::analyze(&parse("select $1::regclass::oid"), &[], &context, Reach::Catalog).unwrap();
    let answer = query.run(&[Datum::Text("pg_class".to_owned())], &context).unwrap();
    assert_eq!(answer.rows, [[Datum::Oid(1259)]]);
}
