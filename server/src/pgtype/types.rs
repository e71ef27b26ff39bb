//! Which types there are, and which PostgreSQL type a column or an Arrow field has.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field};
use postgres_types::Kind;
use tidemark_catalog::types::ColumnType;

use super::PgType;

/// The metadata key by which an Arrow field says which PostgreSQL type it has, where its Arrow type
/// does not say it: `jsonb`, `json`, `name`, `varchar`, ….
pub const TYPE_METADATA_KEY: &str = "tidemark.type";

/// What is added to a `numeric` or `varchar` type modifier, so that 0 is no modifier.
pub const TYPMOD_HEADER: i32 = 4;

/// The type modifier of a type without one.
pub const NO_TYPMOD: i32 = -1;

/// Oids of built-in types are below this.
const BUILT_IN_OID_MAX: u32 = 10_000;

/// How values of a type are read and written; types that lie alike are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `bool`
    Bool,
    /// `"char"`, one byte
    Char,
    /// `int2`
    Int2,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `float4`
    Float4,
    /// `float8`
    Float8,
    /// `numeric`
    Numeric,
    /// `oid`, `xid`, `cid`: unsigned numbers of 32 bits
    Oid,
    /// `regclass`, `regtype` and the like: an oid that is written as a name
    Reg,
    /// `text`, `varchar`, and every type that is only text to us
    Text,
    /// `varchar`
    Varchar,
    /// `bpchar`, padded with blanks
    Bpchar,
    /// `name`, at most 63 bytes
    Name,
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timetz`
    Timetz,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    Timestamptz,
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// arrays
    Array,
    /// `int2vector` and `oidvector`: arrays that are written without braces and count from 0
    Vector,
    /// `record`
    Record,
    /// `void`
    Void,
}

impl Family {
    /// Whether its values are texts.
    pub fn is_text(self) -> bool {
        matches!(self, Family::Text | Family::Varchar | Family::Bpchar | Family::Name)
    }
}

/// The place of a type in the order in which numbers become each other without being asked.
pub fn numeric_rank(pg_type: &PgType) -> Option<u8> {
    Some(match family(pg_type) {
        Family::Int2 => 0,
        Family::Int4 => 1,
        Family::Int8 => 2,
        Family::Numeric => 3,
        Family::Float4 => 4,
        Family::Float8 => 5,
        _ => return None,
    })
}

/// The family of a type.
pub fn family(pg_type: &PgType) -> Family {
    match *pg_type {
        PgType::BOOL => Family::Bool,
        PgType::CHAR => Family::Char,
        PgType::INT2 => Family::Int2,
        PgType::INT4 => Family::Int4,
        PgType::INT8 => Family::Int8,
        PgType::FLOAT4 => Family::Float4,
        PgType::FLOAT8 => Family::Float8,
        PgType::NUMERIC => Family::Numeric,
        PgType::OID | PgType::XID | PgType::CID => Family::Oid,
        PgType::REGPROC
        | PgType::REGPROCEDURE
        | PgType::REGOPER
        | PgType::REGOPERATOR
        | PgType::REGCLASS
        | PgType::REGTYPE
        | PgType::REGCONFIG
        | PgType::REGDICTIONARY
        | PgType::REGNAMESPACE
        | PgType::REGROLE
        | PgType::REGCOLLATION => Family::Reg,
        PgType::VARCHAR => Family::Varchar,
        PgType::BPCHAR => Family::Bpchar,
        PgType::NAME => Family::Name,
        PgType::BYTEA => Family::Bytea,
        PgType::DATE => Family::Date,
        PgType::TIME => Family::Time,
        PgType::TIMETZ => Family::Timetz,
        PgType::TIMESTAMP => Family::Timestamp,
        PgType::TIMESTAMPTZ => Family::Timestamptz,
        PgType::INTERVAL => Family::Interval,
        PgType::UUID => Family::Uuid,
        PgType::JSON => Family::Json,
        PgType::JSONB => Family::Jsonb,
        PgType::INT2_VECTOR | PgType::OID_VECTOR => Family::Vector,
        PgType::RECORD => Family::Record,
        PgType::VOID => Family::Void,
        _ => match pg_type.kind() {
            Kind::Array(_) => Family::Array,
            _ => Family::Text,
        },
    }
}

/// `typlen`: bytes of a value, -1 where they vary, -2 for C strings.
pub fn type_size(pg_type: &PgType) -> i16 {
    match *pg_type {
        PgType::UNKNOWN | PgType::CSTRING => return -2,
        PgType::XID8
        | PgType::MONEY
        | PgType::MACADDR8
        | PgType::PG_LSN
        | PgType::PG_DDL_COMMAND
        | PgType::INTERNAL => return 8,
        PgType::TID | PgType::MACADDR => return 6,
        PgType::POINT => return 16,
        PgType::LINE | PgType::CIRCLE => return 24,
        PgType::LSEG | PgType::BOX => return 32,
        PgType::ANY
        | PgType::ANYELEMENT
        | PgType::ANYNONARRAY
        | PgType::ANYENUM
        | PgType::ANYCOMPATIBLE
        | PgType::ANYCOMPATIBLENONARRAY
        | PgType::TRIGGER
        | PgType::EVENT_TRIGGER
        | PgType::LANGUAGE_HANDLER
        | PgType::FDW_HANDLER
        | PgType::INDEX_AM_HANDLER
        | PgType::TABLE_AM_HANDLER
        | PgType::TSM_HANDLER => return 4,
        _ => {}
    }
    match family(pg_type) {
        Family::Bool | Family::Char => 1,
        Family::Int2 => 2,
        Family::Int4 | Family::Float4 | Family::Oid | Family::Reg | Family::Date | Family::Void => 4,
        Family::Int8 | Family::Float8 | Family::Time | Family::Timestamp | Family::Timestamptz => 8,
        Family::Timetz => 12,
        Family::Interval | Family::Uuid => 16,
        Family::Name => 64,
        _ => -1,
    }
}

/// `typcategory`: the letter by which PostgreSQL groups types for implicit casts.
pub fn type_category(pg_type: &PgType) -> char {
    match *pg_type {
        PgType::UNKNOWN => return 'X',
        PgType::MONEY => return 'N',
        PgType::XID | PgType::CID => return 'U',
        PgType::INET | PgType::CIDR => return 'I',
        PgType::BIT | PgType::VARBIT => return 'V',
        PgType::POINT
        | PgType::LSEG
        | PgType::PATH
        | PgType::BOX
        | PgType::POLYGON
        | PgType::LINE
        | PgType::CIRCLE => {
            return 'G';
        }
        PgType::PG_NODE_TREE
        | PgType::PG_NDISTINCT
        | PgType::PG_DEPENDENCIES
        | PgType::PG_MCV_LIST
        | PgType::PG_BRIN_BLOOM_SUMMARY
        | PgType::PG_BRIN_MINMAX_MULTI_SUMMARY => return 'Z',
        _ => {}
    }
    match family(pg_type) {
        Family::Bool => 'B',
        Family::Char => 'Z',
        Family::Int2
        | Family::Int4
        | Family::Int8
        | Family::Float4
        | Family::Float8
        | Family::Numeric
        | Family::Oid
        | Family::Reg => 'N',
        Family::Varchar | Family::Bpchar | Family::Name => 'S',
        Family::Date | Family::Time | Family::Timetz | Family::Timestamp | Family::Timestamptz => 'D',
        Family::Interval => 'T',
        Family::Bytea | Family::Uuid | Family::Json | Family::Jsonb => 'U',
        Family::Array | Family::Vector => 'A',
        Family::Record | Family::Void => 'P',
        Family::Text => match pg_type.kind() {
            Kind::Pseudo => 'P',
            Kind::Enum(_) => 'E',
            Kind::Composite(_) => 'C',
            Kind::Range(_) | Kind::Multirange(_) => 'R',
            _ if *pg_type == PgType::TEXT => 'S',
            _ => 'U',
        },
    }
}

/// Built-in types by name, and the array type of each built-in type.
struct BuiltIn {
    by_name: HashMap<String, PgType>,
    array_of: HashMap<u32, PgType>,
}

static BUILT_IN: LazyLock<BuiltIn> = LazyLock::new(|| {
    let mut built_in = BuiltIn { by_name: HashMap::new(), array_of: HashMap::new() };
    for pg_type in (1..BUILT_IN_OID_MAX).filter_map(PgType::from_oid) {
        if let (Kind::Array(element), Family::Array) = (pg_type.kind(), family(&pg_type)) {
            built_in.array_of.insert(element.oid(), pg_type.clone());
        }
        built_in.by_name.insert(pg_type.name().to_owned(), pg_type);
    }
    built_in
});

/// The built-in type of this name (`typname`, so `int4` and not `integer`).
pub fn type_by_name(name: &str) -> Option<PgType> {
    BUILT_IN.by_name.get(name).cloned()
}

/// The type of arrays of a type.
pub fn array_type_of(element: &PgType) -> Option<PgType> {
    if *element == PgType::RECORD {
        return Some(PgType::RECORD_ARRAY);
    }
    BUILT_IN.array_of.get(&element.oid()).cloned()
}

/// The type of the elements of an array type.
pub fn element_type_of(array: &PgType) -> Option<PgType> {
    match array.kind() {
        Kind::Array(element) => Some(element.clone()),
        _ if *array == PgType::RECORD_ARRAY => Some(PgType::RECORD),
        _ => None,
    }
}

/// The type that clients see for a column.
pub fn column_pg_type(column_type: &ColumnType) -> PgType {
    match column_type {
        ColumnType::Bool => PgType::BOOL,
        ColumnType::Int2 => PgType::INT2,
        ColumnType::Int4 => PgType::INT4,
        ColumnType::Int8 => PgType::INT8,
        ColumnType::Float4 => PgType::FLOAT4,
        ColumnType::Float8 => PgType::FLOAT8,
        ColumnType::Numeric(_) => PgType::NUMERIC,
        ColumnType::Text | ColumnType::Symbol => PgType::TEXT,
        ColumnType::Varchar(_) => PgType::VARCHAR,
        ColumnType::Bytea => PgType::BYTEA,
        ColumnType::Date => PgType::DATE,
        ColumnType::Timestamp(_) => PgType::TIMESTAMP,
        ColumnType::Timestamptz(_) => PgType::TIMESTAMPTZ,
        ColumnType::Interval => PgType::INTERVAL,
        ColumnType::Uuid => PgType::UUID,
        ColumnType::Json => PgType::JSON,
        ColumnType::Jsonb => PgType::JSONB,
        ColumnType::Array(element) => array_of(column_pg_type(element)),
    }
}

/// `atttypmod` of a column: what its type has in parentheses, as PostgreSQL packs it.
pub fn column_typmod(column_type: &ColumnType) -> i32 {
    match column_type {
        ColumnType::Varchar(Some(limit)) => {
            i32::try_from(*limit).map_or(NO_TYPMOD, |limit| limit.saturating_add(TYPMOD_HEADER))
        }
        ColumnType::Numeric(Some(modifier)) => {
            ((i32::from(modifier.precision) << 16) | i32::from(modifier.scale)) + TYPMOD_HEADER
        }
        ColumnType::Array(element) => column_typmod(element),
        _ => NO_TYPMOD,
    }
}

/// The type that clients see for a result column.
pub fn arrow_pg_type(field: &Field) -> PgType {
    if let Some(named) = field.metadata().get(TYPE_METADATA_KEY).and_then(|name| type_by_name(name)) {
        return named;
    }
    match field.data_type() {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => array_of(arrow_pg_type(element)),
        data_type => data_pg_type(data_type),
    }
}

/// The type that clients see for values of an Arrow type.
pub fn data_pg_type(data_type: &DataType) -> PgType {
    match data_type {
        DataType::Boolean => PgType::BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => PgType::INT2,
        DataType::UInt16 | DataType::Int32 => PgType::INT4,
        DataType::UInt32 | DataType::Int64 => PgType::INT8,
        DataType::UInt64 => PgType::NUMERIC,
        DataType::Float16 | DataType::Float32 => PgType::FLOAT4,
        DataType::Float64 => PgType::FLOAT8,
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => PgType::NUMERIC,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => PgType::TEXT,
        DataType::FixedSizeBinary(16) => PgType::UUID,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            PgType::BYTEA
        }
        DataType::Date32 | DataType::Date64 => PgType::DATE,
        DataType::Time32(_) | DataType::Time64(_) => PgType::TIME,
        DataType::Timestamp(_, None) => PgType::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => PgType::TIMESTAMPTZ,
        DataType::Duration(_) | DataType::Interval(_) => PgType::INTERVAL,
        DataType::Dictionary(_, value) => data_pg_type(value),
        DataType::RunEndEncoded(_, values) => arrow_pg_type(values),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => array_of(arrow_pg_type(element)),
        DataType::Struct(_) | DataType::Union(..) | DataType::Map(..) => PgType::RECORD,
    }
}

/// Arrays of arrays have the type of arrays: the dimensions are not part of a type.
fn array_of(element: PgType) -> PgType {
    match family(&element) {
        Family::Array => element,
        _ => array_type_of(&element).unwrap_or(PgType::TEXT_ARRAY),
    }
}

/// The name of a type in messages, as `format_type` writes it.
pub fn format_type(pg_type: &PgType) -> String {
    if let Family::Array = family(pg_type)
        && let Some(element) = element_type_of(pg_type)
    {
        return format!("{}[]", format_type(&element));
    }
    let name = match *pg_type {
        PgType::BOOL => "boolean",
        PgType::CHAR => "\"char\"",
        PgType::ANY => "\"any\"",
        PgType::INT2 => "smallint",
        PgType::INT4 => "integer",
        PgType::INT8 => "bigint",
        PgType::FLOAT4 => "real",
        PgType::FLOAT8 => "double precision",
        PgType::VARCHAR => "character varying",
        PgType::BPCHAR => "character",
        PgType::VARBIT => "bit varying",
        PgType::TIME => "time without time zone",
        PgType::TIMETZ => "time with time zone",
        PgType::TIMESTAMP => "timestamp without time zone",
        PgType::TIMESTAMPTZ => "timestamp with time zone",
        _ => pg_type.name(),
    };
    name.to_owned()
}
