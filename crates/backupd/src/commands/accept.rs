//! `backupd accept`: somebody has looked, and what is odd is as it should be.

use catalog::anomaly::Anomaly;
use catalog::catalog::{Catalog, Entry};
use catalog::lock::Lock;
use catalog::set::SetId;
use engine::clock;
use engine::keep::accept::accept;
use serde::Serialize;

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use super::sets::open;
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
    /// Whether a restore followed it, so that it counts for nothing.
    mended: bool,
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
    let accepted = accept(&dir, &open, asked.all)?;
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
                mended: accepted.mended.contains(&entry.id),
                anomalies: entry.anomalies().to_vec(),
            })
            .collect(),
        sources: accepted.sources,
    };
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

fn text(done: &Done) -> String {
    let mut text = String::new();
    for accepted in &done.accepted {
        text.push_str(&format!("accepted: {}", accepted.set));
        text.push_str(if accepted.mended {
            "; a restore followed it, so it counts for nothing any more\n"
        } else {
            "\n"
        });
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
    if !done.accepted.is_empty() && done.still_open.is_empty() {
        text.push_str(
            "the next run removes what the policy does not keep: `backupd prune --dry-run` shows what that is\n",
        );
    }
    for set in &done.still_open {
        text.push_str(&format!("still open: {set}\n"));
    }
    text
}
