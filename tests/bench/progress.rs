//! Progress bars on standard error; none where that is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts rows.
pub(crate) fn of_rows(row_count: u64) -> ProgressBar {
    bar(row_count, "{elapsed_precise} {wide_bar} {human_pos}/{human_len} rows, {per_sec}, {eta} left")
}

/// A bar that counts bytes.
pub(crate) fn of_bytes(bytes: u64) -> ProgressBar {
    bar(bytes, "{elapsed_precise} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left")
}

/// A bar that counts queries and names the one that runs.
pub(crate) fn of_queries(query_count: u64) -> ProgressBar {
    bar(query_count, "{elapsed_precise} {wide_bar} {pos}/{len} {msg}")
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the templates of this file are right");
    ProgressBar::new(length).with_style(style)
}
