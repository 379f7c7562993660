//! `backupd check`: preflight alone.

use engine::backup::preflight::preflight;
use engine::clock;
use engine::finding::Outcome;
use engine::source::Look;

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use crate::cli::Output;
use crate::render::table::Table;
use crate::settings::Environment;
use crate::signals::Signals;

pub async fn execute(
    output: &Output,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let config = environment.config(clock::now())?;
    let found = preflight(&config, Look::Whole, &signals.token).await;
    if signals.token.is_cancelled() {
        return Ok(Exit::Interrupted(signals.exit_code()));
    }
    if output.json {
        print_json(&found.checks)?;
    } else {
        let mut table = Table::new(&[]);
        for check in &found.checks {
            let mark = match check.outcome {
                Outcome::Passed => "ok",
                Outcome::Warning => "warning",
                Outcome::Failed => "FAILED",
            };
            table.row([mark, &check.subject, &check.text]);
        }
        print_text(&table.to_string())?;
    }
    Ok(if found.has_failures() {
        Exit::Failed
    } else {
        Exit::Done
    })
}
