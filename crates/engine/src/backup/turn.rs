//! The ends of a run that are not its work: waiting for its turn, and history's note of a run that left no set.

use std::time::{Duration, Instant};

use catalog::history::{Happening, History};
use catalog::lock::{Lock, LockError};
use stream::blocking::in_place;
use tokio_util::sync::CancellationToken;

use super::origin::Origin;
use super::refusal::RunError;
use crate::clock;
use crate::config::Config;
use crate::event::{Event, Observer};
use crate::progress::millis;

/// What a run does when another is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Refuses.
    AtOnce,
    /// Waits for it to end.
    Wait,
}

/// How often a run that waits for its turn looks again.
const TURN_EVERY: Duration = Duration::from_millis(500);

/// Takes the lock, when its turn has come.
pub(crate) async fn take_turn(
    config: &Config,
    turn: Turn,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Lock, RunError> {
    let mut told = false;
    loop {
        match in_place(|| Lock::acquire(&config.backup_dir, clock::now(), "a backup run")) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held { by }) if turn == Turn::Wait => {
                if !told {
                    observer.on(&Event::RunWaiting { by });
                    told = true;
                }
            }
            Err(LockError::Io { path, source }) => {
                let what = format!("the lock {path} could not be taken");
                return Err(RunError::Directory { what, source });
            }
            Err(held) => return Err(RunError::Locked(held)),
        }
        tokio::select! {
            () = tokio::time::sleep(TURN_EVERY) => {}
            () = cancel.cancelled() => return Err(RunError::Interrupted),
        }
    }
}

/// Keeps a run without a set in history. Its own failure adds nothing to the error that is already on its way to the user.
pub(crate) struct RefusalNote<'a> {
    pub history: &'a History,
    pub origin: &'a Origin,
    pub began: Instant,
}

impl RefusalNote<'_> {
    pub fn write(&self, error: &RunError) {
        let reasons = match error {
            RunError::Refused { reasons, .. } => reasons.clone(),
            // A daemon that waits says so itself.
            RunError::Strangers { .. } => return,
            other => vec![other.to_string()],
        };
        let _ = self.history.append(
            clock::now(),
            &Happening::RunRefused {
                reasons,
                trigger: Some(self.origin.trigger.clone()),
                duration_ms: millis(self.began.elapsed()),
                interrupted: matches!(error, RunError::Interrupted),
            },
        );
    }
}
