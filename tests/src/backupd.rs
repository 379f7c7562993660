//! The real binary, called as a user calls it: arguments, an environment of its own, output and exit code.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process, kill_process_group};

use crate::host::{command, pid_of};

/// A run on the sample stack takes a second or two, a drill of thirty databases minutes; a hanging one fails its test instead of CI.
const PATIENCE: Duration = Duration::from_secs(1200);

/// One call of the real binary, in an environment of PATH and the settings given.
#[derive(Debug, Clone)]
pub struct Backupd {
    program: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
}

impl Backupd {
    /// A call with these arguments and no settings.
    pub fn new<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(arguments: I) -> Self {
        let arguments = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned())
            .collect();
        Self {
            program: binary().into(),
            arguments,
            environment: BTreeMap::new(),
        }
    }

    /// With a setting.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// With several settings.
    #[must_use]
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        settings
            .into_iter()
            .fold(self, |call, (name, value)| call.env(name, value))
    }

    /// Without a setting.
    #[must_use]
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.remove(name.as_ref());
        self
    }

    /// The same call, made by another program with arguments of its own.
    #[must_use]
    pub fn under<const N: usize>(program: &str, arguments: [&str; N], call: Self) -> Self {
        let mut wrapped: Vec<OsString> = arguments.map(OsString::from).into();
        wrapped.push(binary().into());
        wrapped.extend(call.arguments);
        Self {
            program: program.into(),
            arguments: wrapped,
            environment: call.environment,
        }
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }

    /// Runs it to its end, which must be exit code 0.
    pub fn succeed(self) -> Outcome {
        let what = format!("backupd {:?}", self.arguments);
        let outcome = self.run();
        assert_eq!(outcome.code, Some(0), "{what}: {outcome}");
        outcome
    }

    /// Starts it, in a process group of its own as a shell does.
    pub fn spawn(self) -> Running {
        let mut command = command(self.program);
        command
            .args(self.arguments)
            .envs(self.environment)
            .process_group(0);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting backupd");
        let stdout = Capture::start(child.stdout.take().unwrap());
        let stderr = Capture::start(child.stderr.take().unwrap());
        Running {
            child,
            stdout,
            stderr,
        }
    }
}

/// A call at work. Killed, with its children, when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Capture,
    stderr: Capture,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Signals backupd alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid_of(&self.child), signal).expect("backupd is our child");
    }

    /// Signals its whole group, as Ctrl-C in a terminal does. Tools that backupd has put into groups of their own are not in it.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(pid_of(&self.child), signal).expect("backupd's group is there");
    }

    /// What it printed on standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it printed on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for a condition while it works; fails the test when backupd ends before it comes.
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            let ended = self.has_ended();
            assert!(
                !ended || condition(self),
                "backupd ended before {what}:\n{}\n{}",
                self.stdout(),
                self.stderr()
            );
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}:\n{}\n{}",
                self.stdout(),
                self.stderr()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "backupd does not end:\n{}\n{}",
                self.stdout(),
                self.stderr()
            );
            thread::sleep(Duration::from_millis(2));
        };
        Outcome::new(status, self.stdout.finish(), self.stderr.finish())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // SIGTERM first, so that backupd ends its own children; the wait is bounded by what it promises.
            let _ = kill_process(pid_of(&self.child), Signal::TERM);
            let deadline = Instant::now() + Duration::from_secs(10);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    fn new(status: ExitStatus, stdout: String, stderr: String) -> Self {
        Self {
            code: status.code(),
            signal: status.signal(),
            stdout,
            stderr,
        }
    }

    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit code {:?}, signal {:?}", self.code, self.signal)?;
        write!(
            f,
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        )
    }
}

/// Collects a pipe in a thread, so that it never fills.
#[derive(Debug)]
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Capture {
    fn start(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                collected
                    .lock()
                    .unwrap()
                    .extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, thread }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// All of it: a killed backupd's orphans may hold the pipe a little longer, so the wait has an end.
    fn finish(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        self.text()
    }
}

/// The binary under test: `BACKUPD_BIN`, or the one in cargo's target directory, built when it is not there.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(find_binary)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own setting, which backupd does not know"
)]
fn find_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BACKUPD_BIN") {
        return path.into();
    }
    let executable = std::env::current_exe().unwrap();
    let profile = executable
        .ancestors()
        .nth(2)
        .expect("an executable of cargo's");
    let binary = profile.join("backupd");
    if !binary.exists() {
        let mut cargo =
            std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "-q", "-p", "backupd"])
            .arg("--target-dir")
            .arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("starting cargo");
        assert!(status.success(), "cargo build -p backupd failed");
    }
    binary
}
