//! DataFusion's errors in PostgreSQL's words.
//!
//! Errors of our own travel through DataFusion unchanged. What DataFusion itself finds wrong is
//! known by its variant where there is one, and by its text where there is not; what is not
//! recognised is told as it is, under `XX000` or the class that fits.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError, Span, TableReference};
use tidemark_engine::error::ReadError;

use crate::error::SqlError;
use crate::sql::position::character_position;
use crate::sqlstate;

/// The error as a client is told it. `text` is the statement, for positions.
pub fn to_sql_error(error: DataFusionError, text: Option<&str>) -> SqlError {
    let position = first_span(&error).and_then(|span| {
        let text = text?;
        character_position(text, span.start.line, span.start.column)
    });
    convert(&error).at(position)
}

fn first_span(error: &DataFusionError) -> Option<Span> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => diagnostic.span.or_else(|| first_span(inner)),
        DataFusionError::Context(_, inner) => first_span(inner),
        DataFusionError::Shared(inner) => first_span(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(first_span),
        _ => None,
    }
}

/// An error of ours or of the engine's on its way through DataFusion; [`to_sql_error`] gives it back.
pub fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn out_of_memory(what: &str) -> SqlError {
    SqlError::new(sqlstate::OUT_OF_MEMORY, "out of memory for this query")
        .with_detail(first_sentence(what))
        .with_hint("Raise query-memory-per-query or query-spill, or make the query need less at a time.")
}

fn convert(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => convert(inner),
        DataFusionError::Shared(inner) => convert(inner),
        DataFusionError::Collection(errors) => {
            errors.first().map_or_else(|| SqlError::internal(error), convert)
        }
        DataFusionError::External(inner) => from_external(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => arrow(inner),
        DataFusionError::SchemaError(inner, _) => schema(inner),
        DataFusionError::ResourcesExhausted(what) => out_of_memory(what),
        DataFusionError::NotImplemented(what) if what.contains("OuterReferenceColumn") => {
            SqlError::unsupported("a subquery that refers to outer columns in this form")
        }
        DataFusionError::NotImplemented(what) => {
            SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, first_sentence(what))
        }
        DataFusionError::Plan(what) => plan(what),
        DataFusionError::Execution(what) => execution(what),
        DataFusionError::SQL(inner, _) => SqlError::new(sqlstate::SYNTAX_ERROR, inner.to_string()),
        DataFusionError::IoError(inner) if tidemark_engine::is_disk_full(inner) => {
            SqlError::new(sqlstate::DISK_FULL, "no space left on disk for temporary data")
        }
        DataFusionError::IoError(inner) => SqlError::new(sqlstate::IO_ERROR, inner.to_string()),
        other => SqlError::internal(first_sentence(&other.to_string())),
    }
}

fn from_external(error: &(dyn std::error::Error + 'static)) -> SqlError {
    if let Some(error) = error.downcast_ref::<SqlError>() {
        return error.clone();
    }
    if let Some(error) = error.downcast_ref::<ReadError>() {
        return read(error);
    }
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return convert(error);
    }
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return arrow(error);
    }
    if let Some(error) = regular_expression(&error.to_string()) {
        return error;
    }
    SqlError::internal(error)
}

/// An error of the engine's reader.
pub fn read(error: &ReadError) -> SqlError {
    match error {
        ReadError::Io { .. } => SqlError::new(sqlstate::IO_ERROR, error.to_string()),
        ReadError::Damaged { .. } | ReadError::Missing { .. } | ReadError::Decode { .. } => {
            SqlError::new(sqlstate::DATA_CORRUPTED, error.to_string())
        }
        ReadError::NoSuchCollection(_) => {
            SqlError::new(sqlstate::UNDEFINED_TABLE, "a relation was dropped while the statement started")
        }
        ReadError::NoSuchColumn(_) => {
            SqlError::new(sqlstate::UNDEFINED_COLUMN, "a column was dropped while the statement started")
        }
        ReadError::Arrow(inner) => arrow(inner),
    }
}

fn arrow(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::DivideByZero => SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => {
            SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "numeric value out of range")
        }
        ArrowError::ExternalError(inner) => from_external(inner.as_ref()),
        ArrowError::CastError(what) | ArrowError::ParseError(what) => {
            SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, first_sentence(what))
        }
        ArrowError::InvalidArgumentError(what) if what.contains("too large to store in a Decimal") => {
            SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow")
        }
        // The disk that a query may use for what it has no memory for.
        ArrowError::IoError(what, _) if what.contains("during the spilling process") => out_of_memory(what),
        ArrowError::MemoryError(what) => SqlError::new(sqlstate::OUT_OF_MEMORY, what.clone()),
        other => regular_expression(&other.to_string()).unwrap_or_else(|| SqlError::internal(other)),
    }
}

/// What is wrong with a regular expression.
fn regular_expression(what: &str) -> Option<SqlError> {
    let (_, detail) = what.split_once("regex parse error:")?;
    let reason = detail.lines().last()?.trim().trim_start_matches("error: ");
    let message = format!("invalid regular expression: {reason}");
    Some(SqlError::new(sqlstate::INVALID_REGULAR_EXPRESSION, message))
}

fn schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let is_source = |relation: &TableReference| {
                valid_fields
                    .iter()
                    .any(|it| it.relation.as_ref().is_some_and(|it| it.table() == relation.table()))
            };
            if let Some(relation) = field.relation.as_ref().filter(|relation| !is_source(relation)) {
                let message = format!("missing FROM-clause entry for table \"{}\"", relation.table());
                return SqlError::new(sqlstate::UNDEFINED_TABLE, message);
            }
            let name = match &field.relation {
                Some(relation) => format!("{}.{}", relation.table(), field.name),
                None => format!("\"{}\"", field.name),
            };
            SqlError::new(sqlstate::UNDEFINED_COLUMN, format!("column {name} does not exist"))
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column reference \"{}\" is ambiguous", field.name);
            SqlError::new(sqlstate::AMBIGUOUS_COLUMN, message)
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            let message = format!("column \"{name}\" specified more than once");
            SqlError::new(sqlstate::DUPLICATE_COLUMN, message)
        }
    }
}

fn plan(what: &str) -> SqlError {
    if let Some(name) = between(what, "Invalid function '", "'") {
        let message = format!("function {name} does not exist");
        return SqlError::new(sqlstate::UNDEFINED_FUNCTION, message)
            .with_hint("No function matches the given name. You might need to check its spelling.");
    }
    if let Some(call) = between(what, "argument types '", "'") {
        let message = format!("function {} does not exist", sql_types(call).to_lowercase());
        return SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        );
    }
    if let Some(operation) = after_operation(what) {
        let message = format!("operator does not exist: {}", sql_types(operation));
        return SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
            "No operator matches the given name and argument types. You might need to add explicit type casts.",
        );
    }
    if what.contains("must be in GROUP BY") || what.contains("must appear in the GROUP BY clause") {
        let column = between(what, "column \"", "\"").or_else(|| between(what, "references: ", " must"));
        let message = match column {
            Some(column) => format!(
                "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"
            ),
            None => first_sentence(what),
        };
        return SqlError::new(sqlstate::GROUPING_ERROR, message);
    }
    if let Some(error) = misplaced(what) {
        return error;
    }
    if what.contains("have the same name") || what.contains("more than once") {
        return SqlError::new(sqlstate::DUPLICATE_ALIAS, first_sentence(what));
    }
    let set = ["UNION", "INTERSECT", "EXCEPT"].into_iter().find(|set| {
        what.starts_with(&format!("{set} queries have different number of columns"))
            || (*set == "UNION" && what.contains("same number of columns"))
    });
    if let Some(set) = set {
        let message = format!("each {set} query must have the same number of columns");
        return SqlError::new(sqlstate::SYNTAX_ERROR, message);
    }
    if what.contains("Placeholder") || what.contains("placeholder") {
        return SqlError::new(
            sqlstate::INDETERMINATE_DATATYPE,
            "could not determine data type of a parameter",
        )
        .with_hint("Give the parameter a type, as in $1::integer.");
    }
    let state = if what.contains("not supported") || what.contains("Unsupported") {
        sqlstate::FEATURE_NOT_SUPPORTED
    } else {
        sqlstate::SYNTAX_ERROR
    };
    SqlError::new(state, first_sentence(what))
}

/// What stands where it may not, or does not have the type that its place asks for.
fn misplaced(what: &str) -> Option<SqlError> {
    let boolean = |place: &str, given: &str| {
        let message =
            format!("argument of {place} must be type boolean, not type {}", sql_types(given.trim()));
        Some(SqlError::new(sqlstate::DATATYPE_MISMATCH, message))
    };
    if what.contains("aggregate functions are not allowed in the WHERE")
        || what.contains("Aggregate functions are not allowed in the WHERE")
    {
        return Some(SqlError::new(sqlstate::GROUPING_ERROR, "aggregate functions are not allowed in WHERE"));
    }
    if what.to_lowercase().contains("aggregate function calls cannot be nested") {
        return Some(SqlError::new(sqlstate::GROUPING_ERROR, "aggregate function calls cannot be nested"));
    }
    if let Some((_, given)) = what.split_once("requires a boolean expression, got ") {
        return boolean("NOT", given);
    }
    if what.contains("filter with non-boolean predicate")
        && let Some((_, given)) = what.rsplit_once(" returning ")
    {
        return boolean("WHERE", given);
    }
    if let Some((_, given)) = what.split_once("oin condition must be boolean type, but got ") {
        return boolean("JOIN/ON", given);
    }
    if let Some(position) = between(what, "rder by column out of bounds, specified: ", ",") {
        let message = format!("ORDER BY position {position} is not in select list");
        return Some(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
    }
    if what.contains("rder by index starts at 1") {
        let message = "ORDER BY position 0 is not in select list";
        return Some(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
    }
    if what.contains("SELECT DISTINCT ON expressions must match initial ORDER BY expressions") {
        let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
        return Some(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
    }
    if what.contains("or SELECT DISTINCT, ORDER BY expressions") {
        let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
        return Some(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
    }
    if what.contains("LIMIT must be >= 0") {
        return Some(SqlError::new(
            sqlstate::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE,
            "LIMIT must not be negative",
        ));
    }
    if what.contains("OFFSET must be >=0") {
        return Some(SqlError::new(
            sqlstate::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE,
            "OFFSET must not be negative",
        ));
    }
    what.contains("The subquery should only return one column")
        .then(|| SqlError::new(sqlstate::SYNTAX_ERROR, "subquery must return only one column"))
}

fn after_operation(what: &str) -> Option<&str> {
    let starts = [
        "Cannot infer common argument type for comparison operation ",
        "Cannot infer common argument type for logical boolean operation ",
        "Cannot infer common argument type for regex operation ",
        "Cannot infer common argument type for operation ",
        "Cannot infer common type for bitwise operation ",
        "Cannot infer common string type for string concat operation ",
    ];
    if let Some(start) = starts.iter().find(|start| what.contains(*start)) {
        let at = what.find(start)? + start.len();
        return what[at..].lines().next();
    }
    between(what, "Cannot coerce arithmetic expression ", " to valid types")
}

fn execution(what: &str) -> SqlError {
    if what.to_ascii_lowercase().contains("divide by zero") {
        return SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero");
    }
    if what.contains("Scalar subquery") || what.contains("more than one row") {
        let message = "more than one row returned by a subquery used as an expression";
        return SqlError::new(sqlstate::CARDINALITY_VIOLATION, message);
    }
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, first_sentence(what))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

/// The first line, in the form of a primary message.
fn first_sentence(text: &str) -> String {
    let line = text.lines().next().unwrap_or(text).trim().trim_end_matches('.');
    let line = line.strip_prefix("Error during planning: ").unwrap_or(line);
    let line = line.strip_prefix("This feature is not implemented: ").unwrap_or(line);
    let mut characters = line.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => line.to_owned(),
    }
}

/// Arrow's names of types as SQL's.
fn sql_types(text: &str) -> String {
    // Longer names first: one may be part of another.
    let names = [
        ("Dictionary(Int32, Utf8)", "text"),
        ("LargeUtf8", "text"),
        ("Utf8View", "text"),
        ("Utf8", "text"),
        ("Boolean", "boolean"),
        ("Int16", "smallint"),
        ("Int32", "integer"),
        ("Int64", "bigint"),
        ("Float32", "real"),
        ("Float64", "double precision"),
        ("Date32", "date"),
        ("Interval(MonthDayNano)", "interval"),
        ("FixedSizeBinary(16)", "uuid"),
        ("BinaryView", "bytea"),
        ("Null", "unknown"),
    ];
    let mut text = names.iter().fold(text.to_owned(), |text, (arrow, sql)| text.replace(arrow, sql));
    while let Some(start) = text.find("Timestamp(") {
        let end = start + closing(&text[start..]);
        let zoned = text[start..end].contains("Some") || text[start..end].contains('"');
        let name = if zoned { "timestamp with time zone" } else { "timestamp without time zone" };
        text.replace_range(start..end, name);
    }
    while let Some(start) = text.find("Decimal") {
        let end = text[start..].find(')').map_or(text.len(), |end| start + end + 1);
        text.replace_range(start..end, "numeric");
    }
    text
}

/// Where the parenthesis that is opened first in a text is closed.
fn closing(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth <= 1 => return at + 1,
            ')' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_planner_become_postgresqls() {
        let cases = [
            ("Invalid function 'nonsense'.\nDid you mean 'x'?", "42883", "function nonsense does not exist"),
            (
                "Cannot infer common argument type for comparison operation Int64 = Utf8",
                "42883",
                "operator does not exist: bigint = text",
            ),
            (
                "Cannot coerce arithmetic expression Float32 + Timestamp(Nanosecond, Some(\"UTC\")) to valid types",
                "42883",
                "operator does not exist: real + timestamp with time zone",
            ),
            (
                "No function matches the given name and argument types 'round(Utf8, Utf8)'. You might",
                "42883",
                "function round(text, text) does not exist",
            ),
        ];
        for (what, state, message) in cases {
            let error = plan(what);
            assert_eq!((error.state().code(), error.message()), (state, message));
        }
    }

    #[test]
    fn our_own_errors_come_back_unchanged() {
        let error = SqlError::new(sqlstate::UNDEFINED_TABLE, "relation \"x\" does not exist");
        let wrapped = DataFusionError::External(Box::new(error.clone())).context("somewhere");
        assert_eq!(to_sql_error(wrapped, None), error);
    }
}
