//! Lists and structs: arrays and records of encoded columns.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};

use super::{ColumnEncoder, Format};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::datum::Dimension;
use crate::pgtype::record::{self, FieldValue};
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::types::{Family, arrow_pg_type, element_type_of, family};
use crate::pgtype::{PgType, array, binary};
use crate::sqlstate;

/// A column of lists, perhaps of lists.
#[derive(Debug)]
pub(super) struct ListColumn {
    /// Where the elements of each row are, outermost first.
    levels: Vec<Level>,
    elements: Box<ColumnEncoder>,
    element_type: PgType,
    is_vector: bool,
}

/// The rows of one level of lists.
#[derive(Debug)]
struct Level {
    offsets: Offsets,
    nulls: Option<arrow::buffer::NullBuffer>,
}

#[derive(Debug)]
enum Offsets {
    Small(OffsetBuffer<i32>),
    Large(OffsetBuffer<i64>),
    Fixed(usize),
}

impl Offsets {
    fn range(&self, row: usize) -> Range<usize> {
        let index = |offset: i64| usize::try_from(offset).expect("offsets are not negative");
        match self {
            Offsets::Small(offsets) => index(offsets[row].into())..index(offsets[row + 1].into()),
            Offsets::Large(offsets) => index(offsets[row])..index(offsets[row + 1]),
            Offsets::Fixed(len) => row * len..(row + 1) * len,
        }
    }
}

/// What is inside of a list array.
fn unwrap_list(array: &ArrayRef) -> Option<(Offsets, ArrayRef)> {
    Some(match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            (Offsets::Small(list.offsets().clone()), ArrayRef::clone(list.values()))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            (Offsets::Large(list.offsets().clone()), ArrayRef::clone(list.values()))
        }
        DataType::FixedSizeList(_, len) => {
            let list = array.as_fixed_size_list();
            (Offsets::Fixed(usize::try_from(*len).ok()?), ArrayRef::clone(list.values()))
        }
        _ => return None,
    })
}

impl ListColumn {
    pub(super) fn new(
        array: &ArrayRef,
        pg_type: &PgType,
        format: Format,
        settings: &FormatSettings,
    ) -> SqlResult<ListColumn> {
        let element_type = element_type_of(pg_type)
            .ok_or_else(|| SqlError::internal(format!("{} has no elements", pg_type.name())))?;
        let mut levels = Vec::new();
        let mut inner = ArrayRef::clone(array);
        while let Some((offsets, values)) = unwrap_list(&inner) {
            levels.push(Level { offsets, nulls: inner.nulls().cloned() });
            inner = values;
        }
        let elements = ColumnEncoder::new(&inner, &element_type, format, settings)?;
        let is_vector = family(pg_type) == Family::Vector;
        Ok(ListColumn { levels, elements: Box::new(elements), element_type, is_vector })
    }

    /// Where the elements of a row are that has one level of lists.
    fn flat_range(&self, row: usize) -> Option<Range<usize>> {
        match self.levels.as_slice() {
            [level] => Some(level.offsets.range(row)),
            _ => None,
        }
    }

    pub(super) fn write_text(&self, row: usize, out: &mut BytesMut) -> SqlResult<()> {
        let (dimensions, elements) = match self.flat_range(row) {
            Some(range) if self.is_vector => return self.write_vector(range, out),
            Some(range) => return self.write_flat(range, out),
            None => self.shape(row)?,
        };
        let mut written = Ok(());
        array::write(out, &dimensions, |out, at| {
            let element = elements[at];
            if written.is_ok() {
                written = self.write_element(element, out);
            }
        });
        written
    }

    fn write_flat(&self, range: Range<usize>, out: &mut BytesMut) -> SqlResult<()> {
        out.put_u8(b'{');
        for (at, element) in range.enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            self.write_element(element, out)?;
        }
        out.put_u8(b'}');
        Ok(())
    }

    fn write_element(&self, element: usize, out: &mut BytesMut) -> SqlResult<()> {
        if self.elements.is_null(element) {
            array::write_null(out);
            return Ok(());
        }
        let start = out.len();
        self.elements.write_value(element, out)?;
        array::quote_from(out, start);
        Ok(())
    }

    fn write_vector(&self, range: Range<usize>, out: &mut BytesMut) -> SqlResult<()> {
        for (at, element) in range.enumerate() {
            if at > 0 {
                out.put_u8(b' ');
            }
            self.elements.write_value(element, out)?;
        }
        Ok(())
    }

    pub(super) fn write_binary(&self, row: usize, out: &mut BytesMut) -> SqlResult<()> {
        let Some(range) = self.flat_range(row) else {
            let (dimensions, elements) = self.shape(row)?;
            let has_null = elements.iter().any(|element| self.elements.is_null(*element));
            binary::write_array_header(out, &dimensions, has_null, &self.element_type);
            return elements.into_iter().try_for_each(|element| self.elements.write_field(element, out));
        };
        let has_null = range.clone().any(|element| self.elements.is_null(element));
        let dimension =
            Dimension { length: length_i32(range.len())?, lower_bound: i32::from(!self.is_vector) };
        let dimensions = [dimension];
        // An empty array has no dimensions, an empty vector has one.
        let dimensions = if range.is_empty() && !self.is_vector { &[] } else { &dimensions[..] };
        binary::write_array_header(out, dimensions, has_null, &self.element_type);
        range.into_iter().try_for_each(|element| self.elements.write_field(element, out))
    }

    /// The dimensions of a row of nested lists, and where its elements are. Arrays are rectangular.
    fn shape(&self, row: usize) -> SqlResult<(Vec<Dimension>, Vec<usize>)> {
        if self.levels.len() > array::DIMENSIONS_MAX {
            return Err(array::too_many_dimensions(self.levels.len()));
        }
        let mut dimensions = Vec::with_capacity(self.levels.len());
        let mut rows = vec![row];
        for level in &self.levels {
            let is_null = |row: &usize| level.nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row));
            let length = rows.first().map_or(0, |row| level.offsets.range(*row).len());
            if rows.iter().any(|row| is_null(row) || level.offsets.range(*row).len() != length) {
                return Err(uneven());
            }
            if length == 0 {
                return Ok((Vec::new(), Vec::new()));
            }
            dimensions.push(Dimension { length: length_i32(length)?, lower_bound: 1 });
            rows = rows.into_iter().flat_map(|row| level.offsets.range(row)).collect();
        }
        Ok((dimensions, rows))
    }
}

fn length_i32(length: usize) -> SqlResult<i32> {
    i32::try_from(length).map_err(|_| SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "array is too large"))
}

/// Lists within each other that are no array.
pub(in crate::pgtype) fn uneven() -> SqlError {
    let message = "multidimensional arrays must have array expressions with matching dimensions";
    SqlError::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, message)
}

/// A column of structs.
#[derive(Debug)]
pub(super) struct StructColumn {
    fields: Vec<(PgType, ColumnEncoder)>,
}

impl StructColumn {
    pub(super) fn new(
        array: &ArrayRef,
        format: Format,
        settings: &FormatSettings,
    ) -> SqlResult<StructColumn> {
        let array = array.as_struct();
        let mut fields = Vec::with_capacity(array.num_columns());
        for (field, column) in array.fields().iter().zip(array.columns()) {
            let pg_type = arrow_pg_type(field);
            let encoder = ColumnEncoder::new(column, &pg_type, format, settings)?;
            fields.push((pg_type, encoder));
        }
        Ok(StructColumn { fields })
    }

    pub(super) fn write_text(&self, row: usize, out: &mut BytesMut) -> SqlResult<()> {
        let mut written = Ok(());
        record::write(out, self.fields.len(), |out, at| {
            let (_, field) = &self.fields[at];
            if written.is_err() || field.is_null(row) {
                return FieldValue::Null;
            }
            written = field.write_value(row, out);
            FieldValue::Written
        });
        written
    }

    pub(super) fn write_binary(&self, row: usize, out: &mut BytesMut) -> SqlResult<()> {
        out.put_i32(length_i32(self.fields.len())?);
        for (pg_type, field) in &self.fields {
            out.put_u32(pg_type.oid());
            field.write_field(row, out)?;
        }
        Ok(())
    }
}
