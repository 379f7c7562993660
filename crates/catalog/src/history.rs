//! `.backupd/history.jsonl`: what happened to runs and to finished sets, a line each, only ever appended to.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use stream::durable;
use stream::read::open_regular;

use crate::drill::DrillVerdict;
use crate::manifest::RunStatus;
use crate::set::SetId;

/// Bytes of a history that are read: a hundred years of hourly runs.
const BYTES_MOST: u64 = 256 * 1024 * 1024;

/// The history of a backup directory.
#[derive(Debug)]
pub struct History {
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
    /// A database or a tree of a set was put back, or was not.
    Restored {
        /// The set.
        set: SetId,
        /// The label of what was restored.
        source: String,
        /// The database or directory.
        into: String,
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
}

impl History {
    /// The history below a backup directory, which must have its `.backupd` already to be written to.
    pub fn open(root: &Path) -> io::Result<Self> {
        let private = root.join(crate::catalog::PRIVATE);
        let words = |why: &dyn std::fmt::Display| format!("{}: {why}", private.display());
        match private.metadata() {
            Ok(meta) if meta.is_dir() => Ok(Self {
                path: private.join("history.jsonl"),
            }),
            Ok(_) => Err(io::Error::other(words(&"is no directory"))),
            Err(error) => Err(io::Error::new(error.kind(), words(&error))),
        }
    }

    /// Adds a line, durably.
    pub fn append(&self, at: DateTime<Utc>, happening: &Happening) -> io::Result<()> {
        let record = Record {
            at,
            happening: happening.clone(),
        };
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

    /// Which source was restored behind which run's set. The order of the lines tells, which no clock that is set disturbs.
    pub fn restored(&self) -> io::Result<Vec<(String, SetId)>> {
        let mut last = None;
        let mut restored = Vec::new();
        for record in self.read()? {
            match record.happening {
                Happening::RunFinished { set: Some(set), .. } => last = Some(set),
                Happening::Restored {
                    source,
                    error: None,
                    ..
                } => restored.extend(last.map(|last| (source, last))),
                _ => {}
            }
        }
        Ok(restored)
    }

    /// The differences that the last verification of each set found, where it found any.
    pub fn damaged(&self) -> io::Result<Vec<(SetId, String)>> {
        let mut damaged: Vec<(SetId, String)> = Vec::new();
        for record in self.read()? {
            if let Happening::SetVerified {
                set,
                whole,
                problems,
            } = record.happening
            {
                damaged.retain(|(other, _)| *other != set);
                if !whole {
                    damaged.push((set, problems.first().cloned().unwrap_or_default()));
                }
            }
        }
        Ok(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_history_is_an_error_and_no_endless_wait() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(crate::catalog::PRIVATE)).unwrap();
        let history = History::open(dir.path()).unwrap();
        let words = || history.read().unwrap_err().to_string();
        std::os::unix::fs::symlink("/dev/zero", &history.path).unwrap();
        assert!(words().contains("is no regular file"), "{}", words());
        std::fs::remove_file(&history.path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &history.path, 0o600.into()).unwrap();
        assert!(words().contains("is no regular file"), "{}", words());
        std::fs::remove_file(&history.path).unwrap();
        let sparse = std::fs::File::create(&history.path).unwrap();
        sparse.set_len(10 << 30).unwrap();
        assert!(words().contains("has more than"), "{}", words());
    }

    #[test]
    fn lines_come_back_and_torn_ones_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        assert!(History::open(dir.path()).is_err());
        std::fs::create_dir(dir.path().join(crate::catalog::PRIVATE)).unwrap();
        let history = History::open(dir.path()).unwrap();
        assert_eq!(history.read().unwrap(), []);
        let set: SetId = "20261120T020000Z".parse().unwrap();
        let verified = |whole| Happening::SetVerified {
            set,
            whole,
            problems: if whole {
                vec![]
            } else {
                vec!["a: missing".to_owned()]
            },
        };
        let at = set.time();
        history.append(at, &verified(false)).unwrap();
        assert_eq!(history.damaged().unwrap(), [(set, "a: missing".to_owned())]);
        let text = std::fs::read_to_string(&history.path).unwrap();
        std::fs::write(&history.path, format!("{text}{{\"at\":\"2026")).unwrap();
        history.append(at, &verified(true)).unwrap();
        assert_eq!(history.read().unwrap().len(), 2);
        assert_eq!(history.damaged().unwrap(), []);
    }

    #[test]
    fn restores_are_told_by_the_set_before_them_whatever_the_clock_said() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(crate::catalog::PRIVATE)).unwrap();
        let history = History::open(dir.path()).unwrap();
        let set = |day: u32| -> SetId { format!("202611{day}T020000Z").parse().unwrap() };
        let ran = |day| Happening::RunFinished {
            set: Some(set(day)),
            status: RunStatus::Succeeded,
            trigger: "manual".to_owned(),
            duration_ms: 1,
            bytes: 1,
            error: None,
            anomalies: 0,
        };
        let restored = |error: Option<&str>| Happening::Restored {
            set: set(10),
            source: "supabase".to_owned(),
            into: "postgres".to_owned(),
            duration_ms: 1,
            error: error.map(str::to_owned),
        };
        let at = set(30).time();
        for happening in [
            restored(None),
            ran(10),
            ran(11),
            restored(None),
            restored(Some("refused")),
            ran(12),
        ] {
            history.append(at, &happening).unwrap();
        }
        let expected = ("supabase".to_owned(), set(11));
        assert_eq!(history.restored().unwrap(), [expected]);
    }
}
