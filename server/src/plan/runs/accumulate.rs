//! What is computed of each group. Counts, and sums and averages of doubles, are added up a run at a time,
//! without looking at which group each row belongs to; all else is left to DataFusion's accumulators.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type, Schema};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use crate::plan::runs::groups::{Run, group_of_rows};
use crate::plan::runs::{Aggregate, Batch};

/// Of the values of one aggregate, for all groups.
pub(super) enum Accumulator {
    /// How many there are.
    Counts(Vec<i64>),
    /// Doubles.
    Doubles(Doubles),
    /// Whatever DataFusion's accumulator does.
    Other(Box<dyn GroupsAccumulator>),
}

/// What is made of doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Sum,
    Average,
}

/// Sums of doubles, and how many there were.
pub(super) struct Doubles {
    made: Made,
    sums: Vec<f64>,
    counts: Vec<u64>,
}

impl Accumulator {
    /// For no groups yet.
    pub(super) fn new(aggregate: &Aggregate, schema: &Schema) -> Result<Accumulator> {
        let doubles = |made| Accumulator::Doubles(Doubles { made, sums: Vec::new(), counts: Vec::new() });
        let is_double = |it: &Arc<dyn PhysicalExpr>| it.data_type(schema).ok() == Some(DataType::Float64);
        let function = aggregate.function.fun().name();
        match aggregate.arguments.as_slice() {
            [_] if aggregate.filter.is_some() => {}
            [_] if function == "count" => return Ok(Accumulator::Counts(Vec::new())),
            [argument] if function == "sum" && is_double(argument) => return Ok(doubles(Made::Sum)),
            [argument] if function == "avg" && is_double(argument) => return Ok(doubles(Made::Average)),
            _ => {}
        }
        Ok(Accumulator::Other(aggregate.function.create_groups_accumulator()?))
    }

    /// Takes the values of a batch.
    pub(super) fn add(&mut self, aggregate: &Aggregate, batch: &mut Batch<'_>) -> Result<()> {
        let value = |it: &Arc<dyn PhysicalExpr>| it.evaluate(batch.rows)?.into_array(batch.rows.num_rows());
        match self {
            Accumulator::Counts(counts) => {
                counts.resize(batch.group_count, 0);
                let argument = &aggregate.arguments[0];
                // `count(*)` is the count of a constant.
                if argument.downcast_ref::<Literal>().is_some_and(|literal| !literal.value().is_null()) {
                    batch.runs.iter().for_each(|run| counts[run.group] += run.len());
                } else {
                    count(counts, batch.runs, value(argument)?.as_ref());
                }
            }
            Accumulator::Doubles(doubles) => {
                let values = value(&aggregate.arguments[0])?;
                doubles.add(batch, values.as_primitive::<Float64Type>());
            }
            Accumulator::Other(accumulator) => {
                let values = aggregate.arguments.iter().map(value).collect::<Result<Vec<ArrayRef>>>()?;
                let filter = aggregate.filter.as_ref().map(value).transpose()?;
                let filter = filter.as_ref().map(|it| it.as_boolean());
                let of_rows = batch.of_rows.get_or_insert_with(|| group_of_rows(batch.runs));
                accumulator.update_batch(&values, of_rows, filter, batch.group_count)?;
            }
        }
        Ok(())
    }

    /// Takes over what another found of the same aggregate, with its groups in these places here.
    pub(super) fn merge(&mut self, other: Accumulator, places: &[usize], group_count: usize) -> Result<()> {
        match (self, other) {
            (Accumulator::Counts(counts), Accumulator::Counts(others)) => {
                counts.resize(group_count, 0);
                places.iter().zip(others).for_each(|(place, other)| counts[*place] += other);
            }
            (Accumulator::Doubles(doubles), Accumulator::Doubles(others)) => {
                doubles.resize(group_count);
                for ((place, sum), count) in places.iter().zip(others.sums).zip(others.counts) {
                    doubles.sums[*place] += sum;
                    doubles.counts[*place] += count;
                }
            }
            (Accumulator::Other(accumulator), Accumulator::Other(mut other)) => {
                accumulator.merge_batch(&other.state(EmitTo::All)?, places, group_count)?;
            }
            _ => return internal_err!("accumulators of different aggregates are merged"),
        }
        Ok(())
    }

    /// A value for each of so many groups.
    pub(super) fn finish(self, group_count: usize) -> Result<ArrayRef> {
        match self {
            Accumulator::Counts(mut counts) => {
                counts.resize(group_count, 0);
                Ok(Arc::new(Int64Array::from(counts)))
            }
            Accumulator::Doubles(mut doubles) => {
                doubles.resize(group_count);
                Ok(Arc::new(doubles.finish()))
            }
            Accumulator::Other(mut accumulator) => accumulator.evaluate(EmitTo::All),
        }
    }

    /// Memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Accumulator::Counts(counts) => counts.capacity() * size_of::<i64>(),
            Accumulator::Doubles(doubles) => {
                doubles.sums.capacity() * size_of::<f64>() + doubles.counts.capacity() * size_of::<u64>()
            }
            Accumulator::Other(accumulator) => accumulator.size(),
        }
    }
}

fn count(counts: &mut [i64], runs: &[Run], values: &dyn Array) {
    match values.logical_nulls() {
        None => runs.iter().for_each(|run| counts[run.group] += run.len()),
        Some(nulls) => {
            for run in runs {
                let valid = run.rows.clone().filter(|row| nulls.is_valid(*row)).count();
                counts[run.group] += i64::try_from(valid).expect("a batch is small");
            }
        }
    }
}

impl Doubles {
    fn resize(&mut self, group_count: usize) {
        self.sums.resize(group_count, 0.0);
        self.counts.resize(group_count, 0);
    }

    fn add(&mut self, batch: &Batch<'_>, values: &Float64Array) {
        self.resize(batch.group_count);
        for run in batch.runs {
            let of_run = &values.values()[run.rows.clone()];
            let (sum, count) = match values.nulls() {
                None => (sum(of_run), of_run.len()),
                Some(nulls) => {
                    let valid = run.rows.clone().zip(of_run).filter(|(row, _)| nulls.is_valid(*row));
                    valid.fold((0.0, 0), |(sum, count), (_, value)| (sum + value, count + 1))
                }
            };
            self.sums[run.group] += sum;
            self.counts[run.group] += count as u64;
        }
    }

    /// Of no values it is NULL.
    fn finish(self) -> Float64Array {
        let value = |(sum, count): (f64, u64)| match self.made {
            _ if count == 0 => None,
            Made::Sum => Some(sum),
            Made::Average => Some(sum / count as f64),
        };
        self.sums.into_iter().zip(self.counts).map(value).collect()
    }
}

/// Sums in as many lanes as fit into a register, which also rounds less than one after another.
fn sum(values: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::RecordBatch;

    use super::*;

    #[test]
    fn sums_take_all_values() {
        for length in [0, 1, 7, 8, 9, 100] {
            let values: Vec<f64> = (0..length).map(f64::from).collect();
            assert_eq!(sum(&values), f64::from(length * (length - 1) / 2).max(0.0), "{length}");
        }
        assert!(sum(&[1.0, f64::NAN]).is_nan());
        assert!(sum(&[f64::INFINITY; 20]).is_infinite());
    }

    #[test]
    fn groups_without_values_are_null() {
        let runs = [Run { group: 0, rows: 0..2 }, Run { group: 1, rows: 2..3 }, Run { group: 0, rows: 3..4 }];
        let values = Float64Array::from(vec![Some(1.0), None, None, Some(4.0)]);
        let mut counts = vec![0; 3];
        count(&mut counts, &runs, &values);
        assert_eq!(counts, [2, 0, 0]);
        let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let batch = Batch { rows: &rows, runs: &runs, of_rows: None, group_count: 3 };
        for (made, expected) in [(Made::Sum, 5.0), (Made::Average, 2.5)] {
            let mut doubles = Doubles { made, sums: Vec::new(), counts: Vec::new() };
            doubles.add(&batch, &values);
            assert_eq!(doubles.finish(), Float64Array::from(vec![Some(expected), None, None]));
        }
    }
}
