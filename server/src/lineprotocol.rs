//! InfluxDB line protocol: `cpu,host=a usage=0.5,count=3i 1700000000000000000`.
//!
//! | module | does |
//! | --- | --- |
//! | [`scan`] | the grammar of a line |
//! | [`request`] | the lines of a request, as a source of rows |
//! | [`tcp`] | lines over a plain connection |
//!
//! What becomes of the rows is told in [`crate::ingest`].

pub mod request;
pub mod scan;
pub mod tcp;

/// The unit of timestamps in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 10⁻⁹ s
    Nanosecond,
    /// 10⁻⁶ s
    Microsecond,
    /// 10⁻³ s
    Millisecond,
    /// s
    Second,
    /// 60 s
    Minute,
    /// 3,600 s
    Hour,
    /// What makes each timestamp one of our time.
    Auto,
}

/// Below this number of seconds, a timestamp is one in seconds: until the year 2128. Below a thousand
/// times this it is one in milliseconds, and so on, as in InfluxDB 3.
const AUTO_SECONDS_MAX: u64 = 5_000_000_000;

impl Precision {
    /// The names of units.
    pub const NAMES: &str =
        "n, ns, nanosecond, u, us, µ, microsecond, ms, millisecond, s, second, m, h, auto";

    /// The unit that a client names, as any of the versions of the API does.
    pub fn from_name(name: &str) -> Option<Precision> {
        Some(match name {
            "n" | "ns" | "nanosecond" => Precision::Nanosecond,
            "u" | "us" | "µ" | "microsecond" => Precision::Microsecond,
            "ms" | "millisecond" => Precision::Millisecond,
            "s" | "second" => Precision::Second,
            "m" => Precision::Minute,
            "h" => Precision::Hour,
            "auto" => Precision::Auto,
            _ => return None,
        })
    }

    /// Nanoseconds in the unit of a timestamp.
    pub fn nanoseconds(self, timestamp: i64) -> i64 {
        match self {
            Precision::Nanosecond => 1,
            Precision::Microsecond => 1_000,
            Precision::Millisecond => 1_000_000,
            Precision::Second => 1_000_000_000,
            Precision::Minute => 60_000_000_000,
            Precision::Hour => 3_600_000_000_000,
            Precision::Auto => match timestamp.unsigned_abs() {
                seconds if seconds < AUTO_SECONDS_MAX => 1_000_000_000,
                milliseconds if milliseconds < AUTO_SECONDS_MAX * 1_000 => 1_000_000,
                microseconds if microseconds < AUTO_SECONDS_MAX * 1_000_000 => 1_000,
                _ => 1,
            },
        }
    }

    /// A time in ns since 1970, as the unit can tell it: what a line without a timestamp gets.
    pub fn round(self, time_ns: i64) -> i64 {
        match self {
            Precision::Auto => time_ns,
            unit => time_ns - time_ns.rem_euclid(unit.nanoseconds(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_guessed_from_the_size() {
        let cases = [
            (1_708_976_567, 1_000_000_000),
            (1_708_976_567_000, 1_000_000),
            (1_708_976_567_000_000, 1_000),
            (1_708_976_567_000_000_000, 1),
            (-1_708_976_567, 1_000_000_000),
            (0, 1_000_000_000),
            (4_999_999_999, 1_000_000_000),
            (5_000_000_000, 1_000_000),
            (i64::MIN, 1),
        ];
        for (timestamp, unit) in cases {
            assert_eq!(Precision::Auto.nanoseconds(timestamp), unit, "{timestamp}");
        }
        assert_eq!(Precision::Minute.round(-1), -60_000_000_000);
    }
}
