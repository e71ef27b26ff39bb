//! The 15 query types of TSBS devops, cpu-only: the one place where their text is made.
//!
//! | name | what it asks |
//! | --- | --- |
//! | single-groupby-M-H-T | the maximum of M metrics, of H hosts together, by minute, over T hours |
//! | cpu-max-all-H | the maximum of all 10 metrics, of H hosts together, by hour, over 8 hours |
//! | double-groupby-M | the mean of M metrics (or all) by hour and host, over 12 hours |
//! | high-cpu-all | over 12 hours, how many rows of any host have usage_user > 90, and the sum of it; TSBS returns the rows, which would measure the sending of them |
//! | high-cpu-1 | the same rows of one host, over 12 hours: the rows themselves, in any order, as TSBS does |
//! | lastpoint | the last row of each host |
//! | groupby-orderby-limit | the maximum of usage_user in each of the last 5 minutes before an instant |
//!
//! A window that is longer than the data set becomes the whole data set. Hosts and the beginnings
//! of windows are drawn from the seed. A query type can have several instances with parameters of
//! their own, so that a system that remembers its last answer does not look fast.

use clap::Args;
use serde::Serialize;

use crate::dataset::{Extent, METRICS, TABLE, TIME, column_list, hostname};
use crate::dialect::{Bucket, Dialect};
use crate::random::Random;

/// With this seed and the data set's defaults, the host of high-cpu-1 is one that was busy: a query
/// without an answer would measure little.
const QUERY_SEED: u64 = 2;

const HOUR_NS: i64 = 3_600_000_000_000;
const MILLISECOND_NS: i64 = 1_000_000;
const DOUBLE_GROUPBY_HOURS: i64 = 12;
const HIGH_CPU_HOURS: i64 = 12;
const CPU_MAX_ALL_HOURS: i64 = 8;

/// Which queries are run, with which parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct Workload {
    #[command(flatten)]
    pub(crate) extent: Extent,
    /// What determines the hosts and windows that are asked for
    #[arg(long, default_value_t = QUERY_SEED)]
    pub(crate) query_seed: u64,
    /// How many different parameters each query type is asked with
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) instances: u32,
    /// Only these query types, divided by commas
    #[arg(long, value_delimiter = ',', value_parser = query_types())]
    pub(crate) only: Vec<String>,
}

fn query_types() -> Vec<&'static str> {
    QUERY_TYPES.iter().map(|(name, _)| *name).collect()
}

#[derive(Clone, Copy, Debug)]
enum QueryType {
    SingleGroupby { metrics: usize, hosts: usize, hours: i64 },
    CpuMaxAll { hosts: usize },
    DoubleGroupby { metrics: usize },
    HighCpuAll,
    HighCpu { hosts: usize },
    Lastpoint,
    GroupbyOrderbyLimit,
}

const QUERY_TYPES: [(&str, QueryType); 15] = [
    ("single-groupby-1-1-1", QueryType::SingleGroupby { metrics: 1, hosts: 1, hours: 1 }),
    ("single-groupby-1-1-12", QueryType::SingleGroupby { metrics: 1, hosts: 1, hours: 12 }),
    ("single-groupby-1-8-1", QueryType::SingleGroupby { metrics: 1, hosts: 8, hours: 1 }),
    ("single-groupby-5-1-1", QueryType::SingleGroupby { metrics: 5, hosts: 1, hours: 1 }),
    ("single-groupby-5-1-12", QueryType::SingleGroupby { metrics: 5, hosts: 1, hours: 12 }),
    ("single-groupby-5-8-1", QueryType::SingleGroupby { metrics: 5, hosts: 8, hours: 1 }),
    ("cpu-max-all-1", QueryType::CpuMaxAll { hosts: 1 }),
    ("cpu-max-all-8", QueryType::CpuMaxAll { hosts: 8 }),
    ("double-groupby-1", QueryType::DoubleGroupby { metrics: 1 }),
    ("double-groupby-5", QueryType::DoubleGroupby { metrics: 5 }),
    ("double-groupby-all", QueryType::DoubleGroupby { metrics: METRICS.len() }),
    ("high-cpu-all", QueryType::HighCpuAll),
    ("high-cpu-1", QueryType::HighCpu { hosts: 1 }),
    ("lastpoint", QueryType::Lastpoint),
    ("groupby-orderby-limit", QueryType::GroupbyOrderbyLimit),
];

/// Whether the order of the answer's rows is part of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RowOrder {
    Fixed,
    Free,
}

/// A query with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Query {
    /// The query type.
    pub(crate) name: &'static str,
    pub(crate) instance: u32,
    pub(crate) order: RowOrder,
    pub(crate) sql: String,
}

/// The queries in the SQL of a system; the same questions for every system.
pub(crate) fn queries(workload: &Workload, dialect: Dialect) -> Vec<Query> {
    let is_wanted = |name: &str| workload.only.is_empty() || workload.only.iter().any(|only| only == name);
    let mut queries = Vec::new();
    for (number, (name, query_type)) in (0_u64..).zip(QUERY_TYPES) {
        if !is_wanted(name) {
            continue;
        }
        for instance in 1..=workload.instances {
            // A stream for each query: leaving one out changes none of the others.
            let stream = workload.query_seed.wrapping_mul(1 << 32) ^ (number << 24) ^ u64::from(instance);
            let mut draw = Draw { random: Random::new(stream), extent: &workload.extent, dialect };
            let order = match query_type {
                QueryType::HighCpu { .. } => RowOrder::Free,
                _ => RowOrder::Fixed,
            };
            queries.push(Query { name, instance, order, sql: sql(query_type, &mut draw) });
        }
    }
    queries
}

fn sql(query_type: QueryType, draw: &mut Draw<'_>) -> String {
    let dialect = draw.dialect;
    match query_type {
        QueryType::SingleGroupby { metrics, hosts, hours } => {
            let (hosts, window) = (draw.hosts(hosts), draw.window(hours));
            let (minute, maxima) = (dialect.bucket(Bucket::Minute), aggregates("max", metrics));
            format!(
                "SELECT {minute} AS minute, {maxima} FROM {TABLE} WHERE {hosts} AND {window} \
                 GROUP BY minute ORDER BY minute"
            )
        }
        QueryType::CpuMaxAll { hosts } => {
            let (hosts, window) = (draw.hosts(hosts), draw.window(CPU_MAX_ALL_HOURS));
            let (hour, maxima) = (dialect.bucket(Bucket::Hour), aggregates("max", METRICS.len()));
            format!(
                "SELECT {hour} AS hour, {maxima} FROM {TABLE} WHERE {hosts} AND {window} \
                 GROUP BY hour ORDER BY hour"
            )
        }
        QueryType::DoubleGroupby { metrics } => {
            let window = draw.window(DOUBLE_GROUPBY_HOURS);
            let (hour, means) = (dialect.bucket(Bucket::Hour), aggregates("avg", metrics));
            let suffix = dialect.double_groupby_suffix();
            format!(
                "SELECT {hour} AS hour, hostname, {means} FROM {TABLE} WHERE {window} \
                 GROUP BY hour, hostname ORDER BY hour, hostname{suffix}"
            )
        }
        QueryType::HighCpuAll => {
            let window = draw.window(HIGH_CPU_HOURS);
            format!("SELECT count(*), sum(usage_user) FROM {TABLE} WHERE usage_user > 90.0 AND {window}")
        }
        QueryType::HighCpu { hosts } => {
            let (hosts, window) = (draw.hosts(hosts), draw.window(HIGH_CPU_HOURS));
            let columns = column_list();
            format!("SELECT {columns} FROM {TABLE} WHERE usage_user > 90.0 AND {window} AND {hosts}")
        }
        QueryType::Lastpoint => dialect.lastpoint(),
        QueryType::GroupbyOrderbyLimit => {
            let (_, end_ns) = draw.window_ns(1);
            let (minute, end) = (dialect.bucket(Bucket::Minute), dialect.instant(end_ns));
            format!(
                "SELECT {minute} AS minute, max(usage_user) AS max_usage_user FROM {TABLE} WHERE {TIME} < {end} \
                 GROUP BY minute ORDER BY minute DESC LIMIT 5"
            )
        }
    }
}

/// `max(usage_user) AS max_usage_user, …` of the first metrics.
fn aggregates(function: &str, metrics: usize) -> String {
    let aggregates =
        METRICS[..metrics].iter().map(|metric| format!("{function}({metric}) AS {function}_{metric}"));
    aggregates.collect::<Vec<_>>().join(", ")
}

/// Draws the parameters of a query and spells them for a system.
struct Draw<'a> {
    random: Random,
    extent: &'a Extent,
    dialect: Dialect,
}

impl Draw<'_> {
    /// A condition that some hosts meet: as many as asked for, or all when there are not so many.
    fn hosts(&mut self, count: usize) -> String {
        let host_count = u64::from(self.extent.hosts);
        let count = count.min(self.extent.hosts as usize);
        let chosen = self.random.distinct_below(count, host_count);
        match chosen.as_slice() {
            [host] => format!("hostname = '{}'", hostname(*host)),
            hosts => {
                let names: Vec<String> = hosts.iter().map(|host| format!("'{}'", hostname(*host))).collect();
                format!("hostname IN ({})", names.join(", "))
            }
        }
    }

    /// A condition that the rows of a window meet.
    fn window(&mut self, hours: i64) -> String {
        let (start_ns, end_ns) = self.window_ns(hours);
        let (start, end) = (self.dialect.instant(start_ns), self.dialect.instant(end_ns));
        format!("{TIME} >= {start} AND {TIME} < {end}")
    }

    /// A window of so many hours anywhere in the data set, beginning at a whole millisecond.
    fn window_ns(&mut self, hours: i64) -> (i64, i64) {
        let window_ns = (hours * HOUR_NS).min(self.extent.duration_ns());
        let room_ms = (self.extent.duration_ns() - window_ns) / MILLISECOND_NS;
        let offset_ms = self.random.below(room_ms.cast_unsigned() + 1).cast_signed();
        let start_ns = self.extent.start_ns + offset_ms * MILLISECOND_NS;
        (start_ns, start_ns + window_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::DIALECTS;

    fn workload(hours: u32, query_seed: u64) -> Workload {
        let start_ns = 1_451_606_400_000_000_000;
        let extent = Extent { hosts: 100, hours, interval_ns: 10_000_000_000, start_ns };
        Workload { extent, query_seed, instances: 2, only: Vec::new() }
    }

    #[test]
    fn a_seed_determines_the_queries() {
        let of = |seed| queries(&workload(24, seed), Dialect::Tidemark);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(of(1).len(), 30);
        assert_ne!(of(1)[0].sql, of(1)[1].sql);
    }

    #[test]
    fn leaving_queries_out_changes_none_of_the_others() {
        let all = queries(&workload(24, 1), Dialect::Tidemark);
        let only = Workload { only: vec!["high-cpu-1".to_owned()], ..workload(24, 1) };
        let expected: Vec<Query> = all.into_iter().filter(|query| query.name == "high-cpu-1").collect();
        assert_eq!(queries(&only, Dialect::Tidemark), expected);
    }

    #[test]
    fn a_query_says_what_its_name_says() {
        let workload = workload(24, 7);
        let sql = |name: &str| {
            let queries = queries(&workload, Dialect::Postgres);
            queries.into_iter().find(|query| query.name == name).unwrap().sql
        };
        let query = sql("single-groupby-5-8-1");
        assert_eq!(query.matches("max(").count(), 5);
        assert_eq!(query.matches("'host_").count(), 8);
        assert_eq!(sql("double-groupby-all").matches("avg(").count(), 10);
        assert!(sql("high-cpu-all").starts_with("SELECT count(*), sum(usage_user) FROM cpu"));
        assert!(sql("high-cpu-1").starts_with("SELECT time, hostname, region"));
    }

    #[test]
    fn windows_lie_within_the_data() {
        for (hours_of_data, hours) in [(24, 12), (12, 12), (2, 12), (13, 1)] {
            let extent = workload(hours_of_data, 1).extent;
            let mut draw = Draw { random: Random::new(1), extent: &extent, dialect: Dialect::Tidemark };
            for _ in 0..100 {
                let (start_ns, end_ns) = draw.window_ns(hours);
                assert!(start_ns >= extent.start_ns);
                assert!(end_ns <= extent.start_ns + extent.duration_ns());
                assert_eq!(end_ns - start_ns, hours.min(i64::from(hours_of_data)) * HOUR_NS);
            }
        }
    }

    #[test]
    fn every_system_is_asked_the_same() {
        for dialect in DIALECTS {
            let names =
                |dialect| queries(&workload(24, 1), dialect).into_iter().map(|q| (q.name, q.instance));
            assert!(names(dialect).eq(names(Dialect::Tidemark)));
        }
    }
}
