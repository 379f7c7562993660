//! One database: its dump, and the roles and database settings that a dump leaves out.

use catalog::artifact::{Content, Dump, Roles, Source as Origin};
use catalog::census::Census;
use catalog::layout;
use catalog::manifest::Keycloak;
use postgres::dump::{DumpError, DumpFormat, DumpRequest, dump};
use postgres::properties::DatabaseProperties;
use postgres::restore::custom_inventory;
use postgres::roles::dump_roles;
use postgres::server::{Server, ServerError};
use postgres::snapshot::Snapshot;
use postgres::tools::Tools;
use postgres::unquoted::unquoted;
use postgres::words::listed;
use stream::artifact::{Compression, Encoding, Written};

use super::census::take_census;
use super::content;
use super::facts::DatabaseFacts;
use crate::config::{DatabaseRole, DatabaseSource, ReconcileMode};
use crate::identity;
use crate::source::context::Context;
use crate::source::product::{Failure, Product, record};
use crate::source::reconcile::{LayoutSource, Reconciler};

/// Objects that a message names.
const SHOWN: usize = 5;

pub(super) async fn perform(source: &DatabaseSource, context: &Context<'_>) -> Product {
    let (Some(tools), Some(told)) = (
        &context.preflight.tools,
        context.preflight.databases.get(&source.label),
    ) else {
        return Product::failed("not reached by preflight", None);
    };
    let mut product = Product::default();
    dump_database(source, told, tools, context, &mut product).await;
    if product.failure.is_none() {
        dump_its_roles(source, told, tools, context, &mut product).await;
    }
    product.keycloak = told.keycloak_schema.as_ref().map(|version| Keycloak {
        schema_version: Some(version.clone()),
    });
    product
}

async fn dump_database(
    source: &DatabaseSource,
    told: &DatabaseFacts,
    tools: &Tools,
    context: &Context<'_>,
    product: &mut Product,
) {
    let encoding = context.config.encoding;
    let format = context.config.format;
    let (file, inside) = match format {
        DumpFormat::Plain => (
            layout::plain_dump(&source.label) + encoding.compression.extension(),
            encoding.compression,
        ),
        // pg_dump compresses the blocks of this format itself, so that pg_restore can seek in the file.
        DumpFormat::Custom => (layout::custom_dump(&source.label), Compression::None),
    };
    // Its session may wait for a lock; who wants the run to end does not wait with it.
    let begun = tokio::select! {
        instant = Instant::begin(source, context, product) => Some(instant),
        () = context.cancel.cancelled() => None,
    };
    let Some(instant) = begun else {
        product.fail("ended before the dump began", None);
        return;
    };
    match &instant.unquoted {
        Ok(objects) if objects.is_empty() => {}
        Ok(objects) => {
            product.fail(planted(objects), None);
            return;
        }
        Err(error) => {
            product.fail(
                format!("the definitions that a dump writes could not be read: {error}"),
                None,
            );
            return;
        }
    }
    let request = DumpRequest {
        snapshot: instant.snapshot.as_ref().map(Snapshot::id),
        ..request(source, told, tools, format, encoding, &file, context)
    };
    match dump(request, context.cancel).await {
        Ok(dumped) => {
            let properties = instant.properties;
            let mut held = Box::new(Dump {
                source: Some(origin(source, told)),
                properties: properties.and_then(|told| serde_json::to_value(told).ok()),
                ..Dump::default()
            });
            match dumped.content {
                Some(counted) => content::describe(&mut held, counted),
                // Only pg_restore can read this format.
                None => look_into(&mut held, &dumped.written, tools, context, product).await,
            }
            product.census = instant.census;
            let (dump, written) = (Content::Database(held), dumped.written);
            product.keep(
                record(dump, &source.label, format.name(), inside, written),
                |artifact| {
                    artifact.identity = identity::of_facts(&told.facts);
                    artifact.tool = Some(format!("pg_dump {}", tools.version.text));
                },
            );
        }
        Err(error) => product.failure = Some(failure(&error)),
    }
}

/// The instant that is dumped, and what was asked of it.
struct Instant {
    snapshot: Option<Snapshot>,
    census: Option<Census>,
    properties: Option<DatabaseProperties>,
    /// Objects whose definitions would bring SQL of others into the dump.
    unquoted: Result<Vec<String>, ServerError>,
}

impl Instant {
    /// Without a snapshot the dump is as good; what would be compared with it is not known.
    async fn begin(source: &DatabaseSource, context: &Context<'_>, product: &mut Product) -> Self {
        let taken = async {
            let snapshot = Snapshot::open(&source.dsn).await?;
            let census = take_census(snapshot.server()).await?;
            let properties = DatabaseProperties::ask(snapshot.server()).await?;
            let objects = unquoted(snapshot.server()).await?;
            Ok::<_, ServerError>((snapshot, census, properties, objects))
        };
        match taken.await {
            Ok((snapshot, census, properties, objects)) => {
                let held = match source.role {
                    DatabaseRole::Supabase => {
                        read_objects(snapshot.server(), context, product).await
                    }
                    DatabaseRole::Keycloak | DatabaseRole::Extra | DatabaseRole::Found => true,
                };
                Self {
                    snapshot: held.then_some(snapshot),
                    census: Some(census),
                    properties: Some(properties),
                    unquoted: Ok(objects),
                }
            }
            Err(error) => {
                product.notes.push(format!(
                    "no census was taken, so a drill can only count rows: {error}"
                ));
                let asking = async { unquoted(&Server::connect(&source.dsn).await?).await };
                Self {
                    snapshot: None,
                    census: None,
                    properties: None,
                    unquoted: asking.await,
                }
            }
        }
    }
}

/// Reads the objects that the storage archive will be compared with. Says whether the snapshot still is held: what fails in its
/// transaction must not take the dump with it.
async fn read_objects(server: &Server, context: &Context<'_>, product: &mut Product) -> bool {
    let config = context.config;
    let storage = config.trees.iter().find(|tree| tree.is_storage());
    let Some(storage) = storage.filter(|_| config.reconcile != ReconcileMode::Off) else {
        return true;
    };
    let layout = LayoutSource::Find {
        root: &storage.root,
        prefix: config.storage_prefix.as_deref(),
    };
    let reading = async {
        server.execute("SAVEPOINT objects").await?;
        Reconciler::begin(context.dir, server, layout).await
    };
    match reading.await {
        Ok(objects) => {
            context.exchange_objects(objects);
            true
        }
        Err(error) => {
            product.notes.push(format!(
                "files will not be compared with storage.objects: {error}"
            ));
            server.execute("ROLLBACK TO objects").await.is_ok()
        }
    }
}

fn planted(objects: &[String]) -> String {
    format!(
        "EXTRACT with a field that is no word, in: {}. PostgreSQL writes such a field into a dump without quotes, and whoever restores that \
         would run it as SQL: drop the object or name a field such as year; who made it may mean harm",
        listed(objects, SHOWN)
    )
}

/// What a dump in custom format holds.
async fn look_into(
    held: &mut Dump,
    written: &Written,
    tools: &Tools,
    context: &Context<'_>,
    product: &mut Product,
) {
    let path = context.dir.join(&written.file);
    match custom_inventory(tools, &path, context.cancel).await {
        Ok(counted) => content::describe(held, counted),
        Err(error) => product.fail(format!("{}: {error}", written.file), None),
    }
}

fn failure(error: &DumpError) -> Failure {
    Failure {
        message: error.to_string(),
        exit_code: error.exit_code(),
        passing: error.is_transient(),
    }
}

async fn dump_its_roles(
    source: &DatabaseSource,
    told: &DatabaseFacts,
    tools: &Tools,
    context: &Context<'_>,
    product: &mut Product,
) {
    let encoding = context.config.encoding;
    let file = layout::roles(&source.label) + encoding.compression.extension();
    let request = request(
        source,
        told,
        tools,
        DumpFormat::Plain,
        encoding,
        &file,
        context,
    );
    match dump_roles(request, &told.facts, context.cancel).await {
        Ok(dumped) => {
            // Keycloak's role is no superuser, and its one password stands in Keycloak's own settings: the manifest says so, and that is all.
            if !dumped.passwords_included && source.role == DatabaseRole::Supabase {
                product.notes.push(format!(
                    "role {} may not read password hashes: {file} holds roles without their passwords; connect as a superuser \
                     to keep them",
                    told.facts.user
                ));
            }
            let roles = Content::Roles(Roles {
                source: Some(origin(source, told)),
                passwords_included: Some(dumped.passwords_included),
            });
            let format = DumpFormat::Plain.name();
            let (compression, written) = (encoding.compression, dumped.written);
            product.keep(
                record(roles, &source.label, format, compression, written),
                |artifact| {
                    let tool = concat!("backupd ", env!("CARGO_PKG_VERSION"));
                    artifact.tool = Some(tool.to_owned());
                },
            );
        }
        Err(error) => product.failure = Some(failure(&error)),
    }
}

fn request<'a>(
    source: &'a DatabaseSource,
    told: &'a DatabaseFacts,
    tools: &'a Tools,
    format: DumpFormat,
    encoding: Encoding,
    file: &'a str,
    context: &Context<'a>,
) -> DumpRequest<'a> {
    DumpRequest {
        tools,
        dsn: &source.dsn,
        snapshot: None,
        lock_timeout: context.config.lock_timeout,
        format,
        characters: told.facts.dump_encoding(),
        encoding,
        dir: context.dir,
        file,
        meter: context.meter.clone(),
    }
}

fn origin(source: &DatabaseSource, told: &DatabaseFacts) -> Origin {
    Origin {
        host: source.dsn.host.clone(),
        port: source.dsn.port,
        database: source.dsn.database.clone(),
        user: source.dsn.user.clone(),
        server_version: told.facts.server_version.clone(),
        database_bytes: Some(told.facts.database_bytes),
    }
}
