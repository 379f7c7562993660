//! What killed runs and removals left is removed, and told.

use std::path::Path;

use catalog::catalog::Catalog;
use catalog::history::{Happening, History, Record};
use catalog::lock::{Lock, LockError};
use catalog::set::SetId;
use chrono::{DateTime, Utc};
use stream::durable::is_full;

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

/// Keeps in history that a daemon of this version watches from now on.
pub fn begin_service(dir: &Path, backupd: &str) -> std::io::Result<()> {
    let started = Happening::ServiceStarted {
        backupd: backupd.to_owned(),
    };
    History::open(dir)?.append(clock::now(), &started)
}

/// Removes what a killed run or removal left, and says in history what it could not say itself. Where that has no room, it is left for
/// the next sweep to say: nothing waits for it. The caller holds the lock.
pub(crate) fn sweep(catalog: &Catalog, history: &History) -> std::io::Result<Vec<String>> {
    let left = catalog.leftovers()?;
    let known = history.read()?;
    // On a full disk these make the room for what is told of them: their files go before it, their names behind it.
    for partial in &left.partial {
        catalog.empty(partial)?;
    }
    let mut told = tell_lost_run(catalog, history, &known);
    for set in left.removed {
        let is_told = known.iter().any(
            |record| matches!(record.happening, Happening::SetRemoved { set: told, .. } if told == set),
        );
        if !is_told {
            let reasons = vec!["its removal was cut off".to_owned()];
            let removed = Happening::SetRemoved { set, reasons };
            let one = tell_removed(catalog, history, clock::now(), set, &removed);
            if one.is_err() {
                told = told.and(one);
                continue;
            }
        }
        catalog.clear(set)?;
    }
    if !left.partial.is_empty() {
        let killed = Happening::RunRefused {
            reasons: vec!["killed; the unfinished set was removed".to_owned()],
            trigger: None,
            duration_ms: 0,
            interrupted: true,
        };
        let one = history.append(clock::now(), &killed);
        if one.is_ok() {
            for partial in left.partial {
                catalog.discard(partial)?;
            }
        }
        told = told.and(one);
    }
    match told {
        Err(error) if is_full(&error) => {
            tracing::warn!(%error, "the history has no room for what killed runs left: the next run says it");
        }
        told => told?,
    }
    if let Err(error) = history.shorten() {
        tracing::warn!(%error, "the history could not be shortened");
    }
    Ok(left.names)
}

/// A run that was killed when its set had its name, or whose history could not be written, has told nobody. The set tells: it is the
/// newest, and newer than any that history knows.
pub(crate) fn tell_lost_run(
    catalog: &Catalog,
    history: &History,
    known: &[Record],
) -> std::io::Result<()> {
    let now = clock::now();
    let Some(newest) = catalog.newest(now)? else {
        return Ok(());
    };
    let mut newest_first = known.iter().rev();
    let last = newest_first.find_map(|record| match record.happening {
        Happening::RunFinished { set, .. } => set.filter(|set| !set.is_from_the_future(now)),
        _ => None,
    });
    if last.is_some_and(|last| newest <= last) {
        return Ok(());
    }
    // One that cannot be read, or has no end, tells nothing.
    let Ok(manifest) = catalog.manifest(newest) else {
        return Ok(());
    };
    let Some(ended) = manifest.finished_at else {
        return Ok(());
    };
    let took = manifest.duration_ms().unwrap_or_default();
    history.append(ended, &Happening::run_finished(&manifest, took))
}

/// Keeps a removal in history, before the last trace of the set goes. On a full disk there is no room for that line: its files make it.
pub(crate) fn tell_removed(
    catalog: &Catalog,
    history: &History,
    now: DateTime<Utc>,
    set: SetId,
    removed: &Happening,
) -> std::io::Result<()> {
    match history.append(now, removed) {
        Err(error) if is_full(&error) => {
            catalog.hollow(set)?;
            history.append(now, removed)
        }
        told => told,
    }
}
