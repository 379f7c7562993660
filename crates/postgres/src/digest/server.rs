//! The same digests, of what a server holds now.

use super::{LargeObjectHasher, LargeObjects, Rows, TableDigest};
use crate::copy::CopyOut;
use crate::server::{Server, ServerError, literal};
use crate::sql::CopyTarget;

/// Bytes of a large object that are asked for at once: a row of twice as many digits.
const LARGE_OBJECT_BYTES: usize = 1024 * 1024;

/// Gives a session the settings by which values become the text that a dump has of them, besides those that every session of ours and
/// pg_dump's begins with: an error for rows that would be left out. The encoding is [`of_table`]'s.
pub async fn prepare(server: &Server) -> Result<(), ServerError> {
    server
        .execute(
            "SET row_security = off; SET synchronize_seqscans = off;
             SET constraint_exclusion = off",
        )
        .await
}

/// What a server holds of a table, as a dump would have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableContent {
    /// There is no such table.
    Absent,
    /// A dump has some of its rows, by a condition that is not a superuser's: to evaluate it could run anybody's code.
    NotAsked,
    /// Its rows.
    Digest(TableDigest),
}

/// The rows of a table as a dump in this encoding would have them. The session is [`prepare`]d.
///
/// Rows are read without a query (see [`crate::copy`]), but those that an extension has its table dumped by a condition for: there
/// condition and table are a superuser's, as pg_dump trusts them to be.
pub async fn of_table(
    server: &Server,
    target: &CopyTarget,
    encoding: &str,
) -> Result<TableContent, ServerError> {
    let asked = server.rows(&about(&target.table)).await?;
    let Some(table) = asked.first() else {
        return Ok(TableContent::Absent);
    };
    let columns = &target.columns;
    let copy = |name: &str| match columns.as_str() {
        "" => format!("COPY {name} TO STDOUT"),
        columns => format!("COPY {name} ({columns}) TO STDOUT"),
    };
    let statements = match (table.get(0), table.get(1), table.get(2)) {
        (_, Some(_), Some("f") | None) => return Ok(TableContent::NotAsked),
        (_, Some(condition), _) => {
            let columns = if columns.is_empty() { "*" } else { columns };
            let name = &target.table;
            vec![format!(
                "COPY (SELECT {columns} FROM {name} {condition}) TO STDOUT"
            )]
        }
        (Some("p"), ..) => {
            let partitions = server.names(&partitions(&target.table)).await?;
            partitions.iter().map(|name| copy(name)).collect()
        }
        _ => vec![copy(&target.table)],
    };
    let encoding = literal(encoding);
    let mut rows = Rows::default();
    for statement in statements {
        let mut out =
            CopyOut::begin(server, &format!("{statement} WITH (ENCODING {encoding})")).await?;
        while let Some(piece) = out.next().await? {
            // No mark ends the rows on the wire.
            rows.read(&piece);
        }
    }
    Ok(TableContent::Digest(rows.take().digest()))
}

/// A table's kind, the condition of the extension that has some of its rows dumped, and whether both belong to superusers.
fn about(table: &str) -> String {
    let table = literal(table);
    format!(
        "SELECT c.relkind, NULLIF(e.extcondition[pg_catalog.array_position(e.extconfig, c.oid)], ''), r.rolsuper AND o.rolsuper
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
         LEFT JOIN pg_catalog.pg_extension e ON c.oid = ANY (e.extconfig) LEFT JOIN pg_catalog.pg_roles o ON o.oid = e.extowner
         WHERE c.oid = pg_catalog.to_regclass({table}) LIMIT 1"
    )
}

/// The partitions that are loaded through a partitioned table, because their rows may belong into others on another server
/// (`forcePartitionRootLoad` in `pg_dump.c`: hash partitions by an enum); all of them, where a dump was made to load so.
fn partitions(table: &str) -> String {
    let table = literal(table);
    format!(
        "WITH partition AS (
           SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, EXISTS (
             SELECT FROM pg_catalog.pg_partition_ancestors(p.relid) a
             JOIN pg_catalog.pg_partitioned_table t ON t.partrelid = a.relid AND t.partstrat = 'h'
             JOIN pg_catalog.pg_opclass o ON o.oid = ANY (t.partclass) AND o.opcname = 'enum_ops') AS through_root
           FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass({table})) p JOIN pg_catalog.pg_class c ON c.oid = p.relid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r')
         SELECT name FROM partition WHERE through_root OR NOT EXISTS (SELECT FROM partition WHERE through_root)"
    )
}

/// All large objects, as a dump would have them. The session is [`prepare`]d.
pub async fn of_large_objects(server: &Server) -> Result<LargeObjects, ServerError> {
    let mut hasher = LargeObjectHasher::default();
    // An object that is longer than one piece goes on from there, one question a piece.
    let mut longer = Vec::new();
    let query = format!(
        "COPY (SELECT oid, pg_catalog.lo_get(oid, 0, {LARGE_OBJECT_BYTES}) FROM pg_catalog.pg_largeobject_metadata) TO STDOUT"
    );
    let mut line = Vec::new();
    let mut out = CopyOut::begin(server, &query).await?;
    while let Some(piece) = out.next().await? {
        line.extend_from_slice(&piece);
        while let Some(end) = memchr::memchr(b'\n', &line) {
            if let Some((oid, hex)) = oid_and_hex(&line[..end]) {
                if hex.len() < 2 * LARGE_OBJECT_BYTES {
                    hasher.open(oid);
                    hasher.write(hex);
                    hasher.close();
                } else {
                    longer.push(String::from_utf8_lossy(oid).into_owned());
                }
            }
            line.drain(..=end);
        }
    }
    for oid in longer {
        hasher.open(oid.as_bytes());
        for piece in 0_usize.. {
            let from = piece * LARGE_OBJECT_BYTES;
            let query = format!("SELECT pg_catalog.lo_get({oid}, {from}, {LARGE_OBJECT_BYTES})");
            let hex = server.names(&query).await?.pop().unwrap_or_default();
            let hex = hex.strip_prefix("\\x").unwrap_or_default();
            hasher.write(hex.as_bytes());
            if hex.len() < 2 * LARGE_OBJECT_BYTES {
                break;
            }
        }
        hasher.close();
    }
    Ok(hasher.finish())
}

/// Of `OID<tab>\\xHEX`: COPY escapes the backslash.
fn oid_and_hex(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = memchr::memchr(b'\t', line)?;
    let hex = line[tab + 1..].strip_prefix(b"\\\\x")?;
    Some((&line[..tab], hex))
}
