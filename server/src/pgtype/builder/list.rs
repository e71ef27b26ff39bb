//! Columns of arrays in the making.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use tidemark_catalog::types::ColumnType;
use tidemark_engine::types::element_field;

use super::ColumnBuilder;
use crate::error::{SqlError, SqlResult};
use crate::pgtype::array::literal;
use crate::pgtype::cast::CastError;
use crate::pgtype::datum::{ArrayDatum, Dimension};
use crate::pgtype::settings::FormatSettings;
use crate::sqlstate;

/// A column of one-dimensional arrays.
#[derive(Debug)]
pub(super) struct ListBuilder {
    elements: ColumnBuilder,
    /// Elements of refused arrays, which are in `elements` and in no row.
    orphans: Vec<Range<usize>>,
    /// How many of `elements` are in rows.
    element_count: usize,
    /// Where each row ends.
    ends: Vec<i32>,
    is_valid: Vec<bool>,
}

impl ListBuilder {
    pub(super) fn new(element: &ColumnType, row_count: usize) -> ListBuilder {
        ListBuilder {
            elements: ColumnBuilder::new(element, row_count),
            orphans: Vec::new(),
            element_count: 0,
            ends: Vec::with_capacity(row_count),
            is_valid: Vec::with_capacity(row_count),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.elements.memory_bytes()
    }

    pub(super) fn append_null(&mut self) {
        self.end_row(0, false).expect("a row without elements does not add to their number");
    }

    pub(super) fn append_text(&mut self, text: &str, settings: &FormatSettings) -> SqlResult<()> {
        let literal = literal::parse(text)?;
        check_dimensions(&literal.dimensions)?;
        self.append_row(literal.elements.iter(), |elements, element| match element {
            Some(text) => elements.append_text(text, settings),
            None => {
                elements.append_null();
                Ok(())
            }
        })
    }

    pub(super) fn append_array(
        &mut self,
        array: &ArrayDatum,
        settings: &FormatSettings,
    ) -> Result<(), CastError> {
        check_dimensions(&array.dimensions)?;
        self.append_row(array.values.iter(), |elements, value| elements.append_datum(value, settings))
    }

    /// Adds a row, or nothing if one of its elements is refused.
    fn append_row<T, E: From<SqlError>>(
        &mut self,
        values: impl Iterator<Item = T>,
        mut append: impl FnMut(&mut ColumnBuilder, T) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.elements.len();
        let appended = values
            .into_iter()
            .try_for_each(|value| append(&mut self.elements, value))
            .and_then(|()| Ok(self.end_row(self.elements.len() - start, true)?));
        if appended.is_err() && self.elements.len() > start {
            self.orphans.push(start..self.elements.len());
        }
        appended
    }

    fn end_row(&mut self, element_count: usize, is_valid: bool) -> SqlResult<()> {
        let end = i32::try_from(self.element_count + element_count).map_err(|_| {
            let message = "too many array elements in one batch";
            SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
        })?;
        self.element_count += element_count;
        self.ends.push(end);
        self.is_valid.push(is_valid);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        let mut values = self.elements.finish();
        if !self.orphans.is_empty() {
            let mut is_kept = vec![true; values.len()];
            for orphans in self.orphans.drain(..) {
                is_kept[orphans].fill(false);
            }
            let is_kept = BooleanArray::from(is_kept);
            values = arrow::compute::filter(&values, &is_kept).expect("both have as many rows");
        }
        let offsets: Vec<i32> = std::iter::once(0).chain(self.ends.drain(..)).collect();
        let nulls = NullBuffer::from(std::mem::take(&mut self.is_valid));
        self.element_count = 0;
        Arc::new(ListArray::new(
            element_field(values.data_type().clone()),
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            values,
            (nulls.null_count() > 0).then_some(nulls),
        ))
    }
}

/// Columns have arrays of one dimension that count from 1; others would lose their shape.
fn check_dimensions(dimensions: &[Dimension]) -> SqlResult<()> {
    match dimensions {
        [] | [Dimension { lower_bound: 1, .. }] => Ok(()),
        [_] => Err(SqlError::unsupported("an array whose subscripts do not begin with 1 in a column")),
        _ => Err(SqlError::unsupported("an array of more than one dimension in a column")),
    }
}
