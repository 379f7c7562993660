//! One database of a set, in the place of the present one or beside it. The present one is moved aside and kept; whatever goes wrong
//! is put back by looking at what lies on the server.

mod error;
mod give_up;
pub(crate) mod job;
mod obstacles;
mod plan;
mod prepared;
mod request;
pub(crate) mod script;
mod settle;
mod stage;
mod table;

use std::collections::BTreeSet;

use postgres::dsn::Dsn;
use postgres::restore::load::OnError;
use postgres::restore::place::in_the_way;
use postgres::restore::{RestoreError, drop_statement};
use tokio_util::sync::CancellationToken;

use super::ways::connect;
use crate::event::{Event, Observer};
pub use error::{DatabaseRestoreError, Stranded};
use give_up::{Ended, give_up, is_there};
use job::{Job, Progress, RolesWanted};
pub use obstacles::obstacles;
pub use plan::{DatabasePlan, RestorePlan, plan};
pub use request::{DatabaseRequest, RestoredDatabase};
use settle::settle;
use table::find_table;

/// Said where only the answer to the last statement was lost.
const ANSWER_LOST: &str =
    "the connection was lost behind the last statement; the server says that it was carried out";

/// What an undo did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// In sentences.
    pub done: Vec<String>,
    /// Other databases that restores began and did not end, which may be at work.
    pub others: Vec<String>,
}

/// Puts back what restores that were killed left of a database.
pub async fn undo(dsns: &[Dsn], name: &str) -> Result<Undone, RestoreError> {
    let admin = connect(dsns, name).await?;
    Ok(Undone {
        done: admin.undo(name).await?,
        others: admin.begun(name).await?,
    })
}

/// Carries a plan out.
pub async fn restore_database(
    plan: &RestorePlan<'_>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<RestoredDatabase, DatabaseRestoreError> {
    let request = plan.request;
    observer.on(&Event::StepStarted {
        step: format!("{} check", request.label),
    });
    plan.is_unchanged().await?;
    let admin = connect(&request.dsns, request.name)
        .await
        .map_err(DatabaseRestoreError::Refused)?;
    let mut notes = admin
        .undo(request.name)
        .await
        .map_err(DatabaseRestoreError::Refused)?;
    observer.on(if notes.is_empty() {
        &Event::NothingLeft
    } else {
        &Event::PutBack
    });
    notes.extend(plan.note.clone());
    if !request.beside && !request.force {
        in_the_way(&admin, request.name)
            .await
            .map_err(DatabaseRestoreError::Refused)?;
    }
    if cancel.is_cancelled() {
        return Err(DatabaseRestoreError::Interrupted {
            name: request.name.to_owned(),
            there: is_there(&admin, request.name).await,
            roles: Vec::new(),
        });
    }
    let set = request.entry.id.to_string();
    let table = request
        .table
        .as_deref()
        .map(|table| find_table(plan.artifact, table));
    let dsn = admin.server.dsn().clone();
    // It may be in template1, which nobody can copy meanwhile; and a load can be long.
    drop(admin);
    let job = Job {
        label: request.label,
        set: &set,
        artifact: plan.artifact,
        census: plan.census.as_ref(),
        file: plan.file.clone(),
        script: &plan.script,
        tools: request.tools,
        dsn,
        name: request.name,
        beside: request.beside,
        roles: if request.roles {
            RolesWanted::All
        } else {
            RolesWanted::Missing
        },
        force: request.force,
        jobs: request.jobs,
        on_error: if request.keep_going {
            OnError::GoOn
        } else {
            OnError::Stop
        },
        absent: BTreeSet::new(),
        table,
        thrown_away: false,
    };
    let mut done = Progress::default();
    if let Err(fault) = job.perform(&mut done, observer, cancel).await {
        match give_up(request, &plan.script, fault, &done, cancel).await {
            Ended::Complete => done.notes.push(ANSWER_LOST.to_owned()),
            Ended::Failed(error) => return Err(error),
        }
    }
    done.tell_left_out();
    notes.append(&mut done.notes);
    let mut restored = RestoredDatabase {
        name: request.name.to_owned(),
        rows: done.tables.iter().map(|table| table.rows).sum(),
        tables: done.tables.len(),
        notes,
        faults: done.faults.iter().map(ToString::to_string).collect(),
        ..RestoredDatabase::default()
    };
    // A service may have changed the server's passwords by now, as --roles does: what follows is told, and fails nothing.
    match connect(&request.dsns, request.name).await {
        Ok(admin) => settle(request, &admin, &done, &mut restored).await,
        Err(error) => {
            restored.aside.clone_from(&done.aside);
            restored.drop = done.aside.as_deref().map(drop_statement);
            restored.notes.push(format!(
                "what came back could not be looked at once more: {error}"
            ));
        }
    }
    Ok(restored)
}
