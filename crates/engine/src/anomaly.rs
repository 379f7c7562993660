//! A run's set beside the sets before: what `policy::anomaly` is asked, and what is done before a run on a directory whose sets are of
//! another source.

use std::collections::BTreeMap;
use std::path::Path;

use catalog::accepted::{Accepted, Stranger};
use catalog::anomaly::Anomaly;
use catalog::catalog::{Catalog, Entry};
use catalog::history::History;
use catalog::identity::Identity;
use catalog::manifest::{Kind, Manifest};
use chrono::{DateTime, Utc};
use policy::anomaly::{Known, Vitals, judge, made_anew};

use crate::clock;
use crate::config::Config;
use crate::event::{Event, Observer};
use crate::identity;
use crate::ledger::warn;
use crate::preflight::Preflight;
use crate::run::{Origin, RunError};

/// Sets that a new one is judged by: a year of nights.
const HISTORY: usize = 366;

/// What is odd about a good set that is about to be sealed. A set that cannot be compared is kept, and waits for a person too.
pub(crate) fn look(
    config: &Config,
    catalog: &Catalog,
    history: &History,
    manifest: &Manifest,
    now: DateTime<Utc>,
    observer: &dyn Observer,
) -> Vec<Anomaly> {
    let found =
        compare(config, catalog, history, manifest, now, observer).unwrap_or_else(|error| {
            let why = error.to_string();
            vec![Anomaly::NotCompared { why }]
        });
    if !found.is_empty() {
        // Where the clock was set back, a set of before may have had the same id. It was another one that somebody accepted.
        let forgotten =
            Accepted::update(&config.backup_dir, |accepted| accepted.forget(manifest.set));
        if let Err(error) = forgotten {
            warn(observer, "manifest", error.to_string());
        }
        observer.on(&Event::Anomalies {
            set: manifest.set,
            found: found.clone(),
        });
    }
    found
}

fn compare(
    config: &Config,
    catalog: &Catalog,
    history: &History,
    manifest: &Manifest,
    now: DateTime<Utc>,
    observer: &dyn Observer,
) -> std::io::Result<Vec<Anomaly>> {
    let entries = catalog.list()?;
    let settings = &config.anomaly;
    let newest_first = entries.iter().rev();
    let unread = newest_first
        .take_while(|entry| !entry.counts(now))
        .find(|entry| entry.unread);
    if let Some(unread) = unread {
        // What it was is what the new one should be compared with.
        let why = unread.why_not_good.as_deref().unwrap_or_default();
        let words = format!("{} could not be looked at: {why}", unread.id);
        return Err(std::io::Error::other(words));
    }
    let counted: Vec<&Entry> = entries.iter().filter(|entry| entry.counts(now)).collect();
    let newest = &counted[counted.len().saturating_sub(HISTORY)..];
    // One whole manifest at a time: a year of them would be large.
    let mut before = Vec::with_capacity(newest.len());
    for entry in newest {
        let manifest = Manifest::of_set(&entry.path, entry.id).map_err(std::io::Error::other)?;
        before.push(Vitals::of(&manifest, settings));
    }
    let known = Known {
        accepted: Accepted::read_or_nothing(&config.backup_dir),
        restored: history.restored().unwrap_or_default(),
    };
    let new = Vitals::of(manifest, settings);
    for (label, since) in made_anew(&before, &new) {
        let text = format!(
            "{label}: the database was dropped and made anew on the same server since {since}, as a restore does"
        );
        warn(observer, "manifest", text);
    }
    Ok(judge(&before, &new, &known, settings))
}

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
        .find(|artifact| artifact.label == label && artifact.kind == Kind::Database)?;
    database.identity.as_ref()
}

/// What a daemon says that waits.
pub fn waits(dir: &Path, strangers: &BTreeMap<String, Stranger>) -> String {
    let sources: Vec<String> = strangers
        .iter()
        .map(|(label, stranger)| {
            format!(
                "{label} was {} in {} and is {} now",
                named(&stranger.was),
                stranger.since,
                named(&stranger.is)
            )
        })
        .collect();
    format!(
        "the sets in {} are of another source, so nothing is backed up by itself: {}. To put a set back: `backupd restore`; to go on \
         with what is there now: `backupd trigger`, or `backupd accept --all`",
        dir.display(),
        sources.join("; ")
    )
}

/// An identity as people compare it.
pub fn named(identity: &Identity) -> String {
    match identity {
        Identity::Server { system, .. } => format!("server {system}"),
        Identity::Directory { inode, born } => format!("the directory {inode} made at {born}"),
        Identity::Unknown => "a source that this backupd does not know".to_owned(),
    }
}
