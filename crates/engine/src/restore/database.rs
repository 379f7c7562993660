//! One database of a set, in the place of the present one or beside it. The present one is moved aside and kept; whatever goes wrong
//! puts it back.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use catalog::catalog::Entry;
use catalog::manifest::{Artifact, Kind, Manifest};
use postgres::dsn::Dsn;
use postgres::dump::DumpFormat;
use postgres::inventory::TableRows;
use postgres::restore::compare::{compare_rows, tables_of_others, with_partitions};
use postgres::restore::entries::{Heading, Wanted};
use postgres::restore::load::{LoadRequest, OnError, load};
use postgres::restore::place::{Admin, Place, RestoreError, drop_statement};
use postgres::restore::roles::RolesScript;
use postgres::server::{Server, ServerError};
use postgres::tools::Tools;
use serde::Serialize;
use stream::artifact::Meter;
use stream::read::{ArtifactReader, hash_file};
use tokio_util::sync::CancellationToken;

use crate::config::DatabaseRole;
use crate::event::{Event, Observer};
use crate::ledger::tell_while;

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

/// What a restore will do.
#[derive(Debug, Clone, Serialize)]
pub struct DatabasePlan {
    /// The set.
    pub set: String,
    /// The database's label in it.
    pub source: String,
    /// Its server, as whom, and its name after the restore.
    pub into: String,
    /// The name alone.
    pub name: String,
    /// Bytes of the present database of that name, which is moved aside; none where there is none.
    pub present_bytes: Option<u64>,
    /// Bytes of the dump's file.
    pub bytes: u64,
    /// Bytes that it decodes to.
    pub raw_bytes: u64,
    /// Rows it holds.
    pub rows: u64,
    /// Tables it has rows of.
    pub tables: usize,
    /// Roles that are missing and are created.
    pub roles_created: Vec<String>,
    /// Clients that are in the way.
    pub clients: Vec<String>,
    /// The server's own workers that are ended.
    pub workers: Vec<String>,
    /// What a restore that was cut off left here, which is put right first.
    pub cut_off: Option<String>,
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
            read_script(path, roles).map_err(|error| DatabaseRestoreError::Different {
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
pub fn labels(manifest: &Manifest) -> Vec<String> {
    let databases = manifest
        .artifacts
        .iter()
        .filter(|artifact| artifact.kind == Kind::Database);
    databases.map(|artifact| artifact.label.clone()).collect()
}

pub(crate) fn read_script(path: &Path, roles: &Artifact) -> std::io::Result<RolesScript> {
    let reader = ArtifactReader::open(path, roles.compression.decoded(), Arc::default())?;
    let mut text = String::new();
    reader.take(ROLES_BYTES).read_to_string(&mut text)?;
    Ok(RolesScript::read(&text))
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

/// What a restore would do now. Changes nothing.
pub async fn plan(request: &DatabaseRequest<'_>) -> Result<DatabasePlan, DatabaseRestoreError> {
    let prepared = Prepared::find(request).await?;
    let script = prepared.check().await?;
    let server = |error: ServerError| DatabaseRestoreError::Refused(error.into());
    let admin = &prepared.admin;
    let present = admin.look(request.name).await.map_err(server)?;
    let sessions = match &present {
        Some(_) if !request.beside => admin.sessions(request.name).await.map_err(server)?,
        _ => postgres::restore::place::Sessions::default(),
    };
    let there = admin
        .server
        .names("SELECT rolname FROM pg_catalog.pg_roles")
        .await
        .map_err(server)?;
    let tables = prepared.artifact.tables.as_deref().unwrap_or_default();
    Ok(DatabasePlan {
        set: request.entry.id.to_string(),
        source: request.label.to_owned(),
        into: admin.server.dsn().to_database(request.name).to_string(),
        name: request.name.to_owned(),
        cut_off: present.as_ref().and_then(|present| present.mark.clone()),
        present_bytes: present.map(|present| present.bytes),
        bytes: prepared.artifact.bytes,
        raw_bytes: prepared.artifact.raw_bytes,
        rows: tables.iter().map(|table| table.rows).sum(),
        tables: tables.len(),
        roles_created: script
            .names()
            .into_iter()
            .filter(|name| !there.iter().any(|other| other == name))
            .map(str::to_owned)
            .collect(),
        clients: sessions.clients,
        workers: sessions.workers,
    })
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
    match aside {
        Some(aside) if request.drop_old => match admin.drop(&aside).await {
            Ok(()) => restored
                .notes
                .push(format!("{aside}, the database before, was dropped")),
            Err(error) => {
                restored.notes.push(format!(
                    "{aside}, the database before, could not be dropped: {error}"
                ));
                restored.aside = Some(aside);
            }
        },
        aside => restored.aside = aside,
    }
    restored.drop = restored.aside.as_deref().map(drop_statement);
    Ok(restored)
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

/// Moves the present database aside, loads, compares.
async fn fill(
    prepared: &Prepared<'_>,
    place: &mut Place<'_>,
    script: &RolesScript,
    table: Option<&TableRows>,
    restored: &mut RestoredDatabase,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<(), Fault> {
    let request = prepared.request;
    place
        .move_aside(request.force)
        .await
        .map_err(during("the present database could not be moved aside"))?;
    let admin = &prepared.admin;
    script
        .restore_properties(&admin.server, request.name, OnError::Stop)
        .await
        .map_err(during("the database's own settings could not be given"))?;
    let settled = CancellationToken::new();
    let _settle = settled.clone().drop_guard();
    let guarding = place.keep_strangers_out(settled.clone());
    let working = async {
        let done = load_and_compare(prepared, table, restored, observer, cancel).await;
        settled.cancel();
        done
    };
    let (strangers, done) = tokio::join!(guarding, working);
    if !strangers.is_empty() {
        restored.notes.push(format!(
            "sessions that came in the way were ended: {}",
            strangers.join(", ")
        ));
    }
    done
}

async fn load_and_compare(
    prepared: &Prepared<'_>,
    table: Option<&TableRows>,
    restored: &mut RestoredDatabase,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<(), Fault> {
    let request = prepared.request;
    let stage = |name: &str| {
        observer.on(&Event::StepStarted {
            step: format!("{} {name}", request.label),
        });
    };
    let dsn = prepared.admin.server.dsn().to_database(request.name);
    let cron_here = cron_lives_in(&prepared.admin.server, request.name)
        .await
        .map_err(during("the server's settings could not be read"))?;
    stage("load");
    let everything = prepared.artifact.tables.clone().unwrap_or_default();
    let mut expected: Vec<TableRows> = everything
        .iter()
        .map(|rows| TableRows {
            table: rows.table.clone(),
            rows: rows.rows,
        })
        .collect();
    let server = Server::connect(&dsn)
        .await
        .map_err(during("the new database cannot be reached"))?
        .patient();
    if let Some(table) = table {
        load_one(
            prepared,
            &dsn,
            Some(only_schema(cron_here)),
            observer,
            cancel,
        )
        .await?;
        let pairs = with_partitions(&server, &table.table)
            .await
            .map_err(during("the table could not be found"))?;
        load_one(
            prepared,
            &dsn,
            Some(only_rows_of(pairs.clone())),
            observer,
            cancel,
        )
        .await?;
        let mine = |name: &str| {
            pairs
                .iter()
                .any(|(schema, table)| is_named(name, schema, table))
        };
        expected.retain(|rows| mine(&rows.table));
        if expected.is_empty() {
            return Err(Fault {
                what: "there is no such table",
                reason: format!(
                    "{} has no rows of {}; near to it are {}",
                    prepared.artifact.file,
                    table.table,
                    near_to(prepared.artifact, &table.table)
                ),
            });
        }
    } else {
        let wanted: Option<Wanted> = (request.beside && !cron_here).then(|| -> Wanted {
            Box::new(|heading: &Heading| !heading.is_of_extension(PG_CRON.0, PG_CRON.1))
        });
        let without_cron = wanted.is_some();
        let skipped = load_one(prepared, &dsn, wanted, observer, cancel).await?;
        if without_cron && skipped > 0 {
            expected.retain(|rows| !rows.table.starts_with("cron."));
            restored.notes.push(format!(
                "pg_cron and its jobs were left out ({skipped} entries): it lives in one database of a server alone (cron.database_name)"
            ));
        }
    }
    stage("compare");
    let differences = compare_rows(&server, &expected)
        .await
        .map_err(during("the rows could not be counted"))?;
    if !differences.is_empty() {
        let named = &differences[..differences.len().min(NAMED)];
        return Err(Fault {
            what: "what came back is not what was dumped",
            reason: format!("{} difference(s): {}", differences.len(), named.join("; ")),
        });
    }
    restored.tables = expected.len();
    restored.rows = expected.iter().map(|rows| rows.rows).sum();
    if request.role == DatabaseRole::Keycloak && table.is_none() {
        check_keycloak(request, &server, restored).await?;
    }
    stage("analyze");
    server
        .execute("ANALYZE")
        .await
        .map_err(during("ANALYZE failed"))
}

/// Keycloak's tables belong to the role it connects by, and its version is told.
async fn check_keycloak(
    request: &DatabaseRequest<'_>,
    server: &Server,
    restored: &mut RestoredDatabase,
) -> Result<(), Fault> {
    let others = tables_of_others(server, request.service_user)
        .await
        .map_err(during("owners could not be read"))?;
    if !others.is_empty() {
        return Err(Fault {
            what: "Keycloak could not use what came back",
            reason: format!(
                "tables do not belong to {} (KC_DB_USERNAME): {}; connect Keycloak as their owner, or reassign them in a copy (--into)",
                request.service_user,
                others.join(", ")
            ),
        });
    }
    let schema = request.dsns.first().and_then(|dsn| dsn.schema.as_deref());
    let version = server
        .keycloak_schema_version(schema)
        .await
        .map_err(during("Keycloak's version could not be read"))?;
    restored.notes.push(match version {
        Some(version) => format!("Keycloak's schema is of version {version}: start that version, every table belongs to {}", request.service_user),
        None => "no Keycloak schema version was found (table migration_model)".to_owned(),
    });
    Ok(())
}

async fn load_one(
    prepared: &Prepared<'_>,
    dsn: &Dsn,
    wanted: Option<Wanted>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<u64, Fault> {
    let request = prepared.request;
    let artifact = prepared.artifact;
    let meter = Arc::new(Meter::default());
    let file = prepared.path(artifact);
    let loading = Box::pin(load(
        LoadRequest {
            tools: request.tools,
            dsn,
            server_major: prepared.admin.major,
            file: &file,
            format: if artifact.format == DumpFormat::Custom.name() {
                DumpFormat::Custom
            } else {
                DumpFormat::Plain
            },
            compression: artifact.compression.decoded(),
            jobs: request.jobs,
            wanted,
            on_error: OnError::Stop,
            low_priority: false,
            meter: meter.clone(),
        },
        cancel,
    ));
    let step = format!("{} load", request.label);
    let expected = (artifact.format == DumpFormat::Plain.name()).then_some(artifact.raw_bytes);
    let loaded = tell_while(loading, observer, &step, &meter, expected).await;
    Ok(loaded
        .map_err(during("the dump could not be loaded"))?
        .skipped)
}

/// Whether pg_cron, if it is there at all, lives in this database.
pub(crate) async fn cron_lives_in(server: &Server, name: &str) -> Result<bool, ServerError> {
    let found = server
        .names("SELECT pg_catalog.current_setting('cron.database_name', true)")
        .await?;
    Ok(found.first().is_some_and(|database| database == name))
}

/// Everything but rows and what rests on them.
fn only_schema(cron_here: bool) -> Wanted {
    // Comments may be about any of them.
    const RESTS_ON_ROWS: [&str; 7] = [
        "CONSTRAINT",
        "FK CONSTRAINT",
        "INDEX",
        "INDEX ATTACH",
        "TRIGGER",
        "EVENT TRIGGER",
        "COMMENT",
    ];
    Box::new(move |heading: &Heading| {
        let kind = heading.kind.as_str();
        let acts = kind.starts_with("PUBLICATION") || kind == "SUBSCRIPTION";
        let of_cron = !cron_here && heading.is_of_extension(PG_CRON.0, PG_CRON.1);
        !heading.is_data() && !acts && !of_cron && !RESTS_ON_ROWS.contains(&kind)
    })
}

/// The rows of these tables, and their keys.
fn only_rows_of(tables: Vec<(String, String)>) -> Wanted {
    Box::new(move |heading: &Heading| {
        // A heading has spaces for newlines; a key's begins with its table.
        let of_table = |begins: bool| {
            tables.iter().any(|(schema, table)| {
                let table = table.replace('\n', " ");
                heading.schema == schema.replace('\n', " ")
                    && (heading.name == table
                        || (begins && heading.name.starts_with(&format!("{table} "))))
            })
        };
        match heading.kind.as_str() {
            "TABLE DATA" => of_table(false),
            "CONSTRAINT" => of_table(true),
            _ => false,
        }
    })
}

/// The manifest's entry of a table that a person named, with or without the quotes that SQL wants.
fn find_table(artifact: &Artifact, asked: &str) -> TableRows {
    let tables = artifact.tables.as_deref().unwrap_or_default();
    let found = tables
        .iter()
        .find(|rows| rows.table == asked || unquoted(&rows.table) == asked);
    if let Some(found) = found {
        return TableRows {
            table: found.table.clone(),
            rows: found.rows,
        };
    }
    // The parent of partitions has no rows of its own, and is in no list.
    TableRows {
        table: asked.to_owned(),
        rows: 0,
    }
}

/// Tables with a like name.
fn near_to(artifact: &Artifact, asked: &str) -> String {
    let name = asked.rsplit('.').next().unwrap_or(asked);
    let tables = artifact.tables.as_deref().unwrap_or_default();
    let near = tables.iter().filter(|rows| rows.table.contains(name));
    list(
        &near
            .take(NAMED)
            .map(|rows| rows.table.clone())
            .collect::<Vec<_>>(),
    )
}

fn unquoted(table: &str) -> String {
    table
        .replace("\"\"", "\u{0}")
        .replace('"', "")
        .replace('\u{0}', "\"")
}

fn is_named(quoted: &str, schema: &str, table: &str) -> bool {
    unquoted(quoted) == format!("{schema}.{table}")
}
