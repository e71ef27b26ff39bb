//! Rows that are made from the catalog.

use std::sync::LazyLock;

use tidemark_catalog::ids::{BOOTSTRAP_ROLE, NAMESPACE_TIDEMARK};
use tidemark_catalog::schema::Nullability;
use tidemark_catalog::view::CollectionView;

use crate::pg_catalog::names::{NAMESPACE_CATALOG, NAMESPACE_INFORMATION, namespace_oid};
use crate::pg_catalog::plan::Row;
use crate::pg_catalog::relations::{Relation, all, fixed};
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::types::{Family, NO_TYPMOD, column_pg_type, column_typmod, family};

/// The oid of the database; PostgreSQL's of the first that initdb makes.
pub(crate) const DATABASE: u32 = 5;

/// `pg_default`
const TABLESPACE: u32 = 1663;

/// `heap`, which is what clients know for a table.
const ACCESS_METHOD: u32 = 2;

/// `UTF8`
pub(crate) const ENCODING_UTF8: i32 = 6;

/// The rows of a relation that is made here.
pub(super) fn rows(relation: &Relation, run: &Run<'_>) -> Option<Vec<Row>> {
    Some(match relation.name.as_str() {
        "pg_class" => classes(run),
        "pg_attribute" => attributes(run),
        "pg_namespace" => namespaces(run),
        "pg_database" => vec![database(run)],
        "pg_authid" => roles(run),
        _ => return None,
    })
}

pub(super) fn text(value: impl Into<String>) -> Datum {
    Datum::Text(value.into())
}

fn oid(oid: u32) -> Datum {
    Datum::Oid(oid)
}

fn letter(letter: u8) -> Datum {
    Datum::Char(letter)
}

fn yes(value: bool) -> Datum {
    Datum::Bool(value)
}

/// What of a row of `pg_class` differs between relations.
struct Class<'a> {
    oid: u32,
    name: &'a str,
    namespace: u32,
    row_type: u32,
    owner: u32,
    kind: u8,
    column_count: usize,
    rows: f32,
    pages: i32,
}

fn class(class: &Class<'_>) -> Row {
    let is_table = class.kind == b'r';
    Row::from(vec![
        oid(class.oid),
        text(class.name),
        oid(class.namespace),
        oid(class.row_type),
        oid(0),
        oid(class.owner),
        oid(if is_table { ACCESS_METHOD } else { 0 }),
        oid(if is_table { class.oid } else { 0 }),
        oid(0),
        Datum::Int4(class.pages),
        Datum::Float4(class.rows),
        Datum::Int4(0),
        oid(0),
        yes(false),
        yes(false),
        letter(b'p'),
        letter(class.kind),
        Datum::Int2(i16::try_from(class.column_count).unwrap_or(i16::MAX)),
        Datum::Int2(0),
        // A view is a relation with a rule.
        yes(!is_table),
        yes(false),
        yes(false),
        yes(false),
        yes(false),
        yes(true),
        letter(if class.namespace == NAMESPACE_CATALOG { b'n' } else { b'd' }),
        yes(false),
        oid(0),
        oid(0),
        oid(0),
        Datum::Null,
        Datum::Null,
        Datum::Null,
    ])
}

static OUR_CLASSES: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let row = |relation: &Relation| {
        class(&Class {
            oid: relation.oid,
            name: &relation.name,
            namespace: match relation.namespace.as_str() {
                "pg_catalog" => NAMESPACE_CATALOG,
                "tidemark" => NAMESPACE_TIDEMARK.0,
                _ => NAMESPACE_INFORMATION,
            },
            row_type: 0,
            owner: BOOTSTRAP_ROLE.0,
            kind: relation.kind,
            column_count: relation.columns.len(),
            rows: -1.0,
            pages: 0,
        })
    };
    all().iter().map(row).collect()
});

fn classes(run: &Run<'_>) -> Vec<Row> {
    let mut rows = OUR_CLASSES.clone();
    for CollectionView { collection, segments, .. } in run.context.view.collections() {
        const PAGE_BYTES: u64 = 8192;
        let row_count: u64 = segments.values().map(|segment| segment.row_count).sum();
        let bytes: u64 = segments.values().map(|segment| segment.file_bytes).sum();
        rows.push(class(&Class {
            oid: collection.id.0,
            name: &collection.name,
            namespace: collection.namespace.0,
            row_type: 0,
            owner: collection.owner.0,
            kind: b'r',
            column_count: collection.schema.columns().len(),
            // As PostgreSQL says it of a table that was never analysed.
            rows: if segments.is_empty() { -1.0 } else { row_count as f32 },
            pages: i32::try_from(bytes.div_ceil(PAGE_BYTES)).unwrap_or(i32::MAX),
        }));
    }
    rows
}

/// What of a row of `pg_attribute` differs between columns.
struct Attribute<'a> {
    relation: u32,
    name: &'a str,
    pg_type: PgType,
    typmod: i32,
    number: i16,
    required: bool,
}

/// `typlen`, `typbyval`, `typalign`, `typstorage` and `typcollation` of a type.
fn layout(pg_type: &PgType) -> [Datum; 5] {
    const OID: usize = 0;
    const COLUMNS: [usize; 5] = [4, 5, 22, 23, 28];
    // The file is in the order of the oids.
    let types = fixed("pg_type");
    let found = types.binary_search_by_key(&pg_type.oid(), |row| match row[OID] {
        Datum::Oid(oid) => oid,
        _ => 0,
    });
    match found {
        Ok(at) => COLUMNS.map(|column| types[at][column].clone()),
        Err(_) => [Datum::Int2(-1), yes(false), letter(b'i'), letter(b'x'), oid(0)],
    }
}

fn attribute(attribute: &Attribute<'_>) -> Row {
    let [length, by_value, align, storage, collation] = layout(&attribute.pg_type);
    let dimensions = i32::from(family(&attribute.pg_type) == Family::Array);
    Row::from(vec![
        oid(attribute.relation),
        text(attribute.name),
        oid(attribute.pg_type.oid()),
        Datum::Int4(-1),
        length,
        Datum::Int2(attribute.number),
        Datum::Int4(dimensions),
        Datum::Int4(-1),
        Datum::Int4(attribute.typmod),
        by_value,
        align,
        storage,
        letter(0),
        yes(attribute.required),
        yes(false),
        yes(false),
        letter(0),
        letter(0),
        yes(false),
        yes(true),
        Datum::Int4(0),
        collation,
        Datum::Null,
        Datum::Null,
        Datum::Null,
        Datum::Null,
    ])
}

static OUR_ATTRIBUTES: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let mut rows = Vec::new();
    for relation in all() {
        for (column, required) in relation.columns.iter().zip(&relation.required) {
            rows.push(attribute(&Attribute {
                relation: relation.oid,
                name: &column.name,
                pg_type: column.pg_type.clone(),
                typmod: NO_TYPMOD,
                number: column.number,
                required: *required,
            }));
        }
    }
    rows
});

fn attributes(run: &Run<'_>) -> Vec<Row> {
    let mut rows = OUR_ATTRIBUTES.clone();
    for view in run.context.view.collections() {
        for column in view.collection.schema.columns() {
            rows.push(attribute(&Attribute {
                relation: view.collection.id.0,
                name: &column.name,
                pg_type: column_pg_type(&column.column_type),
                typmod: column_typmod(&column.column_type),
                number: i16::try_from(column.id.0).unwrap_or(i16::MAX),
                required: column.nullability == Nullability::Required,
            }));
        }
    }
    rows
}

fn namespaces(run: &Run<'_>) -> Vec<Row> {
    let row = |id: u32, name: &str, owner: u32| Row::from(vec![oid(id), text(name), oid(owner), Datum::Null]);
    let ours = ["pg_catalog", "information_schema"];
    let ours = ours.iter().filter_map(|name| {
        let id = namespace_oid(run.context, name)?;
        Some(row(id, name, BOOTSTRAP_ROLE.0))
    });
    let theirs = run.context.view.namespaces();
    ours.chain(theirs.map(|it| row(it.id.0, &it.name, it.owner.0))).collect()
}

fn database(run: &Run<'_>) -> Row {
    Row::from(vec![
        oid(DATABASE),
        text(run.context.database.as_str()),
        oid(BOOTSTRAP_ROLE.0),
        Datum::Int4(ENCODING_UTF8),
        letter(b'c'),
        yes(false),
        yes(true),
        Datum::Int4(-1),
        oid(0),
        oid(0),
        oid(TABLESPACE),
        text("C"),
        text("C.UTF-8"),
        Datum::Null,
        Datum::Null,
        Datum::Null,
    ])
}

fn roles(run: &Run<'_>) -> Vec<Row> {
    let row = |role: &tidemark_catalog::role::Role| {
        Row::from(vec![
            oid(role.id.0),
            text(role.name.as_str()),
            yes(role.superuser),
            yes(true),
            yes(role.superuser),
            yes(role.superuser),
            yes(role.login),
            yes(false),
            yes(role.superuser),
            Datum::Int4(-1),
            // Verifiers are not shown to anyone.
            Datum::Null,
            Datum::Null,
        ])
    };
    run.context.view.roles().map(row).collect()
}
