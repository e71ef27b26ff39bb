//! How rows lie in the log: the body of a `Write` or `BulkRows` record.
//!
//! ```text
//! body     batch count u16, batches
//! batch    collection u32, rows u32, columns u16, columns
//! column   column id u32, array
//! array    tag u8, nulls u8 (0 none, 1 a bitmap follows), [bitmap, bit set: a value], data by tag
//!   1 bits      a bitmap of the values
//!   2 fixed     width u8, rows × width bytes
//!   3 bytes     rows × length u32, the bytes (a NULL has length 0)
//!   4 symbols   n u32, n × length u32, the texts, width u8 (1, 2 or 4), rows × index into the texts
//!   5 list      rows × length u32, m u32 (their sum), an array of m values
//! ```
//!
//! A body says all that is needed to read it, but not the Arrow type of a column, which the schema
//! has: column ids are never used twice, and a column never changes its type but from symbol to text. So
//! symbols are read as either. A column that was dropped since is skipped.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Int32Array, ListArray,
    StringViewArray, StringViewBuilder, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Int32Type};
use tidemark_catalog::ids::{CollectionId, ColumnId};

use crate::batch::WriteBatch;
use crate::error::WalFormatError;
use crate::memtable::symbols::SymbolDictionary;

const TAG_BITS: u8 = 1;
const TAG_FIXED: u8 = 2;
const TAG_BYTES: u8 = 3;
const TAG_SYMBOLS: u8 = 4;
const TAG_LIST: u8 = 5;

/// A batch in the log, in the order and form it was written.
#[derive(Debug)]
pub(crate) struct LoggedBatch<'a> {
    pub(crate) collection: CollectionId,
    pub(crate) row_count: usize,
    columns: Vec<(ColumnId, RawArray<'a>)>,
}

/// A column of a logged batch.
#[derive(Debug)]
pub(crate) enum LoggedColumn {
    /// Values of the column's type.
    Values(ArrayRef),
    /// Symbols: texts, and per row the index of one.
    Symbols { texts: Vec<String>, indexes: Int32Array },
}

/// Starts a body of so many batches.
pub(crate) fn encode_batch_count(body: &mut Vec<u8>, count: usize) {
    let count = u16::try_from(count).expect("a write names fewer than 65,536 collections");
    body.extend_from_slice(&count.to_le_bytes());
}

/// Adds a batch to a body. `symbols` gives the dictionaries of its symbol columns.
pub(crate) fn encode_batch(
    body: &mut Vec<u8>,
    collection: CollectionId,
    batch: &WriteBatch,
    symbols: &dyn Fn(ColumnId) -> Option<Arc<SymbolDictionary>>,
) {
    body.extend_from_slice(&collection.0.to_le_bytes());
    put_u32(body, batch.row_count());
    let count = u16::try_from(batch.columns().len()).expect("a collection has at most 1600 columns");
    body.extend_from_slice(&count.to_le_bytes());
    for (id, array) in batch.columns() {
        body.extend_from_slice(&id.0.to_le_bytes());
        match symbols(*id) {
            Some(dictionary) => encode_symbols(body, array.as_primitive::<Int32Type>(), &dictionary),
            None => encode_array(body, array.as_ref()),
        }
    }
}

/// Adds an array of a memtable's form to a body; a symbol column's are texts here.
pub(crate) fn encode_array(body: &mut Vec<u8>, array: &dyn Array) {
    match array.data_type() {
        DataType::Boolean => {
            body.push(TAG_BITS);
            encode_nulls(body, array.nulls(), array.len());
            encode_bits(body, array.as_boolean().values());
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            encode_bytes(body, array, values.iter().map(|value| value.unwrap_or("").as_bytes()));
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            encode_bytes(body, array, values.iter().map(Option::unwrap_or_default));
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            body.push(TAG_LIST);
            encode_nulls(body, array.nulls(), array.len());
            let mut total = 0;
            for row in 0..list.len() {
                let len = if list.is_null(row) { 0 } else { list.value(row).len() };
                put_u32(body, len);
                total += len;
            }
            put_u32(body, total);
            let values: Vec<ArrayRef> =
                (0..list.len()).filter(|row| list.is_valid(*row)).map(|row| list.value(row)).collect();
            let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
            let child = if values.is_empty() {
                list.values().slice(0, 0)
            } else {
                arrow::compute::concat(&values).expect("values of one list have one type")
            };
            encode_array(body, child.as_ref());
        }
        data_type => {
            let width = fixed_width(data_type).expect("types.rs gives columns no other types");
            body.push(TAG_FIXED);
            encode_nulls(body, array.nulls(), array.len());
            body.push(u8::try_from(width).expect("the widest value has 32 bytes"));
            let data = array.to_data();
            let start = data.offset() * width;
            body.extend_from_slice(&data.buffers()[0].as_slice()[start..start + array.len() * width]);
        }
    }
}

fn encode_bytes<'a>(body: &mut Vec<u8>, array: &dyn Array, values: impl Iterator<Item = &'a [u8]> + Clone) {
    body.push(TAG_BYTES);
    encode_nulls(body, array.nulls(), array.len());
    for value in values.clone() {
        put_u32(body, value.len());
    }
    for value in values {
        body.extend_from_slice(value);
    }
}

/// Writes each text once, with rows pointing at them: replay does not know this process's numbers.
fn encode_symbols(body: &mut Vec<u8>, keys: &Int32Array, dictionary: &SymbolDictionary) {
    body.push(TAG_SYMBOLS);
    encode_nulls(body, keys.nulls(), keys.len());
    let mut used: Vec<i32> = Vec::new();
    let mut indexes: Vec<u32> = Vec::with_capacity(keys.len());
    let mut index_of = IndexOf::new(keys.len(), dictionary.len());
    for row in 0..keys.len() {
        // A NULL points at nothing; 0 is written for it.
        let index = if keys.is_null(row) { 0 } else { index_of.get_or_insert(keys.value(row), &mut used) };
        indexes.push(index);
    }
    put_u32(body, used.len());
    dictionary.each_text(&used, |text| put_u32(body, text.len()));
    dictionary.each_text(&used, |text| body.extend_from_slice(text.as_bytes()));
    let width = index_width(used.len());
    body.push(u8::try_from(width).expect("1, 2 or 4"));
    for index in indexes {
        body.extend_from_slice(&index.to_le_bytes()[..width]);
    }
}

fn index_width(count: usize) -> usize {
    match count {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// The index that a number has in a batch: an array where the batch is large compared with the
/// dictionary, a map where it is small.
enum IndexOf {
    Dense(Vec<u32>),
    Sparse(HashMap<i32, u32>),
}

impl IndexOf {
    const ABSENT: u32 = u32::MAX;

    fn new(row_count: usize, dictionary_len: usize) -> IndexOf {
        if dictionary_len <= row_count.saturating_mul(4) {
            IndexOf::Dense(vec![IndexOf::ABSENT; dictionary_len])
        } else {
            IndexOf::Sparse(HashMap::new())
        }
    }

    fn get_or_insert(&mut self, key: i32, used: &mut Vec<i32>) -> u32 {
        let fresh = u32::try_from(used.len()).expect("fewer distinct numbers than rows");
        let index = match self {
            IndexOf::Dense(indexes) => {
                let slot = &mut indexes[usize::try_from(key).expect("numbers start at 0")];
                if *slot == IndexOf::ABSENT {
                    *slot = fresh;
                }
                *slot
            }
            IndexOf::Sparse(indexes) => *indexes.entry(key).or_insert(fresh),
        };
        if index == fresh {
            used.push(key);
        }
        index
    }
}

fn encode_nulls(body: &mut Vec<u8>, nulls: Option<&NullBuffer>, len: usize) {
    match nulls.filter(|nulls| nulls.null_count() > 0) {
        None => body.push(0),
        Some(nulls) => {
            debug_assert_eq!(nulls.len(), len);
            body.push(1);
            encode_bits(body, nulls.inner());
        }
    }
}

fn encode_bits(body: &mut Vec<u8>, bits: &BooleanBuffer) {
    let sliced = bits.sliced();
    body.extend_from_slice(&sliced.as_slice()[..bits.len().div_ceil(8)]);
}

fn put_u32(body: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("a record holds less than 4 GiB");
    body.extend_from_slice(&number.to_le_bytes());
}

/// Bytes of a value, for types whose values all have the same number of them.
fn fixed_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        other => other.primitive_width(),
    }
}

/// An array as it lies in the body, checked for its lengths only.
#[derive(Debug)]
struct RawArray<'a> {
    len: usize,
    nulls: Option<&'a [u8]>,
    data: RawData<'a>,
}

#[derive(Debug)]
enum RawData<'a> {
    Bits(&'a [u8]),
    Fixed { width: usize, values: &'a [u8] },
    Bytes { lengths: &'a [u8], bytes: &'a [u8] },
    Symbols { lengths: &'a [u8], bytes: &'a [u8], width: usize, indexes: &'a [u8] },
    List { lengths: &'a [u8], values: Box<RawArray<'a>> },
}

/// The batches of a body.
pub(crate) fn decode_batches(body: &[u8]) -> Result<Vec<LoggedBatch<'_>>, WalFormatError> {
    let mut cursor = Cursor(body);
    let count = cursor.u16()?;
    let batches = (0..count).map(|_| cursor.batch()).collect::<Result<Vec<_>, _>>()?;
    if cursor.0.is_empty() { Ok(batches) } else { Err(WalFormatError::BadRecord) }
}

/// An array that takes the whole body.
pub(crate) fn decode_array(
    body: &[u8],
    len: usize,
    data_type: &DataType,
) -> Result<ArrayRef, WalFormatError> {
    let mut cursor = Cursor(body);
    let array = cursor.array(len, MAX_NESTING)?;
    if cursor.0.is_empty() { array.to_array(data_type) } else { Err(WalFormatError::BadRecord) }
}

impl<'a> LoggedBatch<'a> {
    /// The columns that `data_type` knows, as arrays of the type it gives; it gives the type in
    /// memtables, and the others are skipped.
    pub(crate) fn columns(
        &self,
        data_type: impl Fn(ColumnId) -> Option<DataType>,
    ) -> Result<Vec<(ColumnId, LoggedColumn)>, WalFormatError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (id, raw) in &self.columns {
            let Some(data_type) = data_type(*id) else { continue };
            let column = match &raw.data {
                RawData::Symbols { .. } if data_type == DataType::Int32 => raw.to_symbols()?,
                _ => LoggedColumn::Values(raw.to_array(&data_type)?),
            };
            columns.push((*id, column));
        }
        Ok(columns)
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], WalFormatError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(WalFormatError::BadRecord)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, WalFormatError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, WalFormatError> {
        Ok(u16::from_le_bytes(self.take(2)?.try_into().expect("two bytes")))
    }

    fn u32(&mut self) -> Result<u32, WalFormatError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn len(&mut self) -> Result<usize, WalFormatError> {
        usize::try_from(self.u32()?).map_err(|_| WalFormatError::BadRecord)
    }

    fn batch(&mut self) -> Result<LoggedBatch<'a>, WalFormatError> {
        let collection = CollectionId(self.u32()?);
        let row_count = self.len()?;
        let count = self.u16()?;
        let columns = (0..count)
            .map(|_| Ok((ColumnId(self.u32()?), self.array(row_count, MAX_NESTING)?)))
            .collect::<Result<Vec<_>, WalFormatError>>()?;
        Ok(LoggedBatch { collection, row_count, columns })
    }

    fn array(&mut self, len: usize, nesting: u8) -> Result<RawArray<'a>, WalFormatError> {
        let tag = self.u8()?;
        let nulls = match self.u8()? {
            0 => None,
            1 => Some(self.take(len.div_ceil(8))?),
            _ => return Err(WalFormatError::BadRecord),
        };
        let data = match tag {
            TAG_BITS => RawData::Bits(self.take(len.div_ceil(8))?),
            TAG_FIXED => {
                let width = usize::from(self.u8()?);
                RawData::Fixed { width, values: self.take(multiplied(len, width)?)? }
            }
            TAG_BYTES => {
                let (lengths, bytes) = self.texts(len)?;
                RawData::Bytes { lengths, bytes }
            }
            TAG_SYMBOLS => {
                let count = self.len()?;
                let (lengths, bytes) = self.texts(count)?;
                let width = usize::from(self.u8()?);
                if width != index_width(count) {
                    return Err(WalFormatError::BadRecord);
                }
                let indexes = self.take(multiplied(len, width)?)?;
                RawData::Symbols { lengths, bytes, width, indexes }
            }
            TAG_LIST => {
                let nesting = nesting.checked_sub(1).ok_or(WalFormatError::BadRecord)?;
                let lengths = self.take(multiplied(len, 4)?)?;
                let total = self.len()?;
                if sum(lengths) != total || i32::try_from(total).is_err() {
                    return Err(WalFormatError::BadRecord);
                }
                RawData::List { lengths, values: Box::new(self.array(total, nesting)?) }
            }
            _ => return Err(WalFormatError::BadRecord),
        };
        Ok(RawArray { len, nulls, data })
    }

    fn texts(&mut self, count: usize) -> Result<(&'a [u8], &'a [u8]), WalFormatError> {
        let lengths = self.take(multiplied(count, 4)?)?;
        let bytes = self.take(sum(lengths))?;
        Ok((lengths, bytes))
    }
}

/// How deep lists may lie in lists.
const MAX_NESTING: u8 = 8;

fn multiplied(len: usize, width: usize) -> Result<usize, WalFormatError> {
    len.checked_mul(width).ok_or(WalFormatError::BadRecord)
}

fn lengths_of(lengths: &[u8]) -> impl Iterator<Item = usize> + '_ {
    lengths.chunks_exact(4).map(|bytes| {
        let length = u32::from_le_bytes(bytes.try_into().expect("chunks of four"));
        usize::try_from(length).expect("usize has at least 32 bits")
    })
}

fn sum(lengths: &[u8]) -> usize {
    lengths_of(lengths).sum()
}

/// The texts or byte strings of these lengths, one after another.
fn slices<'a>(lengths: &'a [u8], bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + 'a {
    lengths_of(lengths).scan(bytes, |rest, len| {
        let (value, left) = rest.split_at(len);
        *rest = left;
        Some(value)
    })
}

fn text(bytes: &[u8]) -> Result<&str, WalFormatError> {
    std::str::from_utf8(bytes).map_err(|_| WalFormatError::BadRecord)
}

impl RawArray<'_> {
    fn nulls(&self) -> Option<NullBuffer> {
        self.nulls.map(|bits| NullBuffer::new(BooleanBuffer::new(Buffer::from(bits), 0, self.len)))
    }

    fn to_symbols(&self) -> Result<LoggedColumn, WalFormatError> {
        let RawData::Symbols { lengths, bytes, width, indexes } = &self.data else {
            return Err(WalFormatError::BadRecord);
        };
        let texts = slices(lengths, bytes).map(|bytes| text(bytes).map(str::to_owned));
        let texts = texts.collect::<Result<Vec<String>, _>>()?;
        let nulls = self.nulls();
        let mut values = Vec::with_capacity(self.len);
        for (row, bytes) in indexes.chunks_exact(*width).enumerate() {
            let mut wide = [0; 4];
            wide[..*width].copy_from_slice(bytes);
            let index = i32::try_from(u32::from_le_bytes(wide)).map_err(|_| WalFormatError::BadRecord)?;
            let points_at_text = usize::try_from(index).is_ok_and(|index| index < texts.len());
            if !points_at_text && nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                return Err(WalFormatError::BadRecord);
            }
            values.push(index);
        }
        Ok(LoggedColumn::Symbols { texts, indexes: Int32Array::new(values.into(), nulls) })
    }

    fn to_array(&self, data_type: &DataType) -> Result<ArrayRef, WalFormatError> {
        let nulls = self.nulls();
        let is_valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        match (&self.data, data_type) {
            (RawData::Bits(bits), DataType::Boolean) => {
                let values = BooleanBuffer::new(Buffer::from(*bits), 0, self.len);
                Ok(Arc::new(BooleanArray::new(values, nulls)))
            }
            (RawData::Fixed { width, values }, _) if fixed_width(data_type) == Some(*width) => {
                let data = ArrayData::builder(data_type.clone())
                    .len(self.len)
                    .nulls(nulls)
                    .add_buffer(Buffer::from(*values))
                    .align_buffers(true)
                    .build()
                    .map_err(|_| WalFormatError::BadRecord)?;
                Ok(make_array(data))
            }
            (RawData::Bytes { lengths, bytes }, DataType::Utf8View) => {
                let values = slices(lengths, bytes)
                    .enumerate()
                    .map(|(row, bytes)| if is_valid(row) { text(bytes).map(Some) } else { Ok(None) });
                Ok(Arc::new(values.collect::<Result<StringViewArray, _>>()?))
            }
            // The column was one of symbols when this was written.
            (RawData::Symbols { .. }, DataType::Utf8View) => {
                let LoggedColumn::Symbols { texts, indexes } = self.to_symbols()? else {
                    return Err(WalFormatError::BadRecord);
                };
                let mut values = StringViewBuilder::with_capacity(self.len).with_deduplicate_strings();
                for index in &indexes {
                    let at = index.map(|index| usize::try_from(index).expect("it was checked above"));
                    values.append_option(at.map(|at| &texts[at]));
                }
                Ok(Arc::new(values.finish()))
            }
            (RawData::Bytes { lengths, bytes }, DataType::BinaryView) => {
                let values = slices(lengths, bytes).enumerate();
                let values = values.map(|(row, bytes)| is_valid(row).then_some(bytes));
                Ok(Arc::new(values.collect::<BinaryViewArray>()))
            }
            (RawData::List { lengths, values }, DataType::List(field)) => {
                let offsets = OffsetBuffer::from_lengths(lengths_of(lengths));
                let values = values.to_array(field.data_type())?;
                let list = ListArray::try_new(Arc::clone(field), offsets, values, nulls);
                Ok(Arc::new(list.map_err(|_| WalFormatError::BadRecord)?))
            }
            _ => Err(WalFormatError::BadRecord),
        }
    }
}
