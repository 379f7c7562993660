//! Each database that a set is to hold: whether it can be dumped, and what its dump will meet.

use postgres::databases::Databases;
use postgres::server::{Server, ServerError};
use postgres::words::counted;

use super::{Blocks, Check, DatabaseFacts, Outcome, Preflight, others};
use crate::config::{Config, DatabaseRole, DatabaseSource};
use crate::space;

/// Checks the databases that settings name, then those of Supabase's server that are dumped besides.
pub(super) async fn check(config: &Config, found: &mut Preflight) {
    for source in &config.databases {
        check_one(source, found).await;
    }
    found.others = others::sources(config, found);
    for source in found.others.clone() {
        check_one(&source, found).await;
    }
    others::check_gone(config, found);
    others::check_left_out(config, found).await;
}

async fn check_one(source: &DatabaseSource, found: &mut Preflight) {
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
            found.checks.push(Check {
                subject: label.to_owned(),
                outcome: Outcome::Failed,
                text: error.to_string(),
                blocks,
                passing: error.is_transient(),
            });
            return;
        }
    };
    if let Some(tools) = &found.tools {
        for obstacle in told.facts.obstacles(tools.version.major) {
            found.say(label, Outcome::Failed, &blocks, obstacle);
        }
    }
    for warning in told.facts.warnings() {
        found.say(label, Outcome::Warning, &blocks, warning);
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
    found.say(label, Outcome::Passed, &blocks, text);
    if source.role == DatabaseRole::Keycloak && told.keycloak_schema.is_none() {
        found.say(
            label,
            Outcome::Warning,
            &blocks,
            "no Keycloak schema version found (table migration_model): is this Keycloak's database?",
        );
    }
    found.databases.insert(label.to_owned(), told);
}

async fn ask(source: &DatabaseSource) -> Result<DatabaseFacts, ServerError> {
    let server = Server::connect(&source.dsn).await?;
    let facts = server.facts().await?;
    let keycloak_schema = match source.role {
        DatabaseRole::Keycloak => {
            server
                .keycloak_schema_version(source.dsn.schema.as_deref())
                .await?
        }
        DatabaseRole::Supabase | DatabaseRole::Extra | DatabaseRole::Found => None,
    };
    Ok(DatabaseFacts {
        facts,
        keycloak_schema,
        neighbours: Databases::of(&server).await?,
    })
}
