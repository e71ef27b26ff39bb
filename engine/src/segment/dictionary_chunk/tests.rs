//! Against what the library writes.

use std::sync::Arc;

use arrow::array::{DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use proptest::prelude::*;

use super::*;

const PAGE_ROWS: usize = 50;

fn form(dictionary_bytes_max: usize) -> Form {
    let level = ZstdLevel::try_new(1).unwrap();
    Form { page_rows: PAGE_ROWS, dictionary_bytes_max, bound_bytes_max: 64, level }
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .build()
}

fn schema(array: &ArrayRef, is_nullable: bool) -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("v", array.data_type().clone(), is_nullable)]))
}

/// A file with one row group, whose column is encoded here.
fn file(array: &ArrayRef, is_nullable: bool) -> Bytes {
    let schema = schema(array, is_nullable);
    let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties())).unwrap();
    let (mut writer, _): (SerializedFileWriter<Vec<u8>>, _) = writer.into_serialized_writer().unwrap();
    let column = writer.schema_descr().column(0);
    let chunk = encode(&column, array, form(1 << 20)).unwrap().unwrap();
    let mut row_group = writer.next_row_group().unwrap();
    row_group.append_column(&chunk.bytes, chunk.close).unwrap();
    row_group.close().unwrap();
    writer.finish().unwrap();
    Bytes::from(std::mem::take(writer.inner_mut()))
}

fn library_file(array: &ArrayRef, is_nullable: bool) -> Bytes {
    let schema = schema(array, is_nullable);
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties())).unwrap();
    writer.write(&RecordBatch::try_new(schema, vec![Arc::clone(array)]).unwrap()).unwrap();
    Bytes::from(writer.into_inner().unwrap())
}

fn metadata(file: &Bytes) -> Arc<ParquetMetaData> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    Arc::clone(ArrowReaderMetadata::load(file, options).unwrap().metadata())
}

fn texts(file: &Bytes) -> Vec<Option<String>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap();
    let batches = reader.map(|batch| cast(batch.unwrap().column(0), &DataType::Utf8).unwrap());
    let text = |array: ArrayRef| -> Vec<Option<String>> {
        array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    };
    batches.flat_map(text).collect()
}

/// All bounds of pages, with the order that they are said to have.
fn page_bounds(metadata: &ParquetMetaData) -> String {
    let index = &metadata.column_index().unwrap()[0][0];
    macro_rules! of {
        ($index:expr) => {{
            let pages = 0..usize::try_from($index.num_pages()).unwrap();
            let page = |at| {
                format!("{:?} {:?} {:?};", $index.min_value(at), $index.max_value(at), $index.null_count(at))
            };
            pages.map(page).collect::<String>()
        }};
    }
    let pages = match index {
        ColumnIndexMetaData::BYTE_ARRAY(index) => of!(index),
        ColumnIndexMetaData::DOUBLE(index) => of!(index),
        ColumnIndexMetaData::INT64(index) => of!(index),
        ColumnIndexMetaData::INT32(index) => of!(index),
        other => panic!("{other:?}"),
    };
    format!("{pages} {:?}", index.get_boundary_order())
}

fn page_places(metadata: &ParquetMetaData) -> (Vec<i64>, Option<Vec<i64>>) {
    let index = &metadata.offset_index().unwrap()[0][0];
    let rows = index.page_locations().iter().map(|page| page.first_row_index);
    (rows.collect(), index.unencoded_byte_array_data_bytes().cloned())
}

/// Rows as (length of a run, what is in it).
fn runs() -> impl Strategy<Value = Vec<(usize, Option<u16>)>> {
    let length = prop_oneof![4 => 1..4_usize, 2 => 5..30_usize, 1 => 60..300_usize];
    let value =
        prop_oneof![1 => Just(None), 6 => (0..6_u16).prop_map(Some), 3 => (0..700_u16).prop_map(Some)];
    proptest::collection::vec((length, value), 1..80)
}

type Runs = [(usize, Option<u16>)];

fn rows(runs: &Runs) -> impl Iterator<Item = Option<i32>> {
    runs.iter().flat_map(|(length, value)| std::iter::repeat_n(value.map(i32::from), *length))
}

fn symbols(runs: &Runs) -> ArrayRef {
    // In no order, and some without a row.
    let texts: StringArray =
        (0..700).map(|number| Some(format!("{}-{number}", number * 7919 % 701))).collect();
    Arc::new(DictionaryArray::new(rows(runs).collect::<Int32Array>(), Arc::new(texts)))
}

/// Both zeros, infinities, and numbers of both signs.
fn floats(runs: &Runs) -> ArrayRef {
    let value = |number: i32| match number {
        0 => 0.0,
        1 => -0.0,
        2 => f64::NEG_INFINITY,
        699 => f64::INFINITY,
        other => f64::from(other * 7919 % 701 - 350) / 8.0,
    };
    Arc::new(rows(runs).map(|number| number.map(value)).collect::<Float64Array>())
}

fn longs(runs: &Runs) -> ArrayRef {
    let value = |number: i32| match number {
        0 => i64::MIN,
        1 => i64::MAX,
        other => i64::from(other * 7919 % 701 - 350) << 33,
    };
    Arc::new(rows(runs).map(|number| number.map(value)).collect::<Int64Array>())
}

fn ints(runs: &Runs) -> ArrayRef {
    let value = |number: i32| match number {
        0 => i32::MIN,
        1 => i32::MAX,
        other => other * 7919 % 701 - 350,
    };
    Arc::new(rows(runs).map(|number| number.map(value)).collect::<Int32Array>())
}

proptest! {
    #[test]
    fn what_is_written_is_what_the_library_would_write(
        runs in runs(),
        is_nullable in any::<bool>(),
        make in prop_oneof![
            Just(symbols as fn(&Runs) -> ArrayRef), Just(floats as _), Just(longs as _), Just(ints as _)
        ],
    ) {
        let filled = |(length, value): (usize, Option<u16>)| (length, value.or(Some(3)));
        let runs: Vec<_> = if is_nullable { runs } else { runs.into_iter().map(filled).collect() };
        prop_assume!(runs.iter().any(|(_, value)| value.is_some()));
        let array = make(&runs);
        let (ours, library) = (file(&array, is_nullable), library_file(&array, is_nullable));
        prop_assert_eq!(texts(&ours), texts(&library));
        let (ours, library) = (metadata(&ours), metadata(&library));
        let (a, b) = (ours.row_group(0).column(0), library.row_group(0).column(0));
        prop_assert_eq!(format!("{:?}", a.statistics()), format!("{:?}", b.statistics()));
        prop_assert_eq!(a.num_values(), b.num_values());
        prop_assert_eq!(a.unencoded_byte_array_data_bytes(), b.unencoded_byte_array_data_bytes());
        prop_assert_eq!(a.encodings_mask(), b.encodings_mask());
        prop_assert_eq!(a.page_encoding_stats(), b.page_encoding_stats());
        prop_assert_eq!(page_bounds(&ours), page_bounds(&library));
        prop_assert_eq!(page_places(&ours), page_places(&library));
    }
}

#[test]
fn what_needs_more_is_left_to_the_library() {
    let is_encoded = |array: ArrayRef, form: Form| {
        let writer = ArrowWriter::try_new(Vec::new(), schema(&array, true), None).unwrap();
        let (writer, _) = writer.into_serialized_writer().unwrap();
        let column = writer.schema_descr().column(0);
        encode(&column, &array, form).unwrap().is_some()
    };
    let symbols = |texts: Vec<&str>, keys: Vec<Option<i32>>, form: Form| {
        let array = DictionaryArray::new(Int32Array::from(keys), Arc::new(StringArray::from(texts)));
        is_encoded(Arc::new(array), form)
    };
    let long = "x".repeat(65);
    assert!(symbols(vec!["a", &long], vec![Some(0), None], form(1 << 20)));
    assert!(!symbols(vec!["a", &long], vec![Some(1)], form(1 << 20)));
    assert!(!symbols(vec!["a"], vec![None, None], form(1 << 20)));
    assert!(!symbols(vec!["a", "b"], vec![Some(0), Some(1)], form(9)));
    assert!(symbols(vec!["a", "b"], vec![Some(0), Some(1)], form(10)));
    let numbers = |count: i64| -> ArrayRef { Arc::new((0..count).collect::<Int64Array>()) };
    assert!(is_encoded(numbers(8), form(64)));
    assert!(!is_encoded(numbers(9), form(64)));
    assert!(!is_encoded(numbers(0), form(64)));
}
