//! What the binary is asked to do: to serve, which needs no word, or one of the tools.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::settings::Settings;

/// The command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "tidemark",
    version,
    about = "A PostgreSQL-compatible database for data that lives in time and space"
)]
pub struct CommandLine {
    /// The settings of a server.
    #[command(flatten)]
    pub settings: Settings,
    /// What is done instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A tool.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Sends files to a running server; the same command goes on where it was interrupted
    Import(ImportArguments),
    /// Looks whether a data directory that no server has open is sound; changes nothing
    Check(CheckArguments),
}

/// What is to be imported, and where to.
#[derive(Clone, Debug, Args)]
pub struct ImportArguments {
    /// The files, loaded one after the other
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The table that gets the rows; line protocol names its own
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Where the server speaks PostgreSQL's protocol
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5433")]
    pub pg: String,
    /// Where the server speaks HTTP: line protocol goes there
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8086")]
    pub http: String,
    /// The role
    #[arg(long, value_name = "NAME", default_value = "tidemark")]
    pub user: String,
    /// The role's password
    #[arg(long, env = "TIDEMARK_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// The form of the files [default: by their names]
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// Makes the table where it is missing, with the columns of the first file
    #[arg(long)]
    pub create: bool,
    /// The time key of a table that is made [default: the first column of times]
    #[arg(long, value_name = "COLUMN")]
    pub time_column: Option<String>,
    /// Between the fields of CSV
    #[arg(long, value_name = "CHARACTER", default_value_t = ',')]
    pub delimiter: char,
    /// The unit of timestamps in line protocol: ns, us, ms or s
    #[arg(long, value_name = "UNIT", default_value = "ns")]
    pub precision: String,
    /// The most rows that are committed together; also at most 8 MiB are
    #[arg(long, value_name = "COUNT", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_rows: u32,
    /// The name under which the server knows how much is loaded [default: made of each file's place, length, beginning and end]
    #[arg(long, value_name = "NAME")]
    pub producer: Option<String>,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Comma-separated values, with a header that names the columns
    Csv,
    /// Apache Parquet
    Parquet,
    /// InfluxDB's line protocol
    Line,
}

/// What is to be checked.
#[derive(Clone, Debug, Args)]
pub struct CheckArguments {
    /// The data directory [default: the server's]
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,
    /// Decodes all values and compares them with the catalog's statistics; looks for keys that are there twice
    #[arg(long)]
    pub deep: bool,
}
