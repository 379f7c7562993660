//! What a restore holds and leaves in the backup directory: the lock while it is at work, and what the sets are of from then on.

use std::io;
use std::path::Path;

use catalog::accepted::Accepted;
use catalog::catalog::Catalog;
use catalog::history::History;
use catalog::identity::Identity;
use catalog::lock::{Lock, LockError};

use crate::clock;
use crate::keep::sweep::tell_lost_run;

/// How a backup directory is held.
#[derive(Debug)]
pub enum Held {
    /// Nobody else changes sets as long as this lives.
    Locked(Lock),
    /// It cannot be written to (a copy on another machine): it has no runs, no lock is taken, and nothing is kept in its history.
    ReadOnly,
}

/// Holds it: no run may take a half-restored database for a whole one.
pub fn hold(dir: &Path) -> Result<Held, LockError> {
    let Ok(catalog) = Catalog::open(dir) else {
        return Ok(Held::ReadOnly);
    };
    let lock = Lock::acquire(dir, clock::now(), "a restore")?;
    // It comes behind the runs before it, also behind one that could not say so. Where that cannot be written now, the next run does.
    let told = History::open(dir).and_then(|history| {
        let known = history.read()?;
        tell_lost_run(&catalog, &history, &known)
    });
    if let Err(error) = told {
        tracing::warn!(%error, "the history does not have the last run");
    }
    Ok(Held::Locked(lock))
}

/// What was restored into is what the sets are of from now on: no run takes it for a stranger.
pub fn know(dir: &Path, sources: impl IntoIterator<Item = (String, Identity)>) -> io::Result<()> {
    let kept = Accepted::update(dir, |accepted| {
        for (label, identity) in sources {
            accepted.know(&label, identity);
        }
    });
    match kept {
        // A copy that cannot be written to has no runs, and was told of.
        Err(_) if Catalog::open(dir).is_err() => Ok(()),
        kept => kept,
    }
}
