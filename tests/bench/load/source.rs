//! Where the rows to load come from: a file, or the generator; either way a thread that stays a
//! few batches ahead of the connections.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::encode::{Encoder, Format};
use crate::generator::{DataSet, rows};
use tidemark_tests::failure::{Context, Result};

/// So many batches wait for a connection at most.
const BATCHES_AHEAD: usize = 8;

const READ_BYTES: usize = 1 << 20;

/// Rows that are sent as one.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) text: Bytes,
    pub(crate) row_count: u64,
}

#[derive(Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Generator(Box<DataSet>, Format),
}

/// Starts the thread; the channel ends when all rows came through it, or with a failure.
pub(crate) fn start(
    source: Source,
    rows_per_batch: u64,
    rows_per_second: Option<u64>,
) -> Receiver<Result<Batch>> {
    // Batches that wait for a slow connection are late, and do not come faster afterwards for long.
    let ahead = if rows_per_second.is_some() { 1 } else { BATCHES_AHEAD };
    let (sender, receiver) = mpsc::channel(ahead);
    std::thread::spawn(move || {
        let mut outlet = Outlet { sender, rows_per_second, started: Instant::now(), rows_sent: 0 };
        let outcome = match &source {
            Source::File(path) => read(path, rows_per_batch, &mut outlet),
            Source::Generator(data_set, format) => {
                generate(data_set, *format, rows_per_batch, &mut outlet);
                Ok(())
            }
        };
        if let Err(error) = outcome {
            // Nobody listens any more when a connection failed first.
            outlet.sender.blocking_send(Err(error)).ok();
        }
    });
    receiver
}

/// Where batches go, at the pace that was asked for.
struct Outlet {
    sender: Sender<Result<Batch>>,
    rows_per_second: Option<u64>,
    started: Instant,
    rows_sent: u64,
}

impl Outlet {
    /// False when nobody takes batches any more.
    fn send(&mut self, batch: Batch) -> bool {
        if let Some(rows_per_second) = self.rows_per_second {
            let due = Duration::from_secs_f64(self.rows_sent as f64 / rows_per_second as f64);
            std::thread::sleep(due.saturating_sub(self.started.elapsed()));
        }
        self.rows_sent += batch.row_count;
        self.sender.blocking_send(Ok(batch)).is_ok()
    }
}

fn read(path: &Path, rows_per_batch: u64, outlet: &mut Outlet) -> Result<()> {
    let file = File::open(path).context(|| format!("open {}", path.display()))?;
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let mut capacity = 0;
    loop {
        let mut text = Vec::with_capacity(capacity);
        let mut row_count = 0;
        while row_count < rows_per_batch {
            let bytes = reader.read_until(b'\n', &mut text).context(|| format!("read {}", path.display()))?;
            if bytes == 0 {
                break;
            }
            row_count += 1;
        }
        if row_count == 0 {
            return Ok(());
        }
        capacity = capacity.max(text.len() + text.len() / 8);
        if !outlet.send(Batch { text: text.into(), row_count }) {
            return Ok(());
        }
    }
}

fn generate(data_set: &DataSet, format: Format, rows_per_batch: u64, outlet: &mut Outlet) {
    let mut encoder = Encoder::new(format, data_set);
    let mut points = rows(data_set);
    let mut capacity = 0;
    loop {
        let mut text = Vec::with_capacity(capacity);
        let mut row_count = 0;
        while row_count < rows_per_batch {
            let Some(point) = points.next() else { break };
            encoder.append(&point, &mut text);
            row_count += 1;
        }
        capacity = capacity.max(text.len() + text.len() / 8);
        let finished = row_count < rows_per_batch;
        let batch = Batch { text: text.into(), row_count };
        if (row_count > 0 && !outlet.send(batch)) || finished {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::tests::data_set;

    fn batches(source: Source, rows_per_batch: u64) -> Vec<Batch> {
        let mut receiver = start(source, rows_per_batch, None);
        std::iter::from_fn(|| receiver.blocking_recv()).map(|batch| batch.unwrap()).collect()
    }

    #[test]
    fn a_file_and_the_generator_give_the_same_batches() {
        let generator = || Source::Generator(Box::new(data_set(10, 1, 0.0)), Format::Csv);
        let generated = batches(generator(), 1000);
        let counts: Vec<u64> = generated.iter().map(|batch| batch.row_count).collect();
        assert_eq!(counts, [1000, 1000, 1000, 600]);
        assert_eq!(batches(generator(), 1800).len(), 2);

        let path = std::env::temp_dir().join(format!("tidemark-bench-source-{}", std::process::id()));
        let text: Vec<u8> = generated.iter().flat_map(|batch| batch.text.to_vec()).collect();
        std::fs::write(&path, text).unwrap();
        let read = batches(Source::File(path.clone()), 1000);
        std::fs::remove_file(&path).unwrap();
        assert!(read.iter().map(|batch| &batch.text).eq(generated.iter().map(|batch| &batch.text)));
        assert!(read.iter().map(|batch| batch.row_count).eq(counts));
    }

    #[test]
    fn a_missing_file_is_a_failure() {
        let mut receiver = start(Source::File("/nowhere/at/all".into()), 10, None);
        assert!(receiver.blocking_recv().unwrap().is_err());
        assert!(receiver.blocking_recv().is_none());
    }
}
