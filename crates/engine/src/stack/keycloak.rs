//! The version of Keycloak's schema, which a restored database must meet the same version of Keycloak with.

use postgres::copy::TableRows;
use postgres::server::{Server, ServerError, literal};

/// The newest version that a database was migrated to. None where there is no such table in `schema` (or in any), or this role may not
/// read it.
pub(crate) async fn schema_version(
    server: &Server,
    schema: Option<&str>,
) -> Result<Option<String>, ServerError> {
    let wanted = schema.map_or_else(
        || "true".to_owned(),
        |name| format!("n.nspname = {}", literal(name)),
    );
    let tables = server
        .names(&format!(
            "SELECT pg_catalog.quote_ident(n.nspname) || '.migration_model'
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relname = 'migration_model' AND c.relkind = 'r' AND {wanted}
               AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
                 AND NOT a.attisdropped AND a.attname IN ('version', 'update_time')) = 2
               AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
             ORDER BY n.nspname <> 'public', n.nspname LIMIT 1"
        ))
        .await?;
    let Some(table) = tables.first() else {
        return Ok(None);
    };
    server.execute("BEGIN READ ONLY").await?;
    let newest = newest_migration(server, table).await;
    server.execute("ROLLBACK").await?;
    newest
}

async fn newest_migration(server: &Server, table: &str) -> Result<Option<String>, ServerError> {
    let mut rows = TableRows::open(server, table, &["version", "update_time"]).await?;
    let mut newest: Option<(i64, String)> = None;
    while let Some(row) = rows.next().await? {
        let [Some(version), time] = row.as_slice() else {
            continue;
        };
        let time = time.as_ref().and_then(|time| time.parse().ok());
        let time = time.unwrap_or(i64::MIN);
        if newest.as_ref().is_none_or(|(latest, _)| time > *latest) {
            newest = Some((time, version.clone()));
        }
    }
    Ok(newest.map(|(_, version)| version))
}
