//! Somebody has looked, and what is odd is as it should be.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use catalog::accepted::Accepted;
use catalog::catalog::Entry;
use catalog::history::{Happening, History};
use catalog::set::SetId;

use crate::clock;

/// What was accepted.
#[derive(Debug, Default)]
pub struct Acceptance {
    /// Sets that a restore followed, so that they count for nothing.
    pub mended: BTreeSet<SetId>,
    /// Sources that a daemon waits for, by label.
    pub sources: Vec<String>,
}

/// Accepts the anomalies of these sets; with `waiting`, the sources that a daemon waits for, too. The caller holds the lock.
pub fn accept(root: &Path, open: &[Entry], waiting: bool) -> io::Result<Acceptance> {
    let history = History::open(root)?;
    let restored = history.restored()?;
    let mut done = Acceptance::default();
    Accepted::update(root, |accepted| {
        for entry in open {
            accepted.accept(entry.id, entry.anomalies(), &restored);
        }
        done.mended.clone_from(&accepted.mended);
        if waiting {
            for (label, stranger) in accepted.waiting.clone() {
                accepted.know(&label, stranger.is);
                done.sources.push(label);
            }
        }
    })?;
    if !open.is_empty() || !done.sources.is_empty() {
        let happening = Happening::Accepted {
            sets: open.iter().map(|entry| entry.id).collect(),
            sources: done.sources.clone(),
        };
        history.append(clock::now(), &happening)?;
    }
    Ok(done)
}
