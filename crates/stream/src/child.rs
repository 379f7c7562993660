//! The only wrapper of external programs: arguments without secrets, an environment cleared to what the program needs, its own process
//! group, the tail of its standard error kept, its exit status read, ended on cancellation and on drop.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, setpriority_process};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::fence::{Fence, FenceError};
use crate::orphans::{self, Known};
use crate::proof::Finished;

/// Time a child has to end by itself after SIGTERM: pg_dump ends at once, a server within this.
const GRACE: Duration = Duration::from_secs(5);
/// What is kept of standard error unless told otherwise: PostgreSQL's tools say what went wrong in their last lines.
const STDERR_BYTES: usize = 4 * 1024;
/// Most that [`Program::output`] takes: it is for versions and listings, not for data.
const OUTPUT_BYTES: usize = 64 * 1024 * 1024;
/// Bytes taken from the pipe at once; a pipe holds 64 KiB unless enlarged.
const PUMP_BYTES: usize = 256 * 1024;
/// The nicest there is (setpriority(2)).
const LOWEST_PRIORITY: i32 = 19;

/// A program to start.
#[derive(Clone)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    low_priority: bool,
    stderr_bytes: usize,
    fence: Option<Fence>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("path", &self.path)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// What a program printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// The tail of standard error.
    pub stderr: String,
}

/// Why a program did not do its work. `program` is its file name.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum ChildError {
    /// It could not be started.
    #[error("{program} could not be started: {source}")]
    NotStarted { program: String, source: io::Error },
    /// What it should be kept from cannot be kept from it.
    #[error("{program} cannot be fenced: {source}")]
    NotFenced { program: String, source: FenceError },
    /// It ended with another status than 0.
    #[error("{program} failed with {status}{}", said(.stderr))]
    Failed {
        program: String,
        status: String,
        exit_code: Option<i32>,
        stderr: String,
    },
    /// Its output could not be taken.
    #[error("the output of {program} could not be written: {source}")]
    Sink { program: String, source: io::Error },
    /// It printed more than was asked for.
    #[error("{program} printed more than {OUTPUT_BYTES} bytes")]
    TooMuch { program: String },
    /// It was ended because its work was cancelled.
    #[error("{program} was ended: the work was cancelled")]
    Cancelled { program: String },
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!(": {stderr}")
    }
}

impl ChildError {
    /// The child's exit status, where it exited by itself.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Failed { exit_code, .. } => *exit_code,
            _ => None,
        }
    }
}

impl Program {
    /// A program without arguments, in an environment of `PATH` and a UTF-8 locale whose messages are not translated.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            low_priority: false,
            stderr_bytes: STDERR_BYTES,
            fence: None,
        }
    }

    /// Keeps this much of the end of its standard error.
    #[must_use]
    pub fn keep_stderr(mut self, bytes: usize) -> Self {
        self.stderr_bytes = bytes;
        self
    }

    /// Adds an argument. Never a secret: arguments are visible to every user.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets variables of its environment.
    #[must_use]
    pub fn envs(mut self, vars: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(vars);
        self
    }

    /// Its file name, for messages.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or(self.path.as_os_str())
            .to_string_lossy()
            .into_owned()
    }

    /// Lets it, and what it starts, have the processor only when nobody else wants it.
    #[must_use]
    pub fn low_priority(mut self) -> Self {
        self.low_priority = true;
        self
    }

    /// Starts it behind a fence.
    #[must_use]
    pub fn fenced(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    /// Runs it and takes what it prints.
    pub async fn output(&self, cancel: &CancellationToken) -> Result<Output, ChildError> {
        self.talk(Stdio::null(), cancel).await
    }

    /// Runs it on an input that somebody else writes, and takes what it prints. The writer learns of an early end by a broken pipe.
    pub async fn output_on(
        &self,
        input: io::PipeReader,
        cancel: &CancellationToken,
    ) -> Result<Output, ChildError> {
        self.talk(Stdio::from(input), cancel).await
    }

    async fn talk(&self, stdin: Stdio, cancel: &CancellationToken) -> Result<Output, ChildError> {
        let mut running = self.start(stdin, Stdio::piped())?;
        let stdout = running.child.stdout.take();
        let stderr = running.child.stderr.take();
        let both =
            async { tokio::join!(head(stdout, OUTPUT_BYTES), tail(stderr, self.stderr_bytes)) };
        let (stdout, stderr) = running.until_cancelled(both, cancel).await?;
        let stdout = stdout.ok_or_else(|| ChildError::TooMuch {
            program: self.name(),
        })?;
        running.ended_well(&stderr, cancel).await?;
        Ok(Output { stdout, stderr })
    }

    /// Runs it and passes its standard output to `sink`, on a thread of its own. When the sink fails, the program is ended.
    ///
    /// The proof is given when its output came to its end and it exited with 0.
    pub async fn stream_into<W: Write + Send + 'static>(
        &self,
        sink: W,
        cancel: &CancellationToken,
    ) -> Result<(W, Finished), ChildError> {
        let (pipe, end) = io::pipe().map_err(|source| self.not_started(source))?;
        let mut running = self.start(Stdio::null(), Stdio::from(end))?;
        let stderr = running.child.stderr.take();
        let mut pump = tokio::task::spawn_blocking(move || {
            pump(File::from(std::os::fd::OwnedFd::from(pipe)), sink)
        });
        let reading = tokio::spawn(tail(stderr, self.stderr_bytes));
        let pumped = match running.until_cancelled(&mut pump, cancel).await {
            Ok(pumped) => pumped,
            Err(cancelled) => {
                // The pipe is closed with its group; the sink is to be gone when the caller clears up. A process that left the group
                // may hold the pipe open: not waited for.
                let _ = tokio::time::timeout(GRACE, pump).await;
                return Err(cancelled);
            }
        };
        let sink = match pumped {
            Ok(Ok(sink)) => sink,
            Ok(Err(source)) => {
                running.end().await;
                return Err(ChildError::Sink {
                    program: self.name(),
                    source,
                });
            }
            Err(panic) => {
                running.end().await;
                return Err(ChildError::Sink {
                    program: self.name(),
                    source: io::Error::other(panic),
                });
            }
        };
        let stderr = running
            .until_cancelled(reading, cancel)
            .await?
            .unwrap_or_default();
        running.ended_well(&stderr, cancel).await?;
        Ok((sink, Finished::new()))
    }

    /// Starts it as a service: it works until it is ended, and what it says goes to a file.
    pub fn serve(&self, log: &File) -> Result<Service, ChildError> {
        let log = log.try_clone().map_err(|source| self.not_started(source))?;
        let error = log.try_clone().map_err(|source| self.not_started(source))?;
        self.begin(Stdio::null(), Stdio::from(log), Stdio::from(error))
            .map(Service)
    }

    fn start(&self, stdin: Stdio, stdout: Stdio) -> Result<Running, ChildError> {
        self.begin(stdin, stdout, Stdio::piped())
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "this is the file that owns starting programs"
    )]
    fn begin(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Running, ChildError> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/nonexistent")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true);
        let (child, known) = match &self.fence {
            None => {
                orphans::start(&mut command, None).map_err(|source| self.not_started(source))?
            }
            Some(fence) => fence.start(&mut command).map_err(|error| match error {
                FenceError::NotStarted(source) => self.not_started(source),
                source => ChildError::NotFenced {
                    program: self.name(),
                    source,
                },
            })?,
        };
        if self.low_priority {
            // A wish: where the kernel does not grant it, the work is done all the same.
            let _ = setpriority_process(known.pid(), LOWEST_PRIORITY);
        }
        Ok(Running {
            program: self.name(),
            child,
            group: known.pid(),
            _known: known,
        })
    }

    fn not_started(&self, source: io::Error) -> ChildError {
        ChildError::NotStarted {
            program: self.path.display().to_string(),
            source,
        }
    }
}

/// A program that works until it is ended. Dropped, it is killed.
pub struct Service(Running);

impl Service {
    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.child.try_wait(), Ok(None))
    }

    /// Ends it by SIGQUIT, which means "at once" to a PostgreSQL server, and makes it end when that does not.
    pub async fn quit(mut self) {
        self.0.signal(Signal::QUIT);
        self.0.end_within(GRACE).await;
    }
}

/// A started program. Dropped, its whole group is killed.
struct Running {
    program: String,
    child: Child,
    group: Option<Pid>,
    _known: Known,
}

impl Running {
    /// Waits for the work, or ends the program when the token is cancelled first.
    async fn until_cancelled<T>(
        &mut self,
        work: impl Future<Output = T>,
        cancel: &CancellationToken,
    ) -> Result<T, ChildError> {
        tokio::select! {
            done = work => Ok(done),
            () = cancel.cancelled() => {
                self.end().await;
                Err(self.cancelled())
            }
        }
    }

    async fn ended_well(
        &mut self,
        stderr: &str,
        cancel: &CancellationToken,
    ) -> Result<(), ChildError> {
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = cancel.cancelled() => {
                self.end().await;
                return Err(self.cancelled());
            }
        };
        let status = status.map_err(|source| ChildError::NotStarted {
            program: self.program.clone(),
            source,
        })?;
        // What is left of its group has nobody to work for.
        self.signal(Signal::KILL);
        self.group = None;
        if status.success() {
            return Ok(());
        }
        Err(ChildError::Failed {
            program: self.program.clone(),
            status: words(status),
            exit_code: status.code(),
            stderr: stderr.trim().to_owned(),
        })
    }

    /// Asks the group to end, and makes it end when it does not.
    async fn end(&mut self) {
        self.signal(Signal::TERM);
        self.end_within(GRACE).await;
    }

    async fn end_within(&mut self, grace: Duration) {
        if tokio::time::timeout(grace, self.child.wait())
            .await
            .is_err()
        {
            self.signal(Signal::KILL);
            // A killed process is reaped; the runtime does so even if this wait fails.
            let _ = self.child.wait().await;
        }
        self.signal(Signal::KILL);
        self.group = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A group that is gone already is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    fn cancelled(&self) -> ChildError {
        ChildError::Cancelled {
            program: self.program.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

fn pump<W: Write>(mut from: File, mut sink: W) -> io::Result<W> {
    let mut buffer = vec![0; PUMP_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(sink),
            Ok(read) => sink.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// All of a stream, or none when it is longer than `most`.
async fn head(stream: Option<impl AsyncRead + Unpin>, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut limited = stream?.take(most as u64 + 1);
    // A broken pipe ends the output; the exit status then says why.
    let _ = limited.read_to_end(&mut bytes).await;
    (bytes.len() <= most).then_some(bytes)
}

/// The last bytes of a stream, as text.
async fn tail(stream: Option<impl AsyncRead + Unpin>, most: usize) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let mut buffer = [0; 1024];
    let Some(mut stream) = stream else {
        return String::new();
    };
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > 2 * most {
            kept.drain(..kept.len() - most);
        }
    }
    let from = kept.len().saturating_sub(most);
    String::from_utf8_lossy(&kept[from..]).into_owned()
}

#[cfg(test)]
mod tests;
