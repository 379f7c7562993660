//! One private PostgreSQL server a test: started from a prepared data directory, on a port and in a directory of its own.
//!
//! Nothing outlives the test, however it ends: a guard process holds the other end of a pipe, and when this process lets go of it (by
//! `Drop`, by a panic, by SIGKILL) it ends the server and removes the directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use rustix::process::{Signal, kill_process};

use crate::host::{
    PATIENCE, POLL, as_server, bindir, command, free_port, give_to_server, guard, percent_encode,
    pid_of, wait_for,
};
use crate::template::{self, Contents};

/// The bootstrap superuser of a Supabase server.
pub const ADMIN: &str = "supabase_admin";
/// Password of every login role of the sample stack; needs percent-encoding in a URL.
pub const PASSWORD: &str = "sample p@ss/w0rd#1%";
/// Keycloak's role and its password.
pub const KEYCLOAK_USER: &str = "keycloak";
/// See [`KEYCLOAK_USER`].
pub const KEYCLOAK_PASSWORD: &str = "sample keycloak:p@ss";

const TABLE_HASHES: &str = include_str!("../fixtures/table_hashes.sql");

/// How a server is started.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// More server settings.
    pub settings: &'a [(&'a str, &'a str)],
    /// A bare cluster of `supabase_admin` and an empty database `postgres`: what a restore starts from.
    pub bare: bool,
}

/// A running server; see the module.
#[derive(Debug)]
pub struct PgServer {
    root: PathBuf,
    port: u16,
    settings: Vec<String>,
    postmaster: Mutex<Option<Child>>,
    guard: Child,
}

/// What a table, materialised view (`m`), sequence (`S`) or large object (`L`) holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// As in `pg_class.relkind`; `r` is a table.
    pub kind: String,
    /// Rows.
    pub rows: u64,
    /// Hash of the content, without regard to order.
    pub hash: String,
}

impl PgServer {
    /// A server with the sample stack loaded.
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// A server without anything: the target of a restore.
    pub fn bare() -> Self {
        Self::start_with(&Options {
            bare: true,
            ..Options::default()
        })
    }

    /// A server by options.
    pub fn start_with(options: &Options) -> Self {
        let contents = if options.bare {
            Contents::Bare
        } else {
            Contents::Stack
        };
        Self::launch(options, |data| template::copy(contents, data))
    }

    /// A server on a data directory that `fill` makes.
    pub(crate) fn launch(options: &Options, fill: impl FnOnce(&Path)) -> Self {
        // Short: a Unix socket's path has at most 107 bytes.
        let root = tempfile::Builder::new()
            .prefix("bk-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let root = root
            .canonicalize()
            .expect("the temporary directory is there");
        let guard = guard(&root);
        fs::create_dir(root.join("s")).unwrap();
        give_to_server(&root);
        give_to_server(&root.join("s"));
        fill(&root.join("data"));
        let settings = options
            .settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut server = Self {
            root,
            port: 0,
            settings,
            postmaster: Mutex::new(None),
            guard,
        };
        for _ in 0..20 {
            server.port = free_port();
            if server.try_start() {
                return server;
            }
        }
        panic!("no port was free: {}", server.log());
    }

    /// The directory of everything of this server; goes with it. Other temporary things of a test may be put there.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Directory of its Unix socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.root.join("s")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of a database, as `supabase_admin`.
    pub fn url(&self, database: &str) -> String {
        self.url_as(ADMIN, PASSWORD, database)
    }

    /// URL of a database, as another role.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let (user, password) = (percent_encode(user), percent_encode(password));
        format!(
            "postgres://{user}:{password}@127.0.0.1:{}/{}",
            self.port,
            percent_encode(database)
        )
    }

    /// What the server logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    /// Runs SQL as `supabase_admin`, stopping at the first error; unaligned rows without headings, trimmed.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql)
            .unwrap_or_else(|error| panic!("psql {database}: {error}\n{sql}"))
    }

    /// As [`Self::psql`]; psql's complaint when it fails.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let command = self.tool("psql", database);
        run_psql(command, sql)
    }

    /// Runs SQL from a file, with psql's variables.
    pub fn psql_file(&self, database: &str, file: &Path, variables: &[(&str, &str)]) {
        let mut command = self.tool("psql", database);
        for (name, value) in variables {
            command.arg("-v").arg(format!("{name}={value}"));
        }
        command.arg("-f").arg(file);
        run_psql(command, "").unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// One of PostgreSQL's client programs, aimed at a database of this server as `supabase_admin`.
    pub fn tool(&self, name: &str, database: &str) -> Command {
        let mut command = command(bindir().join(name));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", ADMIN)
            .env("PGPASSWORD", PASSWORD)
            .env("PGDATABASE", database);
        command
    }

    /// Ends the sessions that a condition on `pg_stat_activity` names, and says how many.
    pub fn kill_backends(&self, condition: &str) -> usize {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ({condition})"
        );
        self.psql("postgres", &sql).parse().unwrap()
    }

    /// Waits until a boolean query is true.
    pub fn wait_until(&self, database: &str, condition: &str) {
        wait_for(condition, || {
            self.psql(database, &format!("SELECT ({condition})")) == "t"
        });
    }

    /// What every table, materialised view, sequence and large object of a database holds, by name as `pg_dump` quotes it.
    pub fn table_hashes(&self, database: &str) -> BTreeMap<String, Held> {
        let text = self.psql(database, TABLE_HASHES);
        text.lines()
            .map(|line| held(line).unwrap_or_else(|| panic!("table_hashes.sql: {line}")))
            .collect()
    }

    /// Rows of every table of a database, by name as `pg_dump` quotes it: what a manifest should say.
    pub fn table_rows(&self, database: &str) -> BTreeMap<String, u64> {
        let held = self.table_hashes(database).into_iter();
        held.filter(|(_, held)| held.kind == "r")
            .map(|(name, held)| (name, held.rows))
            .collect()
    }

    /// All of a database as `pg_dump --create` tells it, with its owners, grants, settings and rows, without what differs between two
    /// dumps of the same.
    pub fn told(&self, database: &str) -> String {
        normalised(self.tool("pg_dump", database).arg("--create"))
    }

    /// All roles of the server as `pg_dumpall` tells them, with their settings and memberships.
    pub fn told_roles(&self) -> String {
        // By itself it would go to `postgres`, whose settings change how times are written.
        normalised(
            self.tool("pg_dumpall", "template1")
                .args(["--roles-only", "--database=template1"]),
        )
    }

    /// Names of the databases, but the templates.
    pub fn databases(&self) -> Vec<String> {
        let sql = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname";
        self.psql("template1", sql)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Stops the server as an operator does ("fast": sessions are ended). The port and the data stay.
    pub fn stop(&self) {
        self.end(Signal::INT);
    }

    /// Stops the server at once, as a crash does.
    pub fn crash(&self) {
        self.end(Signal::QUIT);
    }

    /// Starts a stopped server again, on the same port.
    pub fn start_again(&self) {
        wait_for("the server's port to be free", || self.try_start());
    }

    fn end(&self, signal: Signal) {
        let Some(mut postmaster) = self.postmaster.lock().unwrap().take() else {
            return;
        };
        // Gone already is as good.
        let _ = kill_process(pid_of(&postmaster), signal);
        postmaster.wait().expect("our own child");
    }

    /// Whether the server came up; not when something else took the port.
    fn try_start(&self) -> bool {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.root.join("log"))
            .unwrap();
        let before = self.log().len();
        let mut command = as_server(&bindir().join("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.to_string())
            .arg("-k")
            .arg(self.socket_dir());
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        let mut postmaster = command.spawn().expect("starting postgres");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = postmaster.try_wait().unwrap() {
                let log = self.log();
                let news = &log[before..];
                assert!(
                    news.contains("could not bind"),
                    "postgres ended, {status}:\n{news}"
                );
                return false;
            }
            if self.is_ready(&postmaster) {
                *self.postmaster.lock().unwrap() = Some(postmaster);
                return true;
            }
            assert!(
                Instant::now() < deadline,
                "postgres did not start:\n{}",
                self.log()
            );
            std::thread::sleep(POLL);
        }
    }

    /// As `pg_ctl` finds out: the eighth line of `postmaster.pid`, in a file of this very process.
    fn is_ready(&self, postmaster: &Child) -> bool {
        let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid")) else {
            return false;
        };
        let lines: Vec<&str> = text.lines().collect();
        lines.first() == Some(&postmaster.id().to_string().as_str())
            && lines
                .get(7)
                .is_some_and(|state| ["ready", "standby"].contains(&state.trim()))
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        self.crash();
        drop(self.guard.stdin.take());
        // It has removed the directory when it ends.
        let _ = self.guard.wait();
    }
}

fn normalised(command: &mut Command) -> String {
    let output = command.output().expect("starting a tool");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let differs =
        |line: &&str| line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ");
    text.split_inclusive('\n')
        .filter(|line| !differs(line))
        .collect()
}

fn run_psql(mut command: Command, sql: &str) -> Result<String, String> {
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting psql");
    // psql reads all of a short script before it answers at length; when it ends early, its own complaint says more than a broken pipe.
    let _ = child.stdin.take().unwrap().write_all(sql.as_bytes());
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)
            .unwrap()
            .trim_end_matches('\n')
            .to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn held(line: &str) -> Option<(String, Held)> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |index: usize| value[index].as_str().unwrap_or_default().to_owned();
    Some((
        text(1),
        Held {
            kind: text(0),
            rows: value[2].as_u64().unwrap_or(0),
            hash: text(3),
        },
    ))
}
