//! How a command ends.

use std::process::ExitCode;

use catalog::catalog::FindError;
use catalog::lock::LockError;

use crate::daemon::control::ClientError;
use crate::render;
use crate::settings::Problems;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Usage or settings.
    Settings,
    /// Another run holds the lock.
    Locked,
    /// Verification found a difference, or a run an anomaly.
    Different,
    /// Ended by a signal; the code the shell expects.
    Interrupted(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Settings => 2,
            Exit::Locked => 3,
            Exit::Different => 4,
            Exit::Interrupted(code) => code,
        })
    }
}

/// Why a command could not do its work at all.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Settings are wrong.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// The set was not found.
    #[error(transparent)]
    NotFound(#[from] FindError),
    /// Another run is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The daemon gives no answer.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The set cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Refusal {
    pub(super) fn print(&self) {
        // A reader that closed the pipe (`backupd list | head -1`) has what it wanted.
        if !matches!(self, Self::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe) {
            render::error::say(&self.to_string());
        }
    }

    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Settings(_) | Self::Usage(_) => Exit::Settings,
            Self::Lock(LockError::Held { .. }) => Exit::Locked,
            _ => Exit::Failed,
        }
    }
}
