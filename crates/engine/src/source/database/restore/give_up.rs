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

/// How a restore that failed ended at last.
pub(super) enum Ended {
    /// All of it was done; only the server's answer was lost.
    Complete,
    /// It did not come to its end.
    Failed(DatabaseRestoreError),
}

/// Puts the database before back, whatever was done: by what lies on the server. A server that restarts is waited for.
pub(super) async fn give_up(
    request: &DatabaseRequest<'_>,
    script: &RolesScript,
    mut fault: Fault,
    done: &Progress,
    cancel: &CancellationToken,
) -> Ended {
    let name = request.name.to_owned();
    let mut roles = done.roles_created.clone();
    let began = Instant::now();
    let back = loop {
        let undone = async {
            let admin = connect(&request.dsns, request.name).await?;
            let is_complete = match done.completing {
                Some(oid) => is_complete(&admin, request.name, oid).await?,
                None => false,
            };
            if !is_complete {
                admin.undo(request.name).await?;
            }
            Ok::<_, RestoreError>((admin, is_complete))
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
    let back = match back {
        Ok((_, true)) => return Ended::Complete,
        Ok((admin, false)) => Ok(admin),
        Err(error) => Err(error),
    };
    if let Ok(admin) = &back
        && let Ok(missing) = script.missing(&admin.server).await
    {
        roles.clone_from(&done.roles_begun);
        roles.retain(|role| !missing.contains(role));
    }
    let failed = match back {
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
    };
    Ended::Failed(failed)
}

/// Whether the new database has its name and no mark: what marked it has gone in the transaction that ends a restore. Sessions that the
/// server has not yet ended may still be in it.
async fn is_complete(admin: &Admin, name: &str, oid: u32) -> Result<bool, RestoreError> {
    admin.end_orphans(name).await?;
    Ok(admin.is_complete(name, oid).await?)
}
