//! Databases of a set, in place or beside.

use std::collections::BTreeSet;
use std::time::Instant;

use catalog::catalog::Entry;
use catalog::history::{Happening, History};
use catalog::manifest::Manifest;
use engine::config::DatabaseRole;
use engine::event::Observer;
use engine::finding::{Check, Fault};
use engine::restore::{InPlace, remember, settle};
use engine::source::database::restore::{
    DatabasePlan, DatabaseRequest, DatabaseRestoreError, RestoredDatabase, obstacles, plan,
    restore_database, undo as put_back,
};
use engine::space::human;
use postgres::restore::application;
use postgres::tools::Tools;
use postgres::words::{counted, one_line};

use super::ask;
use super::told::{Source, Told, in_the_way, noted};
use crate::cli::Restore;
use crate::commands::exit::{Exit, Refusal};
use crate::render::set::duration;
use crate::render::{self, progress::Progress};
use crate::settings::{Environment, RestoreTarget};
use crate::signals::Signals;

/// More connections than this help little, and take from others what they need.
const JOBS_MOST: u8 = 4;

pub async fn execute(
    asked: &Restore,
    telling: &Told,
    entry: &Entry,
    labels: &[String],
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let mut targets = environment.restore_targets(labels, entry.manifest())?;
    for target in &mut targets {
        name_ourselves(asked, target);
    }
    if asked.roles {
        passwords_last(&mut targets, entry.manifest());
    }
    let search = environment.tool_search();
    let found = Tools::find(search.bindir.as_deref(), &search.path, &signals.token).await;
    if signals.token.is_cancelled() {
        render::error::say("interrupted; nothing was touched: every database is as it was before");
        return Ok(Exit::Interrupted(signals.exit_code()));
    }
    let tools = found.map_err(|error| Refusal::Unusable(error.to_string()))?;
    let requests: Vec<DatabaseRequest> = targets
        .iter()
        .enumerate()
        .map(|(at, target)| {
            let mut request = request(asked, entry, target, &tools);
            // Whatever came behind it on its server could not connect any more.
            let later = &mut targets[at + 1..].iter();
            request.roles &=
                !later.any(|later| later.source.dsn.is_same_server(&target.source.dsn));
            request
        })
        .collect();
    if asked.dry_run {
        return told(asked, telling, &requests, environment).await;
    }
    let mut plans = Vec::new();
    for request in &requests {
        match plan(request).await {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                telling.keep(Source::failed(request.label, request.name, &error));
                return Ok(failed(&error, signals));
            }
        }
    }
    // One that would be refused behind another that is restored already is refused now.
    if is_refused(&requests, telling).await {
        render::error::note("nothing was touched");
        return Ok(Exit::Failed);
    }
    if !asked.yes {
        for plan in plans.iter().filter(|plan| !plan.request.beside) {
            ask::for_name(&tell(asked, &plan.told, ""), &plan.told.name, signals)?;
        }
    }
    let progress = Progress::start(&environment.logging()?);
    let (dir, mut exit) = (environment.backup_dir()?, Exit::Done);
    for plan in &plans {
        let (request, began) = (plan.request, Instant::now());
        let into = request.name.to_owned();
        let in_place = InPlace::new(&dir, &progress, entry.id, request.label, into);
        let listener: &dyn Observer = if request.beside { &progress } else { &in_place };
        let ended = restore_database(plan, listener, &signals.token).await;
        progress.clear();
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = ended.as_ref().err().map(ToString::to_string);
        noted(if request.beside {
            let into = request.name.to_owned();
            remember(&dir, entry.id, request.label, into, took, error)
        } else {
            in_place.end(took, error)
        });
        match ended {
            Ok(restored) => {
                let what = serde_json::to_value(&restored).map_err(std::io::Error::from)?;
                let is_whole = restored.faults.is_empty();
                let source = Source::restored(request.label, &restored.name, what, is_whole);
                telling.say(&done(request, entry, &restored, took), source)?;
                if !restored.faults.is_empty() {
                    exit = Exit::Different;
                }
            }
            Err(error) => {
                telling.keep(Source::failed(request.label, request.name, &error));
                return Ok(failed(&error, signals));
            }
        }
    }
    Ok(exit)
}

/// Whether one of several databases could not be restored, which is said.
async fn is_refused(requests: &[DatabaseRequest<'_>], telling: &Told) -> bool {
    let mut refused = false;
    for request in requests.iter().filter(|_| requests.len() > 1) {
        let found = obstacles(request).await;
        let stops = |check: &&Check| check.stops_restore() || check.fault == Some(Fault::Clients);
        let stops: Vec<&Check> = found.iter().filter(stops).collect();
        if stops.is_empty() {
            continue;
        }
        for check in &stops {
            render::error::say(&check.text);
        }
        telling.keep(Source::planned(
            request.label,
            request.name,
            None,
            &stops,
            None,
        ));
        refused = true;
    }
    refused
}

/// `--dry-run`: the plan of each database, and everything that it would end at.
async fn told(
    asked: &Restore,
    telling: &Told,
    requests: &[DatabaseRequest<'_>],
    environment: &Environment,
) -> Result<Exit, Refusal> {
    let mut exit = Exit::Done;
    for request in requests {
        let found = obstacles(request).await;
        let stops: Vec<&Check> = found.iter().filter(|check| check.stops_restore()).collect();
        let (mut value, mut fault) = (None, None);
        let mut text = match plan(request).await {
            Ok(plan) => {
                value = Some(serde_json::to_value(&plan.told).map_err(std::io::Error::from)?);
                tell(asked, &plan.told, &last_time(environment, &plan.told))
            }
            Err(error) if stops.is_empty() => {
                exit = Exit::Failed;
                fault = Some(error.to_string());
                format!("{}: {error}\n", request.label)
            }
            Err(_) => format!("{} of {}\n", request.label, request.entry.id),
        };
        text.push_str(&in_the_way(&stops));
        let source = Source::planned(request.label, request.name, value, &stops, fault);
        telling.say(&text, source)?;
        if !stops.is_empty() {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

/// `--undo`: what restores that were cut off left.
pub async fn undo(
    asked: &Restore,
    telling: &Told,
    labels: &[String],
    set: Option<&Manifest>,
    environment: &Environment,
) -> Result<Exit, Refusal> {
    let (dir, mut exit) = (environment.backup_dir()?, Exit::Done);
    let mut told = BTreeSet::new();
    for mut target in environment.restore_targets(labels, set)? {
        name_ourselves(asked, &mut target);
        let name = asked.into.as_ref().unwrap_or(&target.source.dsn.database);
        // What was done is said, whatever becomes of the others.
        match put_back(&target.dsns, name).await {
            Ok(undone) => {
                if asked.into.is_none() {
                    let left = (!undone.done.is_empty()).then_some(false);
                    noted(settle(&dir, &target.source.label, name, left));
                }
                let mut text = String::new();
                if undone.done.is_empty() {
                    text = format!("{name}: nothing was left by a restore that was cut off\n");
                }
                for line in &undone.done {
                    text.push_str(&format!("{}\n", one_line(line)));
                }
                for other in undone.others {
                    let label = &target.source.label;
                    let words = format!(
                        "a restore into {other} is at work, or was cut off: `backupd restore --undo --only {label} --into {other}` removes what it left\n"
                    );
                    if told.insert(other) {
                        text.push_str(&words);
                    }
                }
                let lines = text.lines().map(str::to_owned).collect();
                telling.say(&text, Source::undone(&target.source.label, name, lines))?;
            }
            Err(error) => {
                telling.keep(Source::failed(&target.source.label, name, &error));
                render::error::say(&format!("{name} could not be looked at: {error}"));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

/// Sessions of this restore are told from others' by their name.
fn name_ourselves(asked: &Restore, target: &mut RestoreTarget) {
    let name = asked.into.as_deref().unwrap_or(&target.source.dsn.database);
    let application = application(&std::process::id().to_string(), name);
    for dsn in &mut target.dsns {
        dsn.application.clone_from(&application);
    }
}

/// With `--roles` the last database of each server brings the passwords: one whose roles file holds them.
fn passwords_last(targets: &mut [RestoreTarget], manifest: Option<&Manifest>) {
    let artifacts = manifest.map_or(&[][..], |manifest| &manifest.artifacts);
    targets.sort_by_key(|target| {
        artifacts.iter().any(|artifact| {
            artifact.label == target.source.label && artifact.has_passwords() == Some(true)
        })
    });
}

pub fn request<'a>(
    asked: &'a Restore,
    entry: &'a Entry,
    target: &'a RestoreTarget,
    tools: &'a Tools,
) -> DatabaseRequest<'a> {
    let source = &target.source;
    DatabaseRequest {
        entry,
        label: &source.label,
        role: source.role,
        dsns: target.dsns.clone(),
        own: &source.dsn,
        name: asked.into.as_deref().unwrap_or(&source.dsn.database),
        beside: asked.into.is_some(),
        table: asked.table.clone(),
        roles: asked.roles,
        force: asked.force,
        keep_going: asked.keep_going,
        drop_old: asked.drop_old,
        jobs: asked.jobs.unwrap_or_else(processors),
        tools,
    }
}

/// Connections that a machine of this size serves.
fn processors() -> u8 {
    let found = std::thread::available_parallelism().map_or(1, usize::from);
    u8::try_from(found).map_or(JOBS_MOST, |found| found.min(JOBS_MOST))
}

/// How long it took to load as much before, where that is known.
fn last_time(environment: &Environment, plan: &DatabasePlan) -> String {
    let records = environment
        .backup_dir()
        .ok()
        .and_then(|dir| History::open(&dir).ok()?.read().ok())
        .unwrap_or_default();
    let last = records
        .iter()
        .rev()
        .find_map(|record| match &record.happening {
            Happening::Restored {
                source,
                duration_ms,
                error: None,
                ..
            } if *source == plan.source => Some(format!(
                "  last time it took {} ({})\n",
                duration(*duration_ms),
                record.at.format("%Y-%m-%d")
            )),
            _ => None,
        });
    last.unwrap_or_else(|| {
        "  how long it will take is not known: it was never restored here\n".to_owned()
    })
}

fn tell(asked: &Restore, plan: &DatabasePlan, last_time: &str) -> String {
    let mut text = format!(
        "{} of {}: {} in {}, {} on disk, {} unpacked\n  into {}\n",
        plan.source,
        plan.set,
        counted(plan.rows, "row"),
        counted(plan.tables as u64, "table"),
        human(plan.bytes),
        human(plan.raw_bytes),
        one_line(&plan.into)
    );
    let mut line = |words: String| text.push_str(&format!("  {}\n", one_line(&words)));
    if let Some(set) = &plan.cut_off {
        line(format!(
            "a restore from {set} was cut off here: the database before it is put back first"
        ));
    }
    match plan.present_bytes {
        Some(_) if asked.into.is_some() => line(format!(
            "{} is there already: this would be refused",
            plan.name
        )),
        Some(size) => {
            line(
                "a new database is made from template0, loaded under another name, and compared"
                    .to_owned(),
            );
            line(format!(
                "then {} ({}) is moved aside: renamed to {}_before_{}, and the new one gets its name",
                plan.name,
                human(size),
                plan.name,
                plan.set
            ));
        }
        None => line(format!("{} is made from template0, and loaded", plan.name)),
    }
    if !plan.roles_created.is_empty() {
        line(format!(
            "roles that are missing are created: {}",
            plan.roles_created.join(", ")
        ));
    }
    if asked.roles {
        line("roles that are there get their passwords and attributes back".to_owned());
    }
    if !plan.clients.is_empty() {
        let fate = if asked.force {
            "are ended"
        } else {
            "are in the way: stop them, or say --force"
        };
        line(format!(
            "sessions of clients {fate}: {}",
            plan.clients.join(", ")
        ));
    }
    if !plan.workers.is_empty() {
        line(format!(
            "the server's own workers are ended when the names are exchanged: {}",
            plan.workers.join(", ")
        ));
    }
    text.push_str(last_time);
    text
}

fn done(
    request: &DatabaseRequest<'_>,
    entry: &Entry,
    restored: &RestoredDatabase,
    took: u64,
) -> String {
    let mut text = format!(
        "{}: {} of {} is back: {} in {}, each table's counted, in {}\n",
        one_line(&restored.name),
        request.label,
        entry.id,
        counted(restored.rows, "row"),
        counted(restored.tables as u64, "table"),
        duration(took)
    );
    for note in &restored.notes {
        text.push_str(&format!("  {}\n", one_line(note)));
    }
    if !restored.faults.is_empty() {
        text.push_str(&format!(
            "  NOT EVERYTHING IS BACK: {} could not be loaded or differ\n",
            restored.faults.len()
        ));
        for fault in &restored.faults {
            text.push_str(&format!("    {}\n", fault.replace('\n', "\n      ")));
        }
    }
    if let Some(aside) = &restored.aside {
        text.push_str(&format!(
            "  the database before is kept as {}; to drop it:\n",
            one_line(aside)
        ));
        text.push_str(&format!(
            "    {}\n",
            restored
                .drop
                .as_deref()
                .unwrap_or_default()
                .replace('\n', "\n    ")
        ));
    }
    match request.role {
        DatabaseRole::Keycloak if !request.beside => text.push_str("  start Keycloak now\n"),
        _ => {}
    }
    text
}

fn failed(error: &DatabaseRestoreError, signals: &Signals) -> Exit {
    render::error::say(&error.to_string());
    match error {
        DatabaseRestoreError::Different { .. } => Exit::Different,
        DatabaseRestoreError::Interrupted { .. } => Exit::Interrupted(signals.exit_code()),
        _ => Exit::Failed,
    }
}
