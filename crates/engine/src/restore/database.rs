//! One database of a set, in the place of the present one or beside it. The present one is moved aside and kept; whatever goes wrong
//! puts it back.

mod load;
mod plan;
mod table;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use catalog::catalog::Entry;
use catalog::manifest::{Artifact, Kind, Manifest};
use postgres::dsn::Dsn;
use postgres::restore::admin::Admin;
use postgres::restore::load::OnError;
use postgres::restore::place::Place;
use postgres::restore::roles::RolesScript;
use postgres::restore::{RestoreError, drop_statement};
use postgres::tools::Tools;
use serde::Serialize;
use stream::read::{ArtifactReader, hash_file};
use tokio_util::sync::CancellationToken;

pub(crate) use load::cron_lives_in;
pub use plan::{DatabasePlan, plan};

use crate::config::DatabaseRole;
use crate::event::{Event, Observer};
use load::fill;
use table::find_table;

/// A roles file is a few kilobytes; this bounds what a damaged one could claim.
const ROLES_BYTES: u64 = 64 * 1024 * 1024;
/// Differences that a message names.
const NAMED: usize = 10;
/// The extension that lives in one database of a server alone, and its schema.
pub(crate) const PG_CRON: (&str, &str) = ("pg_cron", "cron");

/// What to restore where.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own, none a state"
)]
pub struct DatabaseRequest<'a> {
    /// The set.
    pub entry: &'a Entry,
    /// The database's label in it.
    pub label: &'a str,
    /// What it is to the stack.
    pub role: DatabaseRole,
    /// Its server, and as whom; the first that is a superuser is taken.
    pub dsns: Vec<Dsn>,
    /// The role that the stack's service reaches it by.
    pub service_user: &'a str,
    /// The database's name after the restore.
    pub name: &'a str,
    /// Whether it is made beside what is there, whose name must be free.
    pub beside: bool,
    /// The one table whose rows are wanted, as the manifest names it.
    pub table: Option<String>,
    /// Whether roles that are there get their attributes and passwords back too.
    pub roles: bool,
    /// Whether clients' sessions are ended.
    pub force: bool,
    /// Whether the database before is dropped in the end.
    pub drop_old: bool,
    /// Connections that an archive is loaded by.
    pub jobs: u8,
    /// PostgreSQL's programs.
    pub tools: &'a Tools,
}

/// A database that came back.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoredDatabase {
    /// Its name.
    pub name: String,
    /// Where the one before lies.
    pub aside: Option<String>,
    /// The statement that drops that.
    pub drop: Option<String>,
    /// Rows that were counted in it.
    pub rows: u64,
    /// Tables they are in.
    pub tables: usize,
    /// Worth knowing.
    pub notes: Vec<String>,
}

/// Why a database did not come back.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum DatabaseRestoreError {
    /// The set does not have it.
    #[error("set {set} holds no database `{label}`: it has {}", list(has))]
    NoDatabase {
        set: String,
        label: String,
        has: Vec<String>,
    },
    /// The set cannot be used.
    #[error("set {set} cannot be restored from: {reason}")]
    Unusable { set: String, reason: String },
    /// A file is not what the manifest says.
    #[error("{file} is not what its manifest says: {reason}; nothing was touched")]
    Different { file: String, reason: String },
    /// It failed before anything was touched.
    #[error("{0}; nothing was touched")]
    Refused(#[source] RestoreError),
    /// It failed, and all is as it was.
    #[error("{what}: {reason}\n{name} is as it was before")]
    PutBack {
        what: &'static str,
        reason: String,
        name: String,
    },
    /// It failed, and the database before could not be put back yet.
    #[error(
        "{what}: {reason}\n{name} could not be put back: {fault}\nNothing is lost. When the server answers again, this puts it back: {command}"
    )]
    Stranded {
        what: &'static str,
        reason: String,
        name: String,
        fault: String,
        command: String,
    },
    /// Ended by a signal; all is as it was.
    #[error("interrupted; {name} is as it was before")]
    Interrupted { name: String },
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// A stage that failed.
struct Fault {
    what: &'static str,
    reason: String,
}

fn during<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Fault {
    move |error| Fault {
        what,
        reason: error.to_string(),
    }
}

/// A database of a set with its roles, and a way to its server.
struct Prepared<'a> {
    request: &'a DatabaseRequest<'a>,
    artifact: &'a Artifact,
    roles: &'a Artifact,
    admin: Admin,
}

impl<'a> Prepared<'a> {
    async fn find(request: &'a DatabaseRequest<'a>) -> Result<Self, DatabaseRestoreError> {
        let set = request.entry.id.to_string();
        let manifest =
            request
                .entry
                .manifest
                .as_ref()
                .map_err(|error| DatabaseRestoreError::Unusable {
                    set: set.clone(),
                    reason: error.to_string(),
                })?;
        let find = |kind| {
            manifest
                .artifacts
                .iter()
                .find(|artifact| artifact.kind == kind && artifact.label == request.label)
        };
        let (Some(artifact), Some(roles)) = (find(Kind::Database), find(Kind::Roles)) else {
            return Err(DatabaseRestoreError::NoDatabase {
                set,
                label: request.label.to_owned(),
                has: labels(manifest),
            });
        };
        Ok(Self {
            request,
            artifact,
            roles,
            admin: connect(&request.dsns, request.name)
                .await
                .map_err(DatabaseRestoreError::Refused)?,
        })
    }

    fn path(&self, artifact: &Artifact) -> std::path::PathBuf {
        self.request.entry.path.join(&artifact.file)
    }

    /// The dump and the roles are the files that were made.
    async fn check(&self) -> Result<RolesScript, DatabaseRestoreError> {
        let files = [
            (self.path(self.artifact), self.artifact.clone()),
            (self.path(self.roles), self.roles.clone()),
        ];
        let read = tokio::task::spawn_blocking(move || {
            for (path, artifact) in &files {
                let different = |reason: String| DatabaseRestoreError::Different {
                    file: artifact.file.clone(),
                    reason,
                };
                let (bytes, sha256) = hash_file(path)
                    .map_err(|error| different(format!("it cannot be read: {error}")))?;
                if bytes != artifact.bytes || sha256 != artifact.sha256 {
                    return Err(different("its size or digest is another".to_owned()));
                }
            }
            let (path, roles) = &files[1];
            read_script(path, roles, &files[0].1).map_err(|error| DatabaseRestoreError::Different {
                file: roles.file.clone(),
                reason: error.to_string(),
            })
        });
        read.await.unwrap_or_else(|panic| {
            Err(DatabaseRestoreError::Unusable {
                set: self.request.entry.id.to_string(),
                reason: panic.to_string(),
            })
        })
    }
}

/// The databases of a set.
fn labels(manifest: &Manifest) -> Vec<String> {
    let databases = manifest
        .artifacts
        .iter()
        .filter(|artifact| artifact.kind == Kind::Database);
    databases.map(|artifact| artifact.label.clone()).collect()
}

/// Reads the roles file of a dump. What the manifest tells of the dumped database comes before what that file says.
pub(crate) fn read_script(
    path: &Path,
    roles: &Artifact,
    dump: &Artifact,
) -> std::io::Result<RolesScript> {
    let reader = ArtifactReader::open(path, roles.compression.decoded(), Arc::default())?;
    let mut text = String::new();
    reader.take(ROLES_BYTES).read_to_string(&mut text)?;
    let mut script = RolesScript::read(&text).map_err(std::io::Error::other)?;
    if let Some(told) = &dump.database {
        let told = serde_json::from_value(told.clone()).map_err(std::io::Error::other)?;
        script.database = Some(told);
    }
    Ok(script)
}

/// The first way in that is a superuser's; else why the first is not.
async fn connect(dsns: &[Dsn], name: &str) -> Result<Admin, RestoreError> {
    let mut first = None;
    for dsn in dsns {
        match Admin::connect(dsn, name).await {
            Ok(admin) => return Ok(admin),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(RestoreError::Interrupted))
}

/// Puts back what restores that were killed left of a database, and says what was done.
pub async fn undo(dsns: &[Dsn], name: &str) -> Result<Vec<String>, RestoreError> {
    connect(dsns, name).await?.undo(name).await
}

/// Restores a database.
pub async fn restore_database(
    request: &DatabaseRequest<'_>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<RestoredDatabase, DatabaseRestoreError> {
    let stage = |name: &str| {
        observer.on(&Event::StepStarted {
            step: format!("{} {name}", request.label),
        });
    };
    stage("check");
    let prepared = Prepared::find(request).await?;
    let script = prepared.check().await?;
    let admin = &prepared.admin;
    let mut restored = RestoredDatabase {
        name: request.name.to_owned(),
        ..RestoredDatabase::default()
    };
    restored.notes = admin
        .undo(request.name)
        .await
        .map_err(DatabaseRestoreError::Refused)?;
    let table = request
        .table
        .as_deref()
        .map(|table| find_table(prepared.artifact, table));
    if cancel.is_cancelled() {
        return Err(DatabaseRestoreError::Interrupted {
            name: request.name.to_owned(),
        });
    }
    stage("roles");
    let roles = script
        .restore_roles(&admin.server, request.roles, OnError::Stop)
        .await
        .map_err(DatabaseRestoreError::Refused)?;
    if !roles.created.is_empty() {
        restored.notes.push(format!(
            "roles that were missing were created: {}",
            roles.created.join(", ")
        ));
    }
    let set = request.entry.id.to_string();
    let workers = match admin.sessions(request.name).await {
        Ok(sessions) if !request.beside => sessions.workers,
        _ => Vec::new(),
    };
    let (mut place, note) = Place::prepare(admin, request.name, &set, &script, request.beside)
        .await
        .map_err(DatabaseRestoreError::Refused)?;
    restored.notes.extend(note);
    let done = tokio::select! {
        done = fill(&prepared, &mut place, &script, table.as_ref(), &mut restored, observer, cancel) => done,
        () = cancel.cancelled() => Err(Fault { what: "interrupted", reason: String::new() }),
    };
    let done = match done {
        Ok(()) => place
            .complete(&script)
            .await
            .map_err(during("the database could not be opened")),
        Err(fault) => Err(fault),
    };
    let aside = match done {
        Ok(aside) => aside,
        Err(fault) => return Err(give_up(&prepared, &place, fault, &workers, cancel).await),
    };
    restored
        .notes
        .extend(gone(&admin.missing_workers(request.name, &workers).await));
    if let Some(aside) = aside {
        keep_or_drop(request, admin, aside, &mut restored).await;
    }
    restored.drop = restored.aside.as_deref().map(drop_statement);
    Ok(restored)
}

/// The restore is done: what becomes of the database before. What fails here is told, and fails nothing.
async fn keep_or_drop(
    request: &DatabaseRequest<'_>,
    admin: &Admin,
    aside: String,
    restored: &mut RestoredDatabase,
) {
    let slots = admin.slots(&aside).await.unwrap_or_default();
    if !request.drop_old {
        if !slots.is_empty() {
            restored.notes.push(format!(
                "replication slots stay with the database before: {}; services that use them by name need them dropped (SELECT \
                 pg_drop_replication_slot('…')), and so does its end",
                slots.join(", ")
            ));
        }
        restored.aside = Some(aside);
        return;
    }
    let dropped = match admin.drop_slots(&slots).await {
        Ok(()) => admin.drop(&aside).await,
        Err(error) => Err(error),
    };
    match dropped {
        Ok(()) => restored
            .notes
            .push(format!("{aside}, the database before, was dropped")),
        Err(error) => {
            restored.notes.push(format!(
                "{aside}, the database before, could not be dropped: {error}"
            ));
            restored.aside = Some(aside);
        }
    }
}

/// Puts the database before back. A server that restarts is waited for.
async fn give_up(
    prepared: &Prepared<'_>,
    place: &Place<'_>,
    mut fault: Fault,
    workers: &[String],
    cancel: &CancellationToken,
) -> DatabaseRestoreError {
    let request = prepared.request;
    let name = request.name.to_owned();
    let back = match place.put_back().await {
        Ok(left) => {
            let missing = prepared.admin.missing_workers(request.name, workers).await;
            for words in left.into_iter().chain(gone(&missing)) {
                fault.reason.push_str(&format!("\n{words}"));
            }
            Ok(())
        }
        // The connection may be lost, and the server be there.
        Err(_) => undo(&request.dsns, request.name).await.map(drop),
    };
    match back {
        Ok(()) if cancel.is_cancelled() => DatabaseRestoreError::Interrupted { name },
        Ok(()) => DatabaseRestoreError::PutBack {
            what: fault.what,
            reason: fault.reason,
            name,
        },
        Err(error) => DatabaseRestoreError::Stranded {
            what: fault.what,
            reason: fault.reason,
            name,
            fault: error.to_string(),
            command: format!("backupd restore --undo --only {}", request.label),
        },
    }
}

/// What to do about workers that did not come back.
fn gone(workers: &[String]) -> Option<String> {
    (!workers.is_empty()).then(|| {
        format!(
            "{} did not come back by itself: restart the database server, or what it does (pg_cron's jobs) will not be done",
            workers.join(", ")
        )
    })
}
