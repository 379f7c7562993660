//! The status page: what an operator wants to see on a phone at night. Rendered here, whole, without scripts or assets; it loads itself
//! anew by a `refresh`.

use catalog::catalog::Entry;
use catalog::manifest::{Manifest, RunStatus, StepRecord, StepStatus};
use chrono::{DateTime, TimeDelta, Utc};
use engine::keep::survey::{DETAILED, Survey};
use engine::space::human;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use policy::schedule::Schedule;
use policy::verdict::{Health, span};
use postgres::words::counted;

use super::plot::{self, Point};
use super::state::Report;
use crate::render::anomaly::in_short;
use crate::render::set::{duration, reconcile, result};

const STYLE: &str = include_str!("page.css");
/// Seconds between reloads: while a run is at work, and else.
const RELOAD_BUSY: u32 = 5;
const RELOAD_IDLE: u32 = 30;
/// Tables whose growth is shown: the largest of the newest good set.
const GROWING_TABLES: usize = 5;

/// The page.
pub fn render(
    report: &Report,
    survey: &Survey,
    schedule: Option<&Schedule>,
    now: DateTime<Utc>,
) -> Markup {
    let (class, word) = match report.verdict.health {
        Health::Healthy => ("good", "Healthy"),
        Health::Starting => ("early", "Starting"),
        Health::Unhealthy => ("bad", "Unhealthy"),
    };
    let reload = if report.current_run.is_some() {
        RELOAD_BUSY
    } else {
        RELOAD_IDLE
    };
    let local = |moment: DateTime<Utc>| match schedule {
        Some(schedule) => moment
            .with_timezone(&schedule.zone())
            .format("%a %d %b %Y %H:%M %Z")
            .to_string(),
        None => moment.format("%a %d %b %Y %H:%M UTC").to_string(),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="refresh" content=(reload);
                title { (word) " · backupd" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header class=(class) {
                    h1 { (word) }
                    @for reason in &report.verdict.reasons { p { (reason) } }
                }
                main {
                    (facts(report, &local, now))
                    (current(report))
                    (sets(survey, now))
                    (objects(survey, now))
                    (plots(survey))
                    (fates(survey))
                }
                footer { "backupd " (report.backupd) " · as of " (local(now)) " · reloads every " (reload) " s" }
            }
        }
    }
}

fn facts(report: &Report, local: &impl Fn(DateTime<Utc>) -> String, now: DateTime<Utc>) -> Markup {
    html! {
        dl.facts {
            div { dt { "Newest good set" } dd {
                @match &report.last_good {
                    Some(good) => { b { (span(TimeDelta::seconds(good.age_seconds))) " old" } br; code { (good.set) } ", " (human(good.bytes)) }
                    None => b { "none" },
                }
            } }
            div { dt { "Next run" } dd {
                @match &report.next_run {
                    Some(next) => { b { "in " (span(next.at - now)) } br; (local(next.at)) ", " (next.reason) }
                    None => { b { "none due" } br; "backupd trigger begins one" }
                }
            } }
            div { dt { "Last run" } dd {
                @match &report.last_run {
                    Some(run) => { b { (result(run.result)) } ", " (span(now - run.ended_at)) " ago" br; "took " (duration(run.duration_ms)) @if let Some(trigger) = &run.trigger { ", " (trigger) } }
                    None => b { "none yet" },
                }
            } }
            div { dt { "Last proven" } dd {
                @match &report.last_proof {
                    Some(proof) => { b { (span(now - proof.ended_at)) " ago" } br; code { (proof.set) } ", " (proof.verdict.name()) @if proof.not_proven > 0 { ", " (proof.not_proven) " objects not" } }
                    None => b { "never" },
                }
                @if report.drilling { br; "a drill is at work" }
                @else if let Some(next) = report.next_drill { br; "next drill in " (span(next - now)) }
            } }
            div { dt { "Kept" } dd {
                b { (report.disk.good_sets) " good" } " of " (report.disk.sets) " sets" @if report.disk.future_sets > 0 { ", " (report.disk.future_sets) " from the future" } br;
                (human(report.disk.set_bytes)) ", " (human(report.disk.free_bytes)) " free"
            } }
        }
    }
}

fn current(report: &Report) -> Markup {
    let Some(run) = &report.current_run else {
        return html! {};
    };
    html! {
        section.now {
            h2 { "At work: run " code { (run.run) } }
            p { (marks(&run.steps)) @if let Some(step) = &run.step { " " b { (step) } " " (human(run.raw_bytes)) @if let Some(expected) = run.expected_bytes { " of " (human(expected)) } " read, " (human(run.written_bytes)) " written" } }
            @if let Some(expected) = run.expected_bytes.filter(|expected| *expected > 0) {
                progress max=(expected) value=(run.raw_bytes.min(expected)) {}
            }
        }
    }
}

fn sets(survey: &Survey, now: DateTime<Utc>) -> Markup {
    let total = survey.sets.len();
    let newest = survey.sets.iter().rev().find_map(|entry| entry.manifest());
    html! {
        section {
            h2 { "Sets" @if total > DETAILED { " (the newest " (DETAILED) " of " (total) ")" } }
            @if total == 0 { p { "There are none yet." } }
            @else {
                div.wide { table {
                    thead { tr { th { "Set" } th { "Good" } th { "Steps" } th { "Age" } th.number { "Size" } th.number { "Took" } th { "By" } } }
                    tbody {
                        @for entry in survey.sets.iter().rev().take(DETAILED) { (set(entry, now)) }
                    }
                } }
                @if let Some(manifest) = newest {
                    p.legend { "Steps, in order: " (manifest.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join(", ")) }
                }
            }
        }
    }
}

/// How the newest good set's files agree with the objects of its database.
fn objects(survey: &Survey, now: DateTime<Utc>) -> Markup {
    let manifest = survey.newest_good(now).and_then(|entry| entry.manifest());
    let Some(result) = manifest.and_then(|manifest| manifest.storage.as_ref()?.reconcile.as_ref())
    else {
        return html! {};
    };
    html! {
        section {
            h2 { "Objects and files" }
            p { (reconcile(result)) }
            @for (what, faults) in result.faults().into_iter().filter(|(_, faults)| faults.total > 0) {
                details {
                    summary { (faults.told(what)) }
                    ul { @for name in &faults.names { li { code { (name) } } } }
                }
            }
            @if result.extra.total > 0 {
                details {
                    summary { (counted(result.extra.total, "file")) " without an object: uploads during the run, and what the service keeps for itself" }
                    ul { @for name in &result.extra.names { li { code { (name) } } } }
                }
            }
        }
    }
}

fn set(entry: &Entry, now: DateTime<Utc>) -> Markup {
    let manifest = entry.manifest();
    html! {
        tr.failed[!entry.good || entry.odd] {
            td { code { (entry.id) } @if let Some(why) = &entry.why_not_good { div.why { (why) } } @if entry.id.is_from_the_future(now) { div.why { "from the future" } } @if entry.has_open_anomaly() { div.why { "anomaly: " (in_short(entry.anomalies())) } } }
            td { @if entry.has_open_anomaly() { span.mark.warn { "anomaly" } } @else if entry.good { span.mark.ok { "yes" } } @else { span.mark.no { "no" } } }
            td { @if let Some(manifest) = manifest { (marks(&manifest.steps)) } }
            td { (span(now - entry.id.time())) }
            td.number { (human(entry.bytes)) }
            td.number { @if let Some(ms) = manifest.and_then(Manifest::duration_ms) { (duration(ms)) } }
            td { @if let Some(manifest) = manifest { (manifest.trigger) } }
        }
    }
}

/// A mark a step, told by shape and colour; its words when pointed at.
fn marks(steps: &[StepRecord]) -> Markup {
    html! {
        span.marks {
            @for step in steps {
                @let (class, sign, word) = match step.status {
                    StepStatus::Succeeded => ("ok", "✓", "succeeded"),
                    StepStatus::Warning => ("warn", "!", "succeeded with a warning"),
                    StepStatus::Failed => ("no", "✗", "failed"),
                    StepStatus::Skipped => ("skip", "–", "skipped"),
                };
                span class={ "mark " (class) } title=(format!("{} {word}, {}{}", step.name, duration(step.duration_ms), words(step))) { (sign) }
            }
        }
    }
}

fn words(step: &StepRecord) -> String {
    let said = step.error.iter().chain(&step.notes);
    said.fold(String::new(), |text, words| format!("{text}; {words}"))
}

fn plots(survey: &Survey) -> Markup {
    let shown = survey.sets.len().saturating_sub(DETAILED);
    let made: Vec<(&Entry, &Manifest)> = survey.sets[shown..]
        .iter()
        .filter_map(|entry| Some((entry, entry.manifest()?)))
        .collect();
    if made.len() < 2 {
        return html! {};
    }
    let points = |value: &dyn Fn(&Entry, &Manifest) -> Option<u64>| -> Vec<Point> {
        made.iter()
            .filter_map(|(entry, manifest)| {
                Some(Point {
                    value: value(entry, manifest)?,
                    label: entry.id.to_string(),
                    failed: manifest.status != RunStatus::Succeeded,
                })
            })
            .collect()
    };
    html! {
        section {
            h2 { "Over time" }
            div.plots {
                (plot::line("Size", &points(&|entry, _| Some(entry.bytes)), human))
                (plot::line("Duration", &points(&|_, manifest| manifest.duration_ms()), duration))
                (plot::line("Storage", &points(&|_, manifest| Some(manifest.storage.as_ref()?.bytes)), human))
                (plot::line("Storage files", &points(&|_, manifest| Some(manifest.storage.as_ref()?.files)), |count| count.to_string()))
                @for (source, table) in largest_tables(&made) {
                    (plot::line(&format!("{table} rows ({source})"), &points(&|_, manifest| rows(manifest, &source, &table)), |count| count.to_string()))
                }
            }
        }
    }
}

/// The tables with most rows in the newest set that has any.
fn largest_tables(made: &[(&Entry, &Manifest)]) -> Vec<(String, String)> {
    let newest = made.iter().rev().find(|(entry, _)| entry.good);
    let mut tables: Vec<(u64, String, String)> = newest
        .into_iter()
        .flat_map(|(_, manifest)| &manifest.artifacts)
        .flat_map(|artifact| {
            let tables = artifact.tables().unwrap_or_default().iter();
            tables.map(|table| (table.rows, artifact.label.clone(), table.table.clone()))
        })
        .filter(|(rows, _, _)| *rows > 0)
        .collect();
    tables.sort_by_key(|(rows, _, _)| std::cmp::Reverse(*rows));
    tables
        .into_iter()
        .take(GROWING_TABLES)
        .map(|(_, source, table)| (source, table))
        .collect()
}

fn rows(manifest: &Manifest, source: &str, table: &str) -> Option<u64> {
    let tables = manifest
        .artifacts
        .iter()
        .find(|artifact| artifact.label == source && artifact.tables().is_some())?
        .tables()?;
    tables
        .iter()
        .find(|counted| counted.table == table)
        .map(|counted| counted.rows)
}

fn fates(survey: &Survey) -> Markup {
    let going: Vec<_> = survey.fates.iter().filter(|fate| !fate.keep).collect();
    html! {
        section {
            h2 { "Retention" }
            @if going.is_empty() { p { "The next good run removes nothing." } }
            @else {
                p { "After the next good run these go:" }
                ul { @for fate in going { li { code { (fate.id) } ": " (fate.reasons.join(", ")) } } }
            }
        }
    }
}
