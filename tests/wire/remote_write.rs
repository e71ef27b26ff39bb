//! Prometheus' remote write, as Prometheus sends it and as it does not.

use prost::Message;
use tidemark_tests::server::{Options, Server};

use crate::http::{Answer, metrics, request};
use crate::raw::Raw;

/// The messages of version 1, as far as they are sent here.
mod v1 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(super) metadata: Vec<MetricMetadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<super::Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub(super) histograms: Vec<super::Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Label {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct MetricMetadata {
        #[prost(int32, tag = "1")]
        pub(super) metric_type: i32,
        #[prost(string, tag = "2")]
        pub(super) metric_family_name: String,
        #[prost(string, tag = "4")]
        pub(super) help: String,
    }
}

/// The messages of version 2, as far as they are sent here.
mod v2 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(string, repeated, tag = "4")]
        pub(super) symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub(super) timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub(super) labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<super::Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) histograms: Vec<super::Histogram>,
        #[prost(message, optional, tag = "5")]
        pub(super) metadata: Option<Metadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(super) metric_type: i32,
        #[prost(uint32, tag = "3")]
        pub(super) help_ref: u32,
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count_int: u64,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}

const V1: &[(&str, &str)] = &[
    ("Content-Encoding", "snappy"),
    ("Content-Type", "application/x-protobuf"),
    ("User-Agent", "Prometheus/3.5.0"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
];

const V2: &[(&str, &str)] = &[
    ("Content-Encoding", "snappy"),
    ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
    ("User-Agent", "Prometheus/3.5.0"),
    ("X-Prometheus-Remote-Write-Version", "2.0.0"),
];

/// 2023-11-14 22:13:20 UTC, in ms.
const T0: i64 = 1_700_000_000_000;

fn stale() -> f64 {
    f64::from_bits(0x7ff0_0000_0000_0002)
}

fn samples(values: &[(f64, i64)]) -> Vec<Sample> {
    values.iter().map(|(value, timestamp)| Sample { value: *value, timestamp: *timestamp }).collect()
}

/// A series: `up job=a instance=b`.
fn series(labels: &str, values: &[(f64, i64)]) -> v1::TimeSeries {
    let label = |(at, text): (usize, &str)| {
        let (name, value) = if at == 0 { ("__name__", text) } else { text.split_once('=').unwrap() };
        v1::Label { name: name.to_owned(), value: value.to_owned() }
    };
    let labels = labels.split(' ').filter(|text| !text.is_empty()).enumerate().map(label).collect();
    v1::TimeSeries { labels, samples: samples(values), ..v1::TimeSeries::default() }
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn send_to(server: &Server, target: &str, headers: &[(&str, &str)], message: &[u8]) -> Answer {
    request(server.http, "POST", target, headers, &snappy(message))
}

fn send(server: &Server, timeseries: Vec<v1::TimeSeries>) -> Answer {
    let message = v1::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec();
    send_to(server, "/api/v1/write", V1, &message)
}

fn written(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.headers["x-prometheus-remote-write-samples-written"].as_str())
}

fn rows(raw: &mut Raw, sql: &str) -> Vec<String> {
    let answer = raw.query(sql);
    assert!(!answer.iter().any(|line| line.starts_with("error")), "{sql}: {answer:?}");
    answer.iter().filter_map(|line| line.strip_prefix("row ")).map(str::to_owned).collect()
}

/// The metric `up` of the job `node`, as a request of version 1.
pub(crate) fn up_v1() -> Vec<u8> {
    let timeseries = vec![series("up job=node", &[(1.0, T0)])];
    snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec())
}

/// The same of version 2.
pub(crate) fn up_v2() -> Vec<u8> {
    let symbols = ["", "__name__", "up", "job", "node"].map(str::to_owned).to_vec();
    let series = v2::TimeSeries {
        labels_refs: vec![1, 2, 3, 4],
        samples: samples(&[(1.0, T0)]),
        ..Default::default()
    };
    snappy(&v2::Request { symbols, timeseries: vec![series] }.encode_to_vec())
}

#[test]
fn metrics_become_collections_and_labels_tags() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let commits = metrics(&server)["tidemark_commits_total"];
    let request = vec![
        series("up job=node instance=a:9100", &[(1.0, T0), (0.0, T0 + 15_001)]),
        series("up job=node instance=b:9100", &[(stale(), T0 + 1)]),
        series("http_requests_total code=200 job=api", &[(f64::INFINITY, T0)]),
        series("http_requests_total code=500 job=api path=/x", &[(f64::NAN, T0 - 1)]),
        series("nothing job=api", &[]),
    ];
    assert_eq!(written(&send(&server, request.clone())), (204, "5"));
    assert_eq!(metrics(&server)["tidemark_commits_total"] - commits, 1.0);
    assert_eq!(
        rows(&mut raw, "SELECT time, job, instance, value FROM up ORDER BY time"),
        [
            "2023-11-14 22:13:20+00|node|a:9100|1",
            "2023-11-14 22:13:20.001+00|node|b:9100|NULL",
            "2023-11-14 22:13:35.001+00|node|a:9100|0",
        ]
    );
    assert_eq!(
        rows(&mut raw, "SELECT time, code, job, path, value FROM http_requests_total ORDER BY time"),
        ["2023-11-14 22:13:19.999+00|500|api|/x|NaN", "2023-11-14 22:13:20+00|200|api|NULL|Infinity"]
    );
    assert_eq!(
        rows(
            &mut raw,
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'up'"
        ),
        ["time|timestamp with time zone", "job|text", "instance|text", "value|double precision"]
    );
    assert!(raw.query("SELECT * FROM nothing")[0].contains("42P01"));
    // The same again, and older ones: both are taken.
    assert_eq!(written(&send(&server, request)), (204, "5"));
    assert_eq!(
        written(&send(&server, vec![series("up job=node instance=a:9100", &[(1.0, T0 - 999)])])),
        (204, "1")
    );
    assert_eq!(rows(&mut raw, "SELECT count(*), count(value) FROM up"), ["7|5"]);
    let counted = metrics(&server);
    assert_eq!(counted["tidemark_ingest_rows_total{protocol=\"remote_write\"}"], 11.0);
    assert_eq!(counted["tidemark_ingest_requests_total{protocol=\"remote_write\"}"], 3.0);
    // The other path is the same.
    let message =
        v1::WriteRequest { timeseries: vec![series("up job=x", &[(1.0, T0)])], ..Default::default() };
    assert_eq!(written(&send_to(&server, "/api/v1/prom/write", V1, &message.encode_to_vec())), (204, "1"));
}

#[test]
fn every_name_has_its_place() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let long = "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_irate";
    let request = vec![
        series("kube_taint value=v time=t label_value=lv Key=k", &[(1.0, T0)]),
        series(&format!("{long} job=a"), &[(2.0, T0)]),
        series("empty job= code=5", &[(3.0, T0)]),
        series("bare", &[(4.0, T0)]),
    ];
    assert_eq!(written(&send(&server, request)), (204, "4"));
    assert_eq!(
        rows(&mut raw, "SELECT value, label_value, label_time, label_label_value, \"Key\" FROM kube_taint"),
        ["1|v|t|lv|k"]
    );
    let found =
        rows(&mut raw, "SELECT relname FROM pg_class WHERE relname LIKE 'node_namespace%' AND relkind = 'r'");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].len() == 63 && found[0].starts_with(&long[..54]), "{found:?}");
    assert_eq!(rows(&mut raw, &format!("SELECT value FROM \"{}\"", found[0])), ["2"]);
    assert_eq!(rows(&mut raw, "SELECT code, value FROM empty"), ["5|3"]);
    assert_eq!(rows(&mut raw, "SELECT value FROM bare"), ["4"]);
}

#[test]
fn samples_that_are_right_are_written_though_others_are_not() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.run(
        "CREATE TABLE taken (time timestamptz, job symbol, value bigint) \
         WITH (kind = 'timeseries', time_key = 'time')",
    );
    let good = || series("up job=a", &[(1.0, T0)]);
    let unnamed =
        v1::TimeSeries { labels: vec![], samples: samples(&[(1.0, T0), (2.0, T0)]), ..Default::default() };
    let mut nameless = series("up job=a", &[(1.0, T0)]);
    nameless.labels.remove(0);
    let histograms = v1::TimeSeries {
        histograms: vec![Histogram { count_int: 3, timestamp: T0 }; 2],
        exemplars: vec![v1::Exemplar { labels: vec![], value: 1.0 }],
        ..series("latency job=a", &[])
    };
    let cases = [
        (unnamed, 2, "label \"__name__\" is missing"),
        (nameless, 1, "label \"__name__\" is missing"),
        (series("up job=a job=b", &[(1.0, T0)]), 1, "metric \"up\": tag \"job\" is given twice"),
        (
            series("taken job=a", &[(1.0, T0)]),
            1,
            "metric \"taken\": field \"value\" is of type double precision but column \"value\" is of type bigint",
        ),
        (
            series("up job=a", &[(1.0, i64::MAX)]),
            1,
            "metric \"up\": timestamp 9223372036854775807 is out of range",
        ),
        (histograms, 2, "metric \"latency\": native histograms are not supported"),
    ];
    for (bad, count, reason) in cases {
        let answer = send(&server, vec![good(), bad.clone(), good()]);
        assert_eq!(written(&answer), (400, "2"), "{}", answer.body);
        let more = if count > 1 { format!("; and {} more", count - 1) } else { String::new() };
        assert_eq!(answer.body, format!("2 samples were written, {count} were not: {reason}{more}\n"));
        // Nothing, where that is asked for.
        let message = v1::WriteRequest { timeseries: vec![good(), bad], ..Default::default() };
        let answer = send_to(&server, "/api/v1/write?accept_partial=false", V1, &message.encode_to_vec());
        assert_eq!(written(&answer), (400, "0"), "{}", answer.body);
        assert_eq!(answer.body, format!("{reason}{more}\n"));
    }
    assert_eq!(rows(&mut raw, "SELECT count(*) FROM up"), ["12"]);
    assert_eq!(rows(&mut raw, "SELECT count(*) FROM taken"), ["0"]);
    assert!(raw.query("SELECT * FROM latency")[0].contains("42P01"));
    let counted = metrics(&server);
    assert_eq!(counted["tidemark_ingest_rejected_rows_total{protocol=\"remote_write\"}"], 16.0);
    assert_eq!(counted["tidemark_ingest_errors_total{protocol=\"remote_write\",kind=\"malformed\"}"], 12.0);
}

#[test]
fn the_second_version_is_understood() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let symbols = ["", "__name__", "up", "job", "node", "Whether it is up", "instance", "a"];
    let series = |labels_refs: &[u32], values: &[(f64, i64)]| v2::TimeSeries {
        labels_refs: labels_refs.to_vec(),
        samples: samples(values),
        histograms: Vec::new(),
        metadata: Some(v2::Metadata { metric_type: 2, help_ref: 5 }),
    };
    let send = |timeseries: Vec<v2::TimeSeries>| {
        let message = v2::Request { symbols: symbols.map(str::to_owned).to_vec(), timeseries };
        send_to(&server, "/api/v1/write", V2, &message.encode_to_vec())
    };
    let answer = send(vec![series(&[1, 2, 6, 7, 3, 4], &[(1.0, T0), (stale(), T0 + 1)])]);
    assert_eq!(written(&answer), (204, "2"), "{}", answer.body);
    assert_eq!(answer.headers["x-prometheus-remote-write-histograms-written"], "0");
    assert_eq!(answer.headers["x-prometheus-remote-write-exemplars-written"], "0");
    for (bad, reason) in [
        (
            series(&[1, 2, 3, 99], &[(1.0, T0)]),
            "metric \"up\": a reference to a text that the request does not have",
        ),
        (series(&[1, 2, 3], &[(1.0, T0)]), "metric \"up\": a label has no value"),
        (series(&[], &[(1.0, T0)]), "label \"__name__\" is missing"),
    ] {
        let answer = send(vec![series(&[1, 2], &[(5.0, T0)]), bad]);
        assert_eq!(written(&answer), (400, "1"), "{}", answer.body);
        assert_eq!(answer.body, format!("1 samples were written, 1 were not: {reason}\n"));
    }
    assert_eq!(
        rows(&mut raw, "SELECT instance, job, value FROM up WHERE job = 'node' ORDER BY time"),
        ["a|node|1", "a|node|NULL"]
    );
    // Texts that are referred to over and over are not written out without a bound.
    let text = "x".repeat(100_000);
    let symbols = vec![String::new(), "__name__".to_owned(), "up".to_owned(), "a".to_owned(), text];
    let wide = v2::TimeSeries {
        labels_refs: [vec![1, 2], [3, 4].repeat(100)].concat(),
        ..series(&[], &[(1.0, T0)])
    };
    let message = v2::Request { symbols, timeseries: vec![wide; 10_000] }.encode_to_vec();
    let before = server.memory_bytes("VmHWM");
    let answer = send_to(&server, "/api/v1/write", V2, &message);
    assert_eq!(answer.status, 413, "{}", answer.body);
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 400 << 20, "the server took {} MiB", grown >> 20);
}

#[test]
fn what_is_no_remote_write_is_refused() {
    let server = Server::start();
    let message = v1::WriteRequest { timeseries: vec![series("up", &[(1.0, T0)])], ..Default::default() };
    let message = message.encode_to_vec();
    let packed = snappy(&message);
    let send = |headers: &[(&str, &str)], body: &[u8]| {
        let answer = request(server.http, "POST", "/api/v1/write", headers, body);
        assert!(!answer.body.is_empty());
        answer.status
    };
    let snappy_header = ("Content-Encoding", "snappy");
    assert_eq!(send(&[("Content-Type", "application/x-protobuf")], &message), 415);
    assert_eq!(send(&[("Content-Encoding", "gzip")], &message), 415);
    assert_eq!(send(&[snappy_header, ("Content-Type", "application/json")], &packed), 415);
    let unknown = ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v3.Request");
    assert_eq!(send(&[snappy_header, unknown], &packed), 415);
    // Not packed, cut, a length that cannot be, no message.
    assert_eq!(send(V1, &message), 400);
    assert_eq!(send(V1, &packed[..packed.len() - 1]), 400);
    assert_eq!(send(V1, &[0x80, 0x80, 0x80, 0x08, 0x00, b'a']), 400);
    assert_eq!(send(V1, &[0xff, 0xff, 0xff, 0xff, 0x0f]), 413);
    assert_eq!(send(V1, &snappy(&message[..message.len() - 1])), 400);
    assert_eq!(send(V1, &snappy(b"up 1 1")), 400);
    assert_eq!(send(V1, &snappy(&vec![0; 65 << 20])), 413);
    // A message of the other version has nothing that this one looks for.
    assert_eq!(
        request(server.http, "POST", "/api/v1/write", V2, &packed).headers["x-prometheus-remote-write-samples-written"],
        "0"
    );
    assert!(Raw::connect(server.pg).query("SELECT * FROM up")[0].contains("42P01"));
    // Metadata alone is taken, and nothing done with it.
    let metadata =
        v1::MetricMetadata { metric_type: 1, metric_family_name: "up".into(), help: "It is up.".into() };
    let message = v1::WriteRequest { timeseries: vec![], metadata: vec![metadata] }.encode_to_vec();
    assert_eq!(send_to(&server, "/api/v1/write", V1, &message).status, 204);
    assert_eq!(send_to(&server, "/api/v1/write", V1, b"").status, 204);
}

#[test]
fn remote_write_asks_for_a_password_and_obeys_what_may_be_made() {
    let server = Options::new().setting("password", "secret").setting("ingest-create", "nothing").start();
    let message = v1::WriteRequest { timeseries: vec![series("up", &[(1.0, T0)])], ..Default::default() };
    let message = message.encode_to_vec();
    assert_eq!(send_to(&server, "/api/v1/write", V1, &message).status, 401);
    let known = [V1, &[("Authorization", "Basic dGlkZW1hcms6c2VjcmV0")]].concat();
    let answer = send_to(&server, "/api/v1/write", &known, &message);
    assert_eq!(written(&answer), (400, "0"));
    let reason = "metric \"up\": collection \"up\" does not exist, and is not to be made";
    assert_eq!(answer.body, format!("0 samples were written, 1 were not: {reason}\n"));
}
