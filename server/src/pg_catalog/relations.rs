//! The relations of `pg_catalog`, `information_schema` and `tidemark`: their columns, and where their rows
//! come from.
//!
//! Columns and the rows that are the same on every server lie in `data/`, as PostgreSQL's COPY writes
//! them, and are read once. A relation is one of:
//!
//! - made from the catalog, the session and the server ([`made`]),
//! - fixed, from a file,
//! - a view: a query over the others ([`views`]),
//! - empty, because we have nothing of the kind.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::pg_catalog::convert;
use crate::pg_catalog::plan::{Column, Row};
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::parse_text;
use crate::pgtype::timezone::TimeZone;
use crate::pgtype::types::{Family, NO_TYPMOD, family, format_type, type_by_name};

mod made;
mod stat;
mod tidemark;
pub(crate) mod views;

/// A relation of ours.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `r` or `v`
    pub(crate) kind: u8,
    pub(crate) columns: Vec<Column>,
    /// Which of the columns are never NULL.
    pub(crate) required: Vec<bool>,
}

impl Relation {
    /// Whether it is a query over others.
    pub(crate) fn view(&self) -> Option<&'static str> {
        views::definition(&self.namespace, &self.name)
    }
}

struct All {
    relations: Vec<Relation>,
    by_name: HashMap<(String, String), usize>,
    by_oid: HashMap<u32, usize>,
}

const RELATIONS: [&str; 2] = [include_str!("data/relations.txt"), include_str!("data/tidemark.txt")];

static ALL: LazyLock<All> = LazyLock::new(|| {
    let relations: Vec<Relation> =
        RELATIONS.iter().flat_map(|file| file.lines()).filter_map(parse_relation).collect();
    let by_name = relations.iter().enumerate();
    let by_name = by_name.map(|(at, it)| ((it.namespace.clone(), it.name.clone()), at)).collect();
    let by_oid = relations.iter().enumerate().map(|(at, it)| (it.oid, at)).collect();
    All { relations, by_name, by_oid }
});

fn parse_relation(line: &str) -> Option<Relation> {
    let mut fields = line.split('\t');
    let oid = fields.next()?.parse().ok()?;
    let namespace = fields.next()?.to_owned();
    let name = fields.next()?.to_owned();
    let kind = *fields.next()?.as_bytes().first()?;
    let mut relation = Relation { oid, namespace, name, kind, columns: Vec::new(), required: Vec::new() };
    for (at, column) in fields.nth(1)?.split(' ').enumerate() {
        let (name, type_name) = column.split_once(':')?;
        let required = type_name.ends_with('!');
        let pg_type = type_by_name(type_name.trim_end_matches('!')).unwrap_or(PgType::TEXT);
        let number = i16::try_from(at + 1).ok()?;
        relation.columns.push(Column { table: oid, number, ..Column::new(name, pg_type) });
        relation.required.push(required);
    }
    Some(relation)
}

/// All of them.
pub(crate) fn all() -> &'static [Relation] {
    &ALL.relations
}

/// The relation with this name.
pub(crate) fn by_name(namespace: &str, name: &str) -> Option<&'static Relation> {
    if !["pg_catalog", "information_schema", "tidemark"].contains(&namespace) {
        return None;
    }
    // Statements over collections come here too, and must not wait for the files to be read.
    if namespace == "pg_catalog" && !name.starts_with("pg_") {
        return None;
    }
    ALL.by_name.get(&(namespace.to_owned(), name.to_owned())).map(|at| &ALL.relations[*at])
}

/// The relation with this oid.
pub(crate) fn by_oid(oid: u32) -> Option<&'static Relation> {
    ALL.by_oid.get(&oid).map(|at| &ALL.relations[*at])
}

/// The rows of a relation that is no view.
pub(crate) fn rows(relation: &Relation, run: &Run<'_>) -> Vec<Row> {
    if relation.namespace == "tidemark" {
        return tidemark::rows(&relation.name, run);
    }
    if relation.namespace == "pg_catalog" {
        if let Some(fixed) = FIXED.get(relation.name.as_str()) {
            return fixed.to_vec();
        }
        if let Some(rows) = made::rows(relation, run).or_else(|| stat::rows(&relation.name, run)) {
            debug_assert!(rows.iter().all(|row| row.len() == relation.columns.len()), "{}", relation.name);
            return rows;
        }
    }
    Vec::new()
}

struct Names {
    by_oid: HashMap<u32, String>,
    by_name: HashMap<String, Vec<u32>>,
}

/// The functions by their names, which `regproc` needs before any table is read.
static PROCEDURES: LazyLock<Names> = LazyLock::new(|| {
    let mut names = Names { by_oid: HashMap::new(), by_name: HashMap::new() };
    for line in include_str!("data/pg_proc.txt").lines() {
        let mut fields = line.split('\t');
        if let (Some(Ok(oid)), Some(name)) = (fields.next().map(str::parse), fields.next()) {
            names.by_oid.insert(oid, name.to_owned());
            names.by_name.entry(name.to_owned()).or_default().push(oid);
        }
    }
    names
});

/// The name of a function.
pub(crate) fn procedure_name(oid: u32) -> Option<&'static str> {
    PROCEDURES.by_oid.get(&oid).map(String::as_str)
}

static DESCRIPTIONS: LazyLock<HashMap<(u32, u32), Arc<str>>> = LazyLock::new(|| {
    let mut descriptions = HashMap::new();
    for row in fixed("pg_description") {
        if let [Datum::Oid(oid), Datum::Oid(class), Datum::Int4(0), Datum::Text(text)] = row.as_ref() {
            descriptions.insert((*class, *oid), Arc::from(text.as_str()));
        }
    }
    descriptions
});

/// What is said of an object of ours; of several catalogs the first, where none is named.
pub(crate) fn description(oid: u32, class: Option<u32>) -> Option<Arc<str>> {
    match class {
        Some(class) => DESCRIPTIONS.get(&(class, oid)).cloned(),
        None => {
            let found = DESCRIPTIONS.iter().filter(|((_, object), _)| *object == oid);
            found.min_by_key(|(key, _)| key.0).map(|(_, text)| Arc::clone(text))
        }
    }
}

/// The functions of this name.
pub(crate) fn procedures_named(name: &str) -> Vec<u32> {
    PROCEDURES.by_name.get(name).cloned().unwrap_or_default()
}

fn procedure_arguments(oid: u32) -> Option<Vec<PgType>> {
    const OID: usize = 0;
    const ARGUMENTS: usize = 19;
    let row = fixed("pg_proc").iter().find(|row| row[OID] == Datum::Oid(oid))?;
    let Datum::Array(types) = &row[ARGUMENTS] else { return None };
    let pg_type = |value: &Datum| match value {
        Datum::Oid(oid) => PgType::from_oid(*oid),
        _ => None,
    };
    types.values.iter().map(pg_type).collect()
}

/// A function with the types of its arguments, as `regprocedure` writes it.
pub(crate) fn procedure_signature(oid: u32) -> Option<String> {
    let types: Vec<String> = procedure_arguments(oid)?.iter().map(format_type).collect();
    Some(format!("{}({})", procedure_name(oid)?, types.join(",")))
}

/// The function that is written so.
pub(crate) fn procedure_by_signature(text: &str) -> Option<u32> {
    let (name, arguments) = text.strip_suffix(')')?.split_once('(')?;
    let name = name.trim().strip_prefix("pg_catalog.").unwrap_or(name.trim());
    let parse = |text: &str| crate::pg_catalog::types::parse(text.trim()).ok().map(|(it, _)| it);
    let wanted: Vec<PgType> = if arguments.trim().is_empty() {
        Vec::new()
    } else {
        arguments.split(',').map(parse).collect::<Option<_>>()?
    };
    procedures_named(name).into_iter().find(|oid| procedure_arguments(*oid).as_ref() == Some(&wanted))
}

/// The name of a collation.
pub(crate) fn collation_name(oid: u32) -> Option<String> {
    let row = fixed("pg_collation").iter().find(|row| row[0] == Datum::Oid(oid))?;
    match &row[1] {
        Datum::Text(name) => Some(name.clone()),
        _ => None,
    }
}

/// The collation with this name.
pub(crate) fn collation_by_name(name: &str) -> Option<u32> {
    let row = fixed("pg_collation").iter().find(|row| row[1] == Datum::Text(name.to_owned()))?;
    match row[0] {
        Datum::Oid(oid) => Some(oid),
        _ => None,
    }
}

/// Words that are no identifiers without quotes: the word, its class, and the class in words.
pub(crate) static KEYWORDS: LazyLock<Vec<Vec<&'static str>>> = LazyLock::new(|| {
    include_str!("data/keywords.txt").lines().map(|line| line.split('\t').collect()).collect()
});

/// Whether a word must be quoted as an identifier.
pub(crate) fn is_reserved(word: &str) -> bool {
    let found = KEYWORDS.binary_search_by(|keyword| keyword[0].cmp(word));
    found.is_ok_and(|at| KEYWORDS[at].get(1) != Some(&"U"))
}

type FixedRows = LazyLock<Vec<Row>>;

/// The rows of a relation that is the same everywhere.
pub(crate) fn fixed(name: &str) -> &'static [Row] {
    FIXED.get(name).map_or(&[], |rows| rows.as_slice())
}

macro_rules! fixed {
    ($($name:literal)*) => {
        LazyLock::new(|| {
            let mut all: HashMap<&'static str, FixedRows> = HashMap::new();
            $(all.insert($name, LazyLock::new(|| {
                read($name, include_str!(concat!("data/", $name, ".txt")))
            }));)*
            all
        })
    };
}

static FIXED: LazyLock<HashMap<&'static str, FixedRows>> = fixed! {
    "pg_aggregate" "pg_am" "pg_amop" "pg_amproc" "pg_cast" "pg_collation" "pg_description" "pg_language"
    "pg_opclass" "pg_operator" "pg_opfamily" "pg_proc" "pg_tablespace" "pg_type"
};

/// Reads a file of rows: tabs between values, `\N` for NULL.
fn read(name: &str, text: &str) -> Vec<Row> {
    let Some(relation) = by_name("pg_catalog", name) else { return Vec::new() };
    let settings = FormatSettings::initial(TimeZone::utc(), 0);
    let row = |line: &str| -> Row {
        let values = line.split('\t').zip(&relation.columns);
        values.map(|(text, column)| value(text, &column.pg_type, &settings)).collect()
    };
    text.lines().map(row).collect()
}

fn value(text: &str, pg_type: &PgType, settings: &FormatSettings) -> Datum {
    if text == "\\N" {
        return Datum::Null;
    }
    if family(pg_type) == Family::Reg {
        return match text {
            "-" | "0" => convert::reg(0, "-"),
            // Functions of one name are told apart by their oids.
            oid if oid.bytes().all(|byte| byte.is_ascii_digit()) => {
                let oid = oid.parse().unwrap_or(0);
                Datum::Reg(oid, procedure_name(oid).map_or_else(|| Arc::from(text), Arc::from))
            }
            name => {
                let bare = name.strip_prefix("pg_catalog.").unwrap_or(name);
                let oid = procedures_named(bare).first().copied().unwrap_or(0);
                Datum::Reg(oid, Arc::from(bare))
            }
        };
    }
    let parsed = parse_text(text, pg_type, NO_TYPMOD, settings);
    parsed.expect("the files of rows are as PostgreSQL writes them")
}
