//! The house's own rules, read from the source.
//!
//! 1. Layers: which crate and which module may know which other crate.
//! 2. Banned calls, outside the modules that exist for them. Clippy sees most (`clippy.toml`); what is
//!    here stands also where clippy is told to look away.
//! 3. Every file says what it is for.
//!
//! The lengths of files and functions are printed, as a place to look.

mod lengths;
mod source;

use std::collections::BTreeSet;

use crate::source::{SourceFile, sources};

/// Who may know whom: these words may be in the source below these paths only.
const LAYERS: [(&str, &[&str]); 10] = [
    ("redb::", &["catalog/src/store.rs", "catalog/src/error.rs", "catalog/tests/"]),
    ("pgwire::", &["server/src/wire"]),
    ("datafusion::", &["server/src/sql", "server/src/plan", "server/src/exec", "tests/bench/"]),
    ("parquet::", &["engine/src/segment", "engine/src/error.rs", "server/src/import/source", "tests/bench/"]),
    ("object_store::", &["engine/src/cold", "tests/bench/"]),
    ("sqlparser::", &["server/src/sql", "server/src/plan", "server/src/session", "server/src/pg_catalog"]),
    ("axum::", &["server/src/http"]),
    ("hyper::", &["server/src/http"]),
    ("tidemark_engine::", &["server/src/", "tests/"]),
    ("tidemark_server::", &["server/src/main.rs", "tests/"]),
];

/// Calls that only some modules may make, and why.
const BANNED: [(&str, &[&str], &str); 10] = [
    ("SystemTime::now", &["engine/src/env/os.rs"], "the clock comes through env::Clock"),
    // The server's deadlines are tokio's, on tokio's clock.
    (
        "Instant::now",
        &["engine/src/env/os.rs", "server/src/session/control.rs", "server/src/plan/query.rs", "tests/"],
        "the clock comes through env::Clock",
    ),
    // The bench keeps a pace, which is a matter of time and of nothing else.
    ("thread::sleep", &["tests/bench/load/source.rs"], "wait on a condition"),
    ("time::sleep", &[], "wait on a condition, with a timeout"),
    (
        "thread::spawn",
        &["engine/src/env/os.rs", "tests/src/", "tests/bench/"],
        "threads come through env::Spawn",
    ),
    ("fs::rename", &["engine/src/env/os.rs"], "only durable publishes files"),
    (".sync_all()", &["engine/src/env/os.rs"], "only durable syncs files"),
    (".sync_data()", &["engine/src/env/os.rs", "engine/src/durable.rs"], "only durable syncs files"),
    ("getrandom::", &["engine/src/env/os.rs"], "randomness comes through env::Random"),
    ("rand::", &[], "randomness comes through env::Random"),
];

/// The members of the workspace and the crates of ours that each may depend on.
const CRATES: [(&str, &[&str]); 3] = [
    ("catalog", &[]),
    ("engine", &["tidemark-catalog"]),
    ("server", &["tidemark-catalog", "tidemark-engine"]),
];

fn is_below(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

#[test]
fn layers_are_kept() {
    let mut broken = Vec::new();
    for file in sources().into_iter().filter(|file| !file.path.starts_with("tests/tidy/")) {
        for (word, places) in LAYERS {
            if !is_below(&file.path, places) {
                broken.extend(file.code_lines_with(word));
            }
        }
    }
    assert!(broken.is_empty(), "these modules may not know these crates:\n{}", broken.join("\n"));
}

#[test]
fn crates_depend_downwards_only() {
    for (member, allowed) in CRATES {
        let manifest = source::read(&format!("{member}/Cargo.toml"));
        let ours = manifest.lines().filter(|line| line.starts_with("tidemark-"));
        let names = ours.filter_map(|line| line.split(['.', ' ', '=']).next()).collect::<BTreeSet<_>>();
        let allowed = allowed.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(names, allowed, "the crates of ours that {member} depends on");
    }
}

#[test]
fn banned_calls_are_made_where_they_belong() {
    let mut broken = Vec::new();
    for file in sources().into_iter().filter(|file| !file.path.starts_with("tests/tidy/")) {
        for (call, places, why) in BANNED {
            if !is_below(&file.path, places) {
                broken.extend(file.code_lines_with(call).map(|line| format!("{line}   ({why})")));
            }
        }
    }
    assert!(broken.is_empty(), "these calls do not belong here:\n{}", broken.join("\n"));
}

#[test]
fn nothing_unwraps_outside_tests() {
    let is_ours = |file: &SourceFile| !file.path.starts_with("tests/") && !file.path.contains("/tests");
    let broken = sources()
        .into_iter()
        .filter(is_ours)
        .flat_map(|file| file.code_lines_with(".unwrap()").collect::<Vec<_>>());
    let broken = broken.collect::<Vec<_>>();
    assert!(broken.is_empty(), "say why it cannot fail, with `expect`, or handle it:\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|file| !file.text.starts_with("//!"));
    let silent = silent.map(|file| file.path).collect::<Vec<_>>();
    assert!(silent.is_empty(), "no `//!` at the top of:\n{}", silent.join("\n"));
}

#[test]
fn lengths_are_reported() {
    let sources = sources();
    let report = lengths::report(&sources);
    println!("{report}");
    assert!(report.lines().count() > 1, "there must be something to measure");
}
