//! `backupd status`: the daemon's state.

use catalog::drill::DrillVerdict;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use engine::clock;
use engine::space::human;
use policy::verdict::{Health, span};
use postgres::words::counted;

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use crate::cli::Output;
use crate::daemon::control::{Answer, Client, ClientError, Request};
use crate::daemon::state::Report;
use crate::render::anomaly::in_short;
use crate::render::set::{duration, result};
use crate::render::table::Table;
use crate::settings::Environment;

pub async fn execute(output: &Output, environment: &Environment) -> Result<Exit, Refusal> {
    let socket = environment.control_socket()?;
    let mut client = Client::ask(&socket, &Request::Status).await?;
    let Answer::Report(report) = client.next().await? else {
        return Err(ClientError::Gone.into());
    };
    if output.json {
        print_json(&report)?;
    } else {
        print_text(&text(&report))?;
    }
    Ok(Exit::Done)
}

fn text(report: &Report) -> String {
    let now = clock::now();
    let mut table = Table::new(&[]);
    let health = match report.verdict.health {
        Health::Healthy => "healthy",
        Health::Starting => "starting",
        Health::Unhealthy => "UNHEALTHY",
    };
    table.row([
        "health",
        &format!("{health}: {}", report.verdict.reasons.join("; ")),
    ]);
    table.row(["now", &current(report)]);
    let last = report.last_run.as_ref().map_or("none".to_owned(), |run| {
        format!(
            "{} {}{}, {} ago, took {}{}",
            run.set.map_or("no set".to_owned(), |set| set.to_string()),
            result(run.result),
            run.trigger
                .as_ref()
                .map_or(String::new(), |trigger| format!(" ({trigger})")),
            span(now - run.ended_at),
            duration(run.duration_ms),
            run.error
                .as_ref()
                .map_or(String::new(), |error| format!(": {error}")),
        )
    });
    table.row(["last run", &last]);
    let good = report.last_good.as_ref().map_or("NONE".to_owned(), |good| {
        format!(
            "{}, {} old, {}",
            good.set,
            span(TimeDelta::seconds(good.age_seconds)),
            human(good.bytes)
        )
    });
    table.row(["last good set", &good]);
    if !report.anomalies.is_empty() {
        table.row(["ANOMALY", &anomalies(report)]);
    }
    table.row(["last drill", &last_drill(report)]);
    let next = report.next_run.as_ref().map_or("none".to_owned(), |next| {
        format!(
            "{} ({}), in {}",
            local(report, next.at),
            next.reason,
            span(next.at - now)
        )
    });
    table.row(["next run", &next]);
    table.row(["schedule", report.schedule.as_deref().unwrap_or("off")]);
    let disk = &report.disk;
    let room = format!(
        "{}, {} of them good{}, {}; {} free",
        counted(disk.sets as u64, "set"),
        disk.good_sets,
        match disk.future_sets {
            0 => String::new(),
            sets => format!(
                " (besides {} from the future, which count for nothing)",
                counted(sets as u64, "set")
            ),
        },
        human(disk.set_bytes),
        human(disk.free_bytes)
    );
    table.row(["disk", &room]);
    table.to_string()
}

/// In the schedule's time zone, as the log tells moments.
fn local(report: &Report, moment: DateTime<Utc>) -> String {
    let zone: Tz = report.timezone.parse().unwrap_or(Tz::UTC);
    let local = moment.with_timezone(&zone);
    local.format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

fn anomalies(report: &Report) -> String {
    let odd = report.anomalies.iter();
    let odd: Vec<String> = odd
        .map(|odd| format!("{}: {}", odd.set, in_short(&odd.found)))
        .collect();
    odd.join("; ")
}

fn last_drill(report: &Report) -> String {
    let now = clock::now();
    let last = report
        .last_drill
        .as_ref()
        .map_or("never".to_owned(), |drill| {
            let findings = match (drill.differences.as_slice(), drill.not_proven) {
                ([first, ..], _) => format!(": {first}"),
                ([], 0) => String::new(),
                ([], count) => format!(", {} not proven", counted(count as u64, "object")),
            };
            let ago = span(now - drill.ended_at);
            let verdict = if drill.verdict == DrillVerdict::Failed {
                "FAILED"
            } else {
                drill.verdict.name()
            };
            format!(
                "{} {verdict}{findings}, {ago} ago, took {}",
                drill.set,
                duration(drill.duration_ms)
            )
        });
    match (report.drilling, report.next_drill) {
        (true, _) => format!("{last}; one is at work"),
        (false, Some(next)) => format!("{last}; next in {}", span(next - now)),
        (false, None) => last,
    }
}

fn current(report: &Report) -> String {
    let Some(current) = &report.current_run else {
        return "idle".to_owned();
    };
    let step = current.step.as_deref().unwrap_or("between steps");
    let expected = current
        .expected_bytes
        .map_or(String::new(), |expected| format!(" of {}", human(expected)));
    format!(
        "run {} ({}) at work since {}: {step}, {}{expected} read",
        current.run,
        current.trigger,
        local(report, current.started_at),
        human(current.raw_bytes)
    )
}
