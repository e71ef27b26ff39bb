//! The bench: makes the data of TSBS devops (cpu-only), loads it, and times its queries.
//!
//! One binary, so that every system is given the same rows and asked the same questions:
//! `generate` writes the data set, `load` sends it, `queries` runs the 15 query types over the
//! PostgreSQL protocol, `generate-queries` prints their text for the script that compares systems
//! (`compare.py`), `plain-datafusion` runs them by DataFusion alone. The README beside this file
//! has an example of each.

#![allow(clippy::disallowed_methods, reason = "a bench measures time, and has its own threads")]

mod answer;
mod dataset;
mod dialect;
mod dns;
mod encode;
mod generate;
mod generator;
mod load;
mod measure;
mod plain_datafusion;
mod postgres;
mod progress;
mod queries;
mod random;
mod statistics;
mod workload;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "bench", about = "Data, load and queries of TSBS devops (cpu-only)")]
enum Command {
    /// Write the data set as line protocol or CSV
    Generate(generate::Arguments),
    /// Write the log of a resolver as CSV
    GenerateDns(dns::Arguments),
    /// Load the data set into a server and check that all of it arrived
    Load(load::Arguments),
    /// Run the 15 query types against a server
    Queries(queries::Arguments),
    /// Print DDL and the 15 query types in the SQL of every system
    GenerateQueries(queries::GenerateArguments),
    /// Run the 15 query types by DataFusion alone, on the Parquet files of a directory
    PlainDatafusion(plain_datafusion::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Generate(arguments) => generate::run(&arguments),
        Command::GenerateDns(arguments) => dns::generate(&arguments),
        Command::Load(arguments) => load::run(&arguments),
        Command::Queries(arguments) => queries::run(&arguments),
        Command::GenerateQueries(arguments) => queries::generate(&arguments),
        Command::PlainDatafusion(arguments) => plain_datafusion::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {}", tidemark_tests::failure::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
