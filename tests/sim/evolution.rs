//! Columns that come and go while rows are written, and what each row must have in them.
//!
//! A row has, in a column that its writer knew, what the writer said, NULL included; in a column that
//! came later, the missing value of the column. Names mean nothing: a column that is dropped and added
//! again is another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::{Column, NewColumn, Nullability, Schema};
use tidemark_catalog::types::ColumnType;
use tidemark_engine::engine::Engine;
use tidemark_engine::error::{DdlError, ReadError};
use tidemark_engine::missing::encode_missing;
use tidemark_engine::read::predicate::{Comparison, Predicate};
use tidemark_engine::read::{RowIds, ScanRequest, plan};

use crate::harness::symbols_of;

/// Columns up to this one are of the collection from its beginning.
const LAST_FIXED: ColumnId = ColumnId(5);

/// A value of an added column, whatever its type.
type Value = Option<String>;

/// What is known of one collection.
#[derive(Debug, Default)]
pub(crate) struct Evolution {
    /// What writers said, for each row and each added column that they knew.
    said: BTreeMap<i64, BTreeMap<ColumnId, Value>>,
    /// The missing values of the columns that there were.
    missing: BTreeMap<ColumnId, Value>,
    /// What the columns may be: more than one answer after a change whose outcome is not known.
    possible: Vec<Arc<Schema>>,
}

/// A change of an added column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Add { symbol: bool, missing: bool, required: bool },
    Drop,
    Rename,
    SetRequired,
    SetNullable,
}

impl Evolution {
    /// Makes the change on an added column that `pick` chooses, and notes what became of it.
    pub(crate) fn change(&mut self, engine: &Engine, before: &Collection, change: Change, pick: u64) {
        let Some(schema) = changed(&before.schema, change, pick) else { return };
        let schema = Arc::new(schema);
        self.note_missing(&schema);
        let altered = engine.alter(before.id, |collection: &Collection| {
            Ok::<_, DdlError>(Collection { schema: Arc::clone(&schema), ..collection.clone() })
        });
        let required = becoming_required(&before.schema, &schema);
        let has_null = |column: &Column| {
            // What cannot be read now is not known.
            let rows = try_read(engine, before, ColumnId(2), Vec::new()).ok()?;
            Some(rows.iter().any(|(row, _)| self.value(*row, column.id).is_none()))
        };
        match altered {
            Ok(_) => {
                let null = required.and_then(|column| has_null(&column));
                assert_ne!(null, Some(true), "{change:?} made a column NOT NULL with NULL in it");
                self.possible = vec![schema];
            }
            Err(DdlError::ContainsNull { .. }) => {
                let null = has_null(&required.expect("a column was to be NOT NULL"));
                assert_ne!(null, Some(false), "{change:?} found NULL where there is none");
            }
            // Whether it is durable is found out later.
            Err(DdlError::Edit(EditError::Storage(_))) => {
                self.possible = vec![Arc::clone(&before.schema), schema];
            }
            // The world said no earlier: nothing is changed.
            Err(_) => {}
        }
    }

    fn note_missing(&mut self, schema: &Schema) {
        for column in added(schema) {
            let value = column.missing.is_some().then(|| missing_text(column));
            self.missing.insert(column.id, value);
        }
    }

    /// The columns are one of the possible answers; from now on it is known which.
    pub(crate) fn settle(&mut self, collection: &Collection) {
        let found = Arc::clone(&collection.schema);
        assert!(
            self.possible.is_empty() || self.possible.iter().any(|it| it.is_like(&found)),
            "{found:?} is none of {:?}",
            self.possible
        );
        self.note_missing(&found);
        self.possible = vec![found];
    }

    /// The added columns of new rows.
    pub(crate) fn columns(
        &mut self,
        engine: &Engine,
        collection: &Collection,
        rows: &[i64],
    ) -> Vec<(ColumnId, ArrayRef)> {
        let mut columns = Vec::new();
        for column in added(&collection.schema) {
            let is_required = column.nullability == Nullability::Required;
            // Some batches leave the column out, which says NULL as well.
            let left_out = !is_required && rows[0] % 3 == 1;
            let said = |row: &i64| -> Value {
                let is_null = left_out || (!is_required && row % 4 == 0);
                (!is_null).then(|| format!("{}", row * 100 + i64::from(column.id.0)))
            };
            let values: Vec<Value> = rows.iter().map(said).collect();
            for (row, value) in rows.iter().zip(&values) {
                self.said.entry(*row).or_default().insert(column.id, value.clone());
            }
            if !left_out {
                columns.push((column.id, to_array(engine, collection, column, &values)));
            }
        }
        for row in rows {
            self.said.entry(*row).or_default();
        }
        columns
    }

    fn value(&self, row: i64, column: ColumnId) -> &Value {
        self.said[&row].get(&column).unwrap_or_else(|| &self.missing[&column])
    }

    /// Every row has in every added column what it must have, also when it is looked for by it.
    pub(crate) fn check(&self, engine: &Engine, collection: &Collection) {
        for column in added(&collection.schema) {
            let all = read(engine, collection, column, Vec::new());
            for (row, value) in &all {
                assert_eq!(value, self.value(*row, column.id), "column {} of row {row}", column.id);
            }
            let mut wanted = vec![None, self.missing[&column.id].clone()];
            wanted.extend(all.iter().take(1).map(|(_, value)| value.clone()));
            for wanted in wanted {
                let predicate = match &wanted {
                    None => Predicate::IsNull { column: column.id, wanted: true },
                    Some(text) => {
                        let value: ArrayRef = match column.column_type {
                            ColumnType::Symbol | ColumnType::Text => {
                                Arc::new(StringArray::from(vec![text.as_str()]))
                            }
                            _ => Arc::new(Int64Array::from(vec![text.parse::<i64>().unwrap()])),
                        };
                        Predicate::Compare { column: column.id, comparison: Comparison::Equal, value }
                    }
                };
                let found = read(engine, collection, column, vec![predicate]);
                let found: BTreeSet<i64> = found.into_iter().map(|(row, _)| row).collect();
                let expected = all.iter().filter(|(_, value)| *value == wanted).map(|(row, _)| *row);
                assert_eq!(found, expected.collect(), "rows with {wanted:?} in column {}", column.id);
            }
        }
    }
}

fn added(schema: &Schema) -> impl Iterator<Item = &Column> {
    schema.columns().iter().filter(|column| column.id > LAST_FIXED)
}

/// A column that is NULL in some rows unless it is shown that it is not.
fn becoming_required(before: &Schema, after: &Schema) -> Option<Column> {
    let required = added(after).find(|column| {
        let is_new = before.column(column.id).is_none_or(|it| it.nullability == Nullability::Nullable);
        is_new && column.nullability == Nullability::Required
    });
    required.cloned()
}

fn changed(schema: &Schema, change: Change, pick: u64) -> Option<Schema> {
    let columns: Vec<&Column> = added(schema).collect();
    let names = ["x", "y", "z"];
    let free: Vec<&str> = names.into_iter().filter(|name| schema.column_by_name(name).is_none()).collect();
    let chosen = |len: usize| usize::try_from(pick).unwrap() % len;
    if let Change::Add { symbol, missing, required } = change {
        let name = free.first()?;
        let column_type = if symbol { ColumnType::Symbol } else { ColumnType::Int8 };
        let nullability = if required { Nullability::Required } else { Nullability::Nullable };
        let mut new = NewColumn::new(*name, column_type, nullability);
        if missing {
            let value: ArrayRef = match symbol {
                true => Arc::new(StringArray::from(vec![MISSING_TEXT])),
                false => Arc::new(Int64Array::from(vec![MISSING_NUMBER])),
            };
            new.missing = Some(encode_missing(&new.column_type, &value).unwrap());
        }
        return Some(schema.with_columns(vec![new]).unwrap());
    }
    if columns.is_empty() {
        return None;
    }
    let id = columns[chosen(columns.len())].id;
    let next = match change {
        Change::Add { .. } => unreachable!("handled above"),
        Change::Drop => schema.without_column(id),
        Change::Rename => {
            let name = free.first()?;
            schema.with_changed_column(id, |column| column.name = (*name).to_owned())
        }
        Change::SetRequired => {
            schema.with_changed_column(id, |column| column.nullability = Nullability::Required)
        }
        Change::SetNullable => {
            schema.with_changed_column(id, |column| column.nullability = Nullability::Nullable)
        }
    };
    Some(next.unwrap())
}

const MISSING_NUMBER: i64 = 42;
const MISSING_TEXT: &str = "a text for rows that were there";

fn missing_text(column: &Column) -> String {
    match column.column_type {
        ColumnType::Symbol | ColumnType::Text => MISSING_TEXT.to_owned(),
        _ => MISSING_NUMBER.to_string(),
    }
}

fn to_array(engine: &Engine, collection: &Collection, column: &Column, values: &[Value]) -> ArrayRef {
    let texts = values.iter().map(Option::as_deref);
    match column.column_type {
        ColumnType::Symbol | ColumnType::Text => symbols_of(engine, collection, column.id, texts),
        _ => Arc::new(texts.map(|text| text.map(|text| text.parse().unwrap())).collect::<Int64Array>()),
    }
}

/// The rows that fulfil the predicates, by their numbers, with their values in a column.
fn read(
    engine: &Engine,
    collection: &Collection,
    column: &Column,
    predicates: Vec<Predicate>,
) -> Vec<(i64, Value)> {
    try_read(engine, collection, column.id, predicates).unwrap()
}

fn try_read(
    engine: &Engine,
    collection: &Collection,
    column: ColumnId,
    predicates: Vec<Predicate>,
) -> Result<Vec<(i64, Value)>, ReadError> {
    let snapshot = engine.snapshot(&[collection.id])?;
    let snapshot = snapshot.collection(collection.id).unwrap();
    let row_ids = RowIds::NotGiven;
    let request = ScanRequest { columns: vec![ColumnId(2), column], predicates, batch_rows: 100, row_ids };
    let scan = plan(snapshot, request)?;
    let mut rows = Vec::new();
    for unit in scan.units() {
        for batch in scan.read(unit)? {
            let batch = batch?;
            let numbers = batch.column(0).as_primitive::<Int64Type>();
            let values = cast(batch.column(1), &DataType::Utf8).unwrap();
            let values = values.as_string::<i32>().iter().map(|value| value.map(str::to_owned));
            rows.extend(numbers.values().iter().copied().zip(values));
        }
    }
    Ok(rows)
}
