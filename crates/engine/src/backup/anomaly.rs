//! A run's set beside the sets before: what `policy::anomaly` is asked.

use catalog::accepted::Accepted;
use catalog::anomaly::Anomaly;
use catalog::catalog::{Catalog, Entry};
use catalog::history::History;
use catalog::manifest::Manifest;
use chrono::{DateTime, Utc};
use policy::anomaly::{Known, Vitals, judge, made_anew};

use crate::config::Config;
use crate::event::{Event, Observer};
use crate::progress::warn;

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
