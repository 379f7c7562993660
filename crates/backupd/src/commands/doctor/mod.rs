//! `backupd doctor`: everything that `check`, `status` and `restore --dry-run` find, what it means, and the line that repairs it; and
//! whether the stack could be restored right now. Changes nothing.

mod findings;
mod restoring;
mod service;

use catalog::set::SetId;
use engine::backup::preflight::preflight;
use engine::clock;
use engine::finding::{Check, Fault, Outcome};
use engine::source::Look;
use postgres::words::one_line;
use serde::Serialize;

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use crate::cli::Doctor;
use crate::render::remedy::{Where, remedy};
use crate::render::table::Table;
use crate::settings::Environment;
use crate::signals::Signals;
use findings::{Finding, Findings};

/// All of it, for machines.
#[derive(Serialize)]
struct Told<'a> {
    restorable: bool,
    /// Why not, a sentence each.
    because: Vec<String>,
    /// The set that a restore would take.
    set: Option<SetId>,
    /// Whether a run could make a good set.
    runnable: bool,
    runnable_because: Vec<String>,
    /// Where the lines are typed.
    at: Where,
    findings: Vec<ToldFinding<'a>>,
}

#[derive(Serialize)]
struct ToldFinding<'a> {
    #[serde(flatten)]
    check: &'a Check,
    fault: Option<&'static str>,
    meaning: Option<&'static str>,
    lines: Vec<String>,
    stops_run: bool,
    stops_restore: bool,
}

pub async fn execute(
    asked: &Doctor,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let at = asked.at.unwrap_or_else(Where::here);
    let mut found = Findings::default();
    let service = match environment.service(clock::now()) {
        Ok(service) => Some(service),
        Err(problems) => {
            found.extend(problems.iter().map(settings));
            None
        }
    };
    if let Some(service) = service {
        let looked = preflight(&service.config, Look::Whole, &signals.token).await;
        let tools = looked.tools.clone();
        found.extend(looked.checks);
        service::look(service, tools.as_ref(), at, &mut found).await;
    }
    let set = restoring::look(environment, signals, &mut found).await;
    if signals.token.is_cancelled() {
        return Ok(Exit::Interrupted(signals.exit_code()));
    }
    let told = told(&found, set, at);
    let restorable = told.restorable;
    if asked.output.json {
        print_json(&told)?;
    } else {
        print_text(&text(&told))?;
    }
    Ok(if restorable { Exit::Done } else { Exit::Failed })
}

/// A problem of the settings begins with the setting's name, and ends with the right name where the name is what is wrong.
fn settings(problem: &str) -> Check {
    let wrong: String = problem
        .chars()
        .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_')
        .collect();
    let right = problem.split_once("is no setting of backupd: did you mean ");
    let right = right.map(|(_, right)| right.trim_end_matches('?').to_owned());
    let fault = Fault::Settings { wrong, right };
    Check::new(
        "settings",
        Outcome::Failed,
        engine::finding::Blocks::Run,
        problem,
        Some(fault),
    )
}

fn told(found: &Findings, set: Option<SetId>, at: Where) -> Told<'_> {
    let because = |stops: fn(&Finding) -> bool| -> Vec<String> {
        let stopping = found.all().iter().filter(|finding| stops(finding));
        stopping
            .map(|finding| {
                format!(
                    "{}: {}",
                    finding.check.subject,
                    one_line(&finding.check.text)
                )
            })
            .collect()
    };
    let (because, runnable_because) = (
        because(|finding| finding.stops_restore),
        because(|finding| finding.stops_run),
    );
    let findings = found.all().iter().map(|finding| {
        let fault = finding.check.fault.as_ref();
        let remedy = fault.map(|fault| remedy(fault, at));
        ToldFinding {
            check: &finding.check,
            fault: fault.map(Fault::name),
            meaning: remedy.as_ref().map(|remedy| remedy.meaning),
            lines: remedy.map(|remedy| remedy.lines).unwrap_or_default(),
            stops_run: finding.stops_run,
            stops_restore: finding.stops_restore,
        }
    });
    Told {
        restorable: because.is_empty(),
        because,
        set,
        runnable: runnable_because.is_empty(),
        runnable_because,
        at,
        findings: findings.collect(),
    }
}

fn text(told: &Told<'_>) -> String {
    let mut table = Table::new(&[]);
    let passed = |finding: &&ToldFinding<'_>| finding.check.outcome == Outcome::Passed;
    for finding in told.findings.iter().filter(passed) {
        table.row(["ok", &finding.check.subject, &one_line(&finding.check.text)]);
    }
    let mut text = table.to_string();
    for finding in told.findings.iter().filter(|finding| !passed(finding)) {
        let mark = match finding.check.outcome {
            Outcome::Failed => "FAILED",
            Outcome::Passed | Outcome::Warning => "warning",
        };
        let said = one_line(&finding.check.text);
        text.push_str(&format!("\n{mark}  {}: {said}\n", finding.check.subject));
        if let Some(meaning) = finding.meaning {
            text.push_str(&format!("  {meaning}\n"));
        }
        for line in &finding.lines {
            text.push_str(&format!("      {line}\n"));
        }
    }
    let verdict = |because: &[String]| match because {
        [] => "yes".to_owned(),
        because => format!("no, because {}", because.join("; ")),
    };
    text.push_str(&format!(
        "\nthe next run could make a good set: {}\n",
        verdict(&told.runnable_because)
    ));
    if told.restorable {
        text.push_str(&format!(
            "to restore the newest good set: {}\n",
            told.at.restore("latest")
        ));
    } else {
        text.push_str(&format!(
            "when it is repaired, ask again: {}\n",
            told.at.doctor()
        ));
    }
    text.push_str(&format!(
        "you could restore this stack right now: {}\n",
        verdict(&told.because)
    ));
    text
}
