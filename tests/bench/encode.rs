//! Rows as bytes: InfluxDB line protocol, and the formats of COPY in the order of the table's columns.
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
    /// PostgreSQL's text format
    Text,
    /// Rows of PostgreSQL's binary format, without what begins and ends a file
    Binary,
}

impl Format {
    /// What begins a file.
    pub(crate) fn header(self) -> &'static [u8] {
        match self {
            Self::Binary => b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0",
            Self::Line | Self::Csv | Self::Text => b"",
        }
    }

    /// What ends it.
    pub(crate) fn trailer(self) -> &'static [u8] {
        match self {
            Self::Binary => &[0xff; 2],
            Self::Line | Self::Csv | Self::Text => b"",
        }
    }
}

/// The start of the year 2000, from which instants count in binary.
const EPOCH_2000_NS: i64 = 946_684_800_000_000_000;

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
        let tags = tags_of_hosts(data_set).iter().map(|tags| tags_bytes(format, tags)).collect();
        let values = (0..METRICS.len())
            .map(|metric| std::array::from_fn(|value| value_bytes(format, metric, value)))
            .collect();
        let start_ns = data_set.extent.start_ns;
        Self { format, tags, values, time: (start_ns, time_bytes(format, start_ns)) }
    }

    /// Writes a row with its line end.
    #[inline]
    pub(crate) fn append(&mut self, point: &Point, output: &mut Vec<u8>) {
        if self.time.0 != point.time_ns {
            self.time = (point.time_ns, time_bytes(self.format, point.time_ns));
        }
        if self.format != Format::Line {
            output.extend_from_slice(&self.time.1);
        }
        output.extend_from_slice(&self.tags[point.host as usize]);
        for (texts, value) in self.values.iter().zip(point.values) {
            output.extend_from_slice(&texts[usize::from(value)]);
        }
        if self.format == Format::Line {
            output.extend_from_slice(&self.time.1);
        }
        if self.format != Format::Binary {
            output.push(b'\n');
        }
    }
}

/// A field of the binary format.
fn field(value: &[u8]) -> Vec<u8> {
    let len = u32::try_from(value.len()).expect("values are short");
    [&len.to_be_bytes(), value].concat()
}

/// No tag has a character that a format would have to escape.
fn tags_bytes(format: Format, tags: &[String; TAGS.len()]) -> Vec<u8> {
    match format {
        Format::Line => {
            let pairs: Vec<String> =
                TAGS.iter().zip(tags).map(|(name, tag)| format!("{name}={tag}")).collect();
            format!("{TABLE},{}", pairs.join(",")).into_bytes()
        }
        Format::Csv => format!(",{}", tags.join(",")).into_bytes(),
        Format::Text => format!("\t{}", tags.join("\t")).into_bytes(),
        Format::Binary => tags.iter().flat_map(|tag| field(tag.as_bytes())).collect(),
    }
}

fn value_bytes(format: Format, metric: usize, value: usize) -> Vec<u8> {
    match format {
        // A number without a suffix is a float.
        Format::Line => {
            let separator = if metric == 0 { ' ' } else { ',' };
            format!("{separator}{}={value}", METRICS[metric]).into_bytes()
        }
        Format::Csv => format!(",{value}").into_bytes(),
        Format::Text => format!("\t{value}").into_bytes(),
        Format::Binary => field(&(value as f64).to_be_bytes()),
    }
}

fn time_bytes(format: Format, time_ns: i64) -> Vec<u8> {
    match format {
        Format::Line => format!(" {time_ns}").into_bytes(),
        Format::Csv | Format::Text => instant_text(time_ns).into_bytes(),
        Format::Binary => {
            let count = u16::try_from(1 + TAGS.len() + METRICS.len()).expect("a row has few fields");
            [&count.to_be_bytes()[..], &field(&((time_ns - EPOCH_2000_NS) / 1000).to_be_bytes())].concat()
        }
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

    #[test]
    fn text_and_binary_have_the_fields_of_csv() {
        let data_set = data_set(3, 1, 0.0);
        let csv = text(Format::Csv, &data_set);
        assert_eq!(text(Format::Text, &data_set), csv.replace(',', "\t"));
        let mut encoder = Encoder::new(Format::Binary, &data_set);
        let mut row = Vec::new();
        encoder.append(&rows(&data_set).next().unwrap(), &mut row);
        let mut rest = &row[2..];
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let len = usize::try_from(u32::from_be_bytes(rest[..4].try_into().unwrap())).unwrap();
            fields.push(&rest[4..4 + len]);
            rest = &rest[4 + len..];
        }
        let first: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        assert_eq!((u16::from_be_bytes([row[0], row[1]]), fields.len(), first.len()), (21, 21, 21));
        // 16 years of which four have a day more.
        assert_eq!(fields[0], (16 * 365 + 4_i64).wrapping_mul(86_400_000_000).to_be_bytes());
        assert!(fields[1..11].iter().zip(&first[1..11]).all(|(field, text)| *field == text.as_bytes()));
        let number = |field: &&[u8]| f64::from_be_bytes((*field).try_into().unwrap());
        assert!(
            fields[11..]
                .iter()
                .zip(&first[11..])
                .all(|(it, text)| number(it) == text.parse::<f64>().unwrap())
        );
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
