//! `backupd run`: one set, made in this process.

use engine::backup::Turn;
use engine::backup::{Origin, run};
use engine::clock;

use catalog::set::Selector;

use super::drill::Telling;
use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use super::sets::find;
use crate::cli::{OneSet, Output, Run};
use crate::outcome::{How, Outcome};
use crate::render::{self, progress::Progress};
use crate::settings::Environment;
use crate::signals::Signals;

pub async fn execute(
    asked: &Run,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let config = environment.config(clock::now())?;
    let drill_always = environment.drill_always()?;
    let progress = Progress::start(&environment.logging()?);
    let origin = Origin {
        ignore_space: asked.ignore_space,
        ..Origin::here("manual", env!("CARGO_PKG_VERSION"))
    };
    let turn = if asked.wait { Turn::Wait } else { Turn::AtOnce };
    let ended = Box::pin(run(&config, &origin, turn, &progress, &signals.token)).await;
    progress.clear();
    let outcome = Outcome::of(ended, &config.backup_dir);
    let exit = say(&outcome, asked.output.json, signals)?;
    if exit != Exit::Done || !drill_always {
        return Ok(exit);
    }
    let newest = OneSet {
        set: Selector::Latest,
        output: Output { json: false },
    };
    let entry = find(environment, &newest.set)?;
    let text = Telling::Errors;
    super::drill::execute(&newest, text, &entry, environment, signals).await
}

/// Prints how a run ended, and with what the process exits.
pub fn say(outcome: &Outcome, json: bool, signals: &Signals) -> Result<Exit, Refusal> {
    if json {
        print_json(&outcome.json().map_err(std::io::Error::from)?)?;
    } else if let Some(summary) = outcome.summary() {
        print_text(&summary)?;
    }
    if let Some(error) = &outcome.error {
        render::error::say(error);
    }
    Ok(match outcome.how {
        How::Succeeded => Exit::Done,
        How::Anomaly => Exit::Different,
        How::Failed => Exit::Failed,
        How::Locked => Exit::Locked,
        How::Interrupted => Exit::Interrupted(signals.exit_code()),
    })
}
