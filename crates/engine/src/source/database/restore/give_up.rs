//! A restore that failed: the database before is put back.

use std::time::{Duration, Instant};

use postgres::restore::RestoreError;
use postgres::restore::admin::Admin;
use postgres::restore::roles::RolesScript;
use tokio_util::sync::CancellationToken;

use super::error::{DatabaseRestoreError, Stranded};
use super::job::Progress;
use super::request::DatabaseRequest;
use super::settle::gone;
use super::stage::Fault;
use crate::source::database::ways::connect;

/// How long a server that restarts is waited for before what was begun is left to `--undo`.
const SERVER_BACK_WITHIN: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Whether there is a database of this name; a server that cannot tell has not lost one.
pub(super) async fn is_there(admin: &Admin, name: &str) -> bool {
    admin.look(name).await.map_or(true, |found| found.is_some())
}

/// Puts the database before back, whatever was done: by what lies on the server. A server that restarts is waited for.
pub(super) async fn give_up(
    request: &DatabaseRequest<'_>,
    script: &RolesScript,
    mut fault: Fault,
    done: Progress,
    cancel: &CancellationToken,
) -> DatabaseRestoreError {
    let name = request.name.to_owned();
    let mut roles = done.roles_created;
    let began = Instant::now();
    let back = loop {
        let undone = async {
            let admin = connect(&request.dsns, request.name).await?;
            admin.undo(request.name).await?;
            Ok::<_, RestoreError>(admin)
        };
        match undone.await {
            Err(RestoreError::Server(error))
                if error.is_transient() && began.elapsed() < SERVER_BACK_WITHIN =>
            {
                tokio::time::sleep(RETRY_EVERY).await;
            }
            ended => break ended,
        }
    };
    if let Ok(admin) = &back
        && let Ok(missing) = script.missing(&admin.server).await
    {
        roles = done.roles_begun;
        roles.retain(|role| !missing.contains(role));
    }
    match back {
        Ok(admin) if cancel.is_cancelled() => DatabaseRestoreError::Interrupted {
            there: is_there(&admin, &name).await,
            name,
            roles,
        },
        Ok(admin) => {
            let missing = admin.missing_workers(request.name, &done.workers).await;
            if let Some(words) = gone(&missing) {
                fault.reason.push_str(&format!("\n{words}"));
            }
            DatabaseRestoreError::PutBack {
                what: fault.what,
                reason: fault.reason,
                there: is_there(&admin, &name).await,
                name,
                roles,
            }
        }
        Err(error) => DatabaseRestoreError::Stranded(Box::new(Stranded {
            what: fault.what,
            reason: fault.reason,
            name,
            fault: error.to_string(),
            command: format!("backupd restore --undo --only {}", request.label),
            roles,
        })),
    }
}
