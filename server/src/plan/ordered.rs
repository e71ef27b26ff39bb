//! Aggregates whose values come in an order, or each once: `string_agg`, `array_agg` and those that
//! make JSON, `mode` and the percentiles.
//!
//! DataFusion sorts the input of all aggregates of a query at once, so that two that want another order
//! exclude each other. Here each keeps its values and sorts them when its group is complete.
//!
//! 1. The rewriting of the statement calls an aggregate by a name that says what it is and how it is
//!    ordered, as `#string_agg:al` ([`name`]); the keys it is ordered by are further arguments.
//! 2. The accumulator keeps arguments as they come; its state is a list of each.
//! 3. In the end rows are sorted by the keys, doubles are left out where DISTINCT says so, and the value
//!    is made ([`Kind::fold`]).

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, ListArray, StringViewArray, UInt32Array, new_empty_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{SortOptions, cast, concat, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, IntervalMonthDayNanoType};
use datafusion::arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::error::SqlError;
use crate::pgtype::jsonb;
use crate::pgtype::scalar::month_day_nano;
use crate::pgtype::types::{TYPE_METADATA_KEY, data_pg_type, family};
use crate::plan::errors::external;
use crate::sql::functions::temporal::arithmetic;
use crate::sqlstate;

/// Before the name of an aggregate of this module, so that no query calls it.
const PREFIX: char = '#';

/// Batches of a group that are put together when there are more.
const BATCHES_MAX: usize = 64;

/// How one of the keys orders rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// From the greatest to the least.
    pub descending: bool,
    /// NULL before all others.
    pub nulls_first: bool,
}

/// The name by which an aggregate is called that is ordered so.
pub fn name(function: &str, is_distinct: bool, orders: &[Order]) -> String {
    let distinct = if is_distinct { "!" } else { "" };
    let mut name = format!("{PREFIX}{function}{distinct}:");
    for order in orders {
        name.push(if order.descending { 'd' } else { 'a' });
        name.push(if order.nulls_first { 'f' } else { 'l' });
    }
    name
}

/// Whether an aggregate of this name leaves doubles out.
pub fn is_distinct(name: &str) -> bool {
    name.starts_with(PREFIX) && name.contains('!')
}

/// How many arguments of an aggregate are values, before the keys; `None` where it is another's.
pub fn value_count(name: &str) -> Option<usize> {
    let function = name.strip_prefix(PREFIX)?.split(['!', ':']).next()?;
    Kind::by_name(function).map(Kind::value_count)
}

/// The aggregate of a name that [`name`] made.
pub fn by_name(name: &str) -> Option<Arc<AggregateUDF>> {
    let (function, orders) = name.strip_prefix(PREFIX)?.split_once(':')?;
    let kind = Kind::by_name(function.trim_end_matches('!'))?;
    let orders = orders.as_bytes().chunks_exact(2);
    let orders = orders.map(|it| Order { descending: it[0] == b'd', nulls_first: it[1] == b'f' });
    let ordered = Ordered {
        name: name.to_owned(),
        kind,
        is_distinct: is_distinct(name),
        orders: orders.collect(),
        signature: Signature::user_defined(Volatility::Immutable),
    };
    Some(Arc::new(AggregateUDF::new_from_impl(ordered)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    StringAgg,
    ArrayAgg,
    /// Of values that are JSON already.
    JsonAgg,
    JsonbAgg,
    JsonObjectAgg,
    JsonbObjectAgg,
    Mode,
    PercentileDisc,
    PercentileCont,
}

impl Kind {
    fn by_name(name: &str) -> Option<Kind> {
        Some(match name {
            "string_agg" => Kind::StringAgg,
            "array_agg" => Kind::ArrayAgg,
            "json_agg" => Kind::JsonAgg,
            "jsonb_agg" => Kind::JsonbAgg,
            "json_object_agg" => Kind::JsonObjectAgg,
            "jsonb_object_agg" => Kind::JsonbObjectAgg,
            "mode" => Kind::Mode,
            "percentile_disc" => Kind::PercentileDisc,
            "percentile_cont" => Kind::PercentileCont,
            _ => return None,
        })
    }

    /// Arguments before the keys.
    fn value_count(self) -> usize {
        match self {
            Kind::ArrayAgg | Kind::JsonAgg | Kind::JsonbAgg | Kind::Mode => 1,
            _ => 2,
        }
    }

    /// Whether rows whose first value is NULL do not count.
    fn ignores_nulls(self) -> bool {
        matches!(self, Kind::StringAgg | Kind::Mode | Kind::PercentileDisc | Kind::PercentileCont)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ordered {
    name: String,
    kind: Kind,
    is_distinct: bool,
    orders: Vec<Order>,
    signature: Signature,
}

fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain(value),
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        other => other.clone(),
    }
}

impl Ordered {
    /// The name that the aggregate has in PostgreSQL.
    fn shown_name(&self) -> &str {
        let name = self.name.trim_start_matches(PREFIX);
        name.split(['!', ':']).next().unwrap_or(name)
    }

    fn refused<T>(&self, types: &[DataType]) -> Result<T> {
        let types: Vec<String> =
            types.iter().take(self.kind.value_count()).map(ToString::to_string).collect();
        let call = format!("{}({})", self.shown_name(), types.join(", "));
        plan_err!("No function matches the given name and argument types '{call}'.")
    }

    fn result_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let named = |name: &str| {
            let metadata = [(TYPE_METADATA_KEY.to_owned(), name.to_owned())].into();
            Field::new(&self.name, DataType::Utf8View, true).with_metadata(metadata)
        };
        let list = |element: Field| {
            let element = Arc::new(element.with_name(Field::LIST_FIELD_DEFAULT_NAME).with_nullable(true));
            Field::new(&self.name, DataType::List(element), true)
        };
        let value = fields[0].as_ref().clone().with_name(&self.name).with_nullable(true);
        let is_list = |at: usize| matches!(fields.get(at).map(|it| it.data_type()), Some(DataType::List(_)));
        Ok(Arc::new(match self.kind {
            Kind::StringAgg => Field::new(&self.name, DataType::Utf8View, true),
            Kind::ArrayAgg => list(value),
            Kind::JsonAgg | Kind::JsonObjectAgg => named("json"),
            Kind::JsonbAgg | Kind::JsonbObjectAgg => named("jsonb"),
            Kind::PercentileDisc | Kind::PercentileCont if is_list(1) => list(value),
            Kind::Mode | Kind::PercentileDisc | Kind::PercentileCont => value,
        }))
    }
}

impl AggregateUDFImpl for Ordered {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() != self.kind.value_count() + self.orders.len() {
            return self.refused(types);
        }
        let mut wanted: Vec<DataType> = types.iter().map(plain).collect();
        match self.kind {
            Kind::StringAgg => {
                let is_text = |it: &DataType| *it == DataType::Null || family(&data_pg_type(it)).is_text();
                if !is_text(&wanted[0]) || !is_text(&wanted[1]) {
                    return self.refused(types);
                }
                wanted[..2].fill(DataType::Utf8View);
            }
            Kind::PercentileDisc | Kind::PercentileCont => {
                wanted[1] = match &wanted[1] {
                    DataType::List(_) => {
                        DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
                    }
                    _ => DataType::Float64,
                };
                if self.kind == Kind::PercentileCont && !matches!(wanted[0], DataType::Interval(_)) {
                    if !wanted[0].is_numeric() && wanted[0] != DataType::Null {
                        return self.refused(types);
                    }
                    wanted[0] = DataType::Float64;
                }
            }
            _ => {}
        }
        Ok(wanted)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let types = self.coerce_types(types)?;
        let fields: Vec<FieldRef> = types.into_iter().map(|it| Arc::new(Field::new("", it, true))).collect();
        Ok(self.result_field(&fields)?.data_type().clone())
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let types: Vec<DataType> = fields.iter().map(|it| it.data_type().clone()).collect();
        let wanted = self.coerce_types(&types)?.into_iter();
        let fields: Vec<FieldRef> = fields
            .iter()
            .zip(wanted)
            .map(|(field, wanted)| Arc::new(field.as_ref().clone().with_data_type(wanted)))
            .collect();
        self.result_field(&fields)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Collected {
            kind: self.kind,
            is_distinct: self.is_distinct,
            orders: self.orders.clone(),
            types: args.expr_fields.iter().map(|field| field.data_type().clone()).collect(),
            result: args.return_field.data_type().clone(),
            batches: Vec::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |(at, field): (usize, &FieldRef)| {
            let element = Arc::new(Field::new_list_field(field.data_type().clone(), true));
            Arc::new(Field::new(format!("{}[{at}]", args.name), DataType::List(element), true))
        };
        Ok(args.input_fields.iter().enumerate().map(list).collect())
    }
}

/// The arguments of a group.
#[derive(Debug)]
struct Collected {
    kind: Kind,
    is_distinct: bool,
    orders: Vec<Order>,
    types: Vec<DataType>,
    result: DataType,
    batches: Vec<Vec<ArrayRef>>,
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values.first().is_some_and(|values| !values.is_empty()) {
            self.batches.push(values.to_vec());
        }
        if self.batches.len() > BATCHES_MAX {
            self.batches = vec![self.columns()?];
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let row_count = states.first().map_or(0, |state| state.len());
        for row in 0..row_count {
            let values: Vec<ArrayRef> =
                states.iter().map(|state| state.as_list::<i32>().value(row)).collect();
            self.update_batch(&values)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.columns()?.into_iter();
        Ok(columns.map(|it| SingleRowListArrayBuilder::new(it).build_list_scalar()).collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let columns = self.columns()?;
        let rows = self.chosen(&columns)?;
        let values = columns.iter().take(self.kind.value_count()).map(|it| take(it, &rows, None));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let keys = columns.iter().skip(self.kind.value_count()).map(|it| take(it, &rows, None));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let folded = match rows.is_empty() {
            true => None,
            false => self.kind.fold(&values, &keys, &self.result)?,
        };
        folded.map_or_else(|| ScalarValue::try_from(&self.result), Ok)
    }

    fn size(&self) -> usize {
        let arrays = self.batches.iter().flatten();
        size_of_val(self) + arrays.map(|array| array.get_array_memory_size()).sum::<usize>()
    }
}

impl Collected {
    /// All that came, a column for each argument.
    fn columns(&self) -> Result<Vec<ArrayRef>> {
        if let [batch] = self.batches.as_slice() {
            return Ok(batch.clone());
        }
        let column = |(at, data_type): (usize, &DataType)| {
            let parts: Vec<&dyn Array> = self.batches.iter().map(|batch| batch[at].as_ref()).collect();
            match parts.is_empty() {
                true => Ok(new_empty_array(data_type)),
                false => Ok(concat(&parts)?),
            }
        };
        self.types.iter().enumerate().map(column).collect()
    }

    /// The rows that count, in their order. Those that are equal stay as they came.
    fn chosen(&self, columns: &[ArrayRef]) -> Result<UInt32Array> {
        let (values, keys) = columns.split_at(self.kind.value_count());
        let count = u32::try_from(values[0].len()).unwrap_or(u32::MAX);
        let ignores_nulls = self.kind.ignores_nulls();
        let mut rows: Vec<u32> =
            (0..count).filter(|row| !ignores_nulls || values[0].is_valid(*row as usize)).collect();
        if !keys.is_empty() {
            let keys = as_rows(keys, &self.orders)?;
            rows.sort_by(|left, right| keys.row(*left as usize).cmp(&keys.row(*right as usize)));
        }
        if self.is_distinct {
            let values =
                as_rows(values, &vec![Order { descending: false, nulls_first: false }; values.len()])?;
            let mut seen: HashSet<OwnedRow> = HashSet::new();
            rows.retain(|row| seen.insert(values.row(*row as usize).owned()));
        }
        Ok(UInt32Array::from(rows))
    }
}

fn as_rows(columns: &[ArrayRef], orders: &[Order]) -> Result<Rows> {
    let field = |(column, order): (&ArrayRef, &Order)| {
        let options = SortOptions { descending: order.descending, nulls_first: order.nulls_first };
        SortField::new_with_options(column.data_type().clone(), options)
    };
    let converter = RowConverter::new(columns.iter().zip(orders).map(field).collect())?;
    Ok(converter.convert_columns(columns)?)
}

/// A text of a row, where the column has texts.
fn texts(column: &ArrayRef) -> Result<StringViewArray> {
    Ok(cast(column, &DataType::Utf8View)?.as_string_view().clone())
}

impl Kind {
    /// The value of a group that has rows; `None` for NULL.
    fn fold(self, values: &[ArrayRef], keys: &[ArrayRef], result: &DataType) -> Result<Option<ScalarValue>> {
        let text = |text: String| Ok(Some(ScalarValue::Utf8View(Some(text))));
        match self {
            Kind::StringAgg => {
                let (parts, delimiters) = (texts(&values[0])?, texts(&values[1])?);
                let mut out = String::new();
                for row in 0..parts.len() {
                    if row > 0 && delimiters.is_valid(row) {
                        out.push_str(delimiters.value(row));
                    }
                    out.push_str(parts.value(row));
                }
                text(out)
            }
            Kind::ArrayAgg => list_of(Arc::clone(&values[0]), result).map(Some),
            Kind::JsonAgg | Kind::JsonbAgg => {
                let parts = texts(&values[0])?;
                let parts: Vec<&str> = parts.iter().map(|part| part.unwrap_or("null")).collect();
                text(format!("[{}]", parts.join(", ")))
            }
            Kind::JsonObjectAgg => text(object(values)?),
            Kind::JsonbObjectAgg => text(jsonb::normalise(&object(values)?).map_err(external)?),
            Kind::Mode => most_frequent(&values[0], keys).map(Some),
            Kind::PercentileDisc | Kind::PercentileCont => self.percentile(values, result),
        }
    }

    fn percentile(self, values: &[ArrayRef], result: &DataType) -> Result<Option<ScalarValue>> {
        let (sorted, fractions) = (&values[0], &values[1]);
        if fractions.is_null(0) {
            return Ok(None);
        }
        if let Some(list) = fractions.as_list_opt::<i32>() {
            let fractions = list.value(0);
            let fractions = fractions.as_primitive::<Float64Type>();
            let each = fractions.iter().map(|fraction| match fraction {
                Some(fraction) => self.at_fraction(sorted, fraction),
                None => ScalarValue::try_from(sorted.data_type()),
            });
            let each = each.collect::<Result<Vec<_>>>()?;
            let elements = match each.is_empty() {
                true => new_empty_array(sorted.data_type()),
                false => ScalarValue::iter_to_array(each)?,
            };
            return list_of(elements, result).map(Some);
        }
        let fraction = fractions.as_primitive::<Float64Type>().value(0);
        self.at_fraction(sorted, fraction).map(Some)
    }

    fn at_fraction(self, sorted: &ArrayRef, fraction: f64) -> Result<ScalarValue> {
        if !(0.0..=1.0).contains(&fraction) {
            let message = format!("percentile value {fraction} is not between 0 and 1");
            return Err(external(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)));
        }
        let count = sorted.len();
        if self == Kind::PercentileDisc {
            let row = (fraction * count as f64).ceil() as usize;
            return ScalarValue::try_from_array(sorted, row.max(1) - 1);
        }
        let place = fraction * (count - 1) as f64;
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        let part = place - place.floor();
        if let Some(floats) = sorted.as_any().downcast_ref::<Float64Array>() {
            let (low, high) = (floats.value(below), floats.value(above));
            return Ok(ScalarValue::Float64(Some(if below == above {
                low
            } else {
                low + part * (high - low)
            })));
        }
        let intervals = sorted.as_primitive::<IntervalMonthDayNanoType>();
        let (low, high) = (intervals.value(below), intervals.value(above));
        let between = arithmetic::between_intervals(low, high, part).and_then(month_day_nano);
        Ok(ScalarValue::IntervalMonthDayNano(Some(between.map_err(external)?)))
    }
}

fn list_of(elements: ArrayRef, result: &DataType) -> Result<ScalarValue> {
    let DataType::List(field) = result else { return plan_err!("a list was expected, not {result}") };
    let offsets = OffsetBuffer::from_lengths([elements.len()]);
    let elements = if elements.data_type() == field.data_type() {
        elements
    } else {
        cast(&elements, field.data_type())?
    };
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(Arc::clone(field), offsets, elements, None)?)))
}

fn object(values: &[ArrayRef]) -> Result<String> {
    let (names, members) = (texts(&values[0])?, texts(&values[1])?);
    let mut out = String::from("{ ");
    for row in 0..names.len() {
        if names.is_null(row) {
            let message = "field name must not be null";
            return Err(external(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)));
        }
        if row > 0 {
            out.push_str(", ");
        }
        jsonb::write_string(&mut out, names.value(row));
        out.push_str(" : ");
        out.push_str(if members.is_null(row) { "null" } else { members.value(row) });
    }
    out.push_str(" }");
    Ok(out)
}

/// The value that comes most often; of several the first in the order.
fn most_frequent(values: &ArrayRef, keys: &[ArrayRef]) -> Result<ScalarValue> {
    let keys = as_rows(keys, &vec![Order { descending: false, nulls_first: false }; keys.len()])?;
    let (mut best, mut best_count, mut start) = (0, 0, 0);
    for row in 0..values.len() {
        if keys.row(row) != keys.row(start) {
            start = row;
        }
        if row + 1 - start > best_count {
            (best, best_count) = (start, row + 1 - start);
        }
    }
    ScalarValue::try_from_array(values, best)
}

#[cfg(test)]
mod tests;
