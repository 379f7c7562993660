//! `backupd run`: one set, made in this process.

use engine::run::{Finished, Origin, RunError, run};
use serde::Serialize;

use super::{Exit, Refusal, print_json, print_text};
use crate::cli::Output;
use crate::env::Environment;
use crate::render::{self, progress::Progress};
use crate::signals::Signals;

#[derive(Serialize)]
struct NoSet<'a> {
    set: Option<&'a str>,
    status: &'a str,
    error: String,
}

pub async fn execute(
    output: &Output,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let config = environment.config()?;
    let progress = Progress::start(&environment.logging()?);
    let origin = Origin::here("manual", env!("CARGO_PKG_VERSION"));
    let ended = run(&config, &origin, &progress, &signals.token).await;
    progress.clear();
    match ended {
        Ok(finished) => {
            if output.json {
                print_json(&finished.manifest)?;
            } else {
                print_text(&summary(&finished, &config.backup_dir))?;
            }
            Ok(if finished.succeeded() {
                Exit::Done
            } else {
                Exit::Failed
            })
        }
        Err(error) => {
            if output.json {
                print_json(&NoSet {
                    set: None,
                    status: "failed",
                    error: error.to_string(),
                })?;
            }
            render::error::say(&error.to_string());
            Ok(match error {
                RunError::Locked(_) => Exit::Locked,
                RunError::Interrupted => Exit::Interrupted(signals.exit_code()),
                RunError::Refused(_) | RunError::Directory { .. } => Exit::Failed,
            })
        }
    }
}

fn summary(finished: &Finished, dir: &std::path::Path) -> String {
    let mut text = render::set::manifest(&finished.manifest);
    let removed = finished
        .pruned
        .as_ref()
        .map_or(0, |pruned| pruned.removed.len());
    if removed > 0 {
        text.push_str(&format!("retention removed {removed} older set(s)\n"));
    }
    let verdict = if finished.succeeded() {
        "good: every byte was read back"
    } else {
        "FAILED: this set does not count as a backup"
    };
    text.push_str(&format!(
        "{} is {verdict}\n",
        dir.join(finished.set.to_string()).display()
    ));
    text
}
