//! `backupd verify --drill`: restores a set for proof, and tells what came back.

use catalog::catalog::Entry;
use catalog::drill::{DrillReport, DrillVerdict};
use engine::prove::drill::drill;
use engine::source::proving::{DrillError, DrillRequest};
use postgres::tools::Tools;
use postgres::words::{counted, one_line, printable};

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use crate::cli::OneSet;
use crate::render::progress::Progress;
use crate::render::set::duration;
use crate::settings::Environment;
use crate::signals::Signals;

/// Findings of each kind that are printed; the report beside the set has them all.
const SHOWN: usize = 20;

/// Where the report goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// To standard output: it was asked for.
    Output,
    /// To standard error: the output is a run's, which may be JSON.
    Errors,
}

pub async fn execute(
    asked: &OneSet,
    telling: Telling,
    entry: &Entry,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let drilling = environment.drilling()?;
    let search = environment.tool_search();
    let tools = Tools::find(search.bindir.as_deref(), &search.path, &signals.token)
        .await
        .map_err(|error| Refusal::Unusable(error.to_string()))?;
    let progress = Progress::start(&environment.logging()?);
    let request = DrillRequest {
        backup_dir: &drilling.backup_dir,
        entry,
        tools: &tools,
        url: drilling.url.as_ref(),
        fencing: drilling.fencing,
        time_limit: drilling.time_limit,
    };
    let ended = drill(&request, &progress, &signals.token).await;
    progress.clear();
    match ended {
        Ok(report) => {
            match telling {
                Telling::Errors => eprint!("{}", printable(&text(&report))),
                Telling::Output if asked.output.json => print_json(&report)?,
                Telling::Output => print_text(&text(&report))?,
            }
            Ok(match (report.verdict, &report.error) {
                (_, Some(_)) => Exit::Failed,
                (DrillVerdict::Proven, None) => Exit::Done,
                (DrillVerdict::Failed | DrillVerdict::Incomplete, None) => Exit::Different,
            })
        }
        Err(error) => {
            crate::render::error::say(&error.to_string());
            Ok(match error {
                DrillError::Interrupted => Exit::Interrupted(signals.exit_code()),
                DrillError::Busy { .. } => Exit::Locked,
                _ => Exit::Failed,
            })
        }
    }
}

fn text(report: &DrillReport) -> String {
    if let Some(error) = &report.error {
        return format!(
            "the drill of {} could not be made: {}\n{} is NOT PROVEN\n",
            report.set,
            one_line(error),
            report.set
        );
    }
    let mut text = if report.databases.is_empty() {
        format!("drill of {}: it has no database to restore\n", report.set)
    } else {
        format!("drill of {} into {}\n", report.set, report.server)
    };
    for database in &report.databases {
        text.push_str(&format!(
            "{}: {} in {} ({} of them by digest of every row) and {} compared, in {}\n",
            database.label,
            counted(database.rows, "row"),
            counted(database.tables as u64, "table"),
            database.digests,
            counted(database.objects as u64, "object"),
            duration(database.duration_ms)
        ));
        for (question, answer) in &database.answers {
            text.push_str(&format!("  {question}: {}\n", one_line(answer)));
        }
    }
    if let Some(storage) = &report.storage {
        text.push_str(&format!(
            "storage: {} of {} with their file, {} of these compared by md5\n",
            storage.matched,
            counted(storage.objects, "object"),
            storage.hashed
        ));
    }
    let mut list = |heading: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        text.push_str(&format!("{heading}:\n"));
        for line in lines.iter().take(SHOWN) {
            text.push_str(&format!("  {}\n", one_line(line)));
        }
        if lines.len() > SHOWN {
            text.push_str(&format!(
                "  and {} more; the report has them all\n",
                lines.len() - SHOWN
            ));
        }
    };
    list("DIFFERENT", report.differences());
    list("not proven", report.not_proven());
    let not_proven = report.not_proven().len();
    let verdict = match report.verdict {
        DrillVerdict::Proven if not_proven > 0 => {
            "is PROVEN but for what stands above, which needs what the scratch server lacks; every table's rows came back"
        }
        DrillVerdict::Proven if report.databases.is_empty() => {
            "is PROVEN: every file of it was read back"
        }
        DrillVerdict::Proven => "is PROVEN: it was restored, and what came back is what was there",
        DrillVerdict::Failed | DrillVerdict::Incomplete => "is NOT PROVEN",
    };
    text.push_str(&format!(
        "{} {verdict} ({})\n",
        report.set,
        duration(report.duration_ms)
    ));
    text
}
