//! Loads a dump into a database: text through `psql`, which stops at the first error, or an archive through `pg_restore --jobs`.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use stream::artifact::{Compression, Meter};
use stream::child::{Output, Program};
use stream::read::ArtifactReader;
use tokio_util::sync::CancellationToken;

use super::entries::{Entries, Wanted};
use super::error::RestoreError;
use crate::dsn::Dsn;
use crate::dump::DumpFormat;
use crate::roles::database_argument;
use crate::tools::Tools;

/// Bytes passed on at once; a pipe holds 64 KiB unless enlarged.
const PUMP_BYTES: usize = 256 * 1024;
/// The load need not wait for the disk at every statement: what follows it does, once, for all.
const OPTIONS: &str = "-c synchronous_commit=off";
/// The statement that fails is said behind its error, and may be a function of many lines.
const STDERR_BYTES: usize = 256 * 1024;
/// pg_restore prints a setting that older servers do not know, and would stop at it.
const TRANSACTION_TIMEOUT_SINCE: u32 = 17;

/// What follows an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The load fails with it.
    Stop,
    /// The load goes on; what is missing then is found by comparing.
    GoOn,
}

/// A dump on its way into a database.
pub struct LoadRequest<'a> {
    /// PostgreSQL's programs.
    pub tools: &'a Tools,
    /// The database, as a superuser.
    pub dsn: &'a Dsn,
    /// The server's major version.
    pub server_major: u32,
    /// The artifact.
    pub file: &'a Path,
    /// Its form.
    pub format: DumpFormat,
    /// Its compression as a whole.
    pub compression: Compression,
    /// Connections that an archive is loaded by.
    pub jobs: u8,
    /// Which entries are loaded; all of them without.
    pub wanted: Option<Wanted>,
    /// What follows an error.
    pub on_error: OnError,
    /// Whether it gives way to others.
    pub low_priority: bool,
    /// Counts bytes for whoever shows progress.
    pub meter: Arc<Meter>,
}

/// What a load did.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Entries that were left out because they were not wanted.
    pub skipped: u64,
    /// The first errors that were gone over, in the server's words.
    pub errors: Vec<String>,
}

impl LoadRequest<'_> {
    /// Whether this archive can be loaded by several connections at once.
    pub fn in_parallel(&self) -> bool {
        self.jobs > 1
            && self.format == DumpFormat::Custom
            && self.wanted.is_none()
            && self.on_error == OnError::Stop
            && !needs_text(self.tools.version.major, self.server_major)
    }
}

/// Whether an archive must go through its text, because its `pg_restore` says what this server does not know.
pub fn needs_text(tools_major: u32, server_major: u32) -> bool {
    tools_major >= TRANSACTION_TIMEOUT_SINCE && server_major < TRANSACTION_TIMEOUT_SINCE
}

/// Loads it.
pub async fn load(
    request: LoadRequest<'_>,
    cancel: &CancellationToken,
) -> Result<Loaded, RestoreError> {
    if request.in_parallel() {
        let program = client(request.tools.pg_restore(), &request)
            .args(["--no-password", "--exit-on-error", "--jobs"])
            .arg(request.jobs.to_string())
            .arg(format!(
                "--dbname={}",
                database_argument(&request.dsn.database)
            ))
            .arg(request.file);
        program.output(cancel).await?;
        return Ok(Loaded::default());
    }
    let (input, end) = io::pipe().map_err(|source| RestoreError::Io {
        what: "a pipe to psql could not be made",
        source,
    })?;
    let stop = if request.on_error == OnError::Stop {
        "1"
    } else {
        "0"
    };
    let psql = client(request.tools.psql(), &request)
        .args(["-X", "-q", "-b", "--no-password", "-o", "/dev/null", "-v"])
        .arg(format!("ON_ERROR_STOP={stop}"));
    let wanted = request.wanted.unwrap_or_else(|| Box::new(|_| true));
    let sink = Entries::new(end, request.server_major, wanted);
    // Cancelled when psql has ended: what feeds it has nobody to feed then.
    let feeding = cancel.child_token();
    let loading = async {
        let done = psql.output_on(input, cancel).await;
        if done.is_err() {
            feeding.cancel();
        }
        done
    };
    let feeder = async {
        match request.format {
            DumpFormat::Plain => {
                let (file, compression) = (request.file.to_owned(), request.compression);
                let (meter, token) = (request.meter.clone(), feeding.clone());
                let pumping = tokio::task::spawn_blocking(move || {
                    pump(&file, compression, meter, sink, &token)
                });
                pumping
                    .await
                    .map_err(io::Error::other)
                    .flatten()
                    .map_err(RestoreError::Source)
            }
            DumpFormat::Custom => {
                let counted = Counted {
                    inner: sink,
                    meter: request.meter.clone(),
                };
                let pg_restore = Program::new(request.tools.pg_restore())
                    .arg("--file=-")
                    .arg(request.file);
                let (counted, _) = pg_restore.stream_into(counted, &feeding).await?;
                counted.inner.finish().map_err(RestoreError::Source)
            }
        }
    };
    let (loaded, fed) = tokio::join!(loading, feeder);
    // psql's complaint is the cause of a broken pipe.
    let output = loaded?;
    Ok(Loaded {
        skipped: fed?,
        errors: errors(&output),
    })
}

fn client(path: std::path::PathBuf, request: &LoadRequest<'_>) -> Program {
    let own = request.dsn.child_options().unwrap_or_default();
    let program = Program::new(path)
        .keep_stderr(STDERR_BYTES)
        .envs(request.dsn.child_env())
        .envs([(
            "PGOPTIONS".to_owned(),
            format!("{own} {OPTIONS}").trim().to_owned(),
        )]);
    if request.low_priority {
        program.low_priority()
    } else {
        program
    }
}

fn pump(
    file: &Path,
    compression: Compression,
    meter: Arc<Meter>,
    mut sink: Entries<io::PipeWriter>,
    cancel: &CancellationToken,
) -> io::Result<u64> {
    let mut reader = ArtifactReader::open(file, compression, meter)?;
    let mut buffer = vec![0; PUMP_BYTES];
    loop {
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match reader.read(&mut buffer)? {
            0 => return sink.finish(),
            read => sink.write_all(&buffer[..read])?,
        }
    }
}

struct Counted<W> {
    inner: W,
    meter: Arc<Meter>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.meter.add_raw(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What psql complained of and went over, each once.
fn errors(output: &Output) -> Vec<String> {
    let lines = output.stderr.lines().filter_map(|line| {
        let (_, words) = line.split_once("ERROR:  ")?;
        Some(words.trim().to_owned())
    });
    lines.collect::<BTreeSet<_>>().into_iter().collect()
}
