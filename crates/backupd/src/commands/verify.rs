//! `backupd verify`: reads a set back and says every difference; with `--drill` it is restored as well.

use std::sync::Arc;

use catalog::catalog::Entry;
use catalog::layout::MANIFEST;
use catalog::manifest::ManifestError;
use engine::prove::verify::{keep, verify_set};
use engine::source::read_back::{Flaw, Problem, Reading, Report, flaw_of};
use engine::space::human;
use engine::tell_while;
use postgres::tools::Tools;
use postgres::words::counted;
use serde::Serialize;
use stream::artifact::Meter;

use super::drill::Telling;
use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use super::sets::find;
use crate::cli::{OneSet, Verify};
use crate::render::{self, progress::Progress};
use crate::settings::Environment;
use crate::signals::Signals;

#[derive(Serialize)]
struct Verdict<'a> {
    set: String,
    whole: bool,
    #[serde(flatten)]
    report: &'a Report,
}

pub async fn execute(
    asked: &Verify,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let Verify { one: asked, drill } = asked;
    let entry = find(environment, &asked.set)?;
    if *drill {
        return super::drill::execute(asked, Telling::Output, &entry, environment, signals).await;
    }
    let report = match &entry.manifest {
        Err(error) => Report {
            problems: vec![Problem {
                file: MANIFEST.to_owned(),
                flaw: match error {
                    ManifestError::Unreadable(error) => flaw_of(error),
                    _ => Flaw::Damaged,
                },
                what: error.to_string(),
            }],
            ..Report::default()
        },
        Ok(manifest) => {
            let search = environment.tool_search();
            // Only dumps in custom format need the tools; without them such a dump is reported as not readable.
            let tools = Tools::find(search.bindir.as_deref(), &search.path, &signals.token)
                .await
                .ok();
            let progress = Progress::start(&environment.logging()?);
            let reading = Reading {
                tools: tools.as_ref(),
                meter: Arc::new(Meter::default()),
                cancel: &signals.token,
            };
            let expected = manifest.artifacts.iter().map(|one| one.raw_bytes).sum();
            let reading_back = verify_set(&entry.path, manifest, &reading);
            let meter = reading.meter.clone();
            let read = tell_while(reading_back, &progress, "verify", &meter, Some(expected)).await;
            progress.clear();
            match read {
                Ok(report) => report,
                Err(interrupted) => {
                    render::error::say(&interrupted.to_string());
                    return Ok(Exit::Interrupted(signals.exit_code()));
                }
            }
        }
    };
    remember(environment, &entry, &report)?;
    say(asked, &entry, &report)?;
    let unread = |problem: &Problem| problem.flaw == Flaw::Unread;
    Ok(if report.is_whole() {
        Exit::Done
    } else if report.problems.iter().all(unread) {
        Exit::Failed
    } else {
        Exit::Different
    })
}

/// Keeps the verdict, so that a set found damaged no longer counts as good. A backup directory that is mounted read-only (a copy on
/// another machine) can be verified all the same.
fn remember(environment: &Environment, entry: &Entry, report: &Report) -> Result<(), Refusal> {
    let dir = environment.backup_dir()?;
    if let Err(error) = keep(&dir, entry.id, report) {
        render::error::note(&format!(
            "the verdict was not kept in {}: {error}",
            dir.display()
        ));
    }
    Ok(())
}

fn say(asked: &OneSet, entry: &Entry, report: &Report) -> Result<(), Refusal> {
    let set = entry.id.to_string();
    if asked.output.json {
        print_json(&Verdict {
            set,
            whole: report.is_whole(),
            report,
        })?;
        return Ok(());
    }
    let mut text = String::new();
    for problem in &report.problems {
        text.push_str(&format!("{set}/{}: {}\n", problem.file, problem.what));
    }
    let status = entry.manifest().map(|manifest| manifest.status);
    if report.is_whole() {
        text.push_str(&format!(
            "{set} is whole: {}, {} on disk, {} decoded, {}, {}\n",
            counted(report.files as u64, "file"),
            human(report.bytes),
            human(report.raw_bytes),
            counted(report.rows, "row"),
            counted(report.entries, "archive entry")
        ));
        if let Some(status) =
            status.filter(|status| *status != catalog::manifest::RunStatus::Succeeded)
        {
            text.push_str(&format!(
                "its run is marked {}: what it holds is intact, but it is no full recovery point\n",
                render::set::status(status)
            ));
        }
    } else {
        text.push_str(&format!("{set} {}\n", verdict(report)));
    }
    print_text(&text)?;
    Ok(())
}

/// What is known of a set that was not read whole.
fn verdict(report: &Report) -> String {
    let found = counted(report.problems.len() as u64, "difference");
    if report.is_damaged() {
        format!("is DAMAGED: {found}")
    } else if report.has(Flaw::Missing) || report.has(Flaw::Foreign) {
        format!("is NOT WHOLE: {found}")
    } else {
        "COULD NOT BE READ: nothing was found damaged, and it counts as before; verify it again when the cause is gone".to_owned()
    }
}
