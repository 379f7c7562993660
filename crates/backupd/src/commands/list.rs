//! `backupd list`: what is kept.

use catalog::anomaly::Anomaly;
use catalog::catalog::Entry;
use catalog::manifest::{Manifest, RunStatus};
use chrono::{DateTime, Utc};
use engine::space::human;
use serde::Serialize;

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use super::sets::open;
use crate::cli::Output;
use crate::render::anomaly::in_short;
use crate::render::set::{duration, status};
use crate::render::table::Table;
use crate::settings::Environment;

#[derive(Serialize)]
struct Row {
    set: String,
    status: Option<RunStatus>,
    good: bool,
    from_the_future: bool,
    /// Open: nobody has accepted it.
    anomaly: bool,
    anomalies: Vec<Anomaly>,
    why_not_good: Option<String>,
    trigger: Option<String>,
    started_at: Option<String>,
    bytes: u64,
    duration_ms: Option<u64>,
}

pub fn execute(output: &Output, environment: &Environment) -> Result<Exit, Refusal> {
    let dir = environment.backup_dir()?;
    let now = engine::clock::now();
    let entries = open(&dir)?.list()?;
    let rows: Vec<Row> = entries.iter().map(|entry| row(entry, now)).collect();
    if output.json {
        print_json(&rows)?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        print_text(&format!("no backup sets in {}\n", dir.display()))?;
        return Ok(Exit::Done);
    }
    let (future, present): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.from_the_future);
    let mut text = String::new();
    if !present.is_empty() {
        text.push_str(&table(&present));
    }
    if !future.is_empty() {
        text.push_str(
            "\nFrom the future: the clock is or was wrong. They count for nothing, and are never removed.\n",
        );
        text.push_str(&table(&future));
    }
    print_text(&text)?;
    Ok(Exit::Done)
}

fn table(rows: &[&Row]) -> String {
    let mut table = Table::new(&["SET", "STATUS", "GOOD", "TRIGGER", "SIZE", "TOOK", "NOTE"]);
    for row in rows {
        table.row([
            row.set.as_str(),
            row.status.map_or("unreadable", status),
            if row.good { "yes" } else { "no" },
            row.trigger.as_deref().unwrap_or("-"),
            &human(row.bytes),
            &row.duration_ms.map_or("-".to_owned(), duration),
            &note(row),
        ]);
    }
    table.to_string()
}

fn note(row: &Row) -> String {
    let future = row.from_the_future.then_some(
        "from the future: the clock is or was wrong; `latest` and retention pass over it",
    );
    let odd = match (row.anomaly, row.anomalies.is_empty()) {
        (true, _) => Some(format!("ANOMALY: {}", in_short(&row.anomalies))),
        (false, false) => Some("its anomaly is accepted".to_owned()),
        (false, true) => None,
    };
    let notes = [future, odd.as_deref(), row.why_not_good.as_deref()];
    notes.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn row(entry: &Entry, now: DateTime<Utc>) -> Row {
    let manifest = entry.manifest();
    Row {
        set: entry.id.to_string(),
        status: manifest.map(|manifest| manifest.status),
        good: entry.good,
        from_the_future: entry.id.is_from_the_future(now),
        anomaly: entry.has_open_anomaly(),
        anomalies: entry.anomalies().to_vec(),
        why_not_good: entry.why_not_good.clone(),
        trigger: manifest.map(|manifest| manifest.trigger.clone()),
        started_at: manifest.map(|manifest| {
            manifest
                .started_at
                .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        }),
        bytes: entry.bytes,
        duration_ms: manifest.and_then(Manifest::duration_ms),
    }
}
