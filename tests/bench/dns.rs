//! The second data set: what a resolver logs, one row for each question it was asked.
//!
//! Rows come in the order of time, at random distances. Clients and names are drawn so that few of them ask
//! most of the questions; how a question is answered depends on its name, so that columns belong together as
//! they do in real logs. A seed determines all of it.
//!
//! | column | what |
//! | --- | --- |
//! | time | µs; 10 M rows are about a day |
//! | client_ip | 10,000 of them |
//! | qname | 60,000 of them |
//! | qtype, rcode | 8 and 4, most of them the same |
//! | cached | two of three, more often for names that are asked for often |
//! | elapsed_ms | thousandths; short when cached |

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::dataset::instant_text;
use crate::dialect::{Bucket, Dialect};
use crate::progress;
use crate::queries::Statements;
use crate::random::Random;
use crate::workload::{Query, RowOrder};
use tidemark_tests::failure::{Context, Result};

const START_NS: i64 = 1_451_606_400_000_000_000;
/// On average two rows are so far apart.
const STEP_MEAN_US: f64 = 8_640.0;
const CLIENTS: u64 = 10_000;
const NAMES: u64 = 60_000;
const WRITE_BYTES: usize = 1 << 20;

/// Types with the share of questions, in thousandths, that are of one of them or of one before it.
const TYPES: [(&str, u64); 8] = [
    ("A", 610),
    ("AAAA", 860),
    ("HTTPS", 930),
    ("PTR", 960),
    ("MX", 975),
    ("TXT", 988),
    ("SRV", 996),
    ("NS", 1000),
];

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// What determines the rows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The CSV file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// `bench generate-dns`.
pub(crate) fn generate(arguments: &Arguments) -> Result<()> {
    let file = File::create(&arguments.out);
    let mut file = file.context(|| format!("create {}", arguments.out.display()))?;
    let progress = progress::of_rows(arguments.rows);
    let mut events = Events::new(arguments.seed);
    let mut text = String::with_capacity(WRITE_BYTES + 256);
    for row in 1..=arguments.rows {
        events.append(&mut text);
        if text.len() >= WRITE_BYTES || row == arguments.rows {
            file.write_all(text.as_bytes()).context(|| "write the rows".to_owned())?;
            progress.set_position(row);
            text.clear();
        }
    }
    progress.finish_and_clear();
    Ok(())
}

struct Events {
    random: Random,
    time_us: i64,
}

impl Events {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), time_us: START_NS / 1000 }
    }

    /// A number below the bound, small ones more often: the cube of an even draw.
    fn skewed(&mut self, bound: u64) -> u64 {
        (self.random.unit().powi(3) * bound as f64) as u64
    }

    fn append(&mut self, text: &mut String) {
        self.time_us += (-(1.0 - self.random.unit()).ln() * STEP_MEAN_US) as i64;
        let client = self.skewed(CLIENTS);
        let name = self.skewed(NAMES);
        let of_type = self.random.below(1000);
        let qtype = TYPES.iter().find(|(_, until)| of_type < *until).map_or("A", |(qtype, _)| qtype);
        // Whether there is such a name is a matter of the name.
        let rcode = match (name.wrapping_mul(2_654_435_761) >> 7) % 100 {
            0..=9 => "NXDOMAIN",
            10 => "SERVFAIL",
            11 if self.random.below(2) == 0 => "REFUSED",
            _ => "NOERROR",
        };
        let cached = self.random.below(NAMES) > name;
        let elapsed_us = if cached {
            20.0 + 400.0 * self.random.unit().powi(4)
        } else {
            4_000.0 + 300_000.0 * self.random.unit().powi(6)
        };
        let time = instant_text(self.time_us * 1000);
        let (a, b) = (client / 250, client % 250 + 1);
        writeln!(
            text,
            "{time},10.{}.{a}.{b},{},{qtype},{rcode},{cached},{:.3}",
            client % 7,
            name_text(name),
            elapsed_us / 1000.0
        )
        .expect("a string takes all that is written to it");
    }
}

fn name_text(name: u64) -> String {
    const ZONES: [&str; 6] = ["com", "net", "org", "de", "co.uk", "io"];
    const HOSTS: [&str; 5] = ["www", "api", "cdn", "mail", "static"];
    let zone = ZONES[(name % 6) as usize];
    let host = HOSTS[(name / 6 % 5) as usize];
    format!("{host}.site-{:x}.{zone}", (name / 30).wrapping_mul(0x9e37_79b1) & 0xff_ffff)
}

/// DDL and queries for a system.
pub(crate) fn statements(dialect: Dialect) -> Statements {
    Statements { create: create(dialect), settle: settle(dialect), queries: queries(dialect) }
}

fn create(dialect: Dialect) -> Vec<String> {
    let columns = |time: &str, word: &str, boolean: &str, number: &str| {
        format!(
            "time {time}, client_ip {word}, qname {word}, qtype {word}, rcode {word}, cached {boolean}, \
             elapsed_ms {number}"
        )
    };
    let create = match dialect {
        Dialect::Tidemark => format!(
            "CREATE TABLE dns ({}) WITH (kind = 'timeseries', time_key = 'time', partition_by = '1 day')",
            columns("timestamptz NOT NULL", "SYMBOL", "boolean", "double precision")
        ),
        Dialect::Postgres => format!(
            "CREATE TABLE dns ({})",
            columns("timestamptz NOT NULL", "text", "boolean", "double precision")
        ),
        Dialect::Duckdb => {
            format!("CREATE TABLE dns ({})", columns("TIMESTAMP NOT NULL", "VARCHAR", "BOOLEAN", "DOUBLE"))
        }
        Dialect::Clickhouse => format!(
            "CREATE TABLE dns ({}) ENGINE = MergeTree ORDER BY time",
            columns("DateTime64(6, 'UTC')", "LowCardinality(String)", "Bool", "Float64")
        ),
        // Reads what Tidemark wrote.
        Dialect::Datafusion => return Vec::new(),
    };
    vec![create]
}

fn settle(dialect: Dialect) -> Vec<String> {
    match dialect {
        Dialect::Tidemark | Dialect::Datafusion => Vec::new(),
        Dialect::Postgres => vec![
            "CREATE INDEX ON dns (time)".to_owned(),
            "CREATE INDEX ON dns (client_ip, time)".to_owned(),
            "VACUUM ANALYZE dns".to_owned(),
            "CHECKPOINT".to_owned(),
        ],
        Dialect::Duckdb => vec!["CHECKPOINT".to_owned()],
        Dialect::Clickhouse => vec!["OPTIMIZE TABLE dns FINAL".to_owned()],
    }
}

fn queries(dialect: Dialect) -> Vec<Query> {
    let (minute, hour) = (dialect.bucket(Bucket::Minute), dialect.bucket(Bucket::Hour));
    let (from, until) =
        (dialect.instant(START_NS + 21_600_000_000_000), dialect.instant(START_NS + 25_200_000_000_000));
    let client = "10.0.0.1";
    let texts = [
        ("count-all", "SELECT count(*) FROM dns".to_owned()),
        ("count-rcode", "SELECT count(*) FROM dns WHERE rcode = 'NXDOMAIN'".to_owned()),
        ("count-slow", "SELECT count(*) FROM dns WHERE NOT cached AND elapsed_ms > 50.0".to_owned()),
        (
            "groupby-qtype",
            "SELECT qtype, count(*), avg(elapsed_ms) FROM dns GROUP BY qtype ORDER BY qtype".to_owned(),
        ),
        (
            "groupby-client",
            "SELECT client_ip, count(*) AS n FROM dns GROUP BY client_ip ORDER BY n DESC, client_ip LIMIT 10"
                .to_owned(),
        ),
        (
            "groupby-qname",
            "SELECT qname, count(*) AS n, max(elapsed_ms) FROM dns GROUP BY qname ORDER BY n DESC, qname LIMIT 10"
                .to_owned(),
        ),
        ("distinct-qname", "SELECT count(DISTINCT qname) FROM dns WHERE rcode = 'NXDOMAIN'".to_owned()),
        (
            "per-minute",
            format!("SELECT {minute} AS minute, count(*) FROM dns GROUP BY minute ORDER BY minute"),
        ),
        (
            "per-hour-rcode",
            format!(
                "SELECT {hour} AS hour, rcode, count(*), avg(elapsed_ms) FROM dns \
                 GROUP BY hour, rcode ORDER BY hour, rcode"
            ),
        ),
        (
            "hour-of-client",
            format!(
                "SELECT time, qname, elapsed_ms FROM dns WHERE client_ip = '{client}' \
                 AND time >= {from} AND time < {until} ORDER BY time, qname, elapsed_ms LIMIT 100"
            ),
        ),
    ];
    let query = |(name, sql)| Query { name, instance: 1, order: RowOrder::Fixed, sql };
    texts.into_iter().map(query).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, rows: usize) -> String {
        let (mut events, mut text) = (Events::new(seed), String::new());
        (0..rows).for_each(|_| events.append(&mut text));
        text
    }

    #[test]
    fn a_seed_determines_the_rows() {
        assert_eq!(text(1, 1000), text(1, 1000));
        assert_ne!(text(1, 1000), text(2, 1000));
    }

    #[test]
    fn rows_come_by_time_and_few_names_are_asked_for_most() {
        let text = text(3, 20_000);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert!(rows.iter().all(|row| row.len() == 7));
        let of_column = |at: usize| rows.iter().map(move |row| row[at]);
        let micros = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
        assert!(of_column(0).map(micros).is_sorted());
        let distinct = |at: usize| of_column(at).collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!((distinct(3), distinct(4), distinct(5)), (8, 4, 2));
        assert!(distinct(2) > 5_000, "{}", distinct(2));
        let first = of_column(2).filter(|name| *name == name_text(0)).count();
        assert!(first > 100, "{first}");
    }

    #[test]
    fn names_are_all_different() {
        let names: std::collections::BTreeSet<String> = (0..NAMES).map(name_text).collect();
        assert_eq!(names.len() as u64, NAMES);
    }

    #[test]
    fn every_system_is_asked_the_same() {
        for dialect in crate::dialect::DIALECTS {
            let names = |dialect| queries(dialect).into_iter().map(|query| query.name);
            assert!(names(dialect).eq(names(Dialect::Tidemark)));
        }
    }
}
