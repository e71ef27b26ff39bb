//! Agents with the configurations that `docs/ingest.md` shows: what they send then, byte by byte.
//!
//! Where a setting of the configuration goes into a request, it is taken from the document.

use std::io::{Read, Write};
use std::net::TcpStream;

use tidemark_tests::server::{Options, Server, source_path};

use crate::http::gzip_bytes;
use crate::raw::{Raw, tcp};
use crate::remote_write;

/// The password in the document.
const PASSWORD: &str = "secret";

/// The block of code in the document that has this text in it.
fn documented(text: &str) -> String {
    let document = std::fs::read_to_string(source_path("../docs/ingest.md")).unwrap();
    let blocks: Vec<&str> = document.split("```").skip(1).step_by(2).collect();
    let found: Vec<&&str> = blocks.iter().filter(|block| block.contains(text)).collect();
    assert_eq!(found.len(), 1, "blocks with {text}");
    (*found[0]).to_owned()
}

/// The value of a setting, `name = "value"` or `name: value`.
fn setting(block: &str, name: &str) -> String {
    let line = block.lines().map(str::trim).find_map(|line| {
        let line = line.strip_prefix("- ").unwrap_or(line);
        line.strip_prefix(name)?.trim_start().strip_prefix(['=', ':'])
    });
    let line = line.unwrap_or_else(|| panic!("{name} is not in {block}"));
    line.trim().trim_matches(['[', ']', '"', '\'']).to_owned()
}

/// The path and the parameters of an address, which is that of a server by default.
fn target(url: &str) -> String {
    let rest = url.strip_prefix("http://127.0.0.1:8086").unwrap_or_else(|| panic!("{url}"));
    rest.to_owned()
}

fn protected() -> Server {
    Options::new().setting("password", PASSWORD).start()
}

/// Sends a request over a connection that stays, as Go's client does; the status.
fn ask(stream: &mut TcpStream, head: &str, body: &[u8]) -> u16 {
    stream.write_all(head.replace('\n', "\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    let len = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
    stream.read_exact(&mut vec![0; len.map_or(0, |len| len.parse().unwrap())]).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A body in chunks.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    for part in body.chunks(4096) {
        chunks.extend(format!("{:x}\r\n", part.len()).into_bytes());
        chunks.extend_from_slice(part);
        chunks.extend_from_slice(b"\r\n");
    }
    [chunks, b"0\r\n\r\n".to_vec()].concat()
}

async fn value(server: &Server, sql: &str) -> String {
    let config = format!("{} password={PASSWORD}", server.connection_string());
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    // Its error is the client's too.
    tokio::spawn(async move { connection.await.ok() });
    client.query_one(&format!("SELECT ({sql})::text"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn telegraf_writes_with_the_configuration_that_is_shown() {
    let block = documented("[[outputs.influxdb_v2]]");
    let url = setting(&block, "urls");
    let (base, parameters) = url.split_once('?').unwrap_or((&url, ""));
    // Telegraf adds the path, and sorts the parameters by name.
    let mut query: Vec<String> =
        parameters.split('&').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    query.push(format!("bucket={}", setting(&block, "bucket")));
    query.push(format!("org={}", setting(&block, "organization")));
    query.sort();
    let target = format!("{}/api/v2/write?{}", target(base), query.join("&"));
    let token = setting(&block, "token");
    assert_eq!(setting(&block, "content_encoding"), "gzip");
    let head = format!(
        "POST {target} HTTP/1.1\nHost: 127.0.0.1:8086\nUser-Agent: Telegraf/1.37.0 Go/1.25.5\n\
         Transfer-Encoding: chunked\nAuthorization: Token {token}\nContent-Encoding: gzip\n\
         Content-Type: text/plain; charset=utf-8\nAccept-Encoding: gzip\n\n"
    );
    let lines = "cpu,cpu=cpu-total,host=web\\ 1 usage_user=3.5,usage_idle=90.25 1700000000000000000\n\
        disk,device=sda1,fstype=ext4,host=web\\ 1,mode=rw,path=/ total=105089261568i,used_percent=12.5 1700000000000000000\n\
        system,host=web\\ 1 load1=0.15,n_cpus=8i,uptime_format=\"12 days,  3:04\" 1700000000000000000\n";
    let server = protected();
    let mut stream = tcp(server.http);
    assert_eq!(ask(&mut stream, &head, &chunked(&gzip_bytes(lines.as_bytes()))), 204);
    let many: String = (0..1000)
        .map(|at| format!("net,host=h{at},interface=eth0 bytes_recv={at}i 1700000000000000{at:03}\n"))
        .collect();
    assert_eq!(ask(&mut stream, &head, &chunked(&gzip_bytes(many.as_bytes()))), 204);
    assert_eq!(value(&server, "SELECT usage_idle FROM cpu WHERE host = 'web 1'").await, "90.25");
    assert_eq!(value(&server, "SELECT total FROM disk").await, "105089261568");
    assert_eq!(value(&server, "SELECT uptime_format FROM system").await, "12 days,  3:04");
    assert_eq!(value(&server, "SELECT sum(bytes_recv) FROM net").await, "499500");
    // A metric that does not fit costs itself, and no others: that is what the address asks for.
    let partly = "cpu,host=b usage_user=1 1\ncpu,host=b usage_user=\"x\" 2\n";
    assert_eq!(ask(&mut stream, &head, &chunked(&gzip_bytes(partly.as_bytes()))), 400);
    assert_eq!(value(&server, "SELECT count(*) FROM cpu WHERE host = 'b'").await, "1");
    let wrong = head.replace(&token, "tidemark:wrong");
    assert_eq!(ask(&mut stream, &wrong, &chunked(&gzip_bytes(lines.as_bytes()))), 401);
}

#[tokio::test]
async fn prometheus_writes_with_the_configuration_that_is_shown() {
    let block = documented("remote_write:");
    let target = target(&setting(&block, "url"));
    assert_eq!(
        (setting(&block, "username").as_str(), setting(&block, "password").as_str()),
        ("tidemark", PASSWORD)
    );
    let server = protected();
    let mut stream = tcp(server.http);
    for (attempt, version) in [(0, "0.1.0"), (1, "2.0.0")] {
        let body = if attempt == 0 { remote_write::up_v1() } else { remote_write::up_v2() };
        let content_type = match attempt {
            0 => "application/x-protobuf",
            _ => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        };
        let head = format!(
            "POST {target} HTTP/1.1\nHost: 127.0.0.1:8086\nUser-Agent: Prometheus/3.5.0\nContent-Length: {}\n\
             Authorization: Basic dGlkZW1hcms6c2VjcmV0\nContent-Encoding: snappy\nContent-Type: {content_type}\n\
             Retry-Attempt: {attempt}\nX-Prometheus-Remote-Write-Version: {version}\n\n",
            body.len()
        );
        assert_eq!(ask(&mut stream, &head, &body), 204);
    }
    assert_eq!(
        value(&server, "SELECT string_agg(concat(job, ' ', value), ',') FROM up").await,
        "node 1,node 1"
    );
}

#[tokio::test]
async fn the_collector_writes_with_the_configuration_that_is_shown() {
    let block = documented("otlphttp");
    let endpoint = target(&setting(&block, "endpoint"));
    assert_eq!(
        (setting(&block, "username").as_str(), setting(&block, "password").as_str()),
        ("tidemark", PASSWORD)
    );
    let server = protected();
    let mut stream = tcp(server.http);
    let requests: [(&str, &[u8]); 2] =
        [("/v1/metrics", include_bytes!("otlp/metrics.bin")), ("/v1/logs", include_bytes!("otlp/logs.bin"))];
    for (path, body) in requests {
        let body = gzip_bytes(body);
        let head = format!(
            "POST {endpoint}{path} HTTP/1.1\nHost: 127.0.0.1:8086\n\
             User-Agent: OpenTelemetry Collector Contrib/0.140.0 (linux/amd64)\nContent-Length: {}\n\
             Authorization: Basic dGlkZW1hcms6c2VjcmV0\nContent-Encoding: gzip\n\
             Content-Type: application/x-protobuf\nAccept-Encoding: gzip\n\n",
            body.len()
        );
        assert_eq!(ask(&mut stream, &head, &body), 200);
    }
    assert_eq!(value(&server, "SELECT count(*) FROM otel_logs").await, "3");
    assert_eq!(value(&server, "SELECT count(*) FROM system_memory_usage").await, "4");
}

#[test]
fn influxdbs_shell_commands_work_as_they_are_shown() {
    // `curl` in the README sends this.
    let server = Server::start();
    let mut stream = tcp(server.http);
    let body = b"\ncpu,host=a,region=eu usage=0.64,cores=8i 1714557600\n";
    let head = format!(
        "POST /write?db=tidemark&precision=s HTTP/1.1\nHost: 127.0.0.1:8086\nUser-Agent: curl/8.14.1\nAccept: */*\n\
         Content-Length: {}\nContent-Type: application/x-www-form-urlencoded\n\n",
        body.len()
    );
    assert_eq!(ask(&mut stream, &head, body), 204);
    assert_eq!(Raw::connect(server.pg).value("SELECT cores FROM cpu"), "8");
}
