//! `bench generate`: writes the data set to a file or to standard output.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::encode::{Encoder, Format};
use crate::generator::{DataSet, rows};
use crate::progress;
use tidemark_tests::failure::{Context, Result};

/// Rows are written when so many bytes of them have come together.
const WRITE_BYTES: usize = 1 << 20;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    data_set: DataSet,
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let mut output: Box<dyn Write> = if arguments.out.as_os_str() == "-" {
        Box::new(io::stdout().lock())
    } else {
        let file = File::create(&arguments.out);
        Box::new(file.context(|| format!("create {}", arguments.out.display()))?)
    };
    let bytes = write(arguments, output.as_mut()).context(|| "write the rows".to_owned())?;
    let rows = arguments.data_set.extent.row_count();
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{rows} rows, {bytes} bytes, {seconds:.2} s, {:.0} rows/s", rows as f64 / seconds);
    Ok(())
}

fn write(arguments: &Arguments, output: &mut dyn Write) -> io::Result<u64> {
    let progress = progress::of_rows(arguments.data_set.extent.row_count());
    let mut encoder = Encoder::new(arguments.format, &arguments.data_set);
    let mut buffer = Vec::with_capacity(WRITE_BYTES + (1 << 12));
    let mut bytes = 0;
    let mut rows_in_buffer = 0;
    for point in rows(&arguments.data_set) {
        encoder.append(&point, &mut buffer);
        rows_in_buffer += 1;
        if buffer.len() >= WRITE_BYTES {
            output.write_all(&buffer)?;
            bytes += buffer.len() as u64;
            progress.inc(rows_in_buffer);
            rows_in_buffer = 0;
            buffer.clear();
        }
    }
    output.write_all(&buffer)?;
    output.flush()?;
    progress.finish_and_clear();
    Ok(bytes + buffer.len() as u64)
}
