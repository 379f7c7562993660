//! One run: preflight, data steps, manifest, read-back, the set's name, retention.
//!
//! Whatever happens, a set is either complete under its final name, kept as failed with its whole artifacts, or not there.

mod anomaly;
mod another;
mod ledger;
mod origin;
pub mod preflight;
mod refusal;
mod room;
pub mod strangers;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use catalog::catalog::{Catalog, PartialSet};
use catalog::history::{Happening, History};
use catalog::manifest::{CensusFile, Manifest, RunStatus, StepStatus};
use catalog::set::SetId;
use chrono::{DateTime, Utc};
use stream::artifact::Meter;
use stream::blocking::in_place;
use tokio_util::sync::CancellationToken;

use crate::caught::caught;
use crate::clock;
use crate::config::Config;
use crate::event::{Event, Observer};
use crate::identity::name_trees;
use crate::keep::prune::{Pruned, prune};
use crate::keep::sweep::sweep;
use crate::progress::{StepLimit, millis, tell, warn};
use crate::prove::verify::verify_artifacts;
use crate::source::read_back::{Reading, Report};
use crate::source::{Failure, OnFailure, Preflight, sources};
use anomaly::look;
use another::{is_another_source, wait_for_a_person};
use ledger::Ledger;
pub use origin::Origin;
use preflight::preflight;
pub use refusal::RunError;
use refusal::refused;
use room::make_room;
pub use turn::Turn;
use turn::{RefusalNote, take_turn};

/// A run that ended with a set.
#[derive(Debug)]
pub struct Finished {
    /// The set's id.
    pub set: SetId,
    /// Its manifest, as written.
    pub manifest: Manifest,
    /// Bytes on disk.
    pub bytes: u64,
    /// What retention did; only after success.
    pub pruned: Option<Pruned>,
    /// What failed when the set was good already, each in a sentence.
    pub failed_behind: Vec<String>,
    /// Whether the run failed on nothing but passing faults, so that the next may go well with nothing mended.
    pub passing: bool,
}

impl Finished {
    /// Whether the set is a recovery point. The run succeeded when nothing failed behind that, either.
    pub fn is_good(&self) -> bool {
        self.manifest.status == RunStatus::Succeeded
    }

    /// Whether something is odd about it.
    pub fn is_odd(&self) -> bool {
        !self.manifest.anomalies.is_empty()
    }
}

/// Makes one set.
pub async fn run(
    config: &Config,
    origin: &Origin,
    turn: Turn,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Finished, RunError> {
    let catalog = match in_place(|| Catalog::open(&config.backup_dir)) {
        Ok(catalog) => catalog,
        // Preflight has the words for a directory that is missing or not writable, and finds what else must be fixed.
        Err(source) => {
            let found = preflight(config, origin.look(), cancel).await;
            return Err(refused(&found)
                .unwrap_or_else(|| directory("the backup directory could not be opened")(source)));
        }
    };
    let _lock = take_turn(config, turn, observer, cancel).await?;
    let (began, clock_start) = (clock::now(), Instant::now());
    let history = in_place(|| History::open(&config.backup_dir))
        .map_err(directory("the history could not be opened"))?;
    observer.on(&Event::RunStarted {
        run: SetId::at(began),
        trigger: origin.trigger.clone(),
    });
    let note = RefusalNote {
        history: &history,
        origin,
        began: clock_start,
    };
    let made = make(config, &catalog, &note, began, observer, cancel).await;
    if let Err(error) = &made {
        in_place(|| note.write(error));
    }
    made
}

/// Makes one set, with the lock held.
async fn make(
    config: &Config,
    catalog: &Catalog,
    note: &RefusalNote<'_>,
    began: DateTime<Utc>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Finished, RunError> {
    let (origin, history) = (note.origin, note.history);
    let leftovers = in_place(|| sweep(catalog, history))
        .map_err(directory("remains of a killed run could not be removed"))?;
    if !leftovers.is_empty() {
        observer.on(&Event::LeftoversRemoved { names: leftovers });
    }

    let mut ledger = Ledger::new(observer);
    let looking = look_around(config, catalog, note, observer, cancel);
    let checked = caught(ledger.preflight(looking)).await;
    let found = checked.map_err(RunError::Defect).flatten()?;
    if cancel.is_cancelled() {
        return Err(RunError::Interrupted);
    }
    let found = refused(&found).map_or(Ok(found), Err)?;
    in_place(|| wait_for_a_person(config, origin, catalog, &found, observer))?;

    let partial = in_place(|| catalog.begin(began))
        .map_err(directory("the set's directory could not be made"))?;
    observer.on(&Event::SetBegun { set: partial.id });
    let mut manifest = Manifest::begin(partial.id, &origin.trigger, began);
    manifest.host.clone_from(&origin.host);
    manifest.backupd.clone_from(&origin.backupd);
    manifest.tools = found
        .tools
        .as_ref()
        .map(|tools| format!("PostgreSQL {}", tools.version.text));

    let filling = fill(config, &found, &partial, &mut manifest, &mut ledger, cancel);
    let filled = caught(filling).await;
    let filled = filled.map_err(RunError::Defect).flatten();
    let outcome = match filled {
        Ok(()) if cancel.is_cancelled() => Err(RunError::Interrupted),
        Ok(()) => in_place(|| {
            finish(
                config,
                catalog,
                history,
                &partial,
                &mut manifest,
                &mut ledger,
            )
        })
        .map_err(directory("the set could not be completed")),
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        in_place(|| discard(catalog, partial, observer));
        return Err(error);
    }

    Ok(in_place(|| {
        conclude(
            config,
            catalog,
            history,
            observer,
            manifest,
            note.began,
            ledger.passing,
        )
    }))
}

/// Preflight. Where room is wanting and nothing else, what retention lets go is removed first: not on sets of another source, which the
/// run's own set would be an anomaly beside, whoever asked for it.
async fn look_around(
    config: &Config,
    catalog: &Catalog,
    note: &RefusalNote<'_>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Preflight, RunError> {
    let look = note.origin.look();
    let mut found = preflight(config, look, cancel).await;
    if found.lacks_room_alone() && !cancel.is_cancelled() {
        in_place(|| wait_for_a_person(config, note.origin, catalog, &found, observer))?;
        if in_place(|| is_another_source(config, catalog, &found)) {
            return Ok(found);
        }
        let made =
            in_place(|| make_room(config, look, &mut found, catalog, note.history, observer));
        match made {
            Ok(pruned) => {
                for fault in pruned.unwrap_or_default().faults() {
                    warn(observer, "preflight", fault);
                }
            }
            Err(error) => {
                let text = format!("retention could make no room: {error}");
                warn(observer, "preflight", text);
            }
        }
    }
    Ok(found)
}

/// The backup directory failed under what was being done.
fn directory(what: &str) -> impl FnOnce(std::io::Error) -> RunError + use<> {
    let what = what.to_owned();
    move |source| RunError::Directory { what, source }
}

/// Keeps the run in history and applies retention. The set has its name: nothing here can take that back.
fn conclude(
    config: &Config,
    catalog: &Catalog,
    history: &History,
    observer: &dyn Observer,
    manifest: Manifest,
    began: Instant,
    passing: bool,
) -> Finished {
    let set = manifest.set;
    let (bytes, status) = (manifest.bytes(), manifest.status);
    let happening = Happening::run_finished(&manifest, millis(began.elapsed()));
    let mut failed_behind = Vec::new();
    if let Err(error) = history.append(clock::now(), &happening) {
        let text = format!("the history could not be written: {error}");
        warn(observer, "manifest", text.clone());
        failed_behind.push(text);
    }
    let pruned = (status == RunStatus::Succeeded).then(|| {
        let (pruned, faults) = retain(config, catalog, history, set, observer);
        failed_behind.extend(faults);
        pruned
    });
    observer.on(&Event::RunFinished {
        set: Some(set),
        status,
        bytes,
        duration_ms: millis(began.elapsed()),
    });
    Finished {
        set,
        manifest,
        bytes,
        pruned: pruned.flatten(),
        failed_behind,
        passing: passing && status != RunStatus::Succeeded,
    }
}

/// The data steps, the manifest before verification, and verification.
async fn fill(
    config: &Config,
    found: &Preflight,
    partial: &PartialSet,
    manifest: &mut Manifest,
    ledger: &mut Ledger<'_>,
    cancel: &CancellationToken,
) -> Result<(), RunError> {
    let mut skip_because = None;
    let mut censuses = BTreeMap::new();
    for source in sources(config, &found.others) {
        if let Some(failed) = skip_because {
            ledger.skip(source.label(), &format!("{failed} failed"));
            continue;
        }
        let product = ledger
            .data_step(config, found, partial, source, cancel)
            .await;
        if cancel.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        if product.failure.is_some() && source.on_failure() == OnFailure::SkipData {
            skip_because = Some(source.label());
        }
        manifest.artifacts.extend(product.artifacts);
        let census = product.census.map(|held| (source.label().to_owned(), held));
        censuses.extend(census);
        manifest.storage = manifest.storage.take().or(product.storage);
        manifest.keycloak = manifest.keycloak.take().or(product.keycloak);
    }
    name_trees(&mut manifest.artifacts);
    ledger.forget_objects();
    ledger.begin("manifest");
    manifest.steps.clone_from(&ledger.records);
    let mut notes = Vec::new();
    let written = in_place(|| {
        if !censuses.is_empty() {
            manifest.census = CensusFile::write(&partial.dir, &censuses)?;
            if manifest.census.is_none() {
                notes.push(
                    "the census is too large to be kept: a drill compares rows alone".to_owned(),
                );
            }
        }
        manifest.write(&partial.dir)
    });
    ledger.end(
        written.err().map(|error| Failure {
            message: format!("manifest.json could not be written: {error}"),
            ..Failure::default()
        }),
        notes,
    );
    verify(config, found, partial, manifest, ledger, cancel).await
}

async fn verify(
    config: &Config,
    found: &Preflight,
    partial: &PartialSet,
    manifest: &mut Manifest,
    ledger: &mut Ledger<'_>,
    cancel: &CancellationToken,
) -> Result<(), RunError> {
    if manifest.artifacts.is_empty() {
        ledger.skip("verify", "there is nothing to verify");
        return Ok(());
    }
    ledger.begin("verify");
    let meter = Arc::new(Meter::default());
    let limit = StepLimit::new(config.step_timeout, cancel);
    let observer = ledger.observer;
    let reading = Reading {
        tools: found.tools.as_ref(),
        meter: meter.clone(),
        cancel: &limit.token,
    };
    let expected = manifest.artifacts.iter().map(|a| a.raw_bytes).sum();
    let work = async {
        let mut report = Report::default();
        verify_artifacts(&partial.dir, manifest, &reading, &mut report)
            .await
            .map_err(|interrupted| interrupted.to_string())?;
        Ok::<Report, String>(report)
    };
    let done = limit
        .watch(work, || tell(observer, "verify", &meter, Some(expected)))
        .await;
    if cancel.is_cancelled() {
        return Err(RunError::Interrupted);
    }
    let fault = match (limit.expired(), done) {
        (Some(message), _) | (None, Err(message)) => Some(message),
        (None, Ok(report)) if report.is_whole() => None,
        (None, Ok(report)) => Some(
            report
                .problems
                .iter()
                .map(|problem| format!("{}: {}", problem.file, problem.what))
                .collect::<Vec<_>>()
                .join("; "),
        ),
    };
    ledger.end(
        fault.map(|message| Failure {
            message,
            ..Failure::default()
        }),
        Vec::new(),
    );
    Ok(())
}

/// Judges the set, completes its manifest and gives it its name.
fn finish(
    config: &Config,
    catalog: &Catalog,
    history: &History,
    partial: &PartialSet,
    manifest: &mut Manifest,
    ledger: &mut Ledger<'_>,
) -> std::io::Result<()> {
    manifest.steps = std::mem::take(&mut ledger.records);
    let steps = manifest.steps.iter();
    let all_well = steps
        .map(|step| step.status)
        .all(|status| !matches!(status, StepStatus::Failed | StepStatus::Skipped));
    manifest.status = if all_well {
        RunStatus::Succeeded
    } else {
        RunStatus::Failed
    };
    if all_well {
        let (now, observer) = (clock::now(), ledger.observer);
        manifest.anomalies = look(config, catalog, history, manifest, now, observer);
    }
    manifest.finished_at = Some(clock::now());
    manifest.write(&partial.dir)?;
    manifest.write_sums(&partial.dir)?;
    catalog.seal(partial, manifest)
}

/// Retention after a good run, and what of it failed: the set is good all the same, the run is not.
fn retain(
    config: &Config,
    catalog: &Catalog,
    history: &History,
    set: SetId,
    observer: &dyn Observer,
) -> (Option<Pruned>, Vec<String>) {
    let (pruned, faults) = match prune(catalog, history, &config.retention, clock::now(), observer)
    {
        Ok(pruned) => {
            let faults = pruned.faults();
            (Some(pruned), faults)
        }
        Err(error) => (None, vec![error.to_string()]),
    };
    if faults.is_empty() {
        return (pruned, faults);
    }
    for fault in &faults {
        warn(observer, "retention", fault.clone());
    }
    let reasons = vec![format!("retention failed: {}", faults.join("; "))];
    let failed = Happening::RetentionFailed {
        set,
        reasons: reasons.clone(),
    };
    if let Err(error) = history.append(clock::now(), &failed) {
        let text = format!("the history could not be written: {error}");
        warn(observer, "retention", text);
    }
    (pruned, reasons)
}

fn discard(catalog: &Catalog, partial: PartialSet, observer: &dyn Observer) {
    let name = partial.dir.display().to_string();
    if let Err(error) = catalog.discard(partial) {
        warn(
            observer,
            "manifest",
            format!("{name} could not be removed ({error}); the next run will"),
        );
    }
}
