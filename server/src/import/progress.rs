//! How far an import is: a bar on a terminal, else a line from time to time.

use std::cell::Cell;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tidemark_engine::env::{Clock, os};

/// How often a line is written where there is no bar.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of a file.
pub(super) struct Progress {
    name: String,
    total: u64,
    bar: Option<ProgressBar>,
    clock: Arc<dyn Clock>,
    started: Duration,
    line_at: Cell<Duration>,
}

impl Progress {
    /// Begins with a file of so many bytes or rows.
    pub(super) fn start(path: &Path, total: u64) -> Progress {
        let name = path.display().to_string();
        let clock = os::env().clock;
        let started = clock.monotonic();
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{msg} [{bar:30}] {percent:>3} %, {eta} left";
            let style = ProgressStyle::with_template(template).expect("the template is right");
            ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(name.clone())
        });
        Progress { name, total, bar, clock, started, line_at: Cell::new(started + LINE_INTERVAL) }
    }

    /// The file is loaded up to here; that is so many rows.
    pub(super) fn advance(&self, position: u64, row_count: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {row_count} rows", self.name));
            bar.set_position(position);
            return;
        }
        let now = self.clock.monotonic();
        if now >= self.line_at.get() {
            let percent = position.saturating_mul(100) / self.total.max(1);
            eprintln!("{}: {row_count} rows, {percent} %", self.name);
            self.line_at.set(now + LINE_INTERVAL);
        }
    }

    /// The file is loaded.
    pub(super) fn finish(&self, sent: u64, skipped: u64) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = (self.clock.monotonic() - self.started).as_secs_f64();
        let before = match skipped {
            0 => String::new(),
            skipped => format!(", {skipped} were loaded before"),
        };
        eprintln!("{}: {sent} rows loaded in {seconds:.1} s{before}", self.name);
    }
}
