//! Those relations that are queries over others.

/// The query behind a view; `None` where rows are made otherwise or there are none.
pub(crate) fn definition(namespace: &str, name: &str) -> Option<&'static str> {
    let views = match namespace {
        "pg_catalog" => CATALOG,
        "tidemark" => return None,
        _ => INFORMATION_SCHEMA,
    };
    views.iter().find(|(view, _)| *view == name).map(|(_, query)| *query)
}

const CATALOG: &[(&str, &str)] = &[
    (
        "pg_roles",
        "select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
            rolconnlimit, '********'::text, rolvaliduntil, rolbypassrls, null::text[], oid
         from pg_catalog.pg_authid",
    ),
    (
        "pg_user",
        "select rolname, oid, rolcreatedb, rolsuper, rolreplication, rolbypassrls, '********'::text,
            rolvaliduntil, null::text[]
         from pg_catalog.pg_authid where rolcanlogin",
    ),
    (
        "pg_shadow",
        "select rolname, oid, rolcreatedb, rolsuper, rolreplication, rolbypassrls, null::text,
            rolvaliduntil, null::text[]
         from pg_catalog.pg_authid where rolcanlogin",
    ),
    (
        "pg_group",
        "select rolname, oid, array(select oid from pg_catalog.pg_authid where false)
         from pg_catalog.pg_authid where not rolcanlogin",
    ),
    (
        "pg_tables",
        "select n.nspname, c.relname, pg_get_userbyid(c.relowner), null::name, c.relhasindex, c.relhasrules,
            c.relhastriggers, c.relrowsecurity
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p')",
    ),
    (
        "pg_views",
        "select n.nspname, c.relname, pg_get_userbyid(c.relowner), ''::text
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'v'",
    ),
    (
        "pg_stat_all_tables",
        "select c.oid, n.nspname, c.relname, 0::int8, 0::int8, null::int8, null::int8, 0::int8, 0::int8,
            0::int8, 0::int8, greatest(c.reltuples, 0)::int8, 0::int8, 0::int8, 0::int8, null::timestamptz,
            null::timestamptz, null::timestamptz, null::timestamptz, 0::int8, 0::int8, 0::int8, 0::int8
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 't', 'm', 'p')",
    ),
    (
        "pg_stat_user_tables",
        "select * from pg_catalog.pg_stat_all_tables
         where schemaname not in ('pg_catalog', 'information_schema')",
    ),
    (
        "pg_stat_sys_tables",
        "select * from pg_catalog.pg_stat_all_tables
         where schemaname in ('pg_catalog', 'information_schema')",
    ),
];

const INFORMATION_SCHEMA: &[(&str, &str)] = &[
    ("information_schema_catalog_name", "select current_database()"),
    (
        "schemata",
        "select current_database(), nspname, pg_get_userbyid(nspowner), null::name, null::name, null::name,
            null::varchar
         from pg_catalog.pg_namespace",
    ),
    (
        "tables",
        "select current_database(), n.nspname, c.relname,
            case when c.relkind in ('r', 'p') then 'BASE TABLE' when c.relkind = 'v' then 'VIEW' end,
            null::name, null::name, null::name, null::name, null::name,
            case when c.relkind in ('r', 'p') and c.oid >= 16384 then 'YES' else 'NO' end, 'NO', null::varchar
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'v', 'p')",
    ),
    (
        "views",
        "select current_database(), n.nspname, c.relname, null::varchar, 'NONE', 'NO', 'NO', 'NO', 'NO', 'NO'
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'v'",
    ),
    (
        "columns",
        "select current_database(), n.nspname, c.relname, a.attname, a.attnum::int4, null::varchar,
            case when a.attnotnull then 'NO' else 'YES' end,
            case when t.typelem <> 0 and t.typlen = -1 and t.typcategory = 'A' then 'ARRAY'
                 else format_type(a.atttypid, null) end,
            case when a.atttypid in (1042, 1043) and a.atttypmod >= 4 then a.atttypmod - 4 end,
            case when a.atttypid in (25, 1042, 1043) then
                 case when a.atttypid <> 25 and a.atttypmod >= 4 then (a.atttypmod - 4) * 4 else 1073741824 end end,
            case a.atttypid when 21 then 16 when 23 then 32 when 20 then 64 when 700 then 24 when 701 then 53
                 when 1700 then case when a.atttypmod >= 4 then ((a.atttypmod - 4) / 65536) & 65535 end end,
            case when a.atttypid in (20, 21, 23, 700, 701) then 2 when a.atttypid = 1700 then 10 end,
            case when a.atttypid in (20, 21, 23) then 0
                 when a.atttypid = 1700 and a.atttypmod >= 4 then (a.atttypmod - 4) & 2047 end,
            case when a.atttypid = 1082 then 0
                 when a.atttypid in (1083, 1114, 1184, 1266, 1186) then
                 case when a.atttypmod < 0 then 6 else a.atttypmod end end,
            null::varchar, null::int4, null::name, null::name, null::name, null::name, null::name, null::name,
            null::name, null::name, null::name, current_database(), 'pg_catalog', t.typname, null::name,
            null::name, null::name, null::int4, a.attnum::text, 'NO', 'NO', null::varchar, null::varchar,
            null::varchar, null::varchar, null::varchar, 'NO', 'NEVER', null::varchar,
            case when c.relkind in ('r', 'p') and c.oid >= 16384 then 'YES' else 'NO' end
         from pg_catalog.pg_attribute a
            join pg_catalog.pg_class c on c.oid = a.attrelid
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            join pg_catalog.pg_type t on t.oid = a.atttypid
         where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'v', 'f', 'p')",
    ),
    (
        "character_sets",
        "select null::name, null::name, 'UTF8', 'UCS', 'UTF8', current_database(), 'pg_catalog', 'default'",
    ),
    (
        "collations",
        "select current_database(), 'pg_catalog', collname, 'NO PAD' from pg_catalog.pg_collation",
    ),
    (
        "enabled_roles",
        "select rolname from pg_catalog.pg_authid where rolname = current_user",
    ),
    (
        "applicable_roles",
        "select rolname, rolname, 'NO' from pg_catalog.pg_authid where false",
    ),
    (
        "table_privileges",
        "select pg_get_userbyid(c.relowner), pg_get_userbyid(c.relowner), current_database(), n.nspname,
            c.relname, p.privilege, 'YES', case when p.privilege = 'SELECT' then 'YES' else 'NO' end
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
            (values ('SELECT'), ('INSERT')) as p (privilege)
         where c.relkind in ('r', 'v')",
    ),
];
