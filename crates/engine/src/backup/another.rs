//! A run on a directory whose sets are of other sources.

use std::collections::BTreeMap;

use catalog::accepted::{Accepted, Stranger};
use catalog::artifact::Kind;
use catalog::catalog::{Catalog, Entry};
use catalog::identity::Identity;
use chrono::{DateTime, Utc};

use super::origin::Origin;
use super::refusal::RunError;
use crate::clock;
use crate::config::Config;
use crate::event::Observer;
use crate::identity;
use crate::progress::warn;
use crate::source::Preflight;

/// A careful run goes no further on sets of other sources: that is kept, for whoever asks. Any other run is somebody's answer.
pub(crate) fn wait_for_a_person(
    config: &Config,
    origin: &Origin,
    catalog: &Catalog,
    found: &Preflight,
    observer: &dyn Observer,
) -> Result<(), RunError> {
    let strangers = if origin.careful {
        strangers(config, catalog, found, clock::now()).map_err(|source| RunError::Directory {
            what: "the sets could not be listed".to_owned(),
            source,
        })?
    } else {
        BTreeMap::new()
    };
    let dir = config.backup_dir.clone();
    let kept = Accepted::update(&dir, |accepted| accepted.waiting.clone_from(&strangers));
    if let Err(error) = kept {
        warn(observer, "preflight", error.to_string());
    }
    if strangers.is_empty() {
        Ok(())
    } else {
        Err(RunError::Strangers { dir, strangers })
    }
}

/// Whether the sets here are of other sources, or nobody can say.
pub(crate) fn is_another_source(config: &Config, catalog: &Catalog, found: &Preflight) -> bool {
    strangers(config, catalog, found, clock::now()).map_or(true, |strangers| !strangers.is_empty())
}

/// The sources, where every one that can be told is another than the sets here are of, and nobody made it known: a new machine, most
/// likely, on which somebody wants to restore.
fn strangers(
    config: &Config,
    catalog: &Catalog,
    found: &Preflight,
    now: DateTime<Utc>,
) -> std::io::Result<BTreeMap<String, Stranger>> {
    let entries = catalog.list()?;
    let accepted = Accepted::read_or_nothing(&config.backup_dir);
    let good: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.good && !entry.id.is_from_the_future(now))
        .collect();
    let mut strangers = BTreeMap::new();
    for (label, told) in &found.databases {
        let Some(is) = identity::of_facts(&told.facts) else {
            continue;
        };
        let mut newest_first = good
            .iter()
            .rev()
            .filter_map(|entry| Some((entry.id, of_label(entry, label)?)))
            .peekable();
        let Some((since, was)) = newest_first.peek().copied() else {
            continue;
        };
        let is_here = newest_first.any(|(_, was)| was.is_same(&is) == Some(true));
        if is_here || accepted.knows(label, &is) || !was.differs(&is) {
            return Ok(BTreeMap::new());
        }
        let was = was.clone();
        strangers.insert(label.clone(), Stranger { since, was, is });
    }
    Ok(strangers)
}

fn of_label<'a>(entry: &'a Entry, label: &str) -> Option<&'a Identity> {
    let artifacts = &entry.manifest()?.artifacts;
    let database = artifacts
        .iter()
        .find(|artifact| artifact.label == label && artifact.kind() == Kind::Database)?;
    database.identity.as_ref()
}
