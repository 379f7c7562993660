//! What killed runs and removals left is removed.

use std::path::Path;

use catalog::catalog::Catalog;
use catalog::history::{Happening, History};
use catalog::lock::{Lock, LockError};

use crate::clock;

/// Removes what a killed run left, unless a run is at work, and says what it removed: what a daemon does before it looks around.
pub fn tidy(dir: &Path) -> std::io::Result<Vec<String>> {
    let catalog = Catalog::open(dir)?;
    match Lock::acquire(dir, clock::now(), "backupd's start") {
        Ok(_lock) => sweep(&catalog, &History::open(dir)?),
        Err(LockError::Held { .. }) => Ok(Vec::new()),
        Err(LockError::Io { source, .. }) => Err(source),
    }
}

/// Removes what a killed run or removal left, and says in history what it could not say itself. The caller holds the lock.
pub(crate) fn sweep(catalog: &Catalog, history: &History) -> std::io::Result<Vec<String>> {
    let left = catalog.leftovers()?;
    let known = if left.removed.is_empty() {
        Vec::new()
    } else {
        history.read()?
    };
    for set in left.removed {
        let is_told = known.iter().any(
            |record| matches!(record.happening, Happening::SetRemoved { set: told, .. } if told == set),
        );
        if !is_told {
            let reasons = vec!["its removal was cut off".to_owned()];
            history.append(clock::now(), &Happening::SetRemoved { set, reasons })?;
        }
        catalog.clear(set)?;
    }
    let is_killed = !left.partial.is_empty();
    for partial in left.partial {
        catalog.discard(partial)?;
    }
    if is_killed {
        let killed = Happening::RunRefused {
            reasons: vec!["killed; the unfinished set was removed".to_owned()],
            trigger: None,
            duration_ms: 0,
            interrupted: true,
        };
        history.append(clock::now(), &killed)?;
    }
    if let Err(error) = history.shorten() {
        tracing::warn!(%error, "the history could not be shortened");
    }
    Ok(left.names)
}
