//! SQL through a real connection: files of statements with the answers they must get.
//!
//! What is in `common/` is answered alike by Tidemark and by PostgreSQL 15: the same file runs against
//! both, PostgreSQL being the one that says what is right. `tidemark/` holds what only Tidemark has, and
//! what it knowingly answers otherwise. How a file is written is told in [`file`]; a file that is not
//! named below is an error.
//!
//! With `TIDEMARK_SQL_WRITE=1` the answers in the files are written anew: those in `common/` by
//! PostgreSQL's test, those in `tidemark/` by Tidemark's.

#![expect(clippy::disallowed_methods, reason = "these are real processes in real time")]

mod file;
mod postgres;
mod session;

use std::path::PathBuf;

use file::Record;
use postgres::Postgres;
use session::{Engine, Session};
use tidemark_tests::server::{Server, source_path};

/// Declares a test for each file, and the list of all of them.
macro_rules! files {
    ($($directory:ident { $($name:ident)* })*) => {
        $(mod $directory {
            pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];
            $(#[test]
            fn $name() {
                super::tidemark_answers(stringify!($directory), stringify!($name));
            })*
        })*
    };
}

files! {
    common {
        aggregates alter arithmetic arrays casts catalogs conditions conflicts copy dates ddl defaults
        deletes distinct errors
        extract formatting functions grouping grouping_sets identifiers insert_forms inserts
        interval_order intervals joins json lateral latest literals multisets null_ordering numerics
        ordered_aggregates parameters prepared regular_expressions returning rounding row_order schemas
        series set_operations settings statistics strings subqueries symbols templates time_functions
        time_zones transactions windows with
    }
    tidemark {
        aggregates arithmetic conflicts dates ddl deletes differences errors explain extract identifiers
        inserts joins latest logs null_ordering numerics options parameters procedures
        regular_expressions row_order runs series set_operations statistics strings subqueries symbol_limit
        time_functions time_zones timeseries windows
        with
    }
}

fn path(directory: &str, name: &str) -> PathBuf {
    source_path("sql").join(directory).join(name).with_extension("slt")
}

fn tidemark_answers(directory: &str, name: &str) {
    let server = Server::start();
    let session = Session::open(&server.connection_string(), Engine::Tidemark);
    let writes = directory == "tidemark" && file::is_to_be_written();
    let differences = check(&path(directory, name), session, writes);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// PostgreSQL says the same as the files: what they expect is not our own invention.
#[test]
fn postgresql_answers_what_common_files_expect() {
    let postgres = Postgres::start();
    let mut differences = Vec::new();
    for name in common::NAMES {
        let session = Session::open(&postgres.new_database(name), Engine::Postgres);
        differences.extend(check(&path("common", name), session, file::is_to_be_written()));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_file_is_run() {
    for (directory, names) in [("common", common::NAMES), ("tidemark", tidemark::NAMES)] {
        let entries = std::fs::read_dir(source_path("sql").join(directory)).expect("the directory is there");
        let mut found: Vec<String> = entries
            .map(|entry| entry.expect("it can be read").path())
            .map(|path| path.file_stem().expect("it has a name").to_string_lossy().into_owned())
            .collect();
        found.sort();
        assert_eq!(found, names, "{directory}");
    }
}

/// Runs a file; returns what was answered otherwise than expected.
fn check(path: &std::path::Path, mut session: Session, writes: bool) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut records = file::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut differences = Vec::new();
    for record in &mut records {
        let Record::Statement(statement) = record else { continue };
        let answer = session.answer(statement);
        if writes {
            statement.expect(&answer);
        } else if let Err(difference) = statement.check(&answer) {
            differences.push(format!("{}:{}: {difference}", path.display(), statement.line));
        }
    }
    if writes {
        std::fs::write(path, file::write(&records)).expect("the file can be written");
    }
    differences
}
