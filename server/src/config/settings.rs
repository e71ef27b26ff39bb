//! The settings by their names, as they are given.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

/// The settings as they were given; what is missing is looked for in the next place.
#[derive(Clone, Debug, Default, Deserialize, Args)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Where all data is kept [default: ./tidemark-data]
    #[arg(long, env = "TIDEMARK_DATA_DIR", value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,
    /// Where PostgreSQL clients connect; port 0 lets the system choose [default: 127.0.0.1:5433]
    #[arg(long, env = "TIDEMARK_PG_LISTEN", value_name = "HOST:PORT")]
    pub pg_listen: Option<String>,
    /// Where HTTP clients connect; port 0 lets the system choose [default: 127.0.0.1:8086]
    #[arg(long, env = "TIDEMARK_HTTP_LISTEN", value_name = "HOST:PORT")]
    pub http_listen: Option<String>,
    /// Where line protocol is taken over TCP, without acknowledgement [default: nowhere]
    #[arg(long, env = "TIDEMARK_LINE_LISTEN", value_name = "HOST:PORT")]
    pub line_listen: Option<String>,
    /// A TOML file with any of these settings
    #[serde(skip)]
    #[arg(long, env = "TIDEMARK_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The password of the superuser `tidemark` in a new data directory
    #[arg(long, env = "TIDEMARK_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// A PEM file with the server's certificate chain; with it, clients can use TLS
    #[arg(long, env = "TIDEMARK_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the private key of the certificate
    #[arg(long, env = "TIDEMARK_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// When a commit is acknowledged: `group`, `interval <milliseconds>` or `off` [default: group]
    #[arg(long, env = "TIDEMARK_COMMIT", value_name = "MODE")]
    pub commit: Option<String>,
    /// The form of log lines: `text` or `json` [default: text]
    #[arg(long, env = "TIDEMARK_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Which log lines are written, as in `info` or `warn,tidemark_engine=debug` [default: info]
    #[arg(long, env = "TIDEMARK_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// The most client connections at a time [default: 100]
    #[arg(long, env = "TIDEMARK_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<u32>,
    /// The most connections over HTTP at a time [default: 500]
    #[arg(long, env = "TIDEMARK_HTTP_MAX_CONNECTIONS", value_name = "COUNT")]
    pub http_max_connections: Option<u32>,
    /// The longest body of a request over HTTP, before and after it is unpacked [default: 64MiB]
    #[arg(long, env = "TIDEMARK_HTTP_BODY_SIZE", value_name = "SIZE")]
    pub http_body_size: Option<String>,
    /// Memory for the bodies of requests over HTTP, all together [default: 256MiB]
    #[arg(long, env = "TIDEMARK_HTTP_MEMORY", value_name = "SIZE")]
    pub http_memory: Option<String>,
    /// How long a client may take for the head of a request over HTTP [default: 10]
    #[arg(long, env = "TIDEMARK_HTTP_HEAD_SECONDS", value_name = "SECONDS")]
    pub http_head_seconds: Option<u64>,
    /// How long a client may take for a body or to take an answer; for each 16 KiB there is one more [default: 20]
    #[arg(long, env = "TIDEMARK_HTTP_BODY_SECONDS", value_name = "SECONDS")]
    pub http_body_seconds: Option<u64>,
    /// How long a connection over HTTP may be idle between requests [default: 75]
    #[arg(long, env = "TIDEMARK_HTTP_IDLE_SECONDS", value_name = "SECONDS")]
    pub http_idle_seconds: Option<u64>,
    /// The most connections that send line protocol over TCP at a time [default: 100]
    #[arg(long, env = "TIDEMARK_LINE_MAX_CONNECTIONS", value_name = "COUNT")]
    pub line_max_connections: Option<u32>,
    /// How long a connection that sends line protocol may take for a line [default: 600]
    #[arg(long, env = "TIDEMARK_LINE_IDLE_SECONDS", value_name = "SECONDS")]
    pub line_idle_seconds: Option<u64>,
    /// The longest line of line protocol over TCP [default: 1MiB]
    #[arg(long, env = "TIDEMARK_LINE_SIZE", value_name = "SIZE")]
    pub line_size: Option<String>,
    /// What rows that come in otherwise than by SQL may make: `all`, `collections`, `columns` or `nothing` [default: all]
    #[arg(long, env = "TIDEMARK_INGEST_CREATE", value_name = "WHAT")]
    pub ingest_create: Option<String>,
    /// Memory for queries, all together [default: a quarter of the machine's]
    #[arg(long, env = "TIDEMARK_QUERY_MEMORY", value_name = "SIZE")]
    pub query_memory: Option<String>,
    /// Memory for one query; what needs more goes to disk where it can [default: half of query-memory]
    #[arg(long, env = "TIDEMARK_QUERY_MEMORY_PER_QUERY", value_name = "SIZE")]
    pub query_memory_per_query: Option<String>,
    /// Disk for what queries have no memory for [default: 16GiB]
    #[arg(long, env = "TIDEMARK_QUERY_SPILL", value_name = "SIZE")]
    pub query_spill: Option<String>,
    /// A collection's memtable of this size is flushed [default: 128MiB]
    #[arg(long, env = "TIDEMARK_MEMTABLE_SIZE", value_name = "SIZE")]
    pub memtable_size: Option<String>,
    /// Memory for all memtables; writers wait when it is used up [default: 768MiB, at most a quarter of the machine's]
    #[arg(long, env = "TIDEMARK_MEMTABLE_MEMORY", value_name = "SIZE")]
    pub memtable_memory: Option<String>,
    /// Memory for decoded columns that are read again and again [default: an eighth of the machine's]
    #[arg(long, env = "TIDEMARK_BLOCK_CACHE", value_name = "SIZE")]
    pub block_cache: Option<String>,
    /// How much merges read of segments in a second, at most; 0 is no limit [default: no limit]
    #[arg(long, env = "TIDEMARK_MERGE_RATE", value_name = "SIZE")]
    pub merge_rate: Option<String>,
    /// The size of a log file [default: 64MiB]
    #[arg(long, env = "TIDEMARK_WAL_SEGMENT_SIZE", value_name = "SIZE")]
    pub wal_segment_size: Option<String>,
    /// The longest SQL statement [default: 1MiB]
    #[arg(long, env = "TIDEMARK_STATEMENT_SIZE", value_name = "SIZE")]
    pub statement_size: Option<String>,
    /// How long running statements may go on after SIGTERM [default: 10]
    #[arg(long, env = "TIDEMARK_SHUTDOWN_SECONDS", value_name = "SECONDS")]
    pub shutdown_seconds: Option<u64>,
}

impl Settings {
    /// These settings, with what they leave out from `other`.
    pub(super) fn or(self, other: Settings) -> Settings {
        Settings {
            data_dir: self.data_dir.or(other.data_dir),
            pg_listen: self.pg_listen.or(other.pg_listen),
            http_listen: self.http_listen.or(other.http_listen),
            line_listen: self.line_listen.or(other.line_listen),
            config: self.config,
            password: self.password.or(other.password),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            commit: self.commit.or(other.commit),
            log_format: self.log_format.or(other.log_format),
            log: self.log.or(other.log),
            max_connections: self.max_connections.or(other.max_connections),
            http_max_connections: self.http_max_connections.or(other.http_max_connections),
            http_body_size: self.http_body_size.or(other.http_body_size),
            http_memory: self.http_memory.or(other.http_memory),
            http_head_seconds: self.http_head_seconds.or(other.http_head_seconds),
            http_body_seconds: self.http_body_seconds.or(other.http_body_seconds),
            http_idle_seconds: self.http_idle_seconds.or(other.http_idle_seconds),
            line_max_connections: self.line_max_connections.or(other.line_max_connections),
            line_idle_seconds: self.line_idle_seconds.or(other.line_idle_seconds),
            line_size: self.line_size.or(other.line_size),
            ingest_create: self.ingest_create.or(other.ingest_create),
            query_memory: self.query_memory.or(other.query_memory),
            query_memory_per_query: self.query_memory_per_query.or(other.query_memory_per_query),
            query_spill: self.query_spill.or(other.query_spill),
            memtable_size: self.memtable_size.or(other.memtable_size),
            memtable_memory: self.memtable_memory.or(other.memtable_memory),
            block_cache: self.block_cache.or(other.block_cache),
            merge_rate: self.merge_rate.or(other.merge_rate),
            wal_segment_size: self.wal_segment_size.or(other.wal_segment_size),
            statement_size: self.statement_size.or(other.statement_size),
            shutdown_seconds: self.shutdown_seconds.or(other.shutdown_seconds),
        }
    }
}
