//! Each database that a set is to hold: whether it can be dumped, and what its dump will meet.

use postgres::databases::Databases;
use postgres::outlook::{Outlook, owned_by_others};
use postgres::server::{Facts, Server, ServerError};
use postgres::words::{counted, listed};

use super::facts::DatabaseFacts;
use super::prove::names::is_of_a_drill;
use super::{neighbours, restorers};
use crate::config::{Config, DatabaseRole, DatabaseSource};
use crate::finding::{Blocks, Check, Fault, NoAnswer, Outcome, Place};
use crate::hint;
use crate::source::preflight::Preflight;
use crate::space;
use crate::stack::{TRANSACTION_POOLER_PORT, keycloak};

/// Relations that are named in one sentence.
const NAMED: usize = 20;

/// Checks the databases that settings name, then those of Supabase's server that are dumped besides.
pub(crate) async fn check(config: &Config, found: &mut Preflight) {
    for source in &config.databases {
        check_one(config, source, found).await;
    }
    found.others = neighbours::sources(config, found);
    for source in found.others.clone() {
        check_one(config, &source, found).await;
    }
    neighbours::check_gone(config, found);
    neighbours::check_left_out(config, found).await;
    if let Some(url) = &config.drill_url {
        neighbours::check_drill_server(url, found).await;
    }
}

async fn check_one(config: &Config, source: &DatabaseSource, found: &mut Preflight) {
    let label = source.label.as_str();
    let blocks = match source.role {
        DatabaseRole::Supabase => Blocks::Run,
        DatabaseRole::Keycloak | DatabaseRole::Extra | DatabaseRole::Found => {
            Blocks::Step(label.to_owned())
        }
    };
    let told = match ask(source).await {
        Ok(told) => told,
        Err(error) => {
            let fault = Fault::Server(Place::of(label, &source.dsn), NoAnswer::from(&error));
            found.checks.push(Check {
                passing: error.is_transient(),
                ..Check::new(
                    label,
                    Outcome::Failed,
                    blocks,
                    error.to_string(),
                    Some(fault),
                )
            });
            return;
        }
    };
    let place = Place::of(label, &source.dsn);
    let major = found.tools.as_ref().map(|tools| tools.version.major);
    if let Some(major) = major {
        for obstacle in told.facts.obstacles(major) {
            let text = hint::remark(&obstacle);
            let fault = Fault::Database(place.clone(), obstacle.about);
            found.fail(label, &blocks, text, fault);
        }
    }
    for warning in [told.facts.warnings(), told.outlook.warnings()].concat() {
        let text = hint::remark(&warning);
        let fault = Fault::Database(place.clone(), warning.about);
        found.warn(label, text, fault);
    }
    if let Some(text) = owners(source, &told.of_others) {
        found.warn(label, text, Fault::Owners);
    }
    if !told.facts.superuser {
        restorers::check(config, source, found).await;
    }
    let facts = &told.facts;
    let schema = told
        .keycloak_schema
        .as_ref()
        .map(|version| format!(", Keycloak schema {version}"))
        .unwrap_or_default();
    let text = format!(
        "PostgreSQL {} at {}, role {}{}, {}, {}{schema}",
        facts.server_version,
        source.dsn,
        facts.user,
        if facts.superuser { " (superuser)" } else { "" },
        counted(facts.tables, "table"),
        space::human(facts.database_bytes),
    );
    found.pass(label, text);
    for note in told.outlook.notes() {
        found.pass(label, note);
    }
    if source.role == DatabaseRole::Keycloak && told.keycloak_schema.is_none() {
        found.warn(
            label,
            "no Keycloak schema version found (table migration_model): is this Keycloak's database?",
            Fault::NotKeycloak,
        );
    }
    found.databases.insert(label.to_owned(), told);
}

/// Keycloak migrates its own tables. That some are another's is how it has always been, where it is so.
fn owners(source: &DatabaseSource, of_others: &[String]) -> Option<String> {
    (!of_others.is_empty()).then(|| {
        format!(
            "role {} is not the owner of all of Keycloak's tables, so that an upgrade of Keycloak may fail on them: {}; a restore gives \
             each its owner back",
            source.dsn.user,
            listed(of_others, NAMED)
        )
    })
}

async fn ask(source: &DatabaseSource) -> Result<DatabaseFacts, ServerError> {
    let server = Server::connect(&source.dsn).await?;
    let mut facts = Facts::ask(&server).await?;
    facts.transaction_pooler |= source.dsn.port == TRANSACTION_POOLER_PORT;
    let (keycloak_schema, of_others) = match source.role {
        DatabaseRole::Keycloak => {
            let schema = source.dsn.schema.as_deref();
            (
                keycloak::schema_version(&server, schema).await?,
                owned_by_others(&server).await?,
            )
        }
        DatabaseRole::Supabase | DatabaseRole::Extra | DatabaseRole::Found => (None, Vec::new()),
    };
    let mut neighbours = Databases::of(&server).await?;
    neighbours.names.retain(|name| !is_of_a_drill(name));
    neighbours.unusual.retain(|(name, _)| !is_of_a_drill(name));
    Ok(DatabaseFacts {
        facts,
        keycloak_schema,
        of_others,
        neighbours,
        outlook: Outlook::of(&server).await?,
    })
}
