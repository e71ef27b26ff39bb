//! Arrays of several Arrow types that are read alike.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, StringArray, StringViewArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes as arrow_types;
use arrow::datatypes::DataType;

use super::resolution_of;
use crate::error::{SqlError, SqlResult};
use crate::pgtype::datetime::parse::value_out_of_range;
use crate::pgtype::datetime::write::Resolution;

/// Integers of any width.
#[derive(Debug)]
pub(super) enum Integers {
    I8(ScalarBuffer<i8>),
    I16(ScalarBuffer<i16>),
    I32(ScalarBuffer<i32>),
    I64(ScalarBuffer<i64>),
    U8(ScalarBuffer<u8>),
    U16(ScalarBuffer<u16>),
    U32(ScalarBuffer<u32>),
    U64(ScalarBuffer<u64>),
}

impl Integers {
    pub(super) fn of(array: &dyn Array) -> Option<Integers> {
        Some(match array.data_type() {
            DataType::Int8 => Integers::I8(array.as_primitive::<arrow_types::Int8Type>().values().clone()),
            DataType::Int16 => Integers::I16(array.as_primitive::<arrow_types::Int16Type>().values().clone()),
            DataType::Int32 => Integers::I32(array.as_primitive::<arrow_types::Int32Type>().values().clone()),
            DataType::Int64 => Integers::I64(array.as_primitive::<arrow_types::Int64Type>().values().clone()),
            DataType::UInt8 => Integers::U8(array.as_primitive::<arrow_types::UInt8Type>().values().clone()),
            DataType::UInt16 => {
                Integers::U16(array.as_primitive::<arrow_types::UInt16Type>().values().clone())
            }
            DataType::UInt32 => {
                Integers::U32(array.as_primitive::<arrow_types::UInt32Type>().values().clone())
            }
            DataType::UInt64 => {
                Integers::U64(array.as_primitive::<arrow_types::UInt64Type>().values().clone())
            }
            _ => return None,
        })
    }

    /// A number that has 64 bits with its sign.
    pub(super) fn get(&self, row: usize) -> i64 {
        match self {
            Integers::I8(values) => i64::from(values[row]),
            Integers::I16(values) => i64::from(values[row]),
            Integers::I32(values) => i64::from(values[row]),
            Integers::I64(values) => values[row],
            Integers::U8(values) => i64::from(values[row]),
            Integers::U16(values) => i64::from(values[row]),
            Integers::U32(values) => i64::from(values[row]),
            Integers::U64(values) => i64::try_from(values[row]).unwrap_or(i64::MAX),
        }
    }

    /// Any number.
    pub(super) fn get_wide(&self, row: usize) -> i128 {
        match self {
            Integers::U64(values) => i128::from(values[row]),
            narrower => i128::from(narrower.get(row)),
        }
    }
}

/// The keys of a dictionary array; those of rows without a value are 0.
#[derive(Debug)]
pub(super) struct Keys(Integers);

impl Keys {
    pub(super) fn of(keys: &dyn Array) -> SqlResult<Keys> {
        let keys = Integers::of(keys);
        keys.map(Keys).ok_or_else(|| SqlError::internal("dictionary keys are integers"))
    }

    pub(super) fn get(&self, row: usize) -> usize {
        usize::try_from(self.0.get(row)).unwrap_or(0)
    }
}

/// Texts in any layout.
#[derive(Debug)]
pub(super) enum Strings {
    Small(StringArray),
    Large(LargeStringArray),
    View(StringViewArray),
}

impl Strings {
    pub(super) fn of(array: &ArrayRef) -> Strings {
        match array.data_type() {
            DataType::Utf8 => Strings::Small(array.as_string().clone()),
            DataType::LargeUtf8 => Strings::Large(array.as_string().clone()),
            _ => Strings::View(array.as_string_view().clone()),
        }
    }

    pub(super) fn get(&self, row: usize) -> &str {
        match self {
            Strings::Small(values) => values.value(row),
            Strings::Large(values) => values.value(row),
            Strings::View(values) => values.value(row),
        }
    }
}

/// Bytes in any layout.
#[derive(Debug)]
pub(super) enum Bytes {
    Small(BinaryArray),
    Large(LargeBinaryArray),
    View(BinaryViewArray),
    Fixed(FixedSizeBinaryArray),
}

impl Bytes {
    pub(super) fn of(array: &ArrayRef) -> Bytes {
        match array.data_type() {
            DataType::Binary => Bytes::Small(array.as_binary().clone()),
            DataType::LargeBinary => Bytes::Large(array.as_binary().clone()),
            DataType::FixedSizeBinary(_) => Bytes::Fixed(array.as_fixed_size_binary().clone()),
            _ => Bytes::View(array.as_binary_view().clone()),
        }
    }

    pub(super) fn get(&self, row: usize) -> &[u8] {
        match self {
            Bytes::Small(values) => values.value(row),
            Bytes::Large(values) => values.value(row),
            Bytes::View(values) => values.value(row),
            Bytes::Fixed(values) => values.value(row),
        }
    }
}

/// Counts of seconds or parts of seconds: timestamps, times of day, durations.
#[derive(Debug)]
pub(super) struct Durations {
    counts: Counts,
    pub(super) resolution: Resolution,
}

#[derive(Debug)]
enum Counts {
    Narrow(ScalarBuffer<i32>),
    Wide(ScalarBuffer<i64>),
}

impl Durations {
    pub(super) fn of(array: &ArrayRef) -> Option<Durations> {
        let (unit, is_narrow) = match array.data_type() {
            DataType::Time32(unit) => (*unit, true),
            DataType::Time64(unit) | DataType::Timestamp(unit, _) | DataType::Duration(unit) => {
                (*unit, false)
            }
            _ => return None,
        };
        let data = array.to_data();
        let buffer = data.buffers().first()?.clone();
        let counts = match is_narrow {
            true => Counts::Narrow(ScalarBuffer::new(buffer, data.offset(), data.len())),
            false => Counts::Wide(ScalarBuffer::new(buffer, data.offset(), data.len())),
        };
        Some(Durations { counts, resolution: resolution_of(unit) })
    }

    pub(super) fn get(&self, row: usize) -> i64 {
        match &self.counts {
            Counts::Narrow(values) => i64::from(values[row]),
            Counts::Wide(values) => values[row],
        }
    }

    /// In microseconds; nanoseconds are cut off downwards.
    pub(super) fn micros(&self, row: usize, type_name: &str) -> SqlResult<i64> {
        micros_of(self.get(row), self.resolution).ok_or_else(|| value_out_of_range(type_name))
    }
}

/// A count in microseconds. Infinity stays infinity, and nothing else becomes it.
pub(in crate::pgtype) fn micros_of(count: i64, resolution: Resolution) -> Option<i64> {
    if count == i64::MIN || count == i64::MAX {
        return Some(count);
    }
    match resolution {
        Resolution::Second => count.checked_mul(1_000_000),
        Resolution::Millisecond => count.checked_mul(1_000),
        Resolution::Microsecond => Some(count),
        Resolution::Nanosecond => Some(count.div_euclid(1_000)),
    }
}
