//! The rows of the views in schema `tidemark`: what there is, in the catalog and in the running server.

use bigdecimal::num_bigint::BigInt;
use tidemark_catalog::producer::Producer;

use crate::pg_catalog::plan::Row;
use crate::pg_catalog::relations::made::text;
use crate::pg_catalog::run::Run;
use crate::pgtype::datum::Datum;
use crate::pgtype::numeric::Numeric;

/// The rows of a view.
pub(super) fn rows(name: &str, run: &Run<'_>) -> Vec<Row> {
    match name {
        "producers" => producers(run),
        _ => Vec::new(),
    }
}

fn number(value: impl TryInto<i64>) -> Datum {
    Datum::Int8(value.try_into().unwrap_or(i64::MAX))
}

/// A sequence may be above all `bigint`.
fn producers(run: &Run<'_>) -> Vec<Row> {
    let row = |(name, producer): (String, Producer)| {
        Row::from(vec![
            text(name),
            Datum::Numeric(Numeric::from_scaled(BigInt::from(producer.sequence), 0)),
            number(producer.lsn.0),
            Datum::Timestamptz(producer.system_time_us),
        ])
    };
    run.context.system.producers().into_iter().map(row).collect()
}
