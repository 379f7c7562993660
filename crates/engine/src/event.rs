//! What happens during a use-case, told to whoever listens.

use catalog::anomaly::Anomaly;
use catalog::drill::DrillReport;
use catalog::manifest::{RunStatus, StepRecord};
use catalog::set::SetId;
use catalog::storage::Reconcile;
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run waits for another to end.
    RunWaiting {
        /// Who is at work.
        by: String,
    },
    /// A run holds the lock and has begun; its set is not there yet.
    RunStarted {
        /// The id that its set will have, unless that is taken.
        run: SetId,
        /// Who asked: `manual`, `schedule`, ….
        trigger: String,
    },
    /// Remains of a killed run were removed.
    LeftoversRemoved {
        /// Directory names.
        names: Vec<String>,
    },
    /// The set's directory was made.
    SetBegun {
        /// Its id.
        set: SetId,
    },
    /// A step has begun.
    StepStarted {
        /// The step's name.
        step: String,
    },
    /// A step moves on; several a second.
    Progress {
        /// The step's name.
        step: String,
        /// Bytes taken from the source.
        raw: u64,
        /// Bytes written to the backup directory.
        written: u64,
        /// What `raw` is expected to reach, where it is known.
        expected: Option<u64>,
    },
    /// A step waits for somebody else's lock; told again when that somebody changes.
    Waiting {
        /// The step's name.
        step: String,
        /// For what and for whom, in words.
        text: String,
    },
    /// A step that waited goes on.
    GoesOn {
        /// The step's name.
        step: String,
    },
    /// Something an operator should know that fails nothing.
    Warning {
        /// The step's name.
        step: String,
        /// In words.
        text: String,
    },
    /// A step ended, well or not.
    StepFinished {
        /// What the manifest will say of it.
        record: StepRecord,
    },
    /// The set has its final name, or the run ended without one.
    RunFinished {
        /// The set, unless none was kept.
        set: Option<SetId>,
        /// How it ended.
        status: RunStatus,
        /// Bytes of the set on disk.
        bytes: u64,
        /// Whole duration.
        duration_ms: u64,
    },
    /// The storage archive was compared with the objects of the database.
    Reconciled {
        /// What came of it.
        result: Box<Reconcile>,
    },
    /// A drill ended.
    Drilled {
        /// What it found.
        report: Box<DrillReport>,
    },
    /// Something is odd about the set beside those before.
    Anomalies {
        /// The set.
        set: SetId,
        /// What.
        found: Vec<Anomaly>,
    },
    /// What a restore has made ready gets its place now.
    Exchanging,
    /// An earlier restore into the same place had been cut off: what was there before is in use again.
    PutBack,
    /// No earlier restore into the same place had left anything.
    NothingLeft,
    /// Retention removed a set.
    SetRemoved {
        /// Its id.
        set: SetId,
    },
}

/// Somebody who listens. Must return quickly: it is called on the way of the work.
pub trait Observer: Send + Sync {
    /// Takes note of an event.
    fn on(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn on(&self, event: &Event) {
        self(event);
    }
}
