//! Proves a set by restoring it: every database into a scratch server, compared with the census of its source; the storage archive
//! against the restored objects. Nothing of it touches the stack, and nothing of it stays.

mod database;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::catalog::{Catalog, Entry};
use catalog::drill::{DrillReport, DrillVerdict};
use catalog::history::{Happening, History};
use catalog::layout;
use catalog::lock::{Lock, LockError};
use catalog::manifest::{Artifact, Kind, Manifest};
use postgres::dsn::Dsn;
use postgres::restore::RestoreError;
use postgres::restore::admin::Admin;
use postgres::scratch::{self, Fencing, Scratch, ScratchError};
use postgres::tools::Tools;
use stream::artifact::Meter;
use stream::blocking::in_place;
use stream::durable;
use tokio_util::sync::CancellationToken;

use crate::caught::caught;
use crate::clock;
use crate::event::{Event, Observer};
use crate::identity;
use crate::ledger::{millis, tell_while};
use crate::preflight::DRILLS_WHERE_IT_IS_AT_WORK;
use crate::space;
use crate::verify::{Flaw, Problem, Reading, verify_set};

/// Digits of the backup directory's own number that a name holds.
const ID_DIGITS: usize = 12;
/// Time to drop what a drill that was cut off left on a server that was named.
const CLEAR_UP_WITHIN: Duration = Duration::from_secs(30);
/// What a restored database needs per byte of its source: indexes are built anew, and rows are written twice at most (into the log).
const ROOM_RATIO: u64 = 3;
const ROOM_RATIO_OF: u64 = 2;
/// An empty cluster and its log.
const ROOM_BYTES: u64 = 512 * 1024 * 1024;

/// What a drill needs.
pub struct DrillRequest<'a> {
    /// The backup directory.
    pub backup_dir: &'a Path,
    /// The set.
    pub entry: &'a Entry,
    /// PostgreSQL's programs; of a server too, unless there is a `url`.
    pub tools: &'a Tools,
    /// A server to restore into; without, a private one is made.
    pub url: Option<&'a Dsn>,
    /// Whether the private one must be fenced.
    pub fencing: Fencing,
    /// Longest time that it may take; `None` is without limit.
    pub time_limit: Option<Duration>,
}

/// Why a drill could not be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum DrillError {
    /// The set.
    #[error("set {set} cannot be drilled: {reason}")]
    Unusable { set: String, reason: String },
    /// The disk.
    #[error("a drill needs {} in {}, and {} are free: make room, or name a scratch server in BACKUP_DRILL_URL", space::human(*needed), dir.display(), space::human(*free))]
    NoRoom {
        dir: PathBuf,
        needed: u64,
        free: u64,
    },
    /// The scratch server.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A server that was named.
    #[error("BACKUP_DRILL_URL: {0}")]
    Url(postgres::restore::RestoreError),
    /// Of the backup directory.
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("not done within {} s (BACKUP_STEP_TIMEOUT)", .0.as_secs())]
    TooLong(Duration),
    /// A panic.
    #[error("{0}")]
    Defect(String),
    /// Another drill.
    #[error("another drill is at work here: {by}")]
    Busy { by: String },
    /// Retention, or somebody, removed it meanwhile.
    #[error("set {set} was removed while it was drilled: nothing is said of it")]
    Removed { set: String },
    /// Its databases could not be dropped.
    #[error(
        "interrupted, and the databases of the drill on {server} (their names begin with {prefix}) could not be dropped: {reason}; the next drill drops them"
    )]
    Left {
        server: String,
        prefix: String,
        reason: String,
    },
    /// Ended by a signal.
    #[error("interrupted; what the drill had made is removed")]
    Interrupted,
}

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
        clear_up(request).await?;
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

/// Removes what a drill that was cut off leaves.
async fn clear_up(request: &DrillRequest<'_>) -> Result<(), DrillError> {
    // The server was killed with its owner; its directory is left.
    let path = layout::scratch(request.backup_dir);
    let io = |source| DrillError::Io {
        path: path.clone(),
        source,
    };
    in_place(|| scratch::sweep(&path)).map_err(io)?;
    let Some(url) = request.url else {
        return Ok(());
    };
    let prefix = in_place(|| prefix(request.backup_dir)).map_err(io)?;
    let sweeping = async {
        let admin = Admin::connect(url, "").await?;
        Ok::<_, RestoreError>(admin.sweep(&prefix).await?)
    };
    tokio::time::timeout(CLEAR_UP_WITHIN, sweeping)
        .await
        .unwrap_or(Err(RestoreError::Interrupted))
        .map_err(|error| DrillError::Left {
            server: url.to_string(),
            prefix,
            reason: error.to_string(),
        })
}

/// How databases of drills from this backup directory begin on a server that others use, too: by a number of the directory's own.
fn prefix(backup_dir: &Path) -> std::io::Result<String> {
    let path = layout::id(backup_dir);
    let id = match std::fs::read_to_string(&path) {
        Ok(id) => id,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
            durable::write_atomic(&path, id.as_bytes())?;
            id
        }
        Err(error) => return Err(error),
    };
    let digits = id.chars().filter(char::is_ascii_hexdigit).take(ID_DIGITS);
    Ok(format!("backupd_drill_{}_", digits.collect::<String>()))
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
        // What was found damaged by reading counts as it does when `verify` finds it.
        if !report.read_back.is_empty() {
            let verified = Happening::SetVerified {
                set: report.set,
                whole: false,
                problems: report.read_back.clone(),
            };
            history.append(clock::now(), &verified)?;
        }
        history.append(clock::now(), &happening)
    });
    if let Err(error) = kept {
        let text = format!("the report could not be kept: {error}");
        crate::ledger::warn(observer, "drill", text);
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
    let set = request.entry.id.to_string();
    let manifest = request
        .entry
        .manifest
        .as_ref()
        .map_err(|error| DrillError::Unusable {
            set: set.clone(),
            reason: error.to_string(),
        })?;
    report.read_back = read_back(request, manifest, observer, cancel).await?;
    let dir = layout::scratch(request.backup_dir);
    let io = |source| DrillError::Io {
        path: dir.clone(),
        source,
    };
    in_place(|| scratch::sweep(&dir)).map_err(io)?;
    let prefix = in_place(|| prefix(request.backup_dir)).map_err(io)?;
    if let Some(url) = request.url {
        report.server = url.to_string();
        let here = identity::of_database(std::slice::from_ref(url)).await;
        let source = |artifact: &Artifact| {
            let known = here.as_ref().zip(artifact.identity.as_ref());
            known.is_some_and(|(here, then)| here.is_same(then) == Some(true))
        };
        if databases(manifest).any(source) {
            crate::ledger::warn(observer, "drill", DRILLS_WHERE_IT_IS_AT_WORK.to_owned());
        }
        for artifact in databases(manifest) {
            let drill = drill_of(request, manifest, artifact, url.clone(), &prefix)?;
            keep_found(report, drill.perform(observer, cancel).await?);
        }
        return Ok(());
    }
    in_place(|| check_room(request.backup_dir, manifest))?;
    // Each has a server of its own, as roles of one name are others on the server of another database.
    for artifact in databases(manifest) {
        let scratch = start(request, &dir, observer, cancel).await?;
        report.server = format!(
            "a private PostgreSQL {}, {}",
            request.tools.version.text, scratch.fence
        );
        let dsn = scratch
            .dsn(&name_in_source(artifact))
            .map_err(|error| DrillError::Scratch(error.into()))?;
        let done = match drill_of(request, manifest, artifact, dsn, &prefix) {
            Ok(drill) => drill.perform(observer, cancel).await,
            Err(error) => Err(error),
        };
        scratch.stop().await.map_err(io)?;
        keep_found(report, done?);
    }
    Ok(())
}

/// A private server.
async fn start(
    request: &DrillRequest<'_>,
    dir: &Path,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Scratch, DrillError> {
    observer.on(&Event::StepStarted {
        step: "drill server".to_owned(),
    });
    let tools = request.tools;
    let major = tools.version.major;
    Scratch::start(&tools.bindir, major, dir, request.fencing, cancel)
        .await
        .map_err(|error| {
            // The error on its way says more; what remains is removed by the next drill.
            let _ = scratch::sweep(dir);
            error.into()
        })
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

fn databases(manifest: &Manifest) -> impl Iterator<Item = &Artifact> {
    let artifacts = manifest.artifacts.iter();
    artifacts.filter(|artifact| artifact.kind == Kind::Database)
}

/// The drill of one database, on a server.
fn drill_of<'a>(
    request: &'a DrillRequest<'a>,
    manifest: &'a Manifest,
    artifact: &'a Artifact,
    dsn: Dsn,
    prefix: &'a str,
) -> Result<database::Drill<'a>, DrillError> {
    let roles = manifest
        .artifacts
        .iter()
        .find(|roles| roles.kind == Kind::Roles && roles.label == artifact.label)
        .ok_or_else(|| DrillError::Unusable {
            set: manifest.set.to_string(),
            reason: format!("it has no roles of {}", artifact.label),
        })?;
    Ok(database::Drill {
        request,
        manifest,
        artifact,
        roles,
        dsn,
        prefix,
        lacks_roles: false,
    })
}

fn keep_found(report: &mut DrillReport, found: database::Found) {
    report.databases.push(found.database);
    report.storage = report.storage.take().or(found.storage);
}

fn name_in_source(artifact: &Artifact) -> String {
    artifact
        .source
        .as_ref()
        .map_or_else(|| artifact.label.clone(), |source| source.database.clone())
}

/// The scratch server shares its disk with the sets: what it may need must be there before it begins.
fn check_room(backup_dir: &Path, manifest: &Manifest) -> Result<(), DrillError> {
    let bytes: u64 = databases(manifest)
        .map(|artifact| {
            artifact
                .source
                .as_ref()
                .and_then(|source| source.database_bytes)
                .unwrap_or(artifact.raw_bytes)
        })
        .sum();
    let needed = bytes * ROOM_RATIO / ROOM_RATIO_OF + ROOM_BYTES;
    let free = space::free(backup_dir).map_err(|source| DrillError::Io {
        path: backup_dir.to_owned(),
        source,
    })?;
    if free < needed {
        return Err(DrillError::NoRoom {
            dir: backup_dir.to_owned(),
            needed,
            free,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use catalog::drill::DrillVerdict;
    use catalog::manifest::RunStatus;
    use catalog::set::Selector;

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
