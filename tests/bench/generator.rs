//! The rows of the data set, ordered by time, then host.
//!
//! 1. Every host has a random stream of its own: its tags and its walks do not depend on how many
//!    other hosts there are.
//! 2. A metric starts anywhere in 0..100 and makes a step of N(0, 1) at each report, clamped to
//!    0..=100. What is reported is its whole part.
//! 3. A share of the rows can be late: such a row comes later in the stream than its time says, by
//!    up to a delay. The rows themselves are the same with and without.

use std::collections::VecDeque;

use clap::Args;

use crate::dataset::{Extent, METRICS, host_tags, parse_duration_ns};
use crate::random::{Random, normal_quantiles};

/// Which rows there are and in which order they come.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataSet {
    #[command(flatten)]
    pub(crate) extent: Extent,
    /// What determines the values
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The share of rows that come later than their time says
    #[arg(long, default_value_t = 0.0, value_parser = parse_percent)]
    pub(crate) late_percent: f64,
    /// How late a late row is at most
    #[arg(long = "late-max", value_name = "DURATION", default_value = "5m", value_parser = parse_duration_ns)]
    pub(crate) late_max_ns: i64,
}

fn parse_percent(text: &str) -> tidemark_tests::failure::Result<f64> {
    let percent = text.parse::<f64>()?;
    if (0.0..=100.0).contains(&percent) { Ok(percent) } else { Err("a share lies between 0 and 100".into()) }
}

/// One report of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) time_ns: i64,
    pub(crate) host: u32,
    pub(crate) values: [u8; METRICS.len()],
}

struct Host {
    random: Random,
    walks: [f32; METRICS.len()],
}

/// The tags of every host of the data set.
pub(crate) fn tags_of_hosts(data_set: &DataSet) -> Vec<[String; crate::dataset::TAGS.len()]> {
    (0..data_set.extent.hosts).map(|host| host_tags(host, &mut host_random(data_set.seed, host))).collect()
}

fn host_random(seed: u64, host: u32) -> Random {
    let seed_of_host = Random::new(seed).next() ^ u64::from(host);
    Random::new(seed_of_host)
}

/// The rows of the data set in the order in which they come.
pub(crate) fn rows(data_set: &DataSet) -> Late<InOrder> {
    let interval_ns = data_set.extent.interval_ns;
    Late {
        rows: InOrder::new(data_set),
        random: Random::new(!data_set.seed),
        share: data_set.late_percent / 100.0,
        interval_ns,
        delay_ticks_max: (data_set.late_max_ns / interval_ns).max(1).cast_unsigned(),
        now_ns: None,
        waiting: VecDeque::new(),
        due: Vec::new(),
        next: None,
    }
}

/// The rows ordered by time, then host.
pub(crate) struct InOrder {
    hosts: Vec<Host>,
    steps: Box<[f32; 1 << 16]>,
    interval_ns: i64,
    time_ns: i64,
    ticks_left: u64,
    host: usize,
}

impl InOrder {
    fn new(data_set: &DataSet) -> Self {
        let hosts = (0..data_set.extent.hosts).map(|host| {
            let mut random = host_random(data_set.seed, host);
            host_tags(host, &mut random);
            let walks = std::array::from_fn(|_| (random.unit() * 100.0) as f32);
            Host { random, walks }
        });
        Self {
            hosts: hosts.collect(),
            steps: normal_quantiles(),
            interval_ns: data_set.extent.interval_ns,
            time_ns: data_set.extent.start_ns,
            ticks_left: data_set.extent.tick_count(),
            host: 0,
        }
    }
}

impl Iterator for InOrder {
    type Item = Point;

    #[inline]
    fn next(&mut self) -> Option<Point> {
        if self.ticks_left == 0 {
            return None;
        }
        let host = &mut self.hosts[self.host];
        let values = host.walks.map(|walk| walk as u8);
        advance(host, &self.steps);
        let point = Point { time_ns: self.time_ns, host: self.host as u32, values };
        self.host += 1;
        if self.host == self.hosts.len() {
            self.host = 0;
            self.time_ns += self.interval_ns;
            self.ticks_left -= 1;
        }
        Some(point)
    }
}

/// Moves each walk of a host on by a step; four steps come from one random number.
fn advance(host: &mut Host, steps: &[f32; 1 << 16]) {
    for walks in host.walks.chunks_mut(4) {
        let mut bits = host.random.next();
        for walk in walks {
            *walk = (*walk + steps[usize::from(bits as u16)]).clamp(0.0, 100.0);
            bits >>= 16;
        }
    }
}

/// The rows with a share of them held back.
pub(crate) struct Late<Rows> {
    rows: Rows,
    random: Random,
    share: f64,
    interval_ns: i64,
    delay_ticks_max: u64,
    now_ns: Option<i64>,
    /// What is due at the next tick, at the one after it, and so on.
    waiting: VecDeque<Vec<Point>>,
    /// What is due now, the next last.
    due: Vec<Point>,
    /// The row that was met when the tick began and comes after what is due.
    next: Option<Point>,
}

impl<Rows: Iterator<Item = Point>> Late<Rows> {
    /// Time has come to `time_ns`: what waited until then is due.
    fn tick(&mut self, time_ns: i64) {
        let ticks = self.now_ns.map_or(0, |now_ns| (time_ns - now_ns) / self.interval_ns);
        for _ in 0..ticks {
            self.due.extend(self.waiting.pop_front().unwrap_or_default());
        }
        self.due.reverse();
        self.now_ns = Some(time_ns);
    }

    /// Holds the row back, if it is one of the late ones.
    fn hold_back(&mut self, point: Point) -> Option<Point> {
        if self.random.unit() >= self.share {
            return Some(point);
        }
        let delay_ticks = self.random.below(self.delay_ticks_max) as usize;
        if self.waiting.len() <= delay_ticks {
            self.waiting.resize_with(delay_ticks + 1, Vec::new);
        }
        self.waiting[delay_ticks].push(point);
        None
    }
}

impl<Rows: Iterator<Item = Point>> Iterator for Late<Rows> {
    type Item = Point;

    #[inline]
    fn next(&mut self) -> Option<Point> {
        if self.share == 0.0 {
            return self.rows.next();
        }
        loop {
            if let Some(point) = self.due.pop() {
                return Some(point);
            }
            let point = match self.next.take() {
                Some(point) => point,
                None => match self.rows.next() {
                    Some(point) if self.now_ns != Some(point.time_ns) => {
                        self.tick(point.time_ns);
                        self.next = Some(point);
                        continue;
                    }
                    Some(point) => point,
                    None => {
                        self.due = self.waiting.pop_front()?;
                        self.due.reverse();
                        continue;
                    }
                },
            };
            if let Some(point) = self.hold_back(point) {
                return Some(point);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn data_set(hosts: u32, seed: u64, late_percent: f64) -> DataSet {
        DataSet {
            extent: Extent {
                hosts,
                hours: 1,
                interval_ns: 10_000_000_000,
                start_ns: 1_451_606_400_000_000_000,
            },
            seed,
            late_percent,
            late_max_ns: 300_000_000_000,
        }
    }

    #[test]
    fn a_seed_determines_the_rows() {
        let of = |seed| rows(&data_set(10, seed, 5.0)).collect::<Vec<_>>();
        assert!(of(1) == of(1));
        assert!(of(1) != of(2));
        let tags = |seed| tags_of_hosts(&data_set(10, seed, 0.0));
        assert_eq!(tags(1), tags(1));
        assert_ne!(tags(1), tags(2));
    }

    #[test]
    fn a_host_is_the_same_among_few_and_many() {
        let host_3 = |hosts| rows(&data_set(hosts, 1, 0.0)).filter(|p| p.host == 3).collect::<Vec<_>>();
        assert!(host_3(4) == host_3(50));
        assert_eq!(tags_of_hosts(&data_set(4, 1, 0.0))[3], tags_of_hosts(&data_set(50, 1, 0.0))[3]);
    }

    #[test]
    fn rows_come_by_time_then_host_and_all_of_them() {
        let data_set = data_set(10, 1, 0.0);
        let points: Vec<Point> = rows(&data_set).collect();
        assert_eq!(points.len() as u64, data_set.extent.row_count());
        assert_eq!(points.len(), 3600);
        assert!(points.is_sorted_by_key(|point| (point.time_ns, point.host)));
        assert_eq!(points[0].time_ns, data_set.extent.start_ns);
        assert_eq!(points[3599].time_ns, data_set.extent.start_ns + 3_590_000_000_000);
    }

    #[test]
    fn values_walk_in_small_steps_within_0_and_100() {
        let points: Vec<Point> = rows(&data_set(50, 3, 0.0)).collect();
        assert!(points.iter().flat_map(|point| point.values).all(|value| value <= 100));
        let values = || points.iter().flat_map(|point| point.values);
        assert_eq!((values().min(), values().max()), (Some(0), Some(100)));
        let of_host_0: Vec<&Point> = points.iter().filter(|point| point.host == 0).collect();
        for pair in of_host_0.windows(2) {
            for (before, after) in pair[0].values.iter().zip(pair[1].values) {
                assert!(before.abs_diff(after) <= 5, "{before} to {after}");
            }
        }
        assert!(of_host_0.windows(2).any(|pair| pair[0].values != pair[1].values));
    }

    #[test]
    fn late_rows_are_the_same_rows_later() {
        let in_order: Vec<Point> = rows(&data_set(100, 1, 0.0)).collect();
        let mut late: Vec<Point> = rows(&data_set(100, 1, 10.0)).collect();
        let mut newest_ns = 0;
        let mut late_count = 0;
        for point in &late {
            newest_ns = newest_ns.max(point.time_ns);
            assert!(newest_ns - point.time_ns <= 300_000_000_000);
            late_count += u32::from(point.time_ns < newest_ns);
        }
        // Of 36,000 rows; those held back at the last tick come late without being behind a newer one.
        assert!((3_400..3_800).contains(&late_count), "{late_count}");
        late.sort_unstable();
        assert!(late == in_order);
    }

    #[test]
    fn every_row_may_be_late() {
        let data_set = data_set(10, 1, 100.0);
        assert_eq!(rows(&data_set).count() as u64, data_set.extent.row_count());
    }
}
