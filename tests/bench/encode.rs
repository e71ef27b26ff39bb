//! Rows as text: InfluxDB line protocol, and CSV in the order of the table's columns.
//!
//! Nearly all of a row is known beforehand: the tags of each host, and the 101 values of each
//! metric together with its name. A row is put together from these pieces.

use clap::ValueEnum;

use crate::dataset::{METRICS, TABLE, TAGS, instant_text};
use crate::generator::{DataSet, Point, tags_of_hosts};

const VALUE_MAX: usize = 100;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// InfluxDB line protocol, times in nanoseconds
    Line,
    /// Comma-separated values without a header line
    Csv,
}

/// Writes rows in a format.
pub(crate) struct Encoder {
    format: Format,
    /// What a row of each host says of its tags.
    tags: Vec<Vec<u8>>,
    /// What a row says of each value of each metric.
    values: Vec<[Vec<u8>; VALUE_MAX + 1]>,
    /// The time of the last row, and its text.
    time: (i64, Vec<u8>),
}

impl Encoder {
    pub(crate) fn new(format: Format, data_set: &DataSet) -> Self {
        let tags = tags_of_hosts(data_set).iter().map(|tags| tags_text(format, tags).into_bytes()).collect();
        let values = (0..METRICS.len())
            .map(|metric| std::array::from_fn(|value| value_text(format, metric, value).into_bytes()))
            .collect();
        let start_ns = data_set.extent.start_ns;
        Self { format, tags, values, time: (start_ns, time_text(format, start_ns)) }
    }

    /// Writes a row with its line end.
    #[inline]
    pub(crate) fn append(&mut self, point: &Point, output: &mut Vec<u8>) {
        if self.time.0 != point.time_ns {
            self.time = (point.time_ns, time_text(self.format, point.time_ns));
        }
        if self.format == Format::Csv {
            output.extend_from_slice(&self.time.1);
        }
        output.extend_from_slice(&self.tags[point.host as usize]);
        for (texts, value) in self.values.iter().zip(point.values) {
            output.extend_from_slice(&texts[usize::from(value)]);
        }
        if self.format == Format::Line {
            output.extend_from_slice(&self.time.1);
        }
        output.push(b'\n');
    }
}

/// No tag has a character that either format would have to escape.
fn tags_text(format: Format, tags: &[String; TAGS.len()]) -> String {
    match format {
        Format::Line => {
            let pairs: Vec<String> =
                TAGS.iter().zip(tags).map(|(name, tag)| format!("{name}={tag}")).collect();
            format!("{TABLE},{}", pairs.join(","))
        }
        Format::Csv => format!(",{}", tags.join(",")),
    }
}

fn value_text(format: Format, metric: usize, value: usize) -> String {
    match format {
        // A number without a suffix is a float.
        Format::Line => {
            let separator = if metric == 0 { ' ' } else { ',' };
            format!("{separator}{}={value}", METRICS[metric])
        }
        Format::Csv => format!(",{value}"),
    }
}

fn time_text(format: Format, time_ns: i64) -> Vec<u8> {
    match format {
        Format::Line => format!(" {time_ns}").into_bytes(),
        Format::Csv => instant_text(time_ns).into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::rows;
    use crate::generator::tests::data_set;

    fn text(format: Format, data_set: &DataSet) -> String {
        let mut encoder = Encoder::new(format, data_set);
        let mut output = Vec::new();
        rows(data_set).for_each(|point| encoder.append(&point, &mut output));
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn the_first_rows_are_as_ever() {
        // Data that was generated once must not become other data: figures would stop being comparable.
        let data_set = data_set(2, 123, 0.0);
        let line = text(Format::Line, &data_set);
        let csv = text(Format::Csv, &data_set);
        assert_eq!(
            line.lines().next().unwrap(),
            "cpu,hostname=host_0,region=us-west-2,datacenter=us-west-2a,rack=72,os=Ubuntu16.10,arch=x64,team=SF,service=18,service_version=1,service_environment=test usage_user=90,usage_system=46,usage_idle=23,usage_nice=50,usage_iowait=18,usage_irq=8,usage_softirq=8,usage_steal=52,usage_guest=15,usage_guest_nice=93 1451606400000000000"
        );
        assert_eq!(
            csv.lines().nth(719).unwrap(),
            "2016-01-01T00:59:50Z,host_1,eu-central-1,eu-central-1b,95,Ubuntu15.10,x86,NYC,2,1,test,71,96,93,31,99,94,91,67,23,88"
        );
    }

    #[test]
    fn line_protocol_and_csv_say_the_same() {
        let data_set = data_set(20, 5, 10.0);
        let (lines, csv) = (text(Format::Line, &data_set), text(Format::Csv, &data_set));
        assert_eq!(lines.lines().count(), 7200);
        assert_eq!(csv.lines().count(), 7200);
        for (line, row) in lines.lines().zip(csv.lines()) {
            assert_eq!(from_line(line), row);
        }
    }

    /// The CSV row of a line of line protocol.
    fn from_line(line: &str) -> String {
        let mut parts = line.split(' ');
        let tags = parts.next().unwrap().strip_prefix("cpu,").unwrap();
        let fields = parts.next().unwrap();
        let time_ns: i64 = parts.next().unwrap().parse().unwrap();
        assert_eq!(parts.next(), None);
        let pairs = tags.split(',').chain(fields.split(',')).map(|pair| pair.split_once('=').unwrap());
        let (names, values): (Vec<&str>, Vec<&str>) = pairs.unzip();
        assert_eq!(names, [TAGS, METRICS].concat());
        let mut row = vec![instant_text(time_ns)];
        row.extend(values.into_iter().map(str::to_owned));
        row.join(",")
    }
}
