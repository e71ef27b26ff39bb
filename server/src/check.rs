//! `tidemark check`: shows what the engine finds in a data directory.
//!
//! What is wrong goes to standard output, a line for each, with its place; so does what a crash left. The
//! last line is a summary. The process ends with 1 when something is wrong.

use std::io::{self, Write};
use std::path::Path;

use tidemark_engine::check::{Depth, Finding, Report, check};
use tidemark_engine::env::os;
use tidemark_engine::error::OpenError;

/// What was found in a directory, to be shown.
#[derive(Debug)]
pub struct Checked(Report);

/// Looks at a data directory.
///
/// # Errors
/// It is none, a server has it open, or the file system fails.
pub fn run(directory: &Path, depth: Depth) -> Result<Checked, OpenError> {
    check(&os::env(), directory, depth, &mut |segment| {
        tracing::debug!(segment = %segment.id, bytes = segment.file_bytes, "checking a segment");
    })
    .map(Checked)
}

impl Checked {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.0.faults.is_empty()
    }

    /// Writes what was found.
    ///
    /// # Errors
    /// The output takes no more.
    pub fn show(&self, output: &mut dyn Write) -> io::Result<()> {
        let report = &self.0;
        for finding in report.faults.iter().chain(&report.leftovers) {
            writeln!(output, "{}", line(finding))?;
        }
        let Report { collection_count, segment_count, row_count, segment_bytes, log_record_count, .. } =
            report;
        let looked_at = format!(
            "{collection_count} collections, {segment_count} segments ({row_count} rows, {segment_bytes} bytes), \
             {log_record_count} records of the log"
        );
        let left = match report.leftovers.len() {
            0 => String::new(),
            count => format!("; {count} things that a crash left, which the next start puts in order"),
        };
        match report.faults.len() {
            0 => writeln!(output, "sound: {looked_at}{left}"),
            count => writeln!(output, "NOT SOUND: {count} faults in {looked_at}{left}"),
        }
    }
}

fn line(finding: &Finding) -> String {
    let mut line = String::new();
    if let Some(collection) = &finding.collection {
        line.push_str(&format!("collection \"{collection}\", "));
    }
    if let Some(partition) = finding.partition {
        line.push_str(&format!("partition {partition}, "));
    }
    if let Some(segment) = finding.segment {
        line.push_str(&format!("segment {segment}, "));
    }
    format!("{line}{}: {}", finding.file.display(), finding.fault)
}
