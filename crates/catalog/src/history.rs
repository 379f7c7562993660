//! `.backupd/history.jsonl`: what happened to runs and to finished sets, a line each. It is appended to, and when it has become long its
//! oldest lines go to `history.1.jsonl`.

mod carried;
mod restored;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use stream::durable;
use stream::read::{open_regular, read_regular};

use crate::drill::DrillVerdict;
use crate::layout;
use crate::manifest::{Manifest, RunStatus};
use crate::set::SetId;

pub use restored::Restoration;
use restored::{Begun, begun, restored};

/// Bytes of a history that are read.
const BYTES_MOST: u64 = 256 * 1024 * 1024;
/// A longer one is shortened: some years of nightly runs.
const BYTES_LONG: u64 = 1024 * 1024;
/// Lines that stay as they are: the newest.
const LINES_KEPT: usize = 500;

/// The history of a backup directory.
#[derive(Debug)]
pub struct History {
    root: PathBuf,
    path: PathBuf,
}

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

impl History {
    /// The history below a backup directory, which must have its `.backupd` already to be written to.
    pub fn open(root: &Path) -> io::Result<Self> {
        let private = layout::private(root);
        let words = |why: &dyn std::fmt::Display| format!("{}: {why}", private.display());
        match private.metadata() {
            Ok(meta) if meta.is_dir() => Ok(Self {
                root: root.to_owned(),
                path: layout::history(root),
            }),
            Ok(_) => Err(io::Error::other(words(&"is no directory"))),
            Err(error) => Err(io::Error::new(error.kind(), words(&error))),
        }
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line, durably.
    pub fn append(&self, at: DateTime<Utc>, happening: &Happening) -> io::Result<()> {
        let record = Record {
            at,
            happening: happening.clone(),
        };
        let _alone = self.alone()?;
        durable::append_line(&self.path, &serde_json::to_string(&record)?)
    }

    /// All lines that can be read, oldest first. A line torn by a power cut, or written by a newer backupd, is passed over.
    pub fn read(&self) -> io::Result<Vec<Record>> {
        let file = match open_regular(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let path = self.path.display();
                return Err(io::Error::new(error.kind(), format!("{path}: {error}")));
            }
        };
        if file.metadata()?.len() > BYTES_MOST {
            let path = self.path.display();
            return Err(io::Error::other(format!(
                "{path} has more than {BYTES_MOST} bytes: move it away"
            )));
        }
        let mut records = Vec::new();
        for line in BufReader::new(file.take(BYTES_MOST)).split(b'\n') {
            if let Ok(record) = serde_json::from_slice(&line?) {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Puts the oldest lines of a long history away, into `history.1.jsonl`, but for those that still tell something. The caller holds
    /// the directory's lock; who appends without it waits.
    pub fn shorten(&self) -> io::Result<()> {
        let long = |bytes| bytes > BYTES_LONG;
        match fs::symlink_metadata(&self.path) {
            Ok(meta) if long(meta.len()) => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
        let _alone = self.alone()?;
        let records = self.read()?;
        let mut text = Vec::new();
        for record in carried::shortened(records, LINES_KEPT) {
            serde_json::to_writer(&mut text, &record)?;
            text.push(b'\n');
        }
        if long(text.len() as u64 * 2) {
            return Ok(()); // It is long by what must stay.
        }
        let put_away = layout::history_put_away(&self.root);
        durable::write_atomic(&put_away, &read_regular(&self.path, BYTES_MOST)?)?;
        durable::write_atomic(&self.path, &text)
    }

    /// Nobody else appends while this lives.
    fn alone(&self) -> io::Result<File> {
        let guard = layout::history_lock(&self.root);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(guard)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))?;
        Ok(file)
    }

    /// Which sources were restored in place, from what and behind which run's set. The order of the lines tells, which no clock that is
    /// set disturbs.
    pub fn restored(&self) -> io::Result<Vec<Restoration>> {
        Ok(restored(&self.read()?))
    }

    /// Keeps what a look found that an earlier restore of a source in place had left: `Some` when there was something, and whether the
    /// restored one is in use now. Needed where history has no end of it. Gives restores that turn out to have been none.
    pub fn settle(
        &self,
        at: DateTime<Utc>,
        source: &str,
        into: &str,
        left: Option<bool>,
    ) -> io::Result<Vec<Restoration>> {
        let records = self.read()?;
        let in_use = match (begun(&records, source, into), left) {
            (Some(_), Some(in_use)) => in_use,
            // Nothing says that it was cut off.
            (Some(Begun::Untold), None) => true,
            (Some(Begun::Failed), None) | (None, _) => return Ok(Vec::new()),
        };
        let settled = Happening::RestoreSettled {
            source: source.to_owned(),
            into: into.to_owned(),
            in_use,
        };
        self.append(at, &settled)?;
        let after = self.restored()?;
        let mut lost = restored(&records);
        lost.retain(|one| !after.contains(one));
        Ok(lost)
    }
}

/// The differences that the last verification of each set found, where it found any.
pub fn damaged(records: &[Record]) -> BTreeMap<SetId, &str> {
    let mut damaged = BTreeMap::new();
    for record in records {
        if let Happening::SetVerified {
            set,
            whole,
            problems,
        } = &record.happening
        {
            damaged.remove(set);
            if !whole {
                damaged.insert(*set, problems.first().map_or("", String::as_str));
            }
        }
    }
    damaged
}

#[cfg(test)]
mod tests;
