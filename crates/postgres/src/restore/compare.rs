//! What a restored database holds, asked of the database itself.

use tokio_postgres::SimpleQueryRow;

use crate::inventory::TableRows;
use crate::server::{Server, ServerError, literal};

/// One difference between what was dumped and what came back, in words.
pub type Difference = String;

/// Counts the rows of every table that the dump has data of. `table` in `expected` is quoted as SQL wants it.
pub async fn compare_rows(
    server: &Server,
    expected: &[TableRows],
) -> Result<Vec<Difference>, ServerError> {
    let mut differences = Vec::new();
    for TableRows { table, rows, .. } in expected {
        match count(server, table).await? {
            Some(found) if found == *rows => {}
            Some(found) => differences.push(format!("{table} has {found} rows, not {rows}")),
            None => differences.push(format!("{table} is missing")),
        }
    }
    Ok(differences)
}

/// Rows of a table without those that inherit from it; none where there is no such table.
pub async fn count(server: &Server, table: &str) -> Result<Option<u64>, ServerError> {
    let there = format!("SELECT pg_catalog.to_regclass({})::oid", literal(table));
    if server.number(&there).await? == 0 {
        return Ok(None);
    }
    let query = format!("SELECT pg_catalog.count(*) FROM ONLY {table}");
    server.number(&query).await.map(Some)
}

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

/// A table and its partitions, at whatever depth, quoted as the manifest names them.
pub async fn with_partitions(
    server: &Server,
    table: &str,
) -> Result<Vec<(String, String)>, ServerError> {
    let rows = server
        .rows(&format!(
            "WITH RECURSIVE tree AS (
               SELECT pg_catalog.to_regclass({})::oid AS oid
               UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
             SELECT n.nspname, c.relname FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
            literal(table)
        ))
        .await?;
    let pair = |row: &SimpleQueryRow| Some((row.get(0)?.to_owned(), row.get(1)?.to_owned()));
    Ok(rows.iter().filter_map(pair).collect())
}
