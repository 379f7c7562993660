//! One database of a set, in the place of the present one or beside it. The present one is moved aside and kept; whatever goes wrong
//! is put back by looking at what lies on the server.

mod job;
mod obstacles;
mod plan;
mod table;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::catalog::Entry;
use catalog::manifest::{Artifact, Kind, Manifest};
use postgres::dsn::Dsn;
use postgres::restore::admin::Admin;
use postgres::restore::compare::tables_of_others;
use postgres::restore::load::OnError;
use postgres::restore::place::in_the_way;
use postgres::restore::roles::RolesScript;
use postgres::restore::subscriptions::enabled_by_hand;
use postgres::restore::{RestoreError, drop_statement};
use postgres::server::{Server, ServerError};
use postgres::tools::Tools;
use serde::Serialize;
use stream::read::{ArtifactReader, hash_file};
use tokio_util::sync::CancellationToken;

pub(crate) use job::{Job, PG_CRON, Progress, RolesWanted};
pub(crate) use obstacles::fault_of;
pub use obstacles::{obstacles, ways_in};
pub use plan::{DatabasePlan, plan};

use crate::config::DatabaseRole;
use crate::event::{Event, Observer};
use crate::stack::keycloak;
use table::find_table;

/// A roles file is a few kilobytes; this bounds what a damaged one could claim.
const ROLES_BYTES: u64 = 64 * 1024 * 1024;
/// Differences that a message names.
const NAMED: usize = 10;
/// How long a server that restarts is waited for before what was begun is left to `--undo`.
const SERVER_BACK_WITHIN: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(500);

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
    /// As the stack's service reaches it.
    pub own: &'a Dsn,
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
    /// Whether what cannot be loaded is gone over and told, instead of ending the restore.
    pub keep_going: bool,
    /// Whether the database before is dropped in the end.
    pub drop_old: bool,
    /// Connections that load it.
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
    /// What drops that, typed into psql; lines of statements.
    pub drop: Option<String>,
    /// Rows that were counted in it.
    pub rows: u64,
    /// Tables they are in.
    pub tables: usize,
    /// Worth knowing.
    pub notes: Vec<String>,
    /// Statements that failed and rows that differ, gone over because that was asked for.
    pub faults: Vec<String>,
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
    /// It failed, and the database is as it was.
    #[error("{what}: {reason}\n{}{}", as_before(name, *there), stay(.roles))]
    PutBack {
        what: &'static str,
        reason: String,
        name: String,
        /// Whether there is one.
        there: bool,
        /// Roles that were made, and stay.
        roles: Vec<String>,
    },
    /// It failed, and what it had begun could not be taken back yet.
    #[error("{0}")]
    Stranded(Box<Stranded>),
    /// Ended by a signal; the database is as it was.
    #[error("interrupted; {}{}", as_before(name, *there), stay(.roles))]
    Interrupted {
        name: String,
        /// Whether there is one.
        there: bool,
        /// Roles that were made, and stay.
        roles: Vec<String>,
    },
}

/// What a restore that failed left behind for now.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are named in the message")]
pub struct Stranded {
    pub what: &'static str,
    pub reason: String,
    pub name: String,
    pub fault: String,
    pub command: String,
    /// Roles that were made, and stay.
    pub roles: Vec<String>,
}

impl std::fmt::Display for Stranded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            what,
            reason,
            name,
            fault,
            command,
            roles,
        } = self;
        let stay = stay(roles);
        write!(
            f,
            "{what}: {reason}\n{name} could not be put back: {fault}\n\
             Nothing is lost{stay}. When the server answers again, this puts it back: {command}"
        )
    }
}

fn as_before(name: &str, there: bool) -> String {
    if there {
        format!("{name} is as it was before")
    } else {
        format!("there is no database {name}, as before")
    }
}

fn stay(roles: &[String]) -> String {
    if roles.is_empty() {
        String::new()
    } else {
        format!(
            "; roles that were missing were created, and stay: {}",
            roles.join(", ")
        )
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// A stage that failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub what: &'static str,
    pub reason: String,
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
pub(crate) async fn connect(dsns: &[Dsn], name: &str) -> Result<Admin, RestoreError> {
    let mut first = None;
    for dsn in dsns {
        match Admin::connect(dsn, name).await {
            Ok(admin) => return Ok(admin),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(RestoreError::Interrupted))
}

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

/// Restores a database.
pub async fn restore_database(
    request: &DatabaseRequest<'_>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<RestoredDatabase, DatabaseRestoreError> {
    observer.on(&Event::StepStarted {
        step: format!("{} check", request.label),
    });
    let prepared = Prepared::find(request).await?;
    let script = prepared.check().await?;
    let (artifact, file) = (prepared.artifact, prepared.path(prepared.artifact));
    let admin = prepared.admin;
    let mut notes = admin
        .undo(request.name)
        .await
        .map_err(DatabaseRestoreError::Refused)?;
    if !notes.is_empty() {
        observer.on(&Event::PutBack);
    }
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
        .map(|table| find_table(artifact, table));
    let dsn = admin.server.dsn().clone();
    // It may be in template1, which nobody can copy meanwhile; and a load can be long.
    drop(admin);
    let job = Job {
        label: request.label,
        set: &set,
        artifact,
        file,
        script: &script,
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
        return Err(give_up(request, &script, fault, done, cancel).await);
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

/// What is told of a database that is back: its workers, Keycloak's version, subscriptions, and the one before.
async fn settle(
    request: &DatabaseRequest<'_>,
    admin: &Admin,
    done: &Progress,
    restored: &mut RestoredDatabase,
) {
    restored.notes.extend(gone(
        &admin.missing_workers(request.name, &done.workers).await,
    ));
    restored
        .notes
        .extend(about_subscriptions(request, admin).await);
    if request.role == DatabaseRole::Keycloak && request.table.is_none() {
        match about_keycloak(request, admin).await {
            Ok(notes) => restored.notes.extend(notes),
            Err(error) => restored
                .notes
                .push(format!("Keycloak's schema could not be looked at: {error}")),
        }
    }
    if let Some(aside) = done.aside.clone() {
        keep_or_drop(request, admin, aside, restored).await;
    }
    if let Some(aside) = &restored.aside {
        let by_hand = admin.drop_by_hand(aside).await;
        restored.drop = Some(by_hand.unwrap_or_else(|_| drop_statement(aside)));
    }
}

/// Subscriptions are disabled: whose turn it is to take rows from their slots.
async fn about_subscriptions(request: &DatabaseRequest<'_>, admin: &Admin) -> Option<String> {
    let subscriptions = admin.subscriptions(request.name).await.unwrap_or_default();
    if subscriptions.is_empty() {
        return None;
    }
    let named = subscriptions.join(", ");
    if request.beside {
        return Some(format!(
            "subscriptions came back disabled: {named}; leave them so as long as those of another database take from the same slots"
        ));
    }
    let lines: Vec<String> = subscriptions
        .iter()
        .map(|name| enabled_by_hand(name))
        .collect();
    Some(format!(
        "subscriptions came back disabled: {named}; those of the database before, if any, are disabled too, because both name one slot. When \
         the restored one is to follow its publisher again: {} Rows that the publisher sent to the database before since the set are not \
         sent again: where that matters, TRUNCATE the subscribed tables first, and say copy_data = true, which copies them whole",
        lines.join(" ")
    ))
}

/// Keycloak's version, and tables that belong to another role than it connects by: as they did in the source.
async fn about_keycloak(
    request: &DatabaseRequest<'_>,
    admin: &Admin,
) -> Result<Vec<String>, ServerError> {
    let server = Server::connect(&admin.server.dsn().to_database(request.name)).await?;
    let schema = request.dsns.first().and_then(|dsn| dsn.schema.as_deref());
    let mut notes = vec![match keycloak::schema_version(&server, schema).await? {
        Some(version) => {
            format!("Keycloak's schema is of version {version}: start that version")
        }
        None => "no Keycloak schema version was found (table migration_model)".to_owned(),
    }];
    let others = tables_of_others(&server, &request.own.user).await?;
    if !others.is_empty() {
        notes.push(format!(
            "tables do not belong to {} (KC_DB_USERNAME), as in the source: {}",
            &request.own.user,
            others.join(", ")
        ));
    }
    Ok(notes)
}

/// The restore is done: what becomes of the database before. What fails here is told, and fails nothing.
async fn keep_or_drop(
    request: &DatabaseRequest<'_>,
    admin: &Admin,
    aside: String,
    restored: &mut RestoredDatabase,
) {
    let slots = admin.slots(&aside).await.unwrap_or_default();
    if !request.drop_old || !restored.faults.is_empty() {
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

/// Whether there is a database of this name; a server that cannot tell has not lost one.
async fn is_there(admin: &Admin, name: &str) -> bool {
    admin.look(name).await.map_or(true, |found| found.is_some())
}

/// Puts the database before back, whatever was done: by what lies on the server. A server that restarts is waited for.
async fn give_up(
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

/// What to do about workers that did not come back.
fn gone(workers: &[String]) -> Option<String> {
    (!workers.is_empty()).then(|| {
        format!(
            "{} did not come back by itself: restart the database server, or what it does (pg_cron's jobs) will not be done",
            workers.join(", ")
        )
    })
}
