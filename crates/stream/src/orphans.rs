//! As process 1 of a container, backupd is given every process whose parent ended first, and must take note of their ends: else they
//! stay in the process table for good.
//!
//! Children that were started here are waited for by those who started them; to take their exit status away would make a failed dump
//! look like nothing. So each is known by its id from before it can end until it has been waited for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

static STARTED_HERE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Signals are merged when several children end at once; what was missed is found within this.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A child's id is kept while this lives.
pub(crate) struct Known(Option<Pid>);

/// Starts a child, and knows it before anybody could take it for an orphan. It inherits the file under the same number; as every child
/// is started under the same lock, no other does.
pub(crate) fn start(command: &mut Command, inherited: Option<&File>) -> io::Result<(Child, Known)> {
    let mut started = started_here();
    if let Some(file) = inherited {
        fcntl_setfd(file, FdFlags::empty())?;
    }
    let spawned = command.spawn();
    if let Some(file) = inherited {
        fcntl_setfd(file, FdFlags::CLOEXEC)?;
    }
    let child = spawned?;
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    started.extend(pid.map(Pid::as_raw_pid));
    Ok((child, Known(pid)))
}

impl Known {
    /// The child's id, which is its group's too.
    pub fn pid(&self) -> Option<Pid> {
        self.0
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            started_here().remove(&pid.as_raw_pid());
        }
    }
}

fn started_here() -> MutexGuard<'static, BTreeSet<i32>> {
    // A panic elsewhere leaves a plain set behind.
    STARTED_HERE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes note of orphans' ends until cancelled. For process 1 only: any other is given none.
pub async fn reap(cancel: CancellationToken) -> io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    loop {
        reap_ended();
        tokio::select! {
            _ = ended.recv() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = cancel.cancelled() => return Ok(()),
        }
    }
}

fn reap_ended() {
    let started = started_here();
    let own = std::process::id();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return;
    };
    let orphans = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| !started.contains(pid) && is_zombie_of(*pid, own))
        .filter_map(Pid::from_raw);
    for orphan in orphans {
        // One that is gone already needs nothing.
        let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
    }
}

/// `/proc/PID/stat` is `pid (name) state ppid …`; the name may hold anything (proc_pid_stat(5)).
fn is_zombie_of(pid: i32, parent: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let mut fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    fields.next() == Some("Z") && fields.next() == Some(parent.to_string().as_str())
}

/// Ends the processes that an earlier one of ours started and left: those whose command line holds `mark`, a path that nobody else names.
/// Returns when they are gone.
pub fn end_strays(mark: &str) {
    const PATIENCE: Duration = Duration::from_secs(10);
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let began = Instant::now();
    let mut signal = Signal::QUIT;
    loop {
        let strays = processes_named(mark);
        if strays.is_empty() || began.elapsed() > PATIENCE {
            return;
        }
        for pid in strays {
            // Gone already is what was wanted.
            let _ = kill_process(pid, signal);
        }
        std::thread::sleep(LOOK_EVERY);
        if began.elapsed() > PATIENCE / 2 {
            signal = Signal::KILL;
        }
    }
}

fn processes_named(mark: &str) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id();
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| pid.unsigned_abs() != own)
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(mark)
        })
        .filter_map(Pid::from_raw)
        .collect()
}
