//! `bench load`: sends the data set over one or more connections, and checks every answer.
//!
//! 1. With `--create` the table is made first.
//! 2. A thread reads or generates batches; whichever connection is free takes the next one.
//! 3. The clock runs from the first batch until the last acknowledgement: 204 of each request, or
//!    the tag of each COPY with as many rows as were sent. That is, until all is durable and
//!    visible, and not until all is sent.
//! 4. `SELECT count(*)` must have grown by what was sent.
//! 5. With `--settle` indexes and statistics are made; the clock has stopped by then.

mod copy;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use crate::dataset::parse_duration_ns;
use crate::dialect::ServerTarget;
use crate::encode::Format;
use crate::generator::DataSet;
use crate::statistics::{median, quantile};
use crate::{postgres, progress};
use source::{Batch, Source};
use tidemark_tests::failure::{Context, Result};
use tidemark_tests::http;

/// How rows are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// InfluxDB line protocol over HTTP
    Line,
    /// COPY … FROM STDIN (FORMAT csv) over the PostgreSQL protocol
    CopyCsv,
    /// COPY … FROM STDIN (FORMAT text)
    CopyText,
    /// COPY … FROM STDIN (FORMAT binary); only with `--generate`
    CopyBinary,
}

impl Protocol {
    fn format(self) -> Format {
        match self {
            Self::Line => Format::Line,
            Self::CopyCsv => Format::Csv,
            Self::CopyText => Format::Text,
            Self::CopyBinary => Format::Binary,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// What is loaded into, for `--create`
    #[arg(long, value_enum, default_value_t = ServerTarget::Tidemark)]
    target: ServerTarget,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Rows that a connection takes at a time; with line protocol, the rows of a request
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    batch_rows: u64,
    /// Send no faster than this; else as fast as they are taken
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rows_per_second: Option<u64>,
    /// Rows after which a COPY ends and the next begins; else each connection makes a single COPY
    #[arg(long)]
    copy_rows: Option<u64>,
    /// A file that `bench generate` wrote, in the format that the protocol needs
    #[arg(long, value_name = "FILE", required_unless_present = "generate", conflicts_with = "generate")]
    file: Option<PathBuf>,
    /// Make the rows while they are sent
    #[arg(long)]
    generate: bool,
    #[command(flatten)]
    data_set: DataSet,
    /// Make the table first
    #[arg(long)]
    create: bool,
    /// Drop the table before it is made, if there is one
    #[arg(long, requires = "create")]
    drop: bool,
    /// Afterwards build what the table is best queried with: indexes and statistics in PostgreSQL
    #[arg(long)]
    settle: bool,
    /// Where PostgreSQL clients connect
    #[arg(long, value_name = "PARAMETERS", default_value = postgres::DEFAULT_CONNECTION)]
    pg: String,
    /// Where HTTP clients connect
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8086")]
    http: String,
    /// Where line protocol is posted to
    #[arg(long, value_name = "PATH", default_value = "/write?precision=ns")]
    http_path: String,
    /// A token for the HTTP server
    #[arg(long)]
    token: Option<String>,
    /// How long a request may take
    #[arg(long = "answer-within", value_name = "DURATION", default_value = "60s", value_parser = parse_duration_ns)]
    answer_within_ns: i64,
    /// Also write what was measured to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Batches for whoever is free.
type Queue = Arc<Mutex<Receiver<Result<Batch>>>>;

async fn next_batch(queue: &Queue) -> Result<Option<Batch>> {
    queue.lock().await.recv().await.transpose()
}

/// What was sent and acknowledged.
#[derive(Debug, Default)]
struct Sent {
    row_count: u64,
    bytes: u64,
    /// How long each request or COPY took, in milliseconds.
    answer_ms: Vec<f64>,
}

impl Sent {
    fn add(&mut self, other: Self) {
        self.row_count += other.row_count;
        self.bytes += other.bytes;
        self.answer_ms.extend(other.answer_ms);
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let client = postgres::connect(&arguments.pg).await?;
    if arguments.create {
        run_all(&client, arguments.target.dialect().create(arguments.drop)).await?;
    }
    let rows_before = postgres::count_rows(&client).await?;
    let (sent, seconds) = send_all(arguments).await?;
    let rows_after = postgres::count_rows(&client).await?;
    report(arguments, &sent, seconds)?;
    if rows_after != rows_before + sent.row_count {
        let sent = sent.row_count;
        return Err(format!("{rows_before} rows before, {sent} sent, {rows_after} after").into());
    }
    if arguments.settle {
        run_all(&client, arguments.target.dialect().settle()).await?;
    }
    Ok(())
}

async fn run_all(client: &tokio_postgres::Client, statements: Vec<String>) -> Result<()> {
    for statement in statements {
        client.batch_execute(&statement).await.context(|| format!("run {statement}"))?;
    }
    Ok(())
}

/// Sends everything; how long it took to the last acknowledgement is in seconds.
async fn send_all(arguments: &Arguments) -> Result<(Sent, f64)> {
    let (source, progress) = source(arguments)?;
    let connections = connect_all(arguments).await?;
    let queue: Queue =
        Arc::new(Mutex::new(source::start(source, arguments.batch_rows, arguments.rows_per_second)));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(send(connection, Arc::clone(&queue), arguments.copy_rows, progress.clone()));
    }
    let mut sent = Sent::default();
    while let Some(outcome) = tasks.join_next().await {
        sent.add(outcome??);
    }
    let seconds = started.elapsed().as_secs_f64();
    progress.finish_and_clear();
    Ok((sent, seconds))
}

/// Where the rows come from, and a bar that will count their bytes or themselves.
fn source(arguments: &Arguments) -> Result<(Source, Progress)> {
    if let Some(path) = &arguments.file {
        if arguments.protocol == Protocol::CopyBinary {
            return Err("rows for a binary COPY are made on the way: use --generate".into());
        }
        let metadata = std::fs::metadata(path).context(|| format!("look at {}", path.display()))?;
        let progress = Progress::Bytes(progress::of_bytes(metadata.len()));
        return Ok((Source::File(path.clone()), progress));
    }
    let format = arguments.protocol.format();
    let progress = Progress::Rows(progress::of_rows(arguments.data_set.extent.row_count()));
    Ok((Source::Generator(Box::new(arguments.data_set.clone()), format), progress))
}

#[derive(Clone, Debug)]
enum Progress {
    Rows(ProgressBar),
    Bytes(ProgressBar),
}

impl Progress {
    fn count(&self, batch: &Batch) {
        match self {
            Self::Rows(bar) => bar.inc(batch.row_count),
            Self::Bytes(bar) => bar.inc(batch.text.len() as u64),
        }
    }

    fn finish_and_clear(&self) {
        let (Self::Rows(bar) | Self::Bytes(bar)) = self;
        bar.finish_and_clear();
    }
}

enum Connection {
    Line(Box<http::Connection>),
    Copy(tokio_postgres::Client, Format),
}

async fn connect_all(arguments: &Arguments) -> Result<Vec<Connection>> {
    let endpoint = http::Endpoint {
        address: arguments.http.clone(),
        path: arguments.http_path.clone(),
        token: arguments.token.clone(),
        answer_within: Duration::from_nanos(arguments.answer_within_ns.cast_unsigned()),
    };
    let mut connections = Vec::new();
    for _ in 0..arguments.connections {
        connections.push(match arguments.protocol {
            Protocol::Line => Connection::Line(Box::new(http::Connection::open(&endpoint).await?)),
            Protocol::CopyCsv | Protocol::CopyText | Protocol::CopyBinary => {
                Connection::Copy(postgres::connect(&arguments.pg).await?, arguments.protocol.format())
            }
        });
    }
    Ok(connections)
}

async fn send(
    connection: Connection,
    queue: Queue,
    copy_rows: Option<u64>,
    progress: Progress,
) -> Result<Sent> {
    match connection {
        Connection::Line(connection) => send_lines(*connection, &queue, &progress).await,
        Connection::Copy(client, format) => send_copies(&client, format, &queue, copy_rows, &progress).await,
    }
}

async fn send_lines(mut connection: http::Connection, queue: &Queue, progress: &Progress) -> Result<Sent> {
    let mut sent = Sent::default();
    while let Some(batch) = next_batch(queue).await? {
        let started = Instant::now();
        connection.write(&batch.text).await?;
        sent.answer_ms.push(started.elapsed().as_secs_f64() * 1e3);
        sent.row_count += batch.row_count;
        sent.bytes += batch.text.len() as u64;
        progress.count(&batch);
    }
    Ok(sent)
}

async fn send_copies(
    client: &tokio_postgres::Client,
    format: Format,
    queue: &Queue,
    copy_rows: Option<u64>,
    progress: &Progress,
) -> Result<Sent> {
    let mut sent = Sent::default();
    let mut next = next_batch(queue).await?;
    while next.is_some() {
        let started = Instant::now();
        let mut copy = copy::begin(client, format).await.context(|| "begin a COPY".to_owned())?;
        while let Some(batch) = next.take() {
            sent.bytes += batch.text.len() as u64;
            copy.send(batch.text.clone(), batch.row_count).await.context(|| "send rows".to_owned())?;
            progress.count(&batch);
            next = next_batch(queue).await?;
            if copy_rows.is_some_and(|copy_rows| copy.row_count >= copy_rows) {
                break;
            }
        }
        sent.row_count += copy.finish().await.context(|| "finish a COPY".to_owned())?;
        sent.answer_ms.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(sent)
}

fn report(arguments: &Arguments, sent: &Sent, seconds: f64) -> Result<()> {
    let rows_per_second = sent.row_count as f64 / seconds;
    let answer_ms_median = median(&sent.answer_ms);
    let answer_ms_p99 = quantile(&sent.answer_ms, 0.99);
    let answer_ms_max = sent.answer_ms.iter().copied().fold(0.0, f64::max);
    println!(
        "{} rows, {seconds:.2} s to the last acknowledgement, {rows_per_second:.0} rows/s, {} bytes sent",
        sent.row_count, sent.bytes
    );
    println!(
        "{} answers, median {answer_ms_median:.1} ms, 99 % within {answer_ms_p99:.1} ms, slowest {answer_ms_max:.1} ms",
        sent.answer_ms.len()
    );
    let Some(path) = &arguments.json else { return Ok(()) };
    let measured = json!({
        "rows": sent.row_count,
        "seconds": seconds,
        "rows_per_second": rows_per_second,
        "bytes": sent.bytes,
        "answers": sent.answer_ms.len(),
        "answer_ms_median": answer_ms_median,
        "answer_ms_p99": answer_ms_p99,
        "answer_ms_max": answer_ms_max,
    });
    std::fs::write(path, format!("{measured:#}\n")).context(|| format!("write {}", path.display()))
}
