//! What a restored database holds, asked of the database itself.

use std::collections::BTreeSet;

use tokio_postgres::SimpleQueryRow;

use crate::server::{Server, ServerError, literal};
use crate::sql::QualifiedName;

/// Tables of a database that belong to another role, at most 10.
pub async fn tables_of_others(server: &Server, owner: &str) -> Result<Vec<String>, ServerError> {
    server
        .names(&format!(
            "SELECT pg_catalog.format('%I.%I of %s', n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner))
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE E'pg\\\\_%'
               AND pg_catalog.pg_get_userbyid(c.relowner) <> {}
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 AND x.objid = c.oid AND x.deptype = 'e')
             ORDER BY 1 LIMIT 10",
            literal(owner)
        ))
        .await
}

/// A table and its partitions, at whatever depth.
pub async fn with_partitions(
    server: &Server,
    table: &str,
) -> Result<BTreeSet<QualifiedName>, ServerError> {
    let rows = server
        .rows(&format!(
            "WITH RECURSIVE tree AS (
               SELECT pg_catalog.to_regclass({})::pg_catalog.oid AS oid
               UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
             SELECT n.nspname, c.relname FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
            literal(table)
        ))
        .await?;
    let name = |row: &SimpleQueryRow| {
        Some(QualifiedName {
            schema: row.get(0)?.to_owned(),
            name: row.get(1)?.to_owned(),
        })
    };
    Ok(rows.iter().filter_map(name).collect())
}
