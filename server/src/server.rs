//! The running server: what all connections share, its start and its end.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tidemark_engine::engine::Engine;
use tidemark_engine::env::{Clock, Env, Random, os};
use tidemark_engine::error::{OpenError, WriteError};
use tidemark_engine::options::{EngineOptions, OnFailure};
use tidemark_engine::recovery::NewDirectory;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, watch};

use crate::config::{BOOTSTRAP_NAME, Config};
use crate::ingest::series::SeriesCache;
use crate::metrics::ServerMetrics;
use crate::net::places::Places;
use crate::plan::planner::Planner;
use crate::session::registry::{CancelKey, Registry};
use crate::sql::parse::STACK_BYTES;
use crate::wire::auth::{has_passwords, verifier};
use crate::wire::tls::{Tls, TlsError};
use crate::{http, lineprotocol, wire};

/// Threads for the network.
const NETWORK_THREADS: usize = 2;

/// Requests with rows that are read at a time, at least: some wait for the disk.
const INGEST_TURNS_MIN: usize = 4;

/// What all connections share.
#[derive(Debug)]
pub struct Server {
    /// The configuration.
    pub config: Config,
    /// The storage engine.
    pub engine: Arc<Engine>,
    /// DataFusion, with our functions and rules.
    pub planner: Planner,
    /// Where queries run.
    pub query_runtime: Handle,
    /// The sessions.
    pub sessions: Arc<Registry>,
    /// The series that came in otherwise than by SQL.
    pub series: SeriesCache,
    /// How many requests with rows are read at a time.
    pub ingest_turns: Semaphore,
    /// Passwords over HTTP that were right.
    pub remembered: http::Remembered,
    /// The places for connections over HTTP.
    pub http_places: Arc<Places>,
    /// The places for connections that send line protocol.
    pub line_places: Arc<Places>,
    /// Memory for requests over HTTP.
    pub request_memory: Arc<http::RequestMemory>,
    /// TLS, where it is configured.
    pub tls: Option<Tls>,
    /// What the server counts.
    pub metrics: ServerMetrics,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// A secret of this process, for answers about roles that do not exist.
    pub mock_secret: [u8; 32],
    /// When it started, in µs since 1970.
    pub started_us: i64,
    draining: watch::Sender<bool>,
}

/// Why the server did not start or did not end well.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The data directory cannot be opened.
    #[error("cannot open the data directory")]
    Open(#[from] OpenError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Listening elsewhere than on loopback without a password.
    #[error(
        "refusing to listen on {address} without a password: set one with --password, or TIDEMARK_PASSWORD, when the data directory is made"
    )]
    Unprotected {
        /// The address.
        address: SocketAddr,
    },
    /// The line protocol over TCP has no way to ask for a password.
    #[error("line-listen needs a data directory without a password, and a loopback address")]
    LineWithPassword,
    /// TLS cannot be offered.
    #[error("cannot offer TLS")]
    Tls(#[from] TlsError),
    /// The system gives no threads or sockets.
    #[error("the system refuses what the server needs: {0}")]
    System(#[from] std::io::Error),
    /// The planner cannot be set up.
    #[error("cannot set up the planner: {0}")]
    Planner(String),
    /// The log could not be closed in order.
    #[error("cannot shut down in order")]
    ShutDown(#[from] WriteError),
}

impl Server {
    /// Random bytes.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    /// A secret for cancelling.
    pub fn random_key(&self) -> CancelKey {
        self.random_bytes()
    }

    /// Tells when the server begins to end.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Whether the server is ending.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

/// Runs the server until it is told to end; ends it in order.
///
/// # Errors
/// It cannot start, or cannot end in order.
pub fn run(config: Config) -> Result<(), ServerError> {
    let network = runtime("network", NETWORK_THREADS)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let query = runtime("query", cores)?;
    let server = start(config, query.handle().clone(), cores)?;
    let outcome = network.block_on(serve(Arc::clone(&server)));
    // Queries that are still there are of clients that are gone.
    query.shutdown_background();
    outcome?;
    server.engine.shut_down()?;
    tracing::info!("shut down in order");
    Ok(())
}

/// Threads with a stack that fits any statement within the bounds.
fn runtime(name: &'static str, threads: usize) -> Result<Runtime, ServerError> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()?;
    Ok(runtime)
}

fn start(config: Config, query_runtime: Handle, cores: usize) -> Result<Arc<Server>, ServerError> {
    let tls = config.tls.as_ref().map(Tls::load).transpose()?;
    let env = os::env();
    let engine = open_engine(&config, &env)?;
    check_exposure(&config, &engine)?;
    let planner = Planner::new(&config, cores).map_err(|error| ServerError::Planner(error.to_string()))?;
    let mut mock_secret = [0; 32];
    env.random.fill(&mut mock_secret);
    Ok(Arc::new(Server {
        sessions: Registry::new(config.connections_max),
        series: SeriesCache::default(),
        ingest_turns: Semaphore::new((2 * cores).max(INGEST_TURNS_MIN)),
        remembered: http::Remembered::default(),
        http_places: Places::new(config.http_connections_max, config.http_patience, Arc::clone(&env.clock)),
        line_places: Places::new(config.line_connections_max, config.line_patience, Arc::clone(&env.clock)),
        request_memory: http::RequestMemory::new(config.http_memory_bytes),
        started_us: env.clock.wall_us(),
        engine: Arc::new(engine),
        planner,
        query_runtime,
        tls,
        metrics: ServerMetrics::default(),
        clock: env.clock,
        random: env.random,
        mock_secret,
        draining: watch::Sender::new(false),
        config,
    }))
}

fn open_engine(config: &Config, env: &Env) -> Result<Engine, OpenError> {
    let options = EngineOptions {
        commit: config.commit,
        wal_segment_bytes: config.wal_segment_bytes,
        memtable_bytes_soft: config.memtable_bytes_soft,
        merge_bytes_per_second: config.merge_bytes_per_second,
        memtable_bytes_hard: config.memtable_bytes_hard,
        block_cache_bytes: config.block_cache_bytes,
        on_failure: OnFailure::new(|what| {
            // What is durable is not known any more: only opening again finds out.
            tracing::error!(what, "stopping: restart recovers what was acknowledged");
            std::process::exit(EXIT_STORAGE_FAILED);
        }),
        ..EngineOptions::new(config.data_dir.clone())
    };
    let mut salt = [0; 16];
    env.random.fill(&mut salt);
    let new = NewDirectory {
        superuser: BOOTSTRAP_NAME.to_owned(),
        verifier: config.password.as_ref().map(|password| verifier(&password.0, salt)),
    };
    Engine::open(env.clone(), options, new)
}

/// The exit code when the log or the catalog could not be written.
const EXIT_STORAGE_FAILED: i32 = 74;

fn check_exposure(config: &Config, engine: &Engine) -> Result<(), ServerError> {
    if has_passwords(&engine.view()) {
        if config.line_listen.is_some() {
            return Err(ServerError::LineWithPassword);
        }
        if config.password.is_some() {
            tracing::info!(
                "the data directory has its passwords already; the configured one is for a new directory"
            );
        }
        return Ok(());
    }
    let listens = [Some(config.pg_listen), Some(config.http_listen), config.line_listen];
    for address in listens.into_iter().flatten() {
        if !address.ip().is_loopback() {
            return Err(ServerError::Unprotected { address });
        }
    }
    tracing::warn!(
        "no password is set: every local user can connect as any role; ALTER ROLE tidemark PASSWORD '…' sets one"
    );
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let listen = |source| ServerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let local = listener.local_addr().map_err(listen)?;
    Ok((listener, local))
}

async fn serve(server: Arc<Server>) -> Result<(), ServerError> {
    let (pg_listener, pg) = bind(server.config.pg_listen).await?;
    let (http_listener, http) = bind(server.config.http_listen).await?;
    let line = match server.config.line_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let pg_task = tokio::spawn(wire::listen(Arc::clone(&server), pg_listener));
    let mut http_task = tokio::spawn(http::listen(Arc::clone(&server), http_listener));
    let mut ready = format!("ready pg={pg} http={http}");
    let line_task = line.map(|(listener, address)| {
        ready.push_str(&format!(" line={address}"));
        tokio::spawn(lineprotocol::tcp::listen(Arc::clone(&server), listener))
    });
    announce(pg, &ready)?;
    wait_for_signal().await?;
    // Requests that are under way are answered in the time that statements have.
    let answered = tokio::time::timeout(server.config.shutdown_wait_max, &mut http_task);
    let (_, answered) = tokio::join!(drain(&server), answered);
    if answered.is_err() {
        tracing::warn!("requests over HTTP are given up");
    }
    for task in [Some(pg_task), Some(http_task), line_task].into_iter().flatten() {
        task.abort();
    }
    Ok(())
}

/// Says how to connect, and that both addresses accept.
fn announce(pg: SocketAddr, ready: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let (host, port) = (pg.ip(), pg.port());
    writeln!(out, "connect with: psql -h {host} -p {port} -U {BOOTSTRAP_NAME} {BOOTSTRAP_NAME}")?;
    writeln!(out, "{ready}")?;
    out.flush()
}

async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("asked to terminate"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
    }
    Ok(())
}

/// No new connections; idle sessions end; running statements may finish, for so long.
async fn drain(server: &Arc<Server>) {
    server.draining.send_replace(true);
    let wait = server.config.shutdown_wait_max;
    let gone = server.sessions.wait_until_empty();
    if tokio::time::timeout(wait, gone).await.is_err() {
        tracing::warn!(sessions = server.sessions.len(), "cancelling statements that still run");
        server.sessions.cancel_all();
        let gone = server.sessions.wait_until_empty();
        tokio::time::timeout(std::time::Duration::from_secs(2), gone).await.ok();
    }
}
