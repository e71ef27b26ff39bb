//! Configuration: command line, then environment, then file, then defaults, parsed once into a value
//! that is known to be right.
//!
//! A setting has one name in three spellings: `--data-dir` on the command line, `TIDEMARK_DATA_DIR`
//! in the environment, `data-dir` in the TOML file. A wrong value is refused with the setting's
//! name, the value and what is allowed.

use std::borrow::Cow;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tidemark_engine::options::CommitMode;

use crate::config::settings::Settings;
use crate::ingest::MayMake;
use crate::net::places::Patience;

pub mod command;
pub mod settings;

/// The name of the first superuser and of the first database.
pub const BOOTSTRAP_NAME: &str = "tidemark";

/// The name of the schema that holds the server's own views and procedures.
pub const SYSTEM_SCHEMA: &str = "tidemark";

/// A setting that cannot be.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The value is not one of those allowed.
    #[error("invalid value for {setting}: \"{value}\" ({allowed})")]
    Invalid {
        /// The setting.
        setting: &'static str,
        /// The value.
        value: String,
        /// What is allowed.
        allowed: Cow<'static, str>,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("cannot understand the configuration file {}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// Two settings that do not go together.
    #[error("{0}")]
    Conflict(&'static str),
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// The certificate and key for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// A password; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The configuration, checked. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where all data is kept.
    pub data_dir: PathBuf,
    /// Where PostgreSQL clients connect.
    pub pg_listen: SocketAddr,
    /// Where HTTP clients connect.
    pub http_listen: SocketAddr,
    /// Where line protocol is taken over TCP.
    pub line_listen: Option<SocketAddr>,
    /// The password of a new data directory.
    pub password: Option<Password>,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// When a commit is acknowledged.
    pub commit: CommitMode,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: String,
    /// The most client connections at a time.
    pub connections_max: usize,
    /// The most connections over HTTP at a time.
    pub http_connections_max: usize,
    /// The longest body over HTTP, before and after it is unpacked.
    pub http_body_bytes_max: usize,
    /// Memory for bodies over HTTP, all together.
    pub http_memory_bytes: usize,
    /// How long clients over HTTP may let the server wait.
    pub http_patience: Patience,
    /// The most connections with line protocol at a time.
    pub line_connections_max: usize,
    /// The longest line over TCP.
    pub line_bytes_max: usize,
    /// How long connections with line protocol may let the server wait.
    pub line_patience: Patience,
    /// What rows that come in otherwise than by SQL may make.
    pub may_make: MayMake,
    /// Memory for queries, all together.
    pub query_memory_bytes: usize,
    /// Memory for one query.
    pub query_memory_bytes_per_query: usize,
    /// Disk for what queries have no memory for.
    pub query_spill_bytes: u64,
    /// A memtable of this size is flushed.
    pub memtable_bytes_soft: usize,
    /// Memory for all memtables.
    pub memtable_bytes_hard: usize,
    /// Memory for decoded columns of segments.
    pub block_cache_bytes: usize,
    /// How much merges read of segments in a second; `None`: as much as they can.
    pub merge_bytes_per_second: Option<NonZeroU64>,
    /// The size of a log file.
    pub wal_segment_bytes: u64,
    /// The longest statement.
    pub statement_bytes_max: usize,
    /// How long running statements may go on after SIGTERM.
    pub shutdown_wait_max: Duration,
}

/// A body that comes more slowly than this is given up.
const HTTP_BYTES_PER_SECOND_MIN: u64 = 16 << 10;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Config {
    /// Puts together what the command line, the environment and the file say.
    ///
    /// # Errors
    /// A setting is wrong, or the file cannot be read.
    pub fn load(given: Settings) -> Result<Config, ConfigError> {
        let file = match &given.config {
            Some(path) => read_file(path)?,
            None => Settings::default(),
        };
        check(given.or(file), machine_memory_bytes())
    }
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })
}

fn check(given: Settings, machine_bytes: u64) -> Result<Config, ConfigError> {
    let listen = |setting, value: &Option<String>, default: &str| {
        address(setting, value.as_deref().unwrap_or(default))
    };
    let size = |setting, value: &Option<String>, default: u64, min: u64| match value {
        Some(value) => parse_size(setting, value, min),
        None => Ok(default),
    };
    let query_memory =
        size("query-memory", &given.query_memory, (machine_bytes / 4).max(256 * MIB), 16 * MIB)?;
    let per_query = size("query-memory-per-query", &given.query_memory_per_query, query_memory / 2, 8 * MIB)?;
    let memtables = (machine_bytes / 4).min(768 * MIB);
    let tls = match (given.tls_cert, given.tls_key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        _ => return Err(ConfigError::Conflict("tls-cert and tls-key are given together or not at all")),
    };
    let seconds = |setting, value: Option<u64>, default| {
        at_least_1(setting, value.unwrap_or(default)).map(Duration::from_secs)
    };
    let count = |setting, value: Option<u32>, default: u32| {
        at_least_1(setting, value.unwrap_or(default).into()).map(to_usize)
    };
    let head = seconds("http-head-seconds", given.http_head_seconds, 10)?;
    let http_patience = Patience {
        first: head,
        quiet: seconds("http-idle-seconds", given.http_idle_seconds, 75)?,
        head,
        transfer: seconds("http-body-seconds", given.http_body_seconds, 20)?,
        transfer_bytes_per_second: HTTP_BYTES_PER_SECOND_MIN,
    };
    let line_idle = seconds("line-idle-seconds", given.line_idle_seconds, 600)?;
    let http_body = size("http-body-size", &given.http_body_size, 64 * MIB, 1024)?;
    let line_listen = given.line_listen.as_deref().map(|value| address("line-listen", value)).transpose()?;
    Ok(Config {
        data_dir: given.data_dir.unwrap_or_else(|| PathBuf::from("tidemark-data")),
        pg_listen: listen("pg-listen", &given.pg_listen, "127.0.0.1:5433")?,
        http_listen: listen("http-listen", &given.http_listen, "127.0.0.1:8086")?,
        line_listen,
        password: given.password.filter(|password| !password.is_empty()).map(Password),
        tls,
        commit: commit_mode(given.commit.as_deref().unwrap_or("group"))?,
        log_format: log_format(given.log_format.as_deref().unwrap_or("text"))?,
        log_filter: given.log.unwrap_or_else(|| "info".to_owned()),
        connections_max: count("max-connections", given.max_connections, 100)?,
        http_connections_max: count("http-max-connections", given.http_max_connections, 500)?,
        http_body_bytes_max: to_usize(http_body),
        http_memory_bytes: to_usize(size("http-memory", &given.http_memory, 256 * MIB, 64 * 1024)?),
        http_patience,
        line_connections_max: count("line-max-connections", given.line_max_connections, 100)?,
        line_bytes_max: to_usize(size("line-size", &given.line_size, MIB, 1024)?),
        may_make: may_make(given.ingest_create.as_deref().unwrap_or("all"))?,
        line_patience: Patience { first: line_idle, quiet: line_idle, head: line_idle, ..http_patience },
        query_memory_bytes: to_usize(query_memory),
        query_memory_bytes_per_query: to_usize(per_query.min(query_memory)),
        query_spill_bytes: size("query-spill", &given.query_spill, 16 * GIB, 0)?,
        memtable_bytes_soft: to_usize(size("memtable-size", &given.memtable_size, 128 * MIB, 4096)?),
        memtable_bytes_hard: to_usize(size("memtable-memory", &given.memtable_memory, memtables, 65536)?),
        block_cache_bytes: to_usize(size("block-cache", &given.block_cache, machine_bytes / 8, 0)?),
        merge_bytes_per_second: NonZeroU64::new(size("merge-rate", &given.merge_rate, 0, 0)?),
        wal_segment_bytes: size("wal-segment-size", &given.wal_segment_size, 64 * MIB, 65536)?,
        statement_bytes_max: to_usize(size("statement-size", &given.statement_size, MIB, 1024)?),
        shutdown_wait_max: Duration::from_secs(given.shutdown_seconds.unwrap_or(10)),
    })
}

fn at_least_1(setting: &'static str, value: u64) -> Result<u64, ConfigError> {
    if value == 0 {
        return Err(invalid(setting, "0", "at least 1"));
    }
    Ok(value)
}

fn invalid(setting: &'static str, value: &str, allowed: impl Into<Cow<'static, str>>) -> ConfigError {
    ConfigError::Invalid { setting, value: value.to_owned(), allowed: allowed.into() }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn address(setting: &'static str, value: &str) -> Result<SocketAddr, ConfigError> {
    let wrong = || invalid(setting, value, "an address and a port, as in 127.0.0.1:5433 or localhost:0");
    value.to_socket_addrs().map_err(|_| wrong())?.next().ok_or_else(wrong)
}

fn commit_mode(value: &str) -> Result<CommitMode, ConfigError> {
    let wrong =
        || invalid("commit", value, "group, off, or interval and milliseconds, as in \"interval 100\"");
    match value.split_once(char::is_whitespace) {
        None if value == "group" => Ok(CommitMode::Group),
        None if value == "off" => Ok(CommitMode::Off),
        Some(("interval", milliseconds)) => {
            let milliseconds: u64 =
                milliseconds.trim().trim_end_matches("ms").trim().parse().map_err(|_| wrong())?;
            if milliseconds == 0 {
                return Err(wrong());
            }
            Ok(CommitMode::Interval(Duration::from_millis(milliseconds)))
        }
        _ => Err(wrong()),
    }
}

fn may_make(value: &str) -> Result<MayMake, ConfigError> {
    MayMake::from_name(value)
        .ok_or_else(|| invalid("ingest-create", value, "all, collections, columns or nothing"))
}

fn log_format(value: &str) -> Result<LogFormat, ConfigError> {
    match value {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(invalid("log-format", value, "text or json")),
    }
}

/// A number of bytes, with or without a unit of 1000 or 1024.
fn parse_size(setting: &'static str, value: &str, min: u64) -> Result<u64, ConfigError> {
    let wrong = || invalid(setting, value, "a size in bytes, or with a unit, as in 512MiB or 2GB");
    let text = value.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "kib" | "k" => 1 << 10,
        "mb" => 1_000_000,
        "mib" | "m" => MIB,
        "gb" => 1_000_000_000,
        "gib" | "g" => GIB,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(unit).ok_or_else(wrong)?;
    if bytes < min {
        return Err(invalid(setting, value, format!("at least {}", show_size(min))));
    }
    Ok(bytes)
}

fn show_size(bytes: u64) -> String {
    match bytes {
        whole if whole % MIB == 0 => format!("{}MiB", whole / MIB),
        whole if whole % 1024 == 0 => format!("{}KiB", whole / 1024),
        bytes => bytes.to_string(),
    }
}

/// The machine's memory; a guess of 4 GiB where the system does not say.
fn machine_memory_bytes() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    total.map_or(4 * GIB, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(toml: &str) -> Result<Config, ConfigError> {
        check(toml::from_str(toml).unwrap(), 24 * GIB)
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = checked("").unwrap();
        assert_eq!(config.data_dir, PathBuf::from("tidemark-data"));
        assert_eq!(config.pg_listen.to_string(), "127.0.0.1:5433");
        assert_eq!(config.http_listen.to_string(), "127.0.0.1:8086");
        assert_eq!((config.line_listen, config.tls), (None, None));
        assert_eq!(config.commit, CommitMode::Group);
        assert_eq!(config.memtable_bytes_soft, 128 << 20);
        assert_eq!(config.merge_bytes_per_second, None);
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_allowed() {
        let cases = [
            ("pg-listen = 'nowhere'", "invalid value for pg-listen: \"nowhere\""),
            ("commit = 'sometimes'", "invalid value for commit: \"sometimes\""),
            ("commit = 'interval 0'", "invalid value for commit: \"interval 0\""),
            ("log-format = 'xml'", "invalid value for log-format: \"xml\" (text or json)"),
            ("query-memory = '5 parsecs'", "invalid value for query-memory: \"5 parsecs\""),
            ("merge-rate = 'fast'", "invalid value for merge-rate: \"fast\" (a size in bytes"),
            ("memtable-size = '1'", "invalid value for memtable-size: \"1\" (at least 4KiB)"),
            ("max-connections = 0", "invalid value for max-connections: \"0\" (at least 1)"),
            ("tls-cert = 'a.pem'", "tls-cert and tls-key are given together"),
        ];
        for (toml, expected) in cases {
            let error = checked(toml).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{toml}: {error}");
        }
    }

    #[test]
    fn merges_have_a_limit_unless_it_is_0() {
        let limit = |toml| checked(toml).unwrap().merge_bytes_per_second;
        assert_eq!(limit("merge-rate = '16MiB'"), NonZeroU64::new(16 << 20));
        assert_eq!(limit("merge-rate = '1'"), NonZeroU64::new(1));
        assert_eq!(limit("merge-rate = '0'"), None);
    }

    #[test]
    fn an_unknown_setting_in_a_file_is_refused() {
        assert!(toml::from_str::<Settings>("data-dri = 'x'").is_err());
    }

    #[test]
    fn sizes_have_units() {
        let cases = [("4096", 4096), ("64 MiB", 64 << 20), ("2gb", 2_000_000_000), ("1K", 1024)];
        for (text, bytes) in cases {
            assert_eq!(parse_size("x", text, 0).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_given_first_wins() {
        let first = Settings { commit: Some("off".to_owned()), ..Settings::default() };
        let second = Settings {
            commit: Some("group".to_owned()),
            log: Some("debug".to_owned()),
            ..Settings::default()
        };
        let config = check(first.or(second), 24 * GIB).unwrap();
        assert_eq!((config.commit, config.log_filter.as_str()), (CommitMode::Off, "debug"));
    }

    #[test]
    fn a_password_is_never_shown() {
        let config = checked("password = 'hunter2'").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
