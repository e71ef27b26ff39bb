//! The server as a process: the `tidemark` binary of the same build, on ports of the system's
//! choice, with a data directory of its own.
//!
//! A [`Server`] that goes out of scope is killed, so that no test leaves a process behind.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{env, io, thread};

use tempfile::TempDir;

/// How long a server may take until it is ready, replaying a log included.
const START_BOUND: Duration = Duration::from_secs(120);

/// How a server is started.
#[derive(Debug)]
pub struct Options {
    data_dir: Option<PathBuf>,
    log: Option<PathBuf>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// A new data directory, which goes when the server does.
    pub fn new() -> Options {
        Options { data_dir: None, log: None, arguments: Vec::new(), environment: Vec::new() }
    }

    /// This data directory, which stays.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Options {
        self.data_dir = Some(path.into());
        self
    }

    /// Where its log goes, if not beside the data directory.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Options {
        self.log = Some(path.into());
        self
    }

    /// One setting of the command line, such as `("memtable-size", "1MiB")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl ToString) -> Options {
        self.arguments.push(format!("--{name}={}", value.to_string()));
        self
    }

    /// Failpoints, as in `flush::before_publish=1*return`.
    #[must_use]
    pub fn failpoints(self, list: impl Into<String>) -> Options {
        self.variable("FAILPOINTS", list)
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Options {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it, and waits until it accepts connections.
    ///
    /// # Errors
    /// It ended instead; the error says how, and what it said last.
    pub fn try_start(self) -> Result<Server, StartError> {
        let started = self.within(START_BOUND)?;
        Ok(started.unwrap_or_else(|| panic!("the server is not ready after {START_BOUND:?}")))
    }

    fn within(self, patience: Duration) -> Result<Option<Server>, StartError> {
        let temporary = self.data_dir.is_none().then(|| TempDir::new().expect("a temporary directory"));
        let data_dir = match (&self.data_dir, &temporary) {
            (Some(path), _) => path.clone(),
            (None, Some(directory)) => directory.path().join("data"),
            (None, None) => unreachable!("one of the two is there"),
        };
        // Beside the data directory, as the server checks what is in it.
        let log_path = self.log.unwrap_or_else(|| data_dir.with_extension("log"));
        let log = File::options().create(true).append(true).open(&log_path).expect("the log file opens");
        let mut command = Command::new(binary());
        for (name, _) in env::vars().filter(|(name, _)| name.starts_with("TIDEMARK_")) {
            command.env_remove(name);
        }
        let is_set = |name: &str| self.arguments.iter().any(|argument| argument.starts_with(name));
        for name in ["--pg-listen", "--http-listen"].into_iter().filter(|name| !is_set(name)) {
            command.arg(format!("{name}=127.0.0.1:0"));
        }
        command.arg("--data-dir").arg(&data_dir).args(&self.arguments).envs(self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the server's binary runs");
        let stdout = child.stdout.take().expect("it is piped");
        let ready = wait_until_ready(stdout, patience);
        let ended_itself = ready == Err(RecvTimeoutError::Disconnected);
        let Ok(Ready { pg, http, line }) = ready else {
            let status = end(&mut child);
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            return if ended_itself { Err(StartError { status, log }) } else { Ok(None) };
        };
        Ok(Some(Server { child, pg, http, line, data_dir, log_path, temporary }))
    }

    /// Starts it, and kills it if it is not ready after this time; a server that ended by itself is
    /// an error.
    ///
    /// # Errors
    /// It ended by itself before it was ready.
    pub fn start_or_kill_after(self, patience: Duration) -> Result<Option<Server>, StartError> {
        self.within(patience)
    }

    /// Starts it, and waits until it accepts connections.
    ///
    /// # Panics
    /// It ended instead.
    pub fn start(self) -> Server {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The server ended before it was ready.
#[derive(Debug)]
pub struct StartError {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard error, in this run and in earlier ones on the same directory.
    pub log: String,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = self.log.lines().rev().take(20).collect::<Vec<_>>();
        write!(f, "the server ended with {}; it said last:", self.status)?;
        last.iter().rev().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it speaks PostgreSQL.
    pub pg: SocketAddr,
    /// Where it speaks HTTP.
    pub http: SocketAddr,
    /// Where it takes line protocol, if it does.
    pub line: Option<SocketAddr>,
    /// Where its data is.
    pub data_dir: PathBuf,
    log_path: PathBuf,
    temporary: Option<TempDir>,
}

impl Server {
    /// With a new data directory and the settings that it has by itself.
    pub fn start() -> Server {
        Options::new().start()
    }

    /// How libpq and its kind connect, as the first superuser.
    pub fn connection_string(&self) -> String {
        format!("host={} port={} user=tidemark dbname=tidemark", self.pg.ip(), self.pg.port())
    }

    /// The process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }

    /// A line of `/proc/…/status`, in bytes: `VmRSS` is the memory that is resident now, `VmHWM`
    /// the most that ever was.
    ///
    /// # Panics
    /// The process is gone, or the line is not there.
    pub fn memory_bytes(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let value = status.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
        let kibibytes = value.and_then(|it| it.trim().strip_suffix(" kB")).expect("the line is there");
        kibibytes.trim().parse::<u64>().expect("a number") * 1024
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// It does not within this time.
    pub fn wait(&mut self, bound: Duration) -> ExitStatus {
        let started = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(started.elapsed() < bound, "the server still runs after {bound:?}");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Asks it to end, by SIGTERM.
    pub fn terminate(&self) {
        let process = rustix::process::Pid::from_child(&self.child);
        // It may have ended already.
        rustix::process::kill_process(process, rustix::process::Signal::TERM).ok();
    }

    /// Ends it without any warning, by SIGKILL, and gives the data directory back.
    pub fn kill(mut self) -> DataDir {
        end(&mut self.child);
        DataDir { path: self.data_dir.clone(), _temporary: self.temporary.take() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// What a server leaves behind; goes with this value, where it was temporary.
#[derive(Debug)]
pub struct DataDir {
    /// Where it is.
    pub path: PathBuf,
    _temporary: Option<TempDir>,
}

impl DataDir {
    /// A new one, not yet there.
    pub fn new() -> DataDir {
        let temporary = TempDir::new().expect("a temporary directory");
        DataDir { path: temporary.path().join("data"), _temporary: Some(temporary) }
    }

    /// One that somebody else looks after.
    pub fn at(path: PathBuf) -> DataDir {
        DataDir { path, _temporary: None }
    }
}

impl Default for DataDir {
    fn default() -> DataDir {
        DataDir::new()
    }
}

/// The binary of this build.
///
/// # Panics
/// It was not built: the test command in the README builds it with the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("TIDEMARK_TEST_BINARY") {
        return PathBuf::from(path);
    }
    let test = env::current_exe().expect("a test has a path");
    // The tests are in `deps`, the binaries are one above.
    let found = test.ancestors().skip(1).map(|path| path.join("tidemark")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no `tidemark` beside {}: build the workspace", test.display()))
}

/// A path in the source of these tests.
pub fn source_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ready {
    pg: SocketAddr,
    http: SocketAddr,
    line: Option<SocketAddr>,
}

fn wait_until_ready(
    stdout: impl io::Read + Send + 'static,
    patience: Duration,
) -> Result<Ready, RecvTimeoutError> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(ready) = parse_ready(&line) {
                // The test may be over by now.
                sender.send(ready).ok();
            }
        }
    });
    receiver.recv_timeout(patience)
}

/// Reads `ready pg=127.0.0.1:5433 http=127.0.0.1:8086`, and `line=…` where it listens there.
fn parse_ready(text: &str) -> Option<Ready> {
    let mut words = text.strip_prefix("ready ")?.split(' ');
    let pg = words.next()?.strip_prefix("pg=")?.parse().ok()?;
    let http = words.next()?.strip_prefix("http=")?.parse().ok()?;
    let line = words.next().and_then(|word| word.strip_prefix("line=")?.parse().ok());
    Some(Ready { pg, http, line })
}

fn end(child: &mut Child) -> ExitStatus {
    // It may have ended already.
    child.kill().ok();
    child.wait().expect("it is our child")
}
