//! Faults on purpose: the Nth system call of some kinds is the last one of backupd, fails, or does half.
//!
//! The injector is `fault.c`, compiled here by the C compiler that Rust's linker needs anyway. A preload library would not do: rustix asks
//! the kernel without the C library.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::backupd::Backupd;
use crate::host::command;

/// Kinds of system calls by which a tree changes its names.
pub const NAMES: &str = "rename,mkdir,remove";
/// The error numbers of errno(3) that disks have.
pub const EIO: i32 = 5;
/// Cut off by a signal.
pub const EINTR: i32 = 4;
/// No space left.
pub const ENOSPC: i32 = 28;
/// No more than this for this user.
pub const EDQUOT: i32 = 122;

/// What happens at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// backupd is killed before it.
    Kill,
    /// It fails with this error number, once.
    Error(i32),
    /// It fails, and so does each one after it.
    ErrorsOn(i32),
    /// A read or write does half of the bytes.
    Short,
    /// So does each one after it.
    ShortOn,
    /// Calls hang for as long as [`Fault::hold`] says so.
    Hold,
}

/// A fault, and where it is told what became of it.
#[derive(Debug)]
pub struct Fault {
    report: PathBuf,
    arguments: [String; 5],
}

/// What became of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Calls of the kinds, below the directories.
    pub calls: usize,
    /// The call that was hit first, and its file.
    pub hit: Option<String>,
}

impl Fault {
    /// At the `nth` call (1 is the first, 0 none) of `kinds` (words of `fault.c`, joined by commas) about files in `directories`. The
    /// report is a file in `scratch`.
    pub fn new(
        kinds: &str,
        action: Action,
        nth: usize,
        directories: &[&Path],
        scratch: &Path,
    ) -> Self {
        let action = match action {
            Action::Kill => "kill".to_owned(),
            Action::Error(number) => number.to_string(),
            Action::ErrorsOn(number) => format!("{number}+"),
            Action::Short => "short".to_owned(),
            Action::ShortOn => "short+".to_owned(),
            Action::Hold => "hold".to_owned(),
        };
        let directories: Vec<&str> = directories
            .iter()
            .map(|dir| dir.to_str().unwrap())
            .collect();
        let report = scratch.join("fault-report");
        let arguments = [
            kinds.to_owned(),
            action,
            nth.to_string(),
            report.to_str().unwrap().to_owned(),
            directories.join(":"),
        ];
        Self { report, arguments }
    }

    /// Lets calls hang from now on, or go on.
    pub fn hold(&self, hold: bool) {
        let mut file = self.report.clone().into_os_string();
        file.push(".hold");
        if hold {
            fs::write(file, "").unwrap();
        } else {
            fs::remove_file(file).unwrap();
        }
    }

    /// Waits until a call is held.
    pub fn wait_for_a_held_call(&self) {
        let mut file = self.report.clone().into_os_string();
        file.push(".held");
        crate::host::wait_for("a call that is held", || {
            fs::read_to_string(&file).is_ok_and(|held| held.trim().parse::<u32>().is_ok())
        });
        // The next one is another's.
        fs::remove_file(file).unwrap();
    }

    /// The call with this fault in it. When backupd is killed by it, it ends with exit code 137.
    pub fn around(&self, call: Backupd) -> Backupd {
        let arguments = self.arguments.each_ref().map(String::as_str);
        Backupd::under(injector().to_str().unwrap(), arguments, call)
    }

    /// What became of it, when the call has ended.
    pub fn report(&self) -> Report {
        let text = fs::read_to_string(&self.report).unwrap();
        fs::remove_file(&self.report).unwrap();
        let (calls, hit) = text
            .trim_end()
            .split_once('\n')
            .unwrap_or((text.trim(), ""));
        Report {
            calls: calls.parse().unwrap(),
            hit: (!hit.is_empty()).then(|| hit.to_owned()),
        }
    }
}

/// The compiled injector, beside the test's own executable.
fn injector() -> &'static Path {
    static INJECTOR: OnceLock<PathBuf> = OnceLock::new();
    INJECTOR.get_or_init(compiled)
}

/// Compiles it when it is not there or older than its source.
fn compiled() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let program = executable.with_file_name("backupd-fault");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fault.c");
    let changed = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    if changed(&program) < changed(&source) {
        let made = executable.with_file_name(format!("backupd-fault.{}", std::process::id()));
        let done = command("cc")
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&made, &source])
            .status()
            .expect("please install a C compiler (apt-get install gcc libc6-dev)");
        assert!(done.success(), "cc {}", source.display());
        rustix::fs::rename(&made, &program).unwrap();
    }
    program
}
