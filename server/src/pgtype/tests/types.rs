//! Types, their sizes and categories, and which type a column or field has.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit as ArrowUnit};
use tidemark_catalog::types::{ColumnType, NumericModifier, TimeUnit};

use crate::pgtype::PgType;
use crate::pgtype::types::{
    TYPE_METADATA_KEY, array_type_of, arrow_pg_type, column_pg_type, column_typmod, element_type_of,
    format_type, type_by_name, type_category, type_size,
};

/// What `pg_type` has, for types that are not arrays.
const PG_TYPE: &[(i16, char, &str)] = &[
    (-2, 'P', "cstring"),
    (-2, 'X', "unknown"),
    (-1, 'G', "path polygon"),
    (-1, 'I', "cidr inet"),
    (-1, 'N', "numeric"),
    (-1, 'P', "record anyarray anyrange"),
    (-1, 'R', "int4range numrange tsrange tstzrange daterange int8range int4multirange"),
    (-1, 'S', "text bpchar varchar"),
    (-1, 'U', "bytea json xml refcursor txid_snapshot tsvector tsquery jsonb jsonpath pg_snapshot"),
    (-1, 'V', "bit varbit"),
    (-1, 'Z', "pg_node_tree pg_ndistinct pg_dependencies pg_mcv_list"),
    (1, 'B', "bool"),
    (1, 'Z', "char"),
    (2, 'N', "int2"),
    (4, 'D', "date"),
    (4, 'N', "int4 regproc oid float4 regprocedure regoper regoperator regclass regtype regconfig"),
    (4, 'N', "regdictionary regnamespace regrole regcollation"),
    (4, 'P', "any void trigger language_handler anyelement anynonarray fdw_handler event_trigger"),
    (4, 'U', "xid cid"),
    (6, 'U', "tid macaddr"),
    (8, 'D', "time timestamp timestamptz"),
    (8, 'N', "int8 float8 money"),
    (8, 'P', "internal"),
    (8, 'U', "macaddr8 pg_lsn xid8"),
    (12, 'D', "timetz"),
    (16, 'G', "point"),
    (16, 'T', "interval"),
    (16, 'U', "uuid"),
    (24, 'G', "line circle"),
    (32, 'G', "lseg box"),
    (64, 'S', "name"),
    (-1, 'A', "_int4 _text _bool _jsonb int2vector oidvector _uuid _timestamptz"),
];

#[test]
fn sizes_and_categories_are_those_of_pg_type() {
    for (size, category, names) in PG_TYPE {
        for name in names.split(' ') {
            let pg_type = type_by_name(name).unwrap_or_else(|| panic!("there is no type {name}"));
            assert_eq!((type_size(&pg_type), type_category(&pg_type)), (*size, *category), "{name}");
        }
    }
}

#[test]
fn arrays_and_elements_know_each_other() {
    let pairs = [
        (PgType::INT4, PgType::INT4_ARRAY),
        (PgType::TEXT, PgType::TEXT_ARRAY),
        (PgType::INT2_VECTOR, PgType::INT2_VECTOR_ARRAY),
        (PgType::RECORD, PgType::RECORD_ARRAY),
        (PgType::REGCLASS, PgType::REGCLASS_ARRAY),
    ];
    for (element, array) in pairs {
        assert_eq!(array_type_of(&element), Some(array.clone()));
        assert_eq!(element_type_of(&array), Some(element));
    }
    assert_eq!(element_type_of(&PgType::OID_VECTOR), Some(PgType::OID));
    assert_eq!(array_type_of(&PgType::INT4_ARRAY), None);
    assert_eq!(format_type(&PgType::TIMESTAMPTZ_ARRAY), "timestamp with time zone[]");
}

#[test]
fn columns_have_types_and_modifiers() {
    let numeric = |precision, scale| ColumnType::Numeric(Some(NumericModifier { precision, scale }));
    let cases = [
        (ColumnType::Symbol, PgType::TEXT, -1),
        (ColumnType::Varchar(None), PgType::VARCHAR, -1),
        (ColumnType::Varchar(Some(10)), PgType::VARCHAR, 14),
        (numeric(10, 2), PgType::NUMERIC, 655_366),
        (ColumnType::Numeric(None), PgType::NUMERIC, -1),
        (ColumnType::Timestamptz(TimeUnit::Nanosecond), PgType::TIMESTAMPTZ, -1),
        (ColumnType::Array(Box::new(ColumnType::Varchar(Some(3)))), PgType::VARCHAR_ARRAY, 7),
        (ColumnType::Array(Box::new(ColumnType::Jsonb)), PgType::JSONB_ARRAY, -1),
    ];
    for (column_type, pg_type, typmod) in cases {
        assert_eq!(column_pg_type(&column_type), pg_type);
        assert_eq!(column_typmod(&column_type), typmod);
    }
}

#[test]
fn fields_of_any_arrow_type_have_a_type() {
    let list = |data_type| DataType::List(Arc::new(Field::new("item", data_type, true)));
    let cases = [
        (DataType::Int8, PgType::INT2),
        (DataType::UInt8, PgType::INT2),
        (DataType::UInt16, PgType::INT4),
        (DataType::UInt32, PgType::INT8),
        (DataType::UInt64, PgType::NUMERIC),
        (DataType::Float16, PgType::FLOAT4),
        (DataType::LargeUtf8, PgType::TEXT),
        (DataType::BinaryView, PgType::BYTEA),
        (DataType::FixedSizeBinary(16), PgType::UUID),
        (DataType::FixedSizeBinary(4), PgType::BYTEA),
        (DataType::Date64, PgType::DATE),
        (DataType::Time32(ArrowUnit::Second), PgType::TIME),
        (DataType::Timestamp(ArrowUnit::Nanosecond, None), PgType::TIMESTAMP),
        (DataType::Timestamp(ArrowUnit::Second, Some(Arc::from("UTC"))), PgType::TIMESTAMPTZ),
        (DataType::Duration(ArrowUnit::Second), PgType::INTERVAL),
        (DataType::Interval(IntervalUnit::DayTime), PgType::INTERVAL),
        (DataType::Decimal256(76, 20), PgType::NUMERIC),
        (DataType::Null, PgType::TEXT),
        (DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::Utf8)), PgType::TEXT),
        (list(DataType::Float64), PgType::FLOAT8_ARRAY),
        (list(list(DataType::Int32)), PgType::INT4_ARRAY),
        (DataType::Struct(vec![Field::new("a", DataType::Int32, true)].into()), PgType::RECORD),
    ];
    for (data_type, pg_type) in cases {
        assert_eq!(arrow_pg_type(&Field::new("f", data_type.clone(), true)), pg_type, "{data_type}");
    }
    let metadata = HashMap::from([(TYPE_METADATA_KEY.to_owned(), "jsonb".to_owned())]);
    let field = Field::new("f", DataType::Utf8View, true).with_metadata(metadata);
    assert_eq!(arrow_pg_type(&field), PgType::JSONB);
    let fields = DataType::List(Arc::new(field));
    assert_eq!(arrow_pg_type(&Field::new("f", fields, true)), PgType::JSONB_ARRAY);
}
