//! `backupd accept`: somebody has looked, and what is odd is as it should be.

use std::collections::BTreeSet;

use catalog::accepted::Accepted;
use catalog::anomaly::Anomaly;
use catalog::catalog::{Catalog, Entry};
use catalog::history::{Happening, History};
use catalog::lock::Lock;
use catalog::set::SetId;
use engine::clock;
use serde::Serialize;

use super::{Exit, Refusal, open, print_json, print_text};
use crate::cli::Accept;
use crate::render::anomaly::words;
use crate::settings::Environment;

/// What was done.
#[derive(Serialize)]
struct Done {
    accepted: Vec<AcceptedSet>,
    /// By label: they are what the daemon goes on with.
    sources: Vec<String>,
    still_open: Vec<SetId>,
}

#[derive(Serialize)]
struct AcceptedSet {
    set: SetId,
    anomalies: Vec<Anomaly>,
}

pub fn execute(asked: &Accept, environment: &Environment) -> Result<Exit, Refusal> {
    let dir = environment.backup_dir()?;
    open(&dir)?;
    let catalog = Catalog::open(&dir)?;
    let _lock = Lock::acquire(&dir, clock::now(), "backupd accept")?;
    let open: Vec<Entry> = match &asked.set {
        None => catalog
            .list()?
            .into_iter()
            .filter(Entry::has_open_anomaly)
            .collect(),
        Some(selector) => vec![catalog.find(selector, clock::now())?.entry],
    };
    if let (Some(_), [entry]) = (&asked.set, open.as_slice())
        && !entry.has_open_anomaly()
    {
        return Err(Refusal::Unusable(nothing_open(entry)));
    }
    let sources = accept(&dir, &open, asked.all)?;
    let accepted: BTreeSet<SetId> = open.iter().map(|entry| entry.id).collect();
    let still_open = catalog.list()?.into_iter();
    let done = Done {
        still_open: still_open
            .filter(Entry::has_open_anomaly)
            .map(|entry| entry.id)
            .collect(),
        accepted: open
            .iter()
            .map(|entry| AcceptedSet {
                set: entry.id,
                anomalies: entry.anomalies().to_vec(),
            })
            .collect(),
        sources,
    };
    if !accepted.is_empty() || !done.sources.is_empty() {
        let happening = Happening::Accepted {
            sets: accepted.into_iter().collect(),
            sources: done.sources.clone(),
        };
        History::open(&dir)?.append(clock::now(), &happening)?;
    }
    if asked.output.json {
        print_json(&done)?;
    } else {
        print_text(&text(&done))?;
    }
    Ok(Exit::Done)
}

fn nothing_open(entry: &Entry) -> String {
    let why = if !entry.good {
        "is not good"
    } else if entry.anomalies().is_empty() {
        "has no anomaly"
    } else {
        "is accepted already"
    };
    format!(
        "{} {why}: there is nothing to accept; `backupd list` says which sets have an open anomaly",
        entry.id
    )
}

/// Keeps it, and says which sources that a daemon waits for are accepted with it.
fn accept(dir: &std::path::Path, open: &[Entry], all: bool) -> Result<Vec<String>, Refusal> {
    let mut sources = Vec::new();
    Accepted::update(dir, |accepted| {
        accepted.sets.extend(open.iter().map(|entry| entry.id));
        if all {
            for (label, stranger) in accepted.waiting.clone() {
                accepted.know(&label, stranger.is);
                sources.push(label);
            }
        }
    })?;
    Ok(sources)
}

fn text(done: &Done) -> String {
    let mut text = String::new();
    for accepted in &done.accepted {
        text.push_str(&format!("accepted: {}\n", accepted.set));
        for anomaly in &accepted.anomalies {
            text.push_str(&format!("  {}\n", words(anomaly)));
        }
    }
    for label in &done.sources {
        text.push_str(&format!(
            "accepted: {label} as it is now; the daemon backs it up from its next run on\n"
        ));
    }
    if text.is_empty() {
        text.push_str("no anomaly is open\n");
    }
    for set in &done.still_open {
        text.push_str(&format!("still open: {set}\n"));
    }
    text
}
