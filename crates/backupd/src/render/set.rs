//! A set as people read it.

use catalog::manifest::{Manifest, RunStatus, StepStatus};
use catalog::storage::Reconcile;
use engine::keep::survey::RunResult;
use engine::space::human;

use postgres::words::counted;

use super::table::Table;

/// A duration: `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 10 min`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How a run ended, in a word.
pub fn status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Succeeded => "succeeded",
        RunStatus::Failed => "failed",
    }
}

/// How a run ended, in a word.
pub fn result(result: RunResult) -> &'static str {
    match result {
        RunResult::Succeeded => "succeeded",
        RunResult::Anomaly => "ANOMALY",
        RunResult::Failed => "FAILED",
        RunResult::Interrupted => "interrupted",
    }
}

/// Steps and artifacts of a set.
pub fn manifest(manifest: &Manifest) -> String {
    let mut steps = Table::new(&["STEP", "STATUS", "TOOK", "ERROR"]);
    for step in &manifest.steps {
        let word = match step.status {
            StepStatus::Succeeded => "succeeded",
            StepStatus::Warning => "warning",
            StepStatus::Failed => "FAILED",
            StepStatus::Skipped => "skipped",
        };
        let words = step
            .error
            .clone()
            .unwrap_or_else(|| step.notes.join("; "))
            .replace('\n', " ");
        steps.row([&step.name, word, &duration(step.duration_ms), &words]);
    }
    let mut files = Table::new(&["FILE", "SIZE", "UNPACKED", "HOLDS"]);
    for artifact in &manifest.artifacts {
        let holds = match (artifact.tables(), artifact.tree()) {
            (Some(tables), _) => format!(
                "{} in {}",
                counted(tables.iter().map(|table| table.rows).sum::<u64>(), "row"),
                counted(tables.len() as u64, "table")
            ),
            (None, Some(tree)) => format!("{}, {}", counted(tree.files, "file"), human(tree.bytes)),
            (None, None) => match artifact.has_passwords() {
                Some(true) => "roles and settings, password hashes included".to_owned(),
                Some(false) => "roles and settings, WITHOUT password hashes".to_owned(),
                None => String::new(),
            },
        };
        files.row([
            &artifact.file,
            &human(artifact.bytes),
            &human(artifact.raw_bytes),
            &holds,
        ]);
    }
    let objects = manifest
        .storage
        .as_ref()
        .and_then(|storage| storage.reconcile.as_ref())
        .map(|result| format!("{}\n", reconcile(result)))
        .unwrap_or_default();
    let mut odd = String::new();
    for anomaly in &manifest.anomalies {
        odd.push_str(&format!("ANOMALY: {}\n", super::anomaly::words(anomaly)));
    }
    format!(
        "set {} ({}, {})\n\n{steps}\n{files}\n{objects}{odd}",
        manifest.set,
        status(manifest.status),
        manifest.trigger
    )
}

/// How files agree with objects, in a line.
pub fn reconcile(result: &Reconcile) -> String {
    let mut text = format!(
        "{} of {} in the database with their file",
        result.matched,
        counted(result.objects, "object")
    );
    let faults = result.faults();
    for (what, faults) in faults.iter().filter(|(_, faults)| faults.total > 0) {
        text.push_str(&format!("; {}", faults.told(what)));
    }
    if result.deleted_meanwhile.total > 0 {
        let count = result.deleted_meanwhile.total;
        text.push_str(&format!("; {count} were deleted or replaced meanwhile"));
    }
    text.push_str(&format!(
        "; {} without an object",
        counted(result.extra.total, "file")
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_durations() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1250, "1.2 s"),
            (65_000, "1 min 05 s"),
            (7_800_000, "2 h 10 min"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
