//! The failpoints that there are, as the sources say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::server::source_path;

/// Failpoints that break a promise on purpose, for tests that must notice.
pub const DEFECTS: [&str; 6] = [
    "wal::skip_sync",
    "wal::acknowledge_before_sync",
    "flush::forget_flushed_lsn",
    "flush::forget_replaced",
    "merge::forget_replaced",
    // No defect: segments as they were before there were filters.
    "segment::without_token_filters",
];

/// The names of all failpoints in the sources of the server, the engine and the catalog.
///
/// # Panics
/// The sources cannot be read.
pub fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for member in ["catalog", "engine", "server"] {
        collect(&source_path("..").join(member).join("src"), &mut names);
    }
    assert!(!names.is_empty(), "there are failpoints");
    names
}

fn collect(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("sources are text");
            let calls = text.split("fail_point!(").skip(1);
            names.extend(calls.filter_map(|call| Some(call.split('"').nth(1)?.to_owned())));
        }
    }
}
