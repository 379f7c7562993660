//! From an empty database under the right name to one that was compared: what happens between moving aside and opening the doors.

use std::sync::Arc;

use postgres::dsn::Dsn;
use postgres::dump::DumpFormat;
use postgres::inventory::TableRows;
use postgres::restore::compare::{compare_rows, tables_of_others, with_partitions};
use postgres::restore::entries::{Heading, Wanted};
use postgres::restore::load::{LoadRequest, OnError, load, needs_text};
use postgres::restore::place::Place;
use postgres::restore::roles::RolesScript;
use postgres::server::{Server, ServerError};
use stream::artifact::Meter;
use tokio_util::sync::CancellationToken;

use super::table::{is_named, near_to, only_rows_of, only_schema};
use super::{DatabaseRequest, Fault, NAMED, PG_CRON, Prepared, RestoredDatabase, during};
use crate::config::DatabaseRole;
use crate::event::{Event, Observer};
use crate::ledger::tell_while;

/// Moves the present database aside, loads, compares.
pub(super) async fn fill(
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
            digest: rows.digest.clone(),
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
        let census = prepared.artifact.census.as_ref();
        let may_hold_cron = census.is_none_or(|census| census.extensions().contains(PG_CRON.0));
        let left_out = request.beside && !cron_here && may_hold_cron;
        let wanted: Option<Wanted> = left_out.then(|| -> Wanted {
            Box::new(|heading: &Heading| !heading.is_of_extension(PG_CRON.0, PG_CRON.1))
        });
        let skipped = load_one(prepared, &dsn, wanted, observer, cancel).await?;
        if left_out && skipped > 0 {
            expected.retain(|rows| !rows.table.starts_with("cron."));
            restored.notes.push(format!(
                "pg_cron and its jobs were left out ({skipped} entries): it lives in one database of a server alone (cron.database_name)"
            ));
        }
    }
    restored.notes.extend(why_one_connection(prepared));
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

/// Why `--jobs` was of no use, if it was not.
fn why_one_connection(prepared: &Prepared<'_>) -> Option<String> {
    let request = prepared.request;
    let plain = prepared.artifact.format == DumpFormat::Plain.name();
    if request.jobs == 1 {
        None
    } else if plain {
        Some(
            "one connection loaded it: --jobs is for dumps of the custom format (BACKUP_DUMP_FORMAT)"
                .to_owned(),
        )
    } else {
        needs_text(request.tools.version.major, prepared.admin.major).then(|| {
            "one connection loaded it: pg_restore 17 and newer cannot load a server before 17 by several"
                .to_owned()
        })
    }
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
