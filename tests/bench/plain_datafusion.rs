//! `bench plain-datafusion`: the queries by DataFusion alone, on the Parquet files that the server
//! wrote: no index, cache, rule or operator of ours. What a server of ours must not be slower than.
//!
//! With `--serve` it waits for statements instead, so that it can take its turn among other
//! systems: a line of standard input is a JSON object `{"sql": …, "rows": true | false}`, a line of
//! standard output the answer, `{"milliseconds": …, "row_count": …, "rows": … | null}` or
//! `{"error": …}`.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampNanosecondType};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use serde::{Deserialize, Serialize};

use crate::answer::{Cell, Rows};
use crate::dataset::TABLE;
use crate::dialect::Dialect;
use crate::measure::{self, Plan, System};
use crate::workload::{Workload, queries};
use tidemark_tests::failure::{Context, Result, chain};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The directory with the Parquet files of the table
    #[arg(long, value_name = "DIRECTORY")]
    dir: PathBuf,
    /// How many partitions a plan is divided into
    #[arg(long, default_value_t = 2)]
    target_partitions: usize,
    /// Answer the statements of standard input
    #[arg(long)]
    serve: bool,
    #[command(flatten)]
    workload: Workload,
    #[command(flatten)]
    plan: Plan,
}

#[tokio::main]
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let config = SessionConfig::new().with_target_partitions(arguments.target_partitions);
    let context = SessionContext::new_with_config(config);
    let directory = arguments.dir.canonicalize().context(|| format!("find {}", arguments.dir.display()))?;
    // With the slash at its end it is a directory of files, all of which are the table.
    let url = format!("{}/", directory.display());
    context
        .register_parquet(TABLE, &url, ParquetReadOptions::default())
        .await
        .context(|| format!("open the files of {url}"))?;
    let mut datafusion = Datafusion { context };
    if arguments.serve {
        return serve(&mut datafusion).await;
    }
    let queries = queries(&arguments.workload, Dialect::Datafusion);
    measure::run(&mut datafusion, &queries, &arguments.plan).await
}

struct Datafusion {
    context: SessionContext,
}

impl System for Datafusion {
    type Answer = Vec<RecordBatch>;

    async fn run(&mut self, sql: &str) -> Result<Vec<RecordBatch>> {
        Ok(self.context.sql(sql).await?.collect().await?)
    }

    fn row_count(answer: &Vec<RecordBatch>) -> usize {
        answer.iter().map(RecordBatch::num_rows).sum()
    }

    fn rows(answer: &Vec<RecordBatch>) -> Result<Rows> {
        let mut rows = Rows::new();
        for batch in answer {
            let columns: Vec<Vec<Cell>> = batch.columns().iter().map(cells).collect::<Result<_>>()?;
            rows.extend(
                (0..batch.num_rows()).map(|row| columns.iter().map(|cells| cells[row].clone()).collect()),
            );
        }
        Ok(rows)
    }
}

fn cells(column: &datafusion::arrow::array::ArrayRef) -> Result<Vec<Cell>> {
    let cells = match column.data_type() {
        DataType::Timestamp(_, zone) => {
            let column = cast(column, &DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()))?;
            let times = column.as_primitive::<TimestampNanosecondType>();
            times.iter().map(|time| time.map_or(Cell::Null, Cell::Instant)).collect()
        }
        data_type if data_type.is_integer() => {
            let column = cast(column, &DataType::Int64)?;
            let numbers = column.as_primitive::<Int64Type>();
            numbers.iter().map(|number| number.map_or(Cell::Null, Cell::Integer)).collect()
        }
        data_type if data_type.is_floating() => {
            let column = cast(column, &DataType::Float64)?;
            let numbers = column.as_primitive::<Float64Type>();
            numbers.iter().map(|number| number.map_or(Cell::Null, Cell::Float)).collect()
        }
        _ => {
            let column = cast(column, &DataType::Utf8)?;
            let texts = column.as_string::<i32>();
            texts.iter().map(|text| text.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))).collect()
        }
    };
    Ok(cells)
}

#[derive(Deserialize)]
struct Request {
    sql: String,
    /// Whether the rows are wanted, or only the time.
    rows: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Reply {
    Answer { milliseconds: f64, row_count: usize, rows: Option<Rows> },
    Failure { error: String },
}

async fn serve(datafusion: &mut Datafusion) -> Result<()> {
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?).context(|| "read a request".to_owned())?;
        let reply = match reply(datafusion, &request).await {
            Ok(reply) => reply,
            Err(error) => Reply::Failure { error: chain(error.as_ref()) },
        };
        writeln!(output, "{}", serde_json::to_string(&reply)?)?;
        output.flush()?;
    }
    Ok(())
}

async fn reply(datafusion: &mut Datafusion, request: &Request) -> Result<Reply> {
    let started = Instant::now();
    let answer = datafusion.run(&request.sql).await?;
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    let rows = request.rows.then(|| Datafusion::rows(&answer)).transpose()?;
    Ok(Reply::Answer { milliseconds, row_count: Datafusion::row_count(&answer), rows })
}
