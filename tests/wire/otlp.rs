//! OpenTelemetry over HTTP. The requests in `otlp/` were made with the messages that OpenTelemetry
//! publishes for another language; `otlp/make.py` says how.

use prost::Message;
use serde_json::{Value, json};
use tidemark_tests::server::{Options, Server};

use crate::http::{gzip_bytes, metrics, request_raw};
use crate::raw::Raw;

const METRICS: &[u8] = include_bytes!("otlp/metrics.bin");
const METRICS_JSON: &[u8] = include_bytes!("otlp/metrics.json");
const LOGS: &[u8] = include_bytes!("otlp/logs.bin");
const LOGS_JSON: &[u8] = include_bytes!("otlp/logs.json");

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// `ExportMetricsServiceResponse`, and that of logs.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The status, the type and the body of an answer.
fn send(server: &Server, target: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, Vec<u8>) {
    let (status, headers, body) = request_raw(server.http, "POST", target, headers, body);
    (status, headers["content-type"].clone(), body)
}

/// An answer in JSON.
fn send_json(server: &Server, target: &str, body: &Value) -> (u16, Value) {
    let (status, content_type, body) = send(server, target, &[JSON], body.to_string().as_bytes());
    assert_eq!(content_type, "application/json");
    (status, serde_json::from_slice(&body).unwrap())
}

fn rows(raw: &mut Raw, sql: &str) -> Vec<String> {
    let answer = raw.query(sql);
    assert!(!answer.iter().any(|line| line.starts_with("error")), "{sql}: {answer:?}");
    answer.iter().filter_map(|line| line.strip_prefix("row ")).map(str::to_owned).collect()
}

/// The ways in which the same request comes.
fn ways(protobuf: &[u8], json: &[u8]) -> [(Vec<(&'static str, &'static str)>, Vec<u8>); 4] {
    let gzip = ("Content-Encoding", "gzip");
    [
        (vec![PROTOBUF], protobuf.to_vec()),
        (vec![JSON], json.to_vec()),
        (vec![PROTOBUF, gzip], gzip_bytes(protobuf)),
        (vec![("Content-Type", "application/json; charset=utf-8"), gzip], gzip_bytes(json)),
    ]
}

#[test]
fn metrics_of_every_kind_become_rows() {
    for (headers, body) in ways(METRICS, METRICS_JSON) {
        let server = Server::start();
        let mut raw = Raw::connect(server.pg);
        let (status, content_type, answer) = send(&server, "/v1/metrics", &headers, &body);
        let expected: &[u8] = if content_type == "application/json" { b"{}" } else { b"" };
        assert_eq!((status, answer.as_slice()), (200, expected), "{headers:?}");
        assert!(headers[0].1.starts_with(&content_type), "{content_type}");
        let counted = metrics(&server);
        assert_eq!(counted["tidemark_commits_total"], 1.0);
        assert_eq!(counted["tidemark_ingest_rows_total{protocol=\"otlp_metrics\"}"], 9.0);
        check_metrics(&mut raw);
    }
}

fn check_metrics(raw: &mut Raw) {
    let resource = r#"{"host.name": "a", "process.pid": 42, "service.name": "shop", "service.namespace": "prod", "service.instance.id": "shop-1"}"#;
    assert_eq!(
        rows(
            raw,
            "SELECT time, value, unit, service_name, service_namespace, service_instance_id, scope_name, \
             state, attribute_time, numa_node, list, a_b FROM system_memory_usage ORDER BY time"
        ),
        [
            "2023-11-14 22:13:20+00|-1|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
            "2023-11-14 22:13:20.000000001+00|1099511627776|By|shop|prod|shop-1|meter|used|t|3|NULL|NULL",
            "2023-11-14 22:13:20.000000002+00|0.5|By|shop|prod|shop-1|meter|free|NULL|NULL|[\"x\", 1]|1;2",
            "2023-11-14 22:13:20.000000003+00|NULL|By|shop|prod|shop-1|meter|used|t|3|NULL|NULL",
        ]
    );
    assert_eq!(
        rows(raw, "SELECT DISTINCT resource_attributes FROM system_memory_usage ORDER BY 1"),
        [resource, "{}"]
    );
    assert_eq!(
        rows(
            raw,
            "SELECT time, start_time, value, unit, temporality, is_monotonic, http_request_method, ok FROM http_requests"
        ),
        ["2023-11-14 22:13:20.000000001+00|2023-11-14 22:13:20+00|7|{request}|cumulative|t|GET|true"]
    );
    assert_eq!(
        rows(
            raw,
            "SELECT count, sum, min, max, bucket_bounds, bucket_counts, temporality, unit FROM latency ORDER BY time"
        ),
        ["6|1.25|0.05|0.75|{0.1,0.5}|{1,3,2}|delta|s", "2|NULL|NULL|NULL|{}|{}|delta|s"]
    );
    assert_eq!(
        rows(
            raw,
            "SELECT count, sum, min, max, scale, zero_count, zero_threshold, positive_offset, positive_counts, \
             negative_offset, negative_counts, temporality FROM size"
        ),
        ["11|100.5|-4|64|-2|1|0.001|-3|{1,0,300}|4|{5}|cumulative"]
    );
    assert_eq!(
        rows(raw, "SELECT count, sum, quantiles, quantile_values, unit FROM gc"),
        ["5|2.5|{0.5,0.99}|{0.25,NaN}|s"]
    );
    assert!(raw.query("SELECT * FROM empty")[0].contains("42P01"));
}

#[test]
fn log_records_become_rows_of_one_collection() {
    for (headers, body) in ways(LOGS, LOGS_JSON) {
        let server = Server::start();
        let mut raw = Raw::connect(server.pg);
        let (status, content_type, answer) = send(&server, "/v1/logs", &headers, &body);
        let expected: &[u8] = if content_type == "application/json" { b"{}" } else { b"" };
        assert_eq!((status, answer.as_slice()), (200, expected), "{headers:?}");
        assert_eq!(
            rows(
                &mut raw,
                "SELECT time, observed_time, severity_number, severity_text, body, trace_id, span_id, event_name, \
                 service_name, scope_name FROM otel_logs ORDER BY time"
            ),
            [
                "2023-11-14 22:13:20.000000001+00|2023-11-14 22:13:20.000000005+00|17|ERROR|It \"failed\": ä|\
                 000102030405060708090a0b0c0d0e0f|08090a0b0c0d0e0f|order.failed|shop|logger",
                "2023-11-14 22:13:20.000000006+00|2023-11-14 22:13:20.000000006+00|9|NULL|\
                 {\"count\": 3, \"message\": \"hi\"}|NULL|NULL|NULL|shop|logger",
                "2023-11-14 22:13:20.000000007+00|NULL|0|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
            ]
        );
        assert_eq!(
            rows(&mut raw, "SELECT attributes, resource_attributes FROM otel_logs ORDER BY time"),
            [
                "{\"ok\": false, \"raw\": \"AP8=\", \"tags\": [\"a\", null, {\"k\": \"v\"}], \"ratio\": 0.25, \
                 \"nothing\": null, \"order.id\": 1152921504606846976}|{\"host.name\": \"a\", \"service.name\": \"shop\"}",
                "{}|{\"host.name\": \"a\", \"service.name\": \"shop\"}",
                "{}|{}",
            ]
        );
        assert_eq!(metrics(&server)["tidemark_ingest_rows_total{protocol=\"otlp_logs\"}"], 3.0);
    }
}

/// A request with one gauge and these points.
fn gauge(name: &str, points: Value) -> Value {
    json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": name, "gauge": {"dataPoints": points}}]}]}]})
}

fn log(record: Value) -> Value {
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
}

#[test]
fn the_answer_says_what_was_not_written() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.run(
        "CREATE TABLE taken (time timestamptz, value bigint) WITH (kind = 'timeseries', time_key = 'time')",
    );
    let good = json!({"timeUnixNano": "1700000000000000000", "asDouble": 1});
    for (request, count, reason) in [
        (gauge("m", json!([good, {"asInt": "1"}, good])), 1, "metric \"m\": it has no time"),
        (
            gauge("m", json!([good, {"timeUnixNano": "18446744073709551615"}])),
            1,
            "metric \"m\": time 18446744073709551615 is out of range",
        ),
        (gauge("", json!([good, good])), 2, "a metric without a name: it needs one; and 1 more"),
        (
            gauge("taken", json!([good])),
            1,
            "metric \"taken\": field \"value\" is of type double precision but column \"value\" is of type bigint",
        ),
        (
            gauge(
                "m",
                json!([{"timeUnixNano": 1, "attributes": [{"key": "a", "value": {"stringValue": "\0"}}]}]),
            ),
            1,
            "metric \"m\": tag \"a\" has a zero byte, which no text can have",
        ),
    ] {
        let (status, answer) = send_json(&server, "/v1/metrics", &request);
        assert_eq!(status, 200, "{answer}");
        let expected = json!({"rejectedDataPoints": count.to_string(), "errorMessage": reason});
        assert_eq!(answer, json!({ "partialSuccess": expected }));
        // Nothing, where that is asked for.
        let (status, answer) = send_json(&server, "/v1/metrics?accept_partial=false", &request);
        assert_eq!((status, answer), (400, json!({"code": 3, "message": reason})));
    }
    assert_eq!(raw.value("SELECT count(*) FROM m"), "3");
    for (record, reason) in [
        (
            json!({"body": {"stringValue": "\0"}}),
            "log record: field \"body\" has a zero byte, which no text can have",
        ),
        (
            json!({"attributes": [{"key": "a", "value": {"stringValue": "\0"}}]}),
            "log record: unsupported Unicode escape sequence",
        ),
        (
            json!({"timeUnixNano": "9223372036854775808"}),
            "log record: time 9223372036854775808 is out of range",
        ),
    ] {
        let (status, answer) = send_json(&server, "/v1/logs", &log(record));
        let expected = json!({"rejectedLogRecords": "1", "errorMessage": reason});
        assert_eq!((status, answer), (200, json!({ "partialSuccess": expected })));
    }
    assert!(raw.query("SELECT * FROM otel_logs")[0].contains("42P01"));
    // A record without any time is of now.
    assert_eq!(send_json(&server, "/v1/logs", &log(json!({"body": {"intValue": 5}}))), (200, json!({})));
    assert_eq!(
        raw.value("SELECT body, time > now() - interval '1 hour', observed_time FROM otel_logs"),
        "5|t|NULL"
    );
    // In protobuf: a histogram whose second bound is in a field that nobody knows.
    let mut bad = METRICS.to_vec();
    let bounds = [&[0x3a, 16][..], &0.1_f64.to_le_bytes(), &0.5_f64.to_le_bytes()].concat();
    let at = bad.windows(bounds.len()).position(|bytes| bytes == bounds).unwrap();
    bad[at + 1] = 8;
    bad[at + 10..at + 18].copy_from_slice(&[0xfa, 0x7f, 5, 0, 0, 0, 0, 0]);
    let (status, content_type, answer) = send(&server, "/v1/metrics", &[PROTOBUF], &bad);
    assert_eq!((status, content_type.as_str()), (200, "application/x-protobuf"));
    let partial = Response::decode(answer.as_slice()).unwrap().partial_success.unwrap();
    let error_message = "metric \"latency\": 3 buckets do not go with 1 bounds".to_owned();
    assert_eq!(partial, PartialSuccess { rejected: 1, error_message });
    assert_eq!(raw.value("SELECT count(*) FROM latency"), "1");
}

#[test]
fn what_is_no_request_is_refused_in_its_own_form() {
    let server = Options::new().setting("http-memory", "4MiB").start();
    let status = |code: i32, (status, content_type, body): (u16, String, Vec<u8>)| {
        assert_eq!(content_type, "application/x-protobuf");
        let answer = Status::decode(body.as_slice()).unwrap();
        assert_eq!(answer.code, code);
        assert!(!answer.message.is_empty());
        status
    };
    assert_eq!(status(3, send(&server, "/v1/metrics", &[PROTOBUF], &METRICS[..METRICS.len() - 1])), 400);
    assert_eq!(status(3, send(&server, "/v1/logs", &[PROTOBUF], b"hello")), 400);
    assert_eq!(status(3, send(&server, "/v1/logs", &[PROTOBUF, ("Content-Encoding", "gzip")], LOGS)), 400);
    assert_eq!(status(3, send(&server, "/v1/logs", &[PROTOBUF, ("Content-Encoding", "zstd")], LOGS)), 415);
    let (code, content_type, body) = send(&server, "/v1/logs", &[JSON], b"{\"resourceLogs\": 5}");
    assert_eq!((code, content_type.as_str()), (400, "application/json"));
    assert!(
        String::from_utf8(body)
            .unwrap()
            .starts_with("{\"code\":3,\"message\":\"the body is not the JSON it should be")
    );
    let (code, _, body) = send(&server, "/v1/logs", &[("Content-Type", "text/plain")], LOGS);
    assert_eq!(code, 415, "{}", String::from_utf8_lossy(&body));
    // Small bodies that stand for much.
    let many = format!("{{\"resourceLogs\":[{}{{}}]}}", "{},".repeat(100_000));
    let (code, _, body) = send(&server, "/v1/logs", &[JSON], many.as_bytes());
    assert_eq!(code, 413, "{}", String::from_utf8_lossy(&body));
    let before = server.memory_bytes("VmHWM");
    let many = [0x0a, 0x00].repeat(1_000_000);
    let (code, _, _) = send(&server, "/v1/logs", &[PROTOBUF], &many);
    assert_eq!(code, 200);
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 32 << 20, "the server took {} MiB", grown >> 20);
    // Nothing at all is a request.
    assert_eq!(send(&server, "/v1/metrics", &[PROTOBUF], b"").0, 200);
    assert_eq!(send_json(&server, "/v1/metrics", &json!({})), (200, json!({})));
}

#[test]
fn json_is_read_as_protobuf_writes_it_and_otherwise() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let points = json!([
        {"timeUnixNano": 1_700_000_000_000_000_000_u64, "asInt": 5, "unknown": {"more": []}},
        {"timeUnixNano": "1700000000000000001", "asDouble": "Infinity"},
        {"timeUnixNano": "1700000000000000002", "asDouble": "-1.5e3"},
        {"timeUnixNano": "1700000000000000003", "asInt": "-7", "flags": 0},
    ]);
    assert_eq!(send_json(&server, "/v1/metrics", &gauge("m", points)), (200, json!({})));
    assert_eq!(rows(&mut raw, "SELECT value FROM m ORDER BY time"), ["5", "Infinity", "-1500", "-7"]);
    for point in [
        json!({"timeUnixNano": "soon"}),
        json!({"timeUnixNano": 1.5}),
        json!({"timeUnixNano": -1}),
        json!({"asInt": "9223372036854775808"}),
        json!({"asDouble": "much"}),
    ] {
        let (status, answer) = send_json(&server, "/v1/metrics", &gauge("m", json!([point])));
        assert_eq!((status, &answer["code"]), (400, &json!(3)), "{point}: {answer}");
    }
    let (status, answer) = send_json(&server, "/v1/logs", &log(json!({"traceId": "xyz"})));
    assert_eq!(status, 400, "{answer}");
}

#[test]
fn opentelemetry_asks_for_a_password_and_obeys_what_may_be_made() {
    let server = Options::new().setting("password", "secret").setting("ingest-create", "nothing").start();
    for target in ["/v1/metrics", "/v1/logs"] {
        let (status, content_type, body) = send(&server, target, &[PROTOBUF], b"");
        assert_eq!((status, content_type.as_str()), (401, "application/x-protobuf"));
        assert_eq!(Status::decode(body.as_slice()).unwrap().code, 16);
    }
    let basic = ("Authorization", "Basic dGlkZW1hcms6c2VjcmV0");
    let (status, _, body) = send(&server, "/v1/logs", &[PROTOBUF, basic], LOGS);
    let partial = Response::decode(body.as_slice()).unwrap().partial_success.unwrap();
    let reason = "log record: collection \"otel_logs\" does not exist, and is not to be made";
    assert_eq!((status, partial.rejected), (200, 3));
    assert_eq!(partial.error_message, [reason; 3].join("; "));
    let unauthorized = "tidemark_ingest_errors_total{protocol=\"otlp_logs\",kind=\"unauthorized\"}";
    let counted = metrics(&server);
    assert_eq!(counted[unauthorized], 1.0);
    assert_eq!(counted["tidemark_ingest_rejected_rows_total{protocol=\"otlp_logs\"}"], 3.0);
}

#[test]
fn what_a_sender_says_of_itself_is_kept_once() {
    let server = Server::start();
    let before = server.memory_bytes("VmHWM");
    let resource = json!({"attributes": [{"key": "a", "value": {"stringValue": "x".repeat(10_000)}}]});
    let points: Vec<Value> =
        (0..10_000).map(|at| json!({"timeUnixNano": (1 + at).to_string(), "asInt": at})).collect();
    let request = json!({"resourceMetrics": [{
        "resource": resource,
        "scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": points}}]}],
    }]});
    assert_eq!(send_json(&server, "/v1/metrics", &request), (200, json!({})));
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 64 << 20, "the server took {} MiB", grown >> 20);
    let mut raw = Raw::connect(server.pg);
    assert_eq!(raw.value("SELECT count(*), min(length(resource_attributes)) FROM m"), "10000|10009");
}
