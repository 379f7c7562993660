//! How a run ended, for its caller: the same whether the run was made in this process or by the daemon.

use std::path::{Path, PathBuf};

use catalog::manifest::Manifest;
use engine::backup::{Finished, RunError};
use postgres::words::counted;
use serde::{Deserialize, Serialize};

use crate::render;

/// How a run ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// In a word.
    pub how: How,
    /// The set that was made, good or failed.
    pub made: Option<Made>,
    /// Why there is no set, or what failed behind a good one.
    pub error: Option<String>,
}

/// How a run ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// With a good set.
    Succeeded,
    /// With a good set, and an anomaly.
    Anomaly,
    /// With a failed one, with none, or with a good one and a failure behind it.
    Failed,
    /// Not begun: another run was at work.
    Locked,
    /// Cut off by a signal.
    Interrupted,
}

/// A set that a run made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// What it holds.
    pub manifest: Manifest,
    /// Its directory.
    pub path: PathBuf,
    /// How many older sets retention removed.
    pub removed: usize,
}

#[derive(Serialize)]
struct NoSet<'a> {
    set: Option<&'a str>,
    status: &'a str,
    error: &'a str,
}

impl Outcome {
    /// Of a run into the backup directory `dir`.
    pub fn of(ended: Result<Finished, RunError>, dir: &Path) -> Self {
        match ended {
            Ok(finished) => Self {
                how: match (finished.is_good(), finished.is_odd()) {
                    // What was found odd is told besides.
                    (true, _) if !finished.failed_behind.is_empty() => How::Failed,
                    (true, false) => How::Succeeded,
                    (true, true) => How::Anomaly,
                    (false, _) => How::Failed,
                },
                error: (!finished.failed_behind.is_empty()).then(|| {
                    let failed = finished.failed_behind.join("; ");
                    if finished.is_good() {
                        format!("set {} is good, and {failed}", finished.set)
                    } else {
                        failed
                    }
                }),
                made: Some(Made {
                    path: dir.join(finished.set.to_string()),
                    removed: finished.pruned.map_or(0, |pruned| pruned.removed.len()),
                    manifest: finished.manifest,
                }),
            },
            Err(error) => Self {
                how: match error {
                    RunError::Locked(_) => How::Locked,
                    RunError::Interrupted => How::Interrupted,
                    RunError::Refused { .. }
                    | RunError::Directory { .. }
                    | RunError::Strangers { .. }
                    | RunError::Defect(_) => How::Failed,
                },
                made: None,
                error: Some(error.to_string()),
            },
        }
    }

    /// The manifest, with `error` where something failed behind it, or the failure, as JSON.
    pub fn json(&self) -> serde_json::Result<serde_json::Value> {
        match &self.made {
            Some(made) => {
                let mut told = serde_json::to_value(&made.manifest)?;
                if let (Some(fields), Some(error)) = (told.as_object_mut(), &self.error) {
                    fields.insert("error".to_owned(), error.as_str().into());
                }
                Ok(told)
            }
            None => serde_json::to_value(NoSet {
                set: None,
                status: "failed",
                error: self.error.as_deref().unwrap_or_default(),
            }),
        }
    }

    /// The set and what became of it, for people; nothing where there is none.
    pub fn summary(&self) -> Option<String> {
        let made = self.made.as_ref()?;
        let mut text = render::set::manifest(&made.manifest);
        if made.removed > 0 {
            text.push_str(&format!(
                "retention removed {}\n",
                counted(made.removed as u64, "older set")
            ));
        }
        let verdict = if made.manifest.is_good() {
            "good: every byte was read back"
        } else {
            "FAILED: this set does not count as a backup"
        };
        text.push_str(&format!("{} is {verdict}\n", made.path.display()));
        if !made.manifest.anomalies.is_empty() {
            text.push_str(&render::anomaly::what_follows(made.manifest.set));
        }
        Some(text)
    }
}
