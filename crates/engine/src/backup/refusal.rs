//! Why a run left no set.

use std::collections::BTreeMap;
use std::path::PathBuf;

use catalog::accepted::Stranger;
use catalog::lock::LockError;

use super::strangers::waits;
use crate::finding::Blocks;
use crate::source::Preflight;

/// A run that left no set.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another run, or another command that changes sets, is at work.
    #[error(transparent)]
    Locked(LockError),
    /// Preflight found what everything needs wanting; nothing was created.
    #[error("nothing was backed up, {} must be fixed first:\n{}", count(reasons.len()), bullets(reasons))]
    Refused {
        /// In sentences.
        reasons: Vec<String>,
        /// Whether all of it may pass by itself.
        passing: bool,
    },
    /// A daemon's first run found sets of other sources.
    #[error("{}", waits(dir, strangers))]
    Strangers {
        /// The backup directory.
        dir: PathBuf,
        /// The sources, by label.
        strangers: BTreeMap<String, Stranger>,
    },
    /// Ended by a signal; the unfinished set was removed.
    #[error("interrupted; the unfinished set was removed")]
    Interrupted,
    /// A panic outside of the steps, which end as failed with it.
    #[error("nothing was backed up: {0}")]
    Defect(String),
    /// The backup directory failed under the run.
    #[error("{what}: {source}")]
    Directory {
        /// What was being done.
        what: String,
        /// The system's words.
        source: std::io::Error,
    },
}

fn count(problems: usize) -> String {
    if problems == 1 {
        "one fault".to_owned()
    } else {
        format!("{problems} faults")
    }
}

fn bullets(lines: &[String]) -> String {
    lines
        .iter()
        .map(|line| format!("  - {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The refusal of the whole run, where something everything needs is wanting.
pub(crate) fn refused(found: &Preflight) -> Option<RunError> {
    let reasons = found.refusals();
    let passing = found.failed(&Blocks::Run).all(|check| check.passing);
    (!reasons.is_empty()).then_some(RunError::Refused { reasons, passing })
}
