//! A PostgreSQL 15 of the test's own: a new cluster in a temporary directory, ended with the test.
//!
//! PostgreSQL refuses to run as root; as root it is run as the user `postgres`, or as `nobody`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::NoTls;

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// How long it may take to accept connections.
const START_BOUND: Duration = Duration::from_secs(60);

/// The number in its socket's name; every socket has a directory of its own.
const PORT: u16 = 5432;

pub(crate) struct Postgres {
    child: Child,
    directory: TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it.
    pub(crate) fn start() -> Postgres {
        let directory = TempDir::new().expect("a temporary directory");
        let user = user();
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(directory.path(), Some(user), Some(group)).expect("root may");
        }
        let data = directory.path().join("data");
        let made = command("initdb", user)
            .args(["--username=tester", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .expect("PostgreSQL 15 is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let log = std::fs::File::create(directory.path().join("log")).expect("a log file");
        let child = command("postgres", user)
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(directory.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "timezone=UTC"])
            .stderr(log)
            .spawn()
            .expect("PostgreSQL 15 is installed");
        let postgres = Postgres { child, directory };
        postgres.wait_until_ready();
        postgres
    }

    fn connection_string(&self, database: &str) -> String {
        format!("host={} port={PORT} user=tester dbname={database}", self.directory.path().display())
    }

    fn wait_until_ready(&self) {
        let started = Instant::now();
        while self.run("SELECT 1").is_err() {
            assert!(started.elapsed() < START_BOUND, "PostgreSQL does not start: {}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn run(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.connection_string("postgres"), NoTls).await?;
            let connection = tokio::spawn(connection);
            let done = client.batch_execute(sql).await;
            drop(client);
            // The connection ends when its client is gone.
            connection.await.ok();
            done
        })
    }

    /// Makes a database; returns how to connect to it.
    pub(crate) fn new_database(&self, name: &str) -> String {
        self.run(&format!("CREATE DATABASE \"{name}\"")).expect("the database is made");
        self.connection_string(name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        // SIGINT asks for a fast shutdown, which ends all sessions. It may have ended already.
        rustix::process::kill_process(process, rustix::process::Signal::INT).ok();
        self.child.wait().expect("it is our child");
    }
}

/// The user and group to run as, where this process is root's.
fn user() -> Option<(u32, u32)> {
    rustix::process::getuid().is_root().then(|| {
        let users = std::fs::read_to_string("/etc/passwd").expect("there are users");
        let find = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        find("postgres").or_else(|| find("nobody")).expect("there is a user other than root")
    })
}

fn command(name: &str, user: Option<(u32, u32)>) -> Command {
    let path: PathBuf = Path::new(BIN).join(name);
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/").env("LC_ALL", "C").env("TZ", "UTC");
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
}
