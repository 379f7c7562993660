//! A fence around a program that may turn against us: it reads, writes and executes what it is told and nothing else of the machine,
//! reaches nobody, and starts as another user where we are root.
//!
//! Landlock keeps files (landlock(7)), a seccomp filter what leads around them (`calls`). Both hold for the thread that asks and for what
//! it starts, for good; so the program is started from a thread of its own, which ends then.

mod calls;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use rustix::process::{Gid, Pid, Resource, Rlimit, Uid, prlimit};
use rustix::thread::{clear_ambient_capability_set, set_thread_res_gid, set_thread_res_uid};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::orphans::{self, Known};

/// Newest rules that are asked for; an older kernel keeps those that it knows.
const NEWEST: ABI = ABI::V9;
/// Linux 5.19: files may be renamed between directories of the fence, as PostgreSQL does.
const NEEDED: ABI = ABI::V2;
/// Linux 6.2. Before, `truncate(2)` is kept by a file's owner and mode alone, which does not help against a program of the same user.
const NEEDED_FOR_OWN_USER: ABI = ABI::V3;
/// Linux 6.12: no signals to processes outside.
const HOLDS_SIGNALS: ABI = ABI::V6;

/// Everybody may have them; a C library needs some of them.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User.
    pub uid: u32,
    /// Group; no others.
    pub gid: u32,
}

/// Most that a program may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of address space, each process.
    pub memory: u64,
    /// Processes and threads of its user, wherever they come from.
    pub processes: u64,
    /// Bytes of a file that it writes.
    pub file: u64,
}

/// What a program may do. Made by [`Fence::new`], everything is forbidden that can be.
#[derive(Clone, Default)]
pub struct Fence {
    account: Option<Account>,
    limits: Option<Limits>,
    held: Option<Arc<File>>,
    open: bool,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    execute: Vec<PathBuf>,
}

/// Why a program cannot be fenced.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum FenceError {
    /// The kernel.
    #[error(
        "the kernel has no Landlock, or a container's seccomp profile forbids it (Linux {} is needed, with landlock among its `lsm`)",
        linux(*.needed)
    )]
    NoLandlock { needed: u32 },
    /// An older one.
    #[error("the kernel's Landlock is too old: it has ABI {abi}, {needed} is needed (Linux {})", linux(*.needed))]
    TooOld { abi: u32, needed: u32 },
    /// Rules for files.
    #[error("Landlock: {0}")]
    Rules(#[from] RulesetError),
    /// The filter of system calls.
    #[error("seccomp: {0}")]
    Calls(#[from] seccompiler::Error),
    /// Of the kernel.
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
    /// The program itself.
    #[error(transparent)]
    NotStarted(io::Error),
}

/// The kernel that has an ABI first.
fn linux(abi: u32) -> &'static str {
    if abi >= NEEDED_FOR_OWN_USER as u32 {
        "6.2"
    } else {
        "5.19"
    }
}

impl Fence {
    /// Nothing may be read, written or executed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the program a directory that it can reach although its user may not pass the directories above: it inherits the open
    /// directory, and finds it by [`Fence::held`].
    pub fn holding(mut self, dir: &Path) -> io::Result<Self> {
        self.held = Some(Arc::new(File::open(dir)?));
        Ok(self)
    }

    /// Path by which the program reaches the directory that it holds.
    pub fn held(&self) -> PathBuf {
        self.held.as_ref().map_or_else(PathBuf::new, |held| {
            PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()))
        })
    }

    /// Starts the program as another user, which takes root or `CAP_SETUID` and `CAP_SETGID`.
    #[must_use]
    pub fn account(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }

    /// Bounds what it takes.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Leaves all but user, limits and the held directory away.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// Files, and directories with all below, that it may read. Those that are not there are left out.
    #[must_use]
    pub fn read<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.read.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Files, and directories with all below, that it may read and write. No links, devices or pipes are made there: what follows a path
    /// from outside stays in the directory.
    #[must_use]
    pub fn write<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.write.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Programs that may be executed, with their loaders, or directories of such.
    #[must_use]
    pub fn execute<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.execute.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Whether a program could be started behind it here.
    pub fn try_out(&self) -> Result<(), FenceError> {
        in_a_thread(|| self.restrict())
    }

    /// Starts a program behind it.
    pub(crate) fn start(&self, command: &mut Command) -> Result<(Child, Known), FenceError> {
        let runtime = Handle::try_current().map_err(io::Error::other);
        let runtime = runtime.map_err(FenceError::NotStarted)?;
        if let Some(account) = self.account {
            // With the user the standard library takes all other groups away.
            command.uid(account.uid).gid(account.gid);
        }
        let started = in_a_thread(|| {
            let _entered = runtime.enter();
            if !self.open {
                self.restrict()?;
            }
            orphans::start(command, self.held.as_deref()).map_err(FenceError::NotStarted)
        })?;
        if let (Some(limits), Some(pid)) = (self.limits, started.1.pid()) {
            in_a_thread(|| limits.set(pid, self.account)).map_err(|source| FenceError::Io {
                what: "its limits cannot be set",
                source,
            })?;
        }
        Ok(started)
    }

    /// Shuts the calling thread in.
    fn restrict(&self) -> Result<(), FenceError> {
        // Of the image's script: to read files whoever owns them.
        clear_ambient_capability_set().map_err(|error| FenceError::Io {
            what: "its capabilities cannot be taken away",
            source: error.into(),
        })?;
        let reading = AccessFs::ReadFile | AccessFs::ReadDir;
        let writing = AccessFs::from_all(NEWEST)
            & !(AccessFs::Execute
                | AccessFs::MakeChar
                | AccessFs::MakeBlock
                | AccessFs::MakeFifo
                | AccessFs::MakeSym
                | AccessFs::IoctlDev
                | AccessFs::ResolveUnix);
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .add_rules(path_beneath_rules(&self.read, reading))?
            .add_rules(path_beneath_rules(&self.write, writing))?
            .add_rules(path_beneath_rules(
                &self.execute,
                reading | AccessFs::Execute,
            ))?
            .add_rules(path_beneath_rules(
                DEVICES,
                AccessFs::ReadFile | AccessFs::WriteFile,
            ))?
            .restrict_self()?;
        let needed = if self.account.is_some() {
            NEEDED
        } else {
            NEEDED_FOR_OWN_USER
        };
        match abi(status.landlock) {
            Some(abi) if abi >= needed => Ok(calls::forbid()?),
            Some(abi) => Err(FenceError::TooOld {
                abi: abi as u32,
                needed: needed as u32,
            }),
            None => Err(FenceError::NoLandlock {
                needed: needed as u32,
            }),
        }
    }
}

impl Limits {
    /// Sets them for a child that has just been started. Its account's thread may, where root without `CAP_SYS_RESOURCE` may not.
    fn set(&self, pid: Pid, account: Option<Account>) -> io::Result<()> {
        if let Some(account) = account {
            let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
        }
        for (resource, most) in [
            (Resource::Core, 0),
            (Resource::As, self.memory),
            (Resource::Nproc, self.processes),
            (Resource::Fsize, self.file),
        ] {
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most),
            };
            prlimit(Some(pid), resource, limit)?;
        }
        Ok(())
    }
}

/// Whether a fenced program cannot signal processes of its own user that are outside.
pub fn holds_signals() -> bool {
    in_a_thread(|| {
        let status = Ruleset::default()
            .handle_access(AccessFs::Execute)
            .and_then(Ruleset::create)
            .and_then(landlock::RulesetCreated::restrict_self);
        status.is_ok_and(|status| abi(status.landlock).is_some_and(|abi| abi >= HOLDS_SIGNALS))
    })
}

fn abi(status: LandlockStatus) -> Option<ABI> {
    match status {
        LandlockStatus::Available { effective_abi, .. } => Some(effective_abi),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    }
}

/// Does something that changes its thread for good.
fn in_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[cfg(test)]
mod tests;
