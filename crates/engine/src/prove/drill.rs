//! Proves a set by restoring it: every database into a scratch server, compared with the census of its source; the storage archive
//! against the restored objects. Nothing of it touches the stack, and nothing of it stays.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::catalog::Catalog;
use catalog::drill::{DrillReport, DrillVerdict};
use catalog::history::{Happening, History};
use catalog::layout;
use catalog::lock::{Lock, LockError};
use catalog::manifest::Manifest;
use postgres::scratch;
use stream::artifact::Meter;
use stream::blocking::in_place;
use tokio_util::sync::CancellationToken;

use super::verify::{keep as keep_verdict, verify_set};
use crate::caught::caught;
use crate::clock;
use crate::event::{Event, Observer};
use crate::progress::{millis, tell_while, warn};
use crate::source::KINDS;
use crate::source::proving::{DrillError, DrillRequest};
use crate::source::read_back::{Flaw, Problem, Reading};

/// Removes what a killed drill left, unless one is at work; says whether there was anything.
pub fn sweep_unless_busy(backup_dir: &Path) -> std::io::Result<bool> {
    if !layout::scratch(backup_dir).exists() {
        return Ok(false);
    }
    match Lock::acquire_for_drill(backup_dir, clock::now()) {
        Ok(_lock) => scratch::sweep(&layout::scratch(backup_dir)),
        Err(LockError::Held { .. }) => Ok(false),
        Err(LockError::Io { source, .. }) => Err(source),
    }
}

/// Drills a set, and keeps the report beside it and in history: also that of a drill that could not be made.
pub async fn drill(
    request: &DrillRequest<'_>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<DrillReport, DrillError> {
    let _lock = in_place(|| lock(request))?;
    let (began, started_at) = (Instant::now(), clock::now());
    let mut report = DrillReport {
        set: request.entry.id,
        verdict: DrillVerdict::Failed,
        started_at,
        duration_ms: 0,
        server: String::new(),
        read_back: Vec::new(),
        databases: Vec::new(),
        storage: None,
        error: None,
    };
    let limit = request.time_limit.unwrap_or(Duration::MAX);
    let done = tokio::select! {
        done = caught(perform(request, &mut report, observer, cancel)) => {
            done.unwrap_or_else(|words| Err(DrillError::Defect(words)))
        }
        () = cancel.cancelled() => Err(DrillError::Interrupted),
        () = tokio::time::sleep(limit) => Err(DrillError::TooLong(limit)),
    };
    if matches!(
        done,
        Err(DrillError::Interrupted | DrillError::TooLong(_) | DrillError::Defect(_))
    ) {
        for kind in KINDS {
            kind.clear(request).await?;
        }
    }
    if !in_place(|| request.entry.path.exists()) {
        return Err(DrillError::Removed {
            set: request.entry.id.to_string(),
        });
    }
    if matches!(done, Err(DrillError::Interrupted)) || cancel.is_cancelled() {
        return Err(DrillError::Interrupted);
    }
    report.error = done.err().map(|error| error.to_string());
    report.duration_ms = millis(began.elapsed());
    report.verdict = report.judge();
    in_place(|| keep(request.backup_dir, &report, observer));
    Ok(report)
}

/// One drill at a time: they share the scratch server's place.
fn lock(request: &DrillRequest<'_>) -> Result<Lock, DrillError> {
    let io = |source| DrillError::Io {
        path: request.backup_dir.to_owned(),
        source,
    };
    Catalog::open(request.backup_dir).map_err(io)?;
    match Lock::acquire_for_drill(request.backup_dir, clock::now()) {
        Ok(lock) => Ok(lock),
        Err(LockError::Held { by }) => Err(DrillError::Busy { by }),
        Err(LockError::Io { source, .. }) => Err(io(source)),
    }
}

fn keep(root: &Path, report: &DrillReport, observer: &dyn Observer) {
    let happening = Happening::Drilled {
        set: report.set,
        verdict: report.verdict,
        duration_ms: report.duration_ms,
        differences: report.differences(),
        not_proven: report.not_proven().len(),
    };
    let kept = report.write(root).and_then(|()| {
        let history = History::open(root)?;
        history.append(clock::now(), &happening)
    });
    if let Err(error) = kept {
        let text = format!("the report could not be kept: {error}");
        warn(observer, "drill", text);
    }
    observer.on(&Event::Drilled {
        report: Box::new(report.clone()),
    });
}

async fn perform(
    request: &DrillRequest<'_>,
    report: &mut DrillReport,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<(), DrillError> {
    let manifest = request
        .entry
        .manifest
        .as_ref()
        .map_err(|error| DrillError::Unusable {
            set: request.entry.id.to_string(),
            reason: error.to_string(),
        })?;
    report.read_back = read_back(request, manifest, observer, cancel).await?;
    for kind in KINDS {
        kind.prove(request, manifest, report, observer, cancel)
            .await?;
    }
    Ok(())
}

/// Reads the set back: what is damaged is said, and the rest is restored all the same.
async fn read_back(
    request: &DrillRequest<'_>,
    manifest: &Manifest,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Vec<String>, DrillError> {
    let step = "drill read-back";
    observer.on(&Event::StepStarted {
        step: step.to_owned(),
    });
    let meter = Arc::new(Meter::default());
    let reading = Reading {
        tools: Some(request.tools),
        meter: meter.clone(),
        cancel,
    };
    let expected = manifest
        .artifacts
        .iter()
        .map(|artifact| artifact.raw_bytes)
        .sum();
    let work = verify_set(&request.entry.path, manifest, &reading);
    let report = tell_while(work, observer, step, &meter, Some(expected))
        .await
        .map_err(|_| DrillError::Interrupted)?;
    // What was found damaged by reading counts as it does when `verify` finds it.
    if report.is_damaged()
        && let Err(error) = in_place(|| keep_verdict(request.backup_dir, manifest.set, &report))
    {
        warn(
            observer,
            "drill",
            format!("the verdict could not be kept: {error}"),
        );
    }
    let told = |problem: &Problem| format!("{}: {}", problem.file, problem.what);
    // A fault of the disk or of a program is no fault of the set.
    let unread = report
        .problems
        .iter()
        .find(|problem| problem.flaw == Flaw::Unread);
    if let Some(unread) = unread {
        return Err(DrillError::Io {
            path: request.entry.path.clone(),
            source: std::io::Error::other(told(unread)),
        });
    }
    let damaged = report
        .problems
        .iter()
        .filter(|problem| problem.flaw != Flaw::Foreign);
    Ok(damaged.map(told).collect())
}

#[cfg(test)]
mod tests {
    use catalog::drill::DrillVerdict;
    use catalog::manifest::RunStatus;
    use catalog::set::Selector;

    use postgres::scratch::Fencing;
    use postgres::tools::Tools;

    use super::*;

    /// Falls over as the first step begins.
    struct Fragile;

    impl Observer for Fragile {
        fn on(&self, event: &Event) {
            assert!(!matches!(event, Event::StepStarted { .. }), "it fell over");
        }
    }

    #[tokio::test]
    async fn a_defect_is_a_failed_drill_in_history() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let catalog = Catalog::open(root).unwrap();
        let partial = catalog.begin(clock::now()).unwrap();
        let mut manifest = Manifest::begin(partial.id, "test", clock::now());
        manifest.status = RunStatus::Succeeded;
        manifest.write(&partial.dir).unwrap();
        manifest.write_sums(&partial.dir).unwrap();
        catalog.seal(&partial, &manifest).unwrap();
        let set = Selector::Prefix(partial.id.to_string());
        let cancel = CancellationToken::new();
        let path = std::env::split_paths("/usr/bin:/usr/local/bin").collect::<Vec<_>>();
        let request = DrillRequest {
            backup_dir: root,
            entry: &catalog.find(&set, clock::now()).unwrap().entry,
            tools: &Tools::find(None, &path, &cancel).await.unwrap(),
            url: None,
            fencing: Fencing::Off,
            time_limit: None,
        };
        let report = drill(&request, &Fragile, &cancel).await.unwrap();
        assert_eq!(report.verdict, DrillVerdict::Failed);
        let error = report.error.unwrap();
        assert!(
            error.starts_with("a defect of backupd ended it: it fell over;"),
            "{error}"
        );
        let history = std::fs::read_to_string(root.join(".backupd/history.jsonl")).unwrap();
        assert!(history.contains("\"event\":\"drilled\""), "{history}");
        // Nothing of it is in the next one's way.
        drop(lock(&request).unwrap());
    }
}
