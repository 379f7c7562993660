//! A private PostgreSQL server to throw away: in a directory of its own, reached by a socket alone, without background workers, at the
//! lowest priority. What it holds is never waited for to reach the disk.
//!
//! A restore runs what users of the source database wrote (functions in constraints, defaults, indexes), as superuser of the server that
//! it restores into, who may start programs and read files. So the server stands behind a fence, and is asked to break out of it before
//! anything is restored.

mod account;
mod escape;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stream::blocking::in_place;
use stream::child::{ChildError, Program, Service};
use stream::durable;
use stream::fence::{self, Fence, FenceError, Limits};
use stream::orphans;
use tokio_util::sync::CancellationToken;

use crate::dsn::{Dsn, DsnError};
use crate::server::{Server, ServerError};
use account::Accounts;
use escape::TryError;

/// The programs of a server, beside those of a client.
const PROGRAMS: [&str; 2] = ["initdb", "postgres"];
/// A server that recovers nothing starts within a second or two, at the lowest priority on a busy machine within this.
const START_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The last words of its log.
const LOG_TAIL: u64 = 4096;
/// Bounded memory, nothing durable, nobody else, nothing that acts by itself, nothing that its fence refuses.
const SETTINGS: [&str; 21] = [
    "listen_addresses=",
    "shared_preload_libraries=",
    "session_preload_libraries=",
    "local_preload_libraries=",
    "shared_buffers=64MB",
    "maintenance_work_mem=64MB",
    "max_connections=12",
    "max_parallel_workers=0",
    "max_worker_processes=0",
    "max_wal_senders=0",
    "wal_level=minimal",
    "max_wal_size=256MB",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "autovacuum=off",
    "archive_mode=off",
    "jit=off",
    "logging_collector=off",
    "huge_pages=off",
    "dynamic_shared_memory_type=mmap",
];
/// A row of 1 GiB, the longest there is, is held several times while it is loaded.
const MEMORY: u64 = 8 << 30;
/// PostgreSQL's files are of 1 GiB at most.
const FILE: u64 = 2 << 30;
/// Connections and the server's own processes are two dozen.
const PROCESSES: u64 = 64;
/// Where its user is ours, other containers' processes of the same number count too.
const PROCESSES_OF_OURS: u64 = 2048;

/// Whether a scratch server must be fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fencing {
    /// There is no server without a fence that holds.
    #[default]
    Required,
    /// It is another user where we are root, and bounded; nothing else.
    Off,
}

/// A running scratch server. Dropped, it is killed; its directory goes with [`Scratch::stop`] or [`sweep`].
pub struct Scratch {
    service: Service,
    dir: PathBuf,
    superuser: String,
    /// A socket's path has 107 bytes at most, and the directory's own may be longer.
    sockets: tempfile::TempDir,
    log: File,
    /// What keeps it from the rest of the machine, in words; where nothing is to, what it can do.
    pub fence: String,
}

/// Why there is no scratch server.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum ScratchError {
    /// The programs are not there.
    #[error(
        "{} has no {missing}: install the PostgreSQL server of that version (postgresql-{major})",
        bindir.display()
    )]
    NoServer {
        bindir: PathBuf,
        missing: &'static str,
        major: u32,
    },
    /// It cannot be kept from the rest of the machine.
    #[error(
        "a restored database runs code of its users, and here it cannot be kept from everything else: {0}"
    )]
    NotFenced(FenceError),
    /// It got out.
    #[error(
        "a restored database runs code of its users, and here the scratch server {}",
        .0.join(", ")
    )]
    Escapes(Vec<&'static str>),
    /// Whether it gets out is not known.
    #[error("whether the scratch server is kept from everything else could not be tried: {0}")]
    NotTried(#[from] TryError),
    /// A program failed.
    #[error("the scratch server could not be made: {0}")]
    Child(ChildError),
    /// Its directory.
    #[error("the scratch server's directory {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// It ended, or does not answer.
    #[error("the scratch server did not start: {0}")]
    NotStarted(String),
    /// Its socket's path.
    #[error("the scratch server's socket: {0}")]
    Socket(#[from] DsnError),
}

impl From<ChildError> for ScratchError {
    fn from(error: ChildError) -> Self {
        match error {
            ChildError::NotFenced { source, .. } => Self::NotFenced(source),
            error => Self::Child(error),
        }
    }
}

impl Scratch {
    /// Makes and starts a server in `dir`, which must not be there, with a superuser of this name.
    pub async fn start(
        bindir: &Path,
        major: u32,
        dir: &Path,
        superuser: &str,
        fencing: Fencing,
        cancel: &CancellationToken,
    ) -> Result<Self, ScratchError> {
        programs(bindir, major)?;
        let failed = |source| ScratchError::Io {
            path: dir.to_owned(),
            source,
        };
        let data = dir.join("data");
        durable::create_dir_private(dir).map_err(failed)?;
        durable::create_dir_private(&data).map_err(failed)?;
        let sockets = tempfile::Builder::new()
            .prefix("backupd-")
            .tempdir()
            .map_err(failed)?;
        let accounts = Accounts::find();
        if let Some(account) = accounts.initdb {
            lchown(&data, Some(account.uid), Some(account.gid)).map_err(failed)?;
        }
        // The directories above may be closed to it: it is given this one open.
        let bounded = |fence: Fence| {
            fence.holding(&data).map_err(failed).map(|fence| {
                fence.limits(Limits {
                    memory: MEMORY,
                    processes: accounts.server.map_or(PROCESSES_OF_OURS, |_| PROCESSES),
                    file: FILE,
                })
            })
        };
        let unfenced = bounded(Fence::new().open())?;
        within(bindir, "initdb", &data, unfenced.account(accounts.initdb))
            .args([
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
                "--username",
                superuser,
            ])
            .output(cancel)
            .await?;
        if let Some(account) = accounts.server {
            in_place(|| account::give(&data, account)).map_err(failed)?;
            lchown(sockets.path(), Some(account.uid), Some(account.gid)).map_err(failed)?;
        }
        let log = File::options()
            .read(true)
            .append(true)
            .create_new(true)
            .open(dir.join("log"))
            .map_err(failed)?;
        let fence = bounded(crate::fence::around(bindir, "postgres"))?
            .account(accounts.server)
            .write([data.as_path(), sockets.path()]);
        let fence = match fencing {
            Fencing::Required => fence,
            Fencing::Off => fence.open(),
        };
        let program = within(bindir, "postgres", &data, fence)
            .arg("-k")
            .arg(sockets.path())
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let mut scratch = Self {
            service: program.serve(&log)?,
            dir: dir.to_owned(),
            superuser: superuser.to_owned(),
            sockets,
            log,
            fence: String::new(),
        };
        scratch.wait(cancel).await?;
        let out = escape::tried(&scratch.dsn("postgres")?, &dir.join("log")).await?;
        scratch.fence = match fencing {
            Fencing::Required if !out.is_empty() => return Err(ScratchError::Escapes(out)),
            Fencing::Required => fenced(accounts),
            Fencing::Off => out.join(", "),
        };
        Ok(scratch)
    }

    /// A database of it, as its superuser.
    pub fn dsn(&self, database: &str) -> Result<Dsn, DsnError> {
        let socket = self
            .sockets
            .path()
            .display()
            .to_string()
            .replace('%', "%25")
            .replace('/', "%2F");
        Ok(Dsn::parse(&format!(
            "postgres://{}@{socket}:5432/postgres?sslmode=disable",
            self.superuser
        ))?
        .to_database(database))
    }

    /// Ends it and removes all it had.
    pub async fn stop(self) -> io::Result<()> {
        self.service.quit().await;
        in_place(|| fs::remove_dir_all(&self.dir))
    }

    /// By the file that was opened for it: what lies under the name now is the server's to say.
    fn last_words(&self) -> io::Result<String> {
        let length = self.log.metadata()?.len();
        let mut text = vec![0; usize::try_from(length.min(LOG_TAIL)).unwrap_or_default()];
        self.log
            .read_exact_at(&mut text, length.saturating_sub(LOG_TAIL))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn wait(&mut self, cancel: &CancellationToken) -> Result<(), ScratchError> {
        let dsn = self.dsn("postgres")?;
        let began = Instant::now();
        loop {
            let error: ServerError = match Server::connect(&dsn).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if self.service.has_ended() || began.elapsed() > START_WITHIN || cancel.is_cancelled() {
                let log = self.last_words().unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(ScratchError::NotStarted(format!(
                    "{error}; its log ends: {}",
                    last.into_iter().rev().collect::<Vec<_>>().join(" / ")
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Whether a server could be started: its programs are there, and can be fenced. Starts nothing.
pub fn is_ready(bindir: &Path, major: u32, fencing: Fencing) -> Result<(), ScratchError> {
    programs(bindir, major)?;
    match fencing {
        Fencing::Off => Ok(()),
        Fencing::Required => crate::fence::around(bindir, "postgres")
            .account(Accounts::find().server)
            .try_out()
            .map_err(ScratchError::NotFenced),
    }
}

fn programs(bindir: &Path, major: u32) -> Result<(), ScratchError> {
    let mut programs = PROGRAMS.into_iter();
    match programs.find(|program| !bindir.join(program).is_file()) {
        Some(missing) => Err(ScratchError::NoServer {
            bindir: bindir.to_owned(),
            missing,
            major,
        }),
        None => Ok(()),
    }
}

/// Ends the server that a killed drill left in `dir`, and removes what it had. Says whether there was anything.
pub fn sweep(dir: &Path) -> io::Result<bool> {
    if dir.symlink_metadata().is_err() {
        return Ok(false);
    }
    orphans::end_strays(&dir.join("data").to_string_lossy());
    fs::remove_dir_all(dir)?;
    Ok(true)
}

/// A program of the server, on its data directory: by the name that the program can follow, and before it, where the last one counts, by
/// the one that [`sweep`] knows it by.
fn within(bindir: &Path, program: &str, data: &Path, fence: Fence) -> Program {
    Program::new(bindir.join(program))
        .arg("-D")
        .arg(data)
        .arg("-D")
        .arg(fence.held())
        .fenced(fence)
        .low_priority()
}

fn fenced(accounts: Accounts) -> String {
    let mut text = "fenced: no other files, no other programs, no network".to_owned();
    if accounts.server.is_none() && !fence::holds_signals() {
        text.push_str("; it could signal other processes of its user, which a kernel before Linux 6.12 does not keep it from");
    }
    text
}
