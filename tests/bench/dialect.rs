//! What each system calls things: its DDL, time buckets, instants, and the last row of each host.
//!
//! Where a system knows several spellings of the same question, this is the one that it answers
//! fastest. Every system keeps the same columns.

use clap::ValueEnum;
use serde::Serialize;

use crate::dataset::{METRICS, TABLE, TAGS, TIME, column_list, instant_text};

const NEWEST_TIMES: &str = "(SELECT hostname, max(time) AS time FROM cpu GROUP BY hostname) AS newest";

/// A server that is reached over the PostgreSQL protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServerTarget {
    Tidemark,
    Postgres,
}

impl ServerTarget {
    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Tidemark => Dialect::Tidemark,
            Self::Postgres => Dialect::Postgres,
        }
    }
}

/// The SQL of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    Tidemark,
    Postgres,
    Duckdb,
    Clickhouse,
    Datafusion,
}

pub(crate) const DIALECTS: [Dialect; 5] =
    [Dialect::Tidemark, Dialect::Postgres, Dialect::Duckdb, Dialect::Clickhouse, Dialect::Datafusion];

/// The length of a time bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bucket {
    Minute,
    Hour,
}

impl Bucket {
    fn unit(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }
}

impl Dialect {
    /// The statements that make the table.
    pub(crate) fn create(self, drop: bool) -> Vec<String> {
        let create = match self {
            Self::Tidemark => {
                let columns = columns("timestamptz(9) NOT NULL", "SYMBOL", "double precision");
                format!(
                    "CREATE TABLE {TABLE} ({columns}) WITH (kind = 'timeseries', time_key = '{TIME}', \
                     partition_by = '1 day', series_key = 'hostname')"
                )
            }
            Self::Postgres => {
                format!(
                    "CREATE TABLE {TABLE} ({})",
                    columns("timestamptz NOT NULL", "text", "double precision")
                )
            }
            Self::Duckdb => {
                // Its `timestamptz` goes through a calendar library; TSBS data is in UTC.
                format!("CREATE TABLE {TABLE} ({})", columns("TIMESTAMP NOT NULL", "VARCHAR", "DOUBLE"))
            }
            Self::Clickhouse => {
                let columns = columns("DateTime64(9, 'UTC')", "LowCardinality(String)", "Float64");
                format!("CREATE TABLE {TABLE} ({columns}) ENGINE = MergeTree ORDER BY (hostname, {TIME})")
            }
            // Reads what Tidemark wrote.
            Self::Datafusion => return Vec::new(),
        };
        let drop = drop.then(|| format!("DROP TABLE IF EXISTS {TABLE}"));
        drop.into_iter().chain([create]).collect()
    }

    /// The statements that, after loading, bring the table into the form that it is best queried in.
    pub(crate) fn settle(self) -> Vec<String> {
        match self {
            Self::Tidemark | Self::Datafusion => Vec::new(),
            Self::Postgres => vec![
                format!("CREATE INDEX ON {TABLE} (hostname, {TIME} DESC)"),
                format!("CREATE INDEX ON {TABLE} ({TIME})"),
                format!("VACUUM ANALYZE {TABLE}"),
                "CHECKPOINT".to_owned(),
            ],
            Self::Duckdb => vec!["CHECKPOINT".to_owned()],
            Self::Clickhouse => vec![format!("OPTIMIZE TABLE {TABLE} FINAL")],
        }
    }

    /// The beginning of the bucket that a row's time lies in.
    pub(crate) fn bucket(self, bucket: Bucket) -> String {
        let unit = bucket.unit();
        match self {
            Self::Tidemark => format!("time_bucket(INTERVAL '1 {unit}', {TIME})"),
            // Without a time zone to look up, `date_bin` is faster than `date_trunc`: in PostgreSQL by
            // a quarter, in DataFusion by four fifths.
            Self::Postgres => format!("date_bin('1 {unit}', {TIME}, '2000-01-01T00:00:00Z')"),
            Self::Datafusion => format!("date_bin(INTERVAL '1 {unit}', {TIME})"),
            Self::Duckdb => format!("date_trunc('{unit}', {TIME})"),
            Self::Clickhouse => match bucket {
                Bucket::Minute => format!("toStartOfMinute({TIME})"),
                Bucket::Hour => format!("toStartOfHour({TIME})"),
            },
        }
    }

    /// What a query by bucket and host of whole windows says in addition.
    pub(crate) fn double_groupby_suffix(self) -> &'static str {
        match self {
            // It is sorted by host, and twice as fast when told to use that.
            Self::Clickhouse => " SETTINGS optimize_aggregation_in_order = 1",
            _ => "",
        }
    }

    /// An instant to compare a row's time with; a whole number of milliseconds.
    pub(crate) fn instant(self, time_ns: i64) -> String {
        let text = instant_text(time_ns);
        match self {
            Self::Tidemark | Self::Postgres | Self::Datafusion => format!("'{text}'"),
            Self::Duckdb => format!("TIMESTAMP '{}'", text.trim_end_matches('Z').replace('T', " ")),
            Self::Clickhouse => {
                format!("toDateTime64('{}', 3, 'UTC')", text.trim_end_matches('Z').replace('T', " "))
            }
        }
    }

    /// The last row of each host. (No host has two rows of the same time.)
    pub(crate) fn lastpoint(self) -> String {
        let columns = column_list();
        match self {
            Self::Tidemark => {
                format!("SELECT DISTINCT ON (hostname) {columns} FROM {TABLE} ORDER BY hostname, {TIME} DESC")
            }
            // `DISTINCT ON` reads the whole index; this jumps from host to host in it.
            Self::Postgres => {
                let columns = columns.split(", ").map(|column| format!("last.{column}"));
                let columns = columns.collect::<Vec<_>>().join(", ");
                format!(
                    "WITH RECURSIVE hosts AS ((SELECT hostname FROM {TABLE} ORDER BY hostname LIMIT 1) UNION ALL \
                     SELECT (SELECT hostname FROM {TABLE} WHERE hostname > hosts.hostname ORDER BY hostname LIMIT 1) \
                     FROM hosts WHERE hosts.hostname IS NOT NULL) \
                     SELECT {columns} FROM hosts CROSS JOIN LATERAL (SELECT * FROM {TABLE} \
                     WHERE {TABLE}.hostname = hosts.hostname ORDER BY {TIME} DESC LIMIT 1) AS last \
                     ORDER BY last.hostname"
                )
            }
            // `DISTINCT ON` and `LIMIT 1 BY` sort all rows with all their columns.
            Self::Duckdb | Self::Clickhouse => format!(
                "SELECT {columns} FROM {TABLE} JOIN {NEWEST_TIMES} USING (hostname, {TIME}) ORDER BY hostname"
            ),
            // It makes its hash table from what stands first.
            Self::Datafusion => format!(
                "SELECT {columns} FROM {NEWEST_TIMES} JOIN {TABLE} USING (hostname, {TIME}) ORDER BY hostname"
            ),
        }
    }
}

fn columns(time_type: &str, tag_type: &str, metric_type: &str) -> String {
    let time = format!("{TIME} {time_type}");
    let tags = TAGS.iter().map(|name| format!("{name} {tag_type}"));
    let metrics = METRICS.iter().map(|name| format!("{name} {metric_type}"));
    let columns: Vec<String> = std::iter::once(time).chain(tags).chain(metrics).collect();
    columns.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ddl_has_all_columns() {
        for dialect in DIALECTS {
            for create in dialect.create(false) {
                assert!(create.starts_with("CREATE TABLE cpu (time "), "{create}");
                assert_eq!(create.matches("usage_").count(), 10, "{create}");
            }
        }
        assert_eq!(Dialect::Tidemark.create(true)[0], "DROP TABLE IF EXISTS cpu");
    }

    #[test]
    fn instants_are_spelt_as_each_system_reads_them() {
        let instant = |dialect: Dialect| dialect.instant(1_451_606_400_123_000_000);
        assert_eq!(instant(Dialect::Tidemark), "'2016-01-01T00:00:00.123Z'");
        assert_eq!(instant(Dialect::Duckdb), "TIMESTAMP '2016-01-01 00:00:00.123'");
        assert_eq!(instant(Dialect::Clickhouse), "toDateTime64('2016-01-01 00:00:00.123', 3, 'UTC')");
    }
}
