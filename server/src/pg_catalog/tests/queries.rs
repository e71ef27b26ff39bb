//! Queries over catalogs.

use super::*;

#[test]
fn joins_groups_and_subqueries() {
    check(&[
        ("select relname from pg_class where oid = 1259", "pg_class"),
        ("select n.nspname from pg_namespace n order by 1", "information_schema\npg_catalog\npublic\ntidemark"),
        (
            "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
             where c.relname = 'pg_namespace' and a.attnum > 0 order by a.attnum desc limit 2",
            "pg_namespace|nspacl\npg_namespace|nspowner",
        ),
        (
            "select x, (select t.typname from pg_type t where t.oid = v.x) from (values (23), (25), (1)) v (x)
             order by x desc",
            "25|text\n23|int4\n1|",
        ),
        ("select count(*), min(x), max(x), sum(x) from (values (1), (2), (null)) v (x)", "3|1|2|3"),
        (
            "select x % 2, array_agg(x order by x desc), string_agg(x::text, ',') filter (where x > 1)
             from generate_series(1, 4) x group by 1 order by 1",
            "0|{4,2}|2,4\n1|{3,1}|3",
        ),
        ("select 1 where exists (select 1 from pg_type where typname = 'int4')", "1"),
        (
            "select a.x, b.y from (values (1), (2)) a (x) left join (values (2, 'b')) b (x, y) on a.x = b.x",
            "1|\n2|b",
        ),
        (
            "select x, a.y, b.z from (values (1, 'a'), (2, 'b')) a (x, y) full join (values (2, 'c'), (3, 'd'))
             b (x, z) using (x) order by 1",
            "1|a|\n2|b|c\n3||d",
        ),
        ("select * from (values (1)) a (x), lateral (select a.x + 1) b (y)", "1|2"),
        ("with recursive t (n) as (select 1 union all select n + 1 from t where n < 3) select * from t", "1\n2\n3"),
        ("select * from tidemark.producers", "p|18446744073709551615|7|1970-01-01 00:00:00+00"),
        ("select 1 union select 1 union all select 2", "1\n2"),
        ("select 1 union select null order by 1 nulls first", "\n1"),
        ("values (1, 'a'), (2, 'b') order by 1 desc", "2|b\n1|a"),
        ("select 3 intersect select 3", "3"),
        ("select distinct on (x % 2) x from generate_series(1, 4) x order by x % 2, x desc", "4\n3"),
        (
            "select x, row_number() over (partition by x % 2 order by x desc) from generate_series(1, 4) x order by 1",
            "1|2\n2|2\n3|1\n4|1",
        ),
    ]);
}

#[test]
fn errors_have_the_states_of_postgresql() {
    check(&[
        ("select nope from pg_class", "42703: column \"nope\" does not exist"),
        ("select c.nope from pg_class c", "42703: column c.nope does not exist"),
        ("select x.a from pg_class c", "42P01: missing FROM-clause entry for table \"x\""),
        ("select nope(1) from pg_class", "42883: function nope(integer) does not exist"),
        ("select relname + 1 from pg_class", "42883: operator does not exist: name + integer"),
        ("select * from pg_class, nope", "42P01: relation \"nope\" does not exist"),
        (
            "select oid, count(*) from pg_class c group by relname",
            "42803: column \"c.oid\" must appear in the GROUP BY clause or be used in an aggregate function",
        ),
        ("select oid from pg_class, pg_type", "42702: column reference \"oid\" is ambiguous"),
    ]);
}

#[test]
fn every_relation_can_be_read() {
    for relation in relations::all() {
        let text = format!("select * from {}.{}", relation.namespace, relation.name);
        let context = context();
        let query = CatalogQuery::analyze(&parse(&text), &[], &context, Reach::Catalog);
        let query = query.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(query.fields().len(), relation.columns.len(), "{text}");
        let rows = query.run(&[], &context).unwrap_or_else(|error| panic!("{text}: {error:?}")).rows;
        assert!(rows.iter().all(|row| row.len() == relation.columns.len()), "{text}");
    }
}

#[test]
fn collections_are_shown_as_tables() {
    check(&[
        (
            "select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull from pg_attribute a
             where a.attrelid = 'm'::regclass and a.attnum > 0 order by a.attnum",
            "ts|timestamp with time zone|t\nhost|text|f\nn|numeric(10,2)|f",
        ),
        (
            "select table_schema, table_name, table_type from information_schema.tables where table_name = 'm'",
            "public|m|BASE TABLE",
        ),
        (
            "select column_name, is_nullable, data_type, numeric_precision, numeric_scale, datetime_precision
             from information_schema.columns where table_name = 'm' order by ordinal_position",
            "ts|NO|timestamp with time zone|||6\nhost|YES|text|||\nn|YES|numeric|10|2|",
        ),
        ("select 'public.m'::regclass, 'm'::regclass::oid, to_regclass('other.m')", "m|16384|"),
        ("select tableowner from pg_tables where tablename = 'm'", "tidemark"),
        ("select count(*) from m", "not ours"),
        ("select 1 from pg_class, m", "not ours"),
        (
            "select a.attname from pg_class c join pg_attribute a on c.oid = a.attrelid
             join (select 16384 as oid, 1 as attnum union all select 16384, 2 union all select 16384, 3) vals
             on c.oid = vals.oid and a.attnum = vals.attnum order by 1",
            "host\nn\nts",
        ),
    ]);
}
