//! A line of the history.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::drill::DrillVerdict;
use crate::manifest::{Manifest, RunStatus};
use crate::set::SetId;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub happening: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// A run ended with a set, good or failed.
    RunFinished {
        /// The set.
        set: Option<SetId>,
        /// How.
        status: RunStatus,
        /// Who asked.
        trigger: String,
        /// Whole duration.
        duration_ms: u64,
        /// Of the set on disk.
        bytes: u64,
        /// The first failed step.
        error: Option<String>,
        /// How many anomalies it ended with.
        #[serde(default)]
        anomalies: usize,
    },
    /// A run ended without a set.
    RunRefused {
        /// Why, each in a sentence.
        reasons: Vec<String>,
        /// Who asked; unknown for a run that was killed.
        #[serde(default)]
        trigger: Option<String>,
        /// Whole duration.
        #[serde(default)]
        duration_ms: u64,
        /// Whether it was cut off from outside: a signal, a power cut.
        #[serde(default)]
        interrupted: bool,
    },
    /// A daemon began to watch over the directory.
    ServiceStarted {
        /// Its version.
        backupd: String,
    },
    /// A set was read back after its run.
    SetVerified {
        /// The set.
        set: SetId,
        /// Whether everything was as its manifest says.
        whole: bool,
        /// Every difference.
        problems: Vec<String>,
    },
    /// A set was restored for proof.
    Drilled {
        /// The set.
        set: SetId,
        /// How it ended.
        verdict: DrillVerdict,
        /// How long it took.
        duration_ms: u64,
        /// What is not as it was, or why the drill could not be made.
        differences: Vec<String>,
        /// How many objects could not be proven.
        #[serde(default)]
        not_proven: usize,
    },
    /// A database or a tree of a set, whole and in its own place, is about to be in use: the last word before names change. Without a word of
    /// the end behind it, it is in use, unless what lies there says that it was cut off.
    Restoring {
        /// The set.
        set: SetId,
        /// The label of what is restored.
        source: String,
        /// The database or directory.
        into: String,
    },
    /// What became of a restore without an end in history: somebody looked at what it left.
    RestoreSettled {
        /// The label of what was restored.
        source: String,
        /// The database or directory.
        into: String,
        /// Whether it is in use. Else that is which was there before.
        in_use: bool,
    },
    /// A database or a tree of a set was put back, or was not.
    Restored {
        /// The set.
        set: SetId,
        /// The label of what was restored.
        source: String,
        /// The database or directory.
        into: String,
        /// Whether all of the source is back in its own place, and in use: not a copy beside it, one table or one object.
        #[serde(default)]
        in_place: bool,
        /// How long it took.
        duration_ms: u64,
        /// Why it failed.
        error: Option<String>,
    },
    /// Somebody accepted anomalies.
    Accepted {
        /// Of these sets.
        sets: Vec<SetId>,
        /// That these sources, by label, are others than the sets'.
        sources: Vec<String>,
    },
    /// Retention removed a set.
    SetRemoved {
        /// The set.
        set: SetId,
        /// By which rules.
        reasons: Vec<String>,
    },
    /// A run's set was good, and retention behind it did not end well. A line of its own, behind that of the run: a run that is killed in
    /// its retention has told of its set.
    RetentionFailed {
        /// The set.
        set: SetId,
        /// What was not done, each in a sentence.
        reasons: Vec<String>,
    },
    /// The first line of a history whose oldest lines were put away: how the runs ended that they told of.
    Carried(Runs),
}

/// How often runs ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// With a good set.
    pub succeeded: u64,
    /// With a good set, and an anomaly.
    pub odd: u64,
    /// With a failed one, or none.
    pub failed: u64,
    /// Cut off from outside.
    pub interrupted: u64,
}

impl Runs {
    /// Of a history.
    pub fn count(records: &[Record]) -> Self {
        let mut runs = Self::default();
        for record in records {
            match &record.happening {
                Happening::RunFinished {
                    status: RunStatus::Succeeded,
                    anomalies: 0,
                    ..
                } => runs.succeeded += 1,
                Happening::RunFinished {
                    status: RunStatus::Succeeded,
                    ..
                } => runs.odd += 1,
                Happening::RunRefused {
                    interrupted: true, ..
                } => runs.interrupted += 1,
                Happening::RunFinished { .. } | Happening::RunRefused { .. } => runs.failed += 1,
                Happening::Carried(before) => {
                    runs.succeeded += before.succeeded;
                    runs.odd += before.odd;
                    runs.failed += before.failed;
                    runs.interrupted += before.interrupted;
                }
                Happening::ServiceStarted { .. }
                | Happening::SetVerified { .. }
                | Happening::Drilled { .. }
                | Happening::Restoring { .. }
                | Happening::RestoreSettled { .. }
                | Happening::Restored { .. }
                | Happening::Accepted { .. }
                | Happening::SetRemoved { .. }
                | Happening::RetentionFailed { .. } => {}
            }
        }
        runs
    }
}

impl Happening {
    /// The end of a run, as its set tells of it.
    pub fn run_finished(manifest: &Manifest, duration_ms: u64) -> Self {
        Self::RunFinished {
            set: Some(manifest.set),
            status: manifest.status,
            trigger: manifest.trigger.clone(),
            duration_ms,
            bytes: manifest.bytes(),
            error: manifest.first_error(),
            anomalies: manifest.anomalies.len(),
        }
    }
}
