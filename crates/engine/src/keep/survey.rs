//! What a backup directory tells of itself: its sets, how runs went, how much room there is. All of it is read from disk, so that a
//! restart changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use catalog::accepted::{Accepted, Stranger};
use catalog::catalog::{Catalog, Entry, newest_good};
use catalog::drill::DrillVerdict;
use catalog::history::{Happening, History, Record, Runs};
use catalog::manifest::{RunStatus, StepRecord};
use catalog::remembered::Remembered;
use catalog::set::SetId;
use chrono::{DateTime, Utc};
use policy::retention::{Decision, Policy};
use serde::{Deserialize, Serialize};

use super::prune::decide;
use crate::directory::backup_dir_fault;
use crate::space;

/// Rows per table are kept in memory for this many of the newest sets: what a status page shows.
pub const DETAILED: usize = 30;

/// What a backup directory told.
#[derive(Debug, Default)]
pub struct Survey {
    /// When it was asked.
    pub taken_at: DateTime<Utc>,
    /// Its sets, oldest first; only the newest [`DETAILED`] with their rows per table.
    pub sets: Vec<Entry>,
    /// The run that ended last.
    pub last_run: Option<LastRun>,
    /// The drill that ended last.
    pub last_drill: Option<LastDrill>,
    /// The last one that did not fail.
    pub last_proof: Option<LastDrill>,
    /// When backupd first worked here; none before.
    pub since: Option<DateTime<Utc>>,
    /// When a daemon of each version first watched here.
    pub served_since: BTreeMap<String, DateTime<Utc>>,
    /// How often runs ended how.
    pub runs: Runs,
    /// What retention would do now.
    pub fates: Vec<Decision>,
    /// Bytes that can still be written.
    pub free: u64,
    /// Why the directory cannot be used, with the fix.
    pub fault: Option<String>,
    /// Sources that are others than the sets', for which a daemon waits.
    pub waiting: BTreeMap<String, Stranger>,
}

/// The run that ended last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Its set; none where none was kept.
    pub set: Option<SetId>,
    /// How it ended.
    pub result: RunResult,
    /// Who asked for it; unknown for a run that was killed.
    pub trigger: Option<String>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: u64,
    /// Of its set.
    pub bytes: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// Its steps, while its set is there.
    pub steps: Vec<StepRecord>,
}

/// A drill that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDrill {
    /// The set that was drilled.
    pub set: SetId,
    /// How it ended.
    pub verdict: DrillVerdict,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: u64,
    /// What was not as it was.
    pub differences: Vec<String>,
    /// How many objects could not be proven.
    pub not_proven: usize,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunResult {
    /// With a good set.
    Succeeded,
    /// With a good set, and an anomaly.
    Anomaly,
    /// With a failed one, with none, or with a good one and a failure behind it.
    Failed,
    /// Cut off from outside: a stopped daemon, a power cut.
    Interrupted,
}

impl Survey {
    /// The newest good set to count on: what `latest` means.
    pub fn newest_good(&self, now: DateTime<Utc>) -> Option<&Entry> {
        newest_good(&self.sets, now).map(|at| &self.sets[at])
    }

    /// The newest good set, odd or not: since then nothing is to be made up for.
    pub fn newest_made(&self, now: DateTime<Utc>) -> Option<&Entry> {
        let mut newest_first = self.sets.iter().rev();
        newest_first.find(|entry| entry.good && !entry.id.is_from_the_future(now))
    }

    /// Good sets with an anomaly that nobody has accepted, oldest first.
    pub fn odd(&self) -> impl Iterator<Item = &Entry> {
        self.sets.iter().filter(|entry| entry.has_open_anomaly())
    }

    /// Sets that could not be looked at, which hold retention, each with the reason.
    pub fn unread(&self) -> impl Iterator<Item = (SetId, &str)> {
        let unread = self.sets.iter().filter(|entry| entry.unread);
        unread.map(|entry| (entry.id, entry.why_not_good.as_deref().unwrap_or_default()))
    }

    /// Good sets whose date the clock does not allow.
    pub fn future_sets(&self, now: DateTime<Utc>) -> usize {
        self.sets
            .iter()
            .filter(|entry| entry.good && entry.id.is_from_the_future(now))
            .count()
    }

    /// Good sets that are not from the future.
    pub fn good(&self, now: DateTime<Utc>) -> usize {
        self.sets
            .iter()
            .filter(|entry| entry.good && !entry.id.is_from_the_future(now))
            .count()
    }

    /// Bytes of all sets.
    pub fn bytes(&self) -> u64 {
        self.sets.iter().map(|entry| entry.bytes).sum()
    }

    /// Whether the last run was cut off.
    pub fn was_interrupted(&self) -> bool {
        self.last_run
            .as_ref()
            .is_some_and(|run| run.result == RunResult::Interrupted)
    }
}

/// How a directory is asked whether it can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// By its rights and its file system's own words, which wakes no disk.
    Ask,
    /// By writing, besides: some file systems that went read-only, or are full, say that they may be written to.
    Write,
}

/// Asks a backup directory. A fault is an answer too.
pub fn survey(
    dir: &Path,
    policy: &Policy,
    now: DateTime<Utc>,
    probe: Probe,
    remembered: &mut Remembered,
) -> Survey {
    let mut survey = Survey {
        taken_at: now,
        fault: backup_dir_fault(dir).or_else(|| match probe {
            Probe::Ask => space::is_full(dir).then(|| {
                format!(
                    "BACKUP_DIR {} is full: no space is left on its file system",
                    dir.display()
                )
            }),
            Probe::Write => write_fault(dir),
        }),
        ..Survey::default()
    };
    if let Err(error) = read(dir, policy, &mut survey, remembered) {
        survey
            .fault
            .get_or_insert_with(|| format!("BACKUP_DIR {} cannot be read: {error}", dir.display()));
    }
    survey
}

fn read(
    dir: &Path,
    policy: &Policy,
    survey: &mut Survey,
    remembered: &mut Remembered,
) -> std::io::Result<()> {
    let catalog = Catalog::open_read_only(dir)?;
    survey.free = space::free(dir)?;
    survey.sets = catalog.look(remembered, DETAILED)?;
    survey.fates = decide(&survey.sets, policy, survey.taken_at).decisions;
    let Ok(history) = History::open(dir) else {
        return Ok(()); // Nothing was done here yet.
    };
    let records = remembered.history(&history)?;
    survey.since = records.first().map(|record| record.at);
    survey.runs = Runs::count(&records);
    survey.last_drill = records.iter().rev().find_map(as_drill);
    let mut drills = records.iter().rev().filter_map(as_drill);
    survey.last_proof = drills.find(|drill| drill.verdict != DrillVerdict::Failed);
    for record in records.iter() {
        if let Happening::ServiceStarted { backupd } = &record.happening {
            let first = survey.served_since.entry(backupd.clone());
            first.or_insert(record.at);
        }
    }
    survey.last_run = records.iter().rev().find_map(as_run).map(|mut run| {
        if let Some(why) = retention_failed(&records, run.set) {
            run.result = RunResult::Failed;
            run.error = Some(why);
        }
        let entry = survey.sets.iter().find(|entry| Some(entry.id) == run.set);
        if let Some(manifest) = entry.and_then(Entry::manifest) {
            run.steps.clone_from(&manifest.steps);
        }
        run
    });
    survey.waiting = Accepted::read(dir)?.waiting;
    Ok(())
}

fn as_drill(record: &Record) -> Option<LastDrill> {
    let Happening::Drilled {
        set,
        verdict,
        duration_ms,
        differences,
        not_proven,
    } = &record.happening
    else {
        return None;
    };
    Some(LastDrill {
        set: *set,
        verdict: *verdict,
        ended_at: record.at,
        duration_ms: *duration_ms,
        differences: differences.clone(),
        not_proven: *not_proven,
    })
}

/// Why retention failed behind the run of this set, which is the last one.
fn retention_failed(records: &[Record], of: Option<SetId>) -> Option<String> {
    let of = of?;
    records
        .iter()
        .rev()
        .find_map(|record| match &record.happening {
            Happening::RetentionFailed { set, reasons } if *set == of => {
                Some(format!("set {set} is good, and {}", reasons.join("; ")))
            }
            _ => None,
        })
}

fn as_run(record: &Record) -> Option<LastRun> {
    match &record.happening {
        Happening::RunFinished {
            set,
            status,
            trigger,
            duration_ms,
            bytes,
            error,
            anomalies,
        } => Some(LastRun {
            set: *set,
            result: match (status, anomalies) {
                (RunStatus::Succeeded, 0) => RunResult::Succeeded,
                (RunStatus::Succeeded, _) => RunResult::Anomaly,
                _ => RunResult::Failed,
            },
            trigger: Some(trigger.clone()),
            ended_at: record.at,
            duration_ms: *duration_ms,
            bytes: *bytes,
            error: error.clone(),
            steps: Vec::new(),
        }),
        Happening::RunRefused {
            reasons,
            trigger,
            duration_ms,
            interrupted,
        } => Some(LastRun {
            set: None,
            result: if *interrupted {
                RunResult::Interrupted
            } else {
                RunResult::Failed
            },
            trigger: trigger.clone(),
            ended_at: record.at,
            duration_ms: *duration_ms,
            bytes: 0,
            error: Some(reasons.join("; ")),
            steps: Vec::new(),
        }),
        Happening::SetVerified { .. }
        | Happening::Drilled { .. }
        | Happening::Restoring { .. }
        | Happening::RestoreSettled { .. }
        | Happening::Restored { .. }
        | Happening::Accepted { .. }
        | Happening::SetRemoved { .. }
        | Happening::ServiceStarted { .. }
        | Happening::RetentionFailed { .. }
        | Happening::Carried(_) => None,
    }
}

/// Tries to write: a file system that went read-only, or is full, still says that it may be written to.
fn write_fault(dir: &Path) -> Option<String> {
    let tried = Catalog::open(dir).and_then(|catalog| catalog.try_writing());
    tried
        .err()
        .map(|error| format!("BACKUP_DIR {} cannot be written to: {error}", dir.display()))
}
