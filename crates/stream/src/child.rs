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
    user: Option<(u32, u32)>,
    stderr_bytes: usize,
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
            user: None,
            stderr_bytes: STDERR_BYTES,
        }
    }

    /// Runs it as another user and group, which only root may ask for.
    #[must_use]
    pub fn as_user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
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

    #[allow(
        clippy::disallowed_methods,
        reason = "this is the file that owns starting programs"
    )]
    fn start(&self, stdin: Stdio, stdout: Stdio) -> Result<Running, ChildError> {
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
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        let (child, known) =
            orphans::start(&mut command).map_err(|source| self.not_started(source))?;
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
        if tokio::time::timeout(GRACE, self.child.wait())
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
mod tests {
    use super::*;
    use std::time::Instant;

    fn sh(script: &str) -> Program {
        Program::new("/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn output_and_status_are_told() {
        let cancel = CancellationToken::new();
        let output = sh("echo out; echo err >&2").output(&cancel).await.unwrap();
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr.trim(), "err");
        let error = sh("echo why >&2; exit 3")
            .output(&cancel)
            .await
            .unwrap_err();
        assert_eq!(error.exit_code(), Some(3));
        assert_eq!(error.to_string(), "sh failed with exit status 3: why");
        let gone = Program::new("/no/such").output(&cancel).await.unwrap_err();
        assert!(matches!(gone, ChildError::NotStarted { .. }));
    }

    #[tokio::test]
    async fn input_is_passed_on_and_an_early_end_breaks_the_pipe() {
        let cancel = CancellationToken::new();
        let (read, mut write) = io::pipe().unwrap();
        let writer = std::thread::spawn(move || write.write_all(b"one\ntwo\n"));
        let output = sh("wc -l").output_on(read, &cancel).await.unwrap();
        assert_eq!(output.stdout.trim_ascii(), b"2");
        writer.join().unwrap().unwrap();
        let (read, mut write) = io::pipe().unwrap();
        let writer = std::thread::spawn(move || write.write_all(&vec![b'x'; 1 << 20]));
        let error = sh("exit 3").output_on(read, &cancel).await.unwrap_err();
        assert_eq!(error.exit_code(), Some(3));
        assert_eq!(
            writer.join().unwrap().unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[tokio::test]
    async fn a_low_priority_is_given() {
        let cancel = CancellationToken::new();
        // It is given right after the start.
        let program = sh("sleep 0.2; nice").low_priority();
        let text = program.output(&cancel).await.unwrap().stdout;
        assert_eq!(text, b"19\n");
    }

    #[tokio::test]
    async fn the_environment_is_only_what_was_given() {
        let cancel = CancellationToken::new();
        let program = sh("env").envs([("PGUSER".to_owned(), "u".to_owned())]);
        let text = String::from_utf8(program.output(&cancel).await.unwrap().stdout).unwrap();
        assert!(text.contains("PGUSER=u"));
        assert!(!text.contains("CARGO"), "{text}");
    }

    #[tokio::test]
    async fn output_followed_by_a_failure_yields_no_proof() {
        let cancel = CancellationToken::new();
        let error = sh("echo half; exit 1")
            .stream_into(Vec::new(), &cancel)
            .await
            .unwrap_err();
        assert!(matches!(error, ChildError::Failed { .. }));
        let error = sh("echo half; kill -9 $$")
            .stream_into(Vec::new(), &cancel)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("signal 9"));
    }

    #[tokio::test]
    async fn a_sink_that_fails_ends_the_program() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let began = Instant::now();
        let error = sh("while :; do echo x; done")
            .stream_into(Full, &CancellationToken::new())
            .await
            .err()
            .unwrap();
        assert!(matches!(error, ChildError::Sink { .. }));
        assert!(began.elapsed() < GRACE);
    }

    #[tokio::test]
    async fn cancellation_ends_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let program = sh(&format!(
            "sleep 600 & echo $! > {}; wait",
            pid_file.display()
        ));
        let cancel = CancellationToken::new();
        let later = cancel.clone();
        let watched = pid_file.clone();
        tokio::spawn(async move {
            while std::fs::read_to_string(&watched)
                .unwrap_or_default()
                .trim()
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            later.cancel();
        });
        let error = program
            .stream_into(io::sink(), &cancel)
            .await
            .err()
            .unwrap();
        assert!(matches!(error, ChildError::Cancelled { .. }));
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let status = format!("/proc/{}/status", pid.trim());
        // The kernel takes the killed process away in its own time; a process that was not killed stays for ten minutes.
        while std::fs::read_to_string(&status).is_ok_and(|text| !text.contains("State:\tZ")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn only_the_tail_of_a_long_complaint_is_kept() {
        let script = "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1";
        let error = sh(script)
            .output(&CancellationToken::new())
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("line 2999"));
        assert!(text.len() < STDERR_BYTES + 200);
    }
}
