//! The data set: TSBS devops, cpu-only. Its columns, its extent, and the hosts that report.
//!
//! Every host reports its ten metrics at every interval. The tags of a host never change; each is
//! drawn from the values that TSBS draws it from.

use chrono::{DateTime, Utc};
use clap::Args;

use crate::random::Random;
use tidemark_tests::failure::Result;

pub(crate) const TABLE: &str = "cpu";

pub(crate) const TIME: &str = "time";

pub(crate) const TAGS: [&str; 10] = [
    "hostname",
    "region",
    "datacenter",
    "rack",
    "os",
    "arch",
    "team",
    "service",
    "service_version",
    "service_environment",
];

pub(crate) const METRICS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];

/// The columns in their order, divided by commas.
pub(crate) fn column_list() -> String {
    let names: Vec<&str> = std::iter::once(TIME).chain(TAGS).chain(METRICS).collect();
    names.join(", ")
}

/// What the data set spans.
#[derive(Args, Clone, Debug)]
pub(crate) struct Extent {
    /// How many hosts report
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) hosts: u32,
    /// For how long they report
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) hours: u32,
    /// How far a host's reports are apart
    #[arg(long = "interval", value_name = "DURATION", default_value = "10s", value_parser = parse_duration_ns)]
    pub(crate) interval_ns: i64,
    /// When the first report is made
    #[arg(long = "start", value_name = "INSTANT", default_value = "2016-01-01T00:00:00Z", value_parser = parse_instant_ns)]
    pub(crate) start_ns: i64,
}

impl Extent {
    pub(crate) fn duration_ns(&self) -> i64 {
        i64::from(self.hours) * 3_600_000_000_000
    }

    /// How often every host reports.
    pub(crate) fn tick_count(&self) -> u64 {
        self.duration_ns().cast_unsigned().div_ceil(self.interval_ns.cast_unsigned())
    }

    pub(crate) fn row_count(&self) -> u64 {
        self.tick_count() * u64::from(self.hosts)
    }
}

/// `10s`, `500ms`, `5m`, `1h` as nanoseconds.
pub(crate) fn parse_duration_ns(text: &str) -> Result<i64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(unit_at);
    let unit_ns: i64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err("a duration is a number and ns, us, ms, s, m or h".into()),
    };
    let duration_ns = count.parse::<i64>()?.checked_mul(unit_ns).filter(|duration_ns| *duration_ns > 0);
    duration_ns.ok_or_else(|| "a duration is longer than nothing and shorter than 292 years".into())
}

fn parse_instant_ns(text: &str) -> Result<i64> {
    DateTime::parse_from_rfc3339(text)?
        .timestamp_nanos_opt()
        .ok_or_else(|| "an instant lies between the years 1678 and 2262".into())
}

/// As RFC 3339 in UTC, with as much of the fraction as there is.
pub(crate) fn instant_text(time_ns: i64) -> String {
    let instant = DateTime::<Utc>::from_timestamp_nanos(time_ns);
    if time_ns.rem_euclid(1_000_000_000) == 0 {
        instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else if time_ns.rem_euclid(1_000_000) == 0 {
        instant.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    } else {
        instant.format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string()
    }
}

const REGIONS: [(&str, &[&str]); 9] = [
    ("us-east-1", &["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1e"]),
    ("us-west-1", &["us-west-1a", "us-west-1b"]),
    ("us-west-2", &["us-west-2a", "us-west-2b", "us-west-2c"]),
    ("eu-west-1", &["eu-west-1a", "eu-west-1b", "eu-west-1c"]),
    ("eu-central-1", &["eu-central-1a", "eu-central-1b"]),
    ("ap-southeast-1", &["ap-southeast-1a", "ap-southeast-1b"]),
    ("ap-southeast-2", &["ap-southeast-2a", "ap-southeast-2b"]),
    ("ap-northeast-1", &["ap-northeast-1a", "ap-northeast-1c"]),
    ("sa-east-1", &["sa-east-1a", "sa-east-1b", "sa-east-1c"]),
];
const RACKS: u64 = 100;
const OPERATING_SYSTEMS: [&str; 3] = ["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"];
const ARCHITECTURES: [&str; 2] = ["x64", "x86"];
const TEAMS: [&str; 4] = ["SF", "NYC", "LON", "CHI"];
const SERVICES: u64 = 20;
const SERVICE_VERSIONS: u64 = 2;
const SERVICE_ENVIRONMENTS: [&str; 3] = ["production", "staging", "test"];

pub(crate) fn hostname(host: u64) -> String {
    format!("host_{host}")
}

/// The tags of a host, in the order of [`TAGS`].
pub(crate) fn host_tags(host: u32, random: &mut Random) -> [String; TAGS.len()] {
    let (region, datacenters) = random.choose(&REGIONS);
    [
        hostname(u64::from(host)),
        (*region).to_owned(),
        (*random.choose(datacenters)).to_owned(),
        random.below(RACKS).to_string(),
        (*random.choose(&OPERATING_SYSTEMS)).to_owned(),
        (*random.choose(&ARCHITECTURES)).to_owned(),
        (*random.choose(&TEAMS)).to_owned(),
        random.below(SERVICES).to_string(),
        random.below(SERVICE_VERSIONS).to_string(),
        (*random.choose(&SERVICE_ENVIRONMENTS)).to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_instants_are_read() {
        assert_eq!(parse_duration_ns("10s").unwrap(), 10_000_000_000);
        assert_eq!(parse_duration_ns("500ms").unwrap(), 500_000_000);
        for wrong in ["", "10", "s", "0s", "1 day", "-1s", "9999999999999h"] {
            assert!(parse_duration_ns(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_instant_ns("2016-01-01T00:00:00Z").unwrap(), 1_451_606_400_000_000_000);
        assert_eq!(parse_instant_ns("2016-01-01T01:00:00+01:00").unwrap(), 1_451_606_400_000_000_000);
    }

    #[test]
    fn instants_are_written_with_the_fraction_they_have() {
        let start = 1_451_606_400_000_000_000;
        assert_eq!(instant_text(start), "2016-01-01T00:00:00Z");
        assert_eq!(instant_text(start + 5_000_000), "2016-01-01T00:00:00.005Z");
        assert_eq!(instant_text(start + 5), "2016-01-01T00:00:00.000000005Z");
    }

    #[test]
    fn an_extent_counts_its_rows() {
        let extent = Extent { hosts: 4000, hours: 12, interval_ns: 10_000_000_000, start_ns: 0 };
        assert_eq!(extent.row_count(), 17_280_000);
        let uneven = Extent { hosts: 1, hours: 1, interval_ns: 3_599_000_000_000, start_ns: 0 };
        assert_eq!(uneven.row_count(), 2);
    }
}
