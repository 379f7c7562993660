//! What a restore keeps in the history. One in place is kept before names change, for whoever is killed behind that says no more; its end
//! settles it, or what the next restore or `--undo` finds.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use catalog::accepted::Accepted;
use catalog::catalog::Catalog;
use catalog::history::{Happening, History};
use catalog::set::SetId;

use crate::clock;
use crate::event::{Event, Observer};
use crate::progress::warn;

/// What could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// A restore's line.
    #[error("the history could not be written: {0}")]
    Line(#[source] io::Error),
    /// Both lines of a restore in place.
    #[error(
        "the history could not be written: {0}; sets with an anomaly that this restore ended would be good ones when they are accepted: \
         remove them by hand"
    )]
    Both(#[source] io::Error),
    /// The end of an earlier restore.
    #[error("the history does not say how an earlier restore of {label} ended: {source}")]
    Earlier {
        /// The source's label.
        label: String,
        /// Why.
        source: io::Error,
    },
}

/// A restore in place, which passes events on.
pub struct InPlace<'a> {
    dir: &'a Path,
    listener: &'a dyn Observer,
    set: SetId,
    source: &'a str,
    into: String,
    told: AtomicBool,
}

impl<'a> InPlace<'a> {
    /// Of a source of this set, from the backup directory `dir` into the database or directory `into`.
    pub fn new(
        dir: &'a Path,
        listener: &'a dyn Observer,
        set: SetId,
        source: &'a str,
        into: String,
    ) -> Self {
        Self {
            dir,
            listener,
            set,
            source,
            into,
            told: AtomicBool::new(false),
        }
    }

    fn settle(&self, left: Option<bool>) {
        if let Err(error) = settle(self.dir, self.source, &self.into, left) {
            warn(self.listener, self.source, error.to_string());
        }
    }

    /// Keeps its end.
    pub fn end(&self, duration_ms: u64, error: Option<String>) -> Result<(), NotKept> {
        let is_well = error.is_none();
        let kept = append(
            self.dir,
            &Happening::Restored {
                set: self.set,
                source: self.source.to_owned(),
                into: self.into.clone(),
                in_place: true,
                duration_ms,
                error,
            },
        );
        kept.map_err(|error| {
            if is_well && !self.told.load(Ordering::Relaxed) {
                NotKept::Both(error)
            } else {
                NotKept::Line(error)
            }
        })
    }
}

impl Observer for InPlace<'_> {
    fn on(&self, event: &Event) {
        match event {
            Event::Exchanging => {
                let restoring = Happening::Restoring {
                    set: self.set,
                    source: self.source.to_owned(),
                    into: self.into.clone(),
                };
                // The end has words for it where that cannot be kept either.
                let is_told = append(self.dir, &restoring).is_ok();
                self.told.store(is_told, Ordering::Relaxed);
            }
            Event::PutBack => self.settle(Some(false)),
            // Else what this restore leaves, if it is cut off, would be taken for that of one before, of which history has no end.
            Event::NothingLeft => self.settle(None),
            _ => {}
        }
        self.listener.on(event);
    }
}

/// Keeps what was found of an earlier restore in place: `Some` where it had left something, and whether what it restored is in use.
pub fn settle(dir: &Path, label: &str, into: &str, left: Option<bool>) -> Result<(), NotKept> {
    // Without a history nothing is to be settled in it.
    let Ok(history) = History::open(dir) else {
        return Ok(());
    };
    let settled = history.settle(clock::now(), label, into, left, |lost, restored| {
        if lost.is_empty() {
            return Ok(());
        }
        let catalog = Catalog::open_read_only(dir)?;
        let anomalies = |set| {
            let manifest = catalog.manifest(set);
            manifest.map_or(Vec::new(), |manifest| manifest.anomalies)
        };
        Accepted::update(dir, |accepted| {
            accepted.unmend(lost, restored, anomalies);
        })
    });
    settled.map_err(|source| NotKept::Earlier {
        label: label.to_owned(),
        source,
    })
}

/// Keeps a restore that is none in place in the history, where there is one.
pub fn remember(
    dir: &Path,
    set: SetId,
    label: &str,
    into: String,
    duration_ms: u64,
    error: Option<String>,
) -> Result<(), NotKept> {
    let restored = Happening::Restored {
        set,
        source: label.to_owned(),
        into,
        in_place: false,
        duration_ms,
        error,
    };
    append(dir, &restored).map_err(NotKept::Line)
}

fn append(dir: &Path, happening: &Happening) -> io::Result<()> {
    match History::open(dir) {
        Ok(history) => history.append(clock::now(), happening),
        // A copy that cannot be written to has none.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A restore that was killed behind its last statement has no end in history, and is in use.
    #[test]
    fn a_restore_settles_the_one_before_it_when_that_left_nothing() {
        let dir = tempfile::tempdir().unwrap();
        Catalog::open(dir.path()).unwrap();
        let set: SetId = "20261120T020000Z".parse().unwrap();
        let silent = |_: &Event| {};
        let restore = |events: &[Event]| {
            let into = "postgres".to_owned();
            let restore = InPlace::new(dir.path(), &silent, set, "supabase", into);
            for event in events {
                restore.on(event);
            }
        };
        let lines = || History::open(dir.path()).unwrap().read().unwrap();
        restore(&[Event::NothingLeft, Event::Exchanging]);
        assert_eq!(lines().len(), 1);
        // This one is killed while it loads; what it left is put back by the next.
        restore(&[Event::NothingLeft]);
        restore(&[Event::PutBack]);
        let found: Vec<Happening> = lines().into_iter().map(|line| line.happening).collect();
        assert!(
            matches!(
                found.as_slice(),
                [
                    Happening::Restoring { .. },
                    Happening::RestoreSettled { in_use: true, .. }
                ]
            ),
            "{found:?}"
        );
    }
}
