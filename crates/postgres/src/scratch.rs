//! A private PostgreSQL server to throw away: in a directory of its own, reached by a socket alone, with no network where the kernel lets
//! it be taken, no background workers, and the lowest priority. What it holds is never waited for to reach the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stream::child::{ChildError, Program, Service};
use stream::durable;
use stream::orphans;
use tokio_util::sync::CancellationToken;

use crate::dsn::{Dsn, DsnError};
use crate::server::{Server, ServerError};

/// Its superuser, as in a Supabase server.
pub const SUPERUSER: &str = "supabase_admin";
/// The programs of a server, beside those of a client.
const PROGRAMS: [&str; 2] = ["initdb", "postgres"];
/// A server that recovers nothing starts within a second or two, at the lowest priority on a busy machine within this.
const START_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Who PostgreSQL runs as when backupd is root, which it refuses: its package's user, or else nobody.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// Bounded memory, nothing durable, nobody else, nothing that acts by itself.
const SETTINGS: [&str; 20] = [
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
    "dynamic_shared_memory_type=mmap",
];

/// A running scratch server. Dropped, it is killed; its directory goes with [`Scratch::stop`] or [`sweep`].
pub struct Scratch {
    service: Service,
    dir: PathBuf,
    /// A socket's path has 107 bytes at most, and the directory's own may be longer.
    sockets: tempfile::TempDir,
    /// Whether it has no network at all.
    pub without_network: bool,
}

/// Why there is no scratch server.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum ScratchError {
    /// The programs are not there.
    #[error(
        "{} has no {missing}: install the PostgreSQL server of that version (postgresql-{major}), or name a scratch server in \
         BACKUP_DRILL_URL", bindir.display()
    )]
    NoServer {
        bindir: PathBuf,
        missing: &'static str,
        major: u32,
    },
    /// A program failed.
    #[error("the scratch server could not be made: {0}")]
    Child(#[from] ChildError),
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

impl Scratch {
    /// Makes and starts a server in `dir`, which must not be there.
    pub async fn start(
        bindir: &Path,
        major: u32,
        dir: &Path,
        cancel: &CancellationToken,
    ) -> Result<Self, ScratchError> {
        if let Some(missing) = PROGRAMS
            .into_iter()
            .find(|program| !bindir.join(program).is_file())
        {
            return Err(ScratchError::NoServer {
                bindir: bindir.to_owned(),
                missing,
                major,
            });
        }
        let failed = |source| ScratchError::Io {
            path: dir.to_owned(),
            source,
        };
        durable::create_dir_private(dir).map_err(failed)?;
        let sockets = tempfile::Builder::new()
            .prefix("backupd-")
            .tempdir()
            .map_err(failed)?;
        let wrapper = Wrapper::find(cancel).await;
        for path in [dir, sockets.path()] {
            if let Some((uid, gid)) = wrapper.owner {
                std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(failed)?;
            }
        }
        let data = dir.join("data");
        wrapper
            .program(&bindir.join("initdb"))
            .args([
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
                "--username",
                SUPERUSER,
                "-D",
            ])
            .arg(data.as_os_str())
            .output(cancel)
            .await?;
        let log = File::create(dir.join("log")).map_err(failed)?;
        let mut program = wrapper
            .program(&bindir.join("postgres"))
            .arg("-D")
            .arg(data.as_os_str())
            .arg("-k")
            .arg(sockets.path());
        for setting in SETTINGS {
            program = program.args(["-c", setting]);
        }
        let mut scratch = Self {
            service: program.serve(&log)?,
            dir: dir.to_owned(),
            sockets,
            without_network: wrapper.without_network,
        };
        scratch.wait(cancel).await?;
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
            "postgres://{SUPERUSER}@{socket}:5432/postgres?sslmode=disable"
        ))?
        .to_database(database))
    }

    /// Ends it and removes all it had.
    pub async fn stop(self) -> io::Result<()> {
        self.service.quit().await;
        fs::remove_dir_all(&self.dir)
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
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
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

/// Ends the server that a killed drill left in `dir`, and removes what it had. Says whether there was anything.
pub fn sweep(dir: &Path) -> io::Result<bool> {
    if dir.symlink_metadata().is_err() {
        return Ok(false);
    }
    orphans::end_strays(&dir.join("data").to_string_lossy());
    fs::remove_dir_all(dir)?;
    Ok(true)
}

/// What stands before the server's programs on their command line: it takes root and the network away from them.
struct Wrapper {
    before: Vec<String>,
    without_network: bool,
    owner: Option<(u32, u32)>,
}

impl Wrapper {
    /// The strictest that works here: containers forbid some of it.
    async fn find(cancel: &CancellationToken) -> Self {
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let owner = is_root().then(server_user).flatten();
        let mut candidates = Vec::new();
        if let Some((uid, gid)) = owner {
            let step_down = format!("setpriv --reuid={uid} --regid={gid} --clear-groups");
            // To pass the backup directory, which is root's alone.
            let passing = format!(
                "{step_down} --inh-caps=+dac_read_search --ambient-caps=+dac_read_search --"
            );
            candidates.push((words(&format!("unshare --net -- {passing}")), true));
            candidates.push((words(&passing), false));
            candidates.push((words(&format!("{step_down} --")), false));
        } else {
            candidates.push((words("unshare --user --map-current-user --net --"), true));
        }
        for (before, without_network) in candidates {
            let wrapper = Self {
                before,
                without_network,
                owner,
            };
            if wrapper
                .program(Path::new("true"))
                .output(cancel)
                .await
                .is_ok()
            {
                return wrapper;
            }
        }
        Self {
            before: Vec::new(),
            without_network: false,
            owner,
        }
    }

    fn program(&self, path: &Path) -> Program {
        let program = match self.before.split_first() {
            Some((first, rest)) => Program::new(first).args(rest).arg(path.as_os_str()),
            None => Program::new(path),
        };
        program.low_priority()
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// User and group by `/etc/passwd` (passwd(5)).
fn server_user() -> Option<(u32, u32)> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    USERS.iter().find_map(|name| {
        let line = text
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}
