//! The same digests, of what a server holds now.

use std::pin::pin;

use futures_util::StreamExt;

use super::{LargeObjectHasher, LargeObjects, Rows, TableDigest};
use crate::server::{Server, ServerError, literal};

const COPY: &[u8] = b"COPY ";
const FROM_STDIN: &[u8] = b" FROM stdin;";
/// Bytes of a large object that are asked for at once: a row of twice as many digits.
const LARGE_OBJECT_BYTES: usize = 1024 * 1024;

/// What a COPY statement of a dump fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyTarget {
    /// `schema.table`, quoted where SQL needs quotes.
    pub table: String,
    /// Its columns as the dump lists them, quoted, without the parentheses; empty for a table without columns.
    pub columns: String,
}

impl CopyTarget {
    /// Of `COPY table (columns) FROM stdin;`, or of `COPY table  FROM stdin;`, which a table without columns has. Quotes are followed.
    pub fn parse(statement: &[u8]) -> Option<Self> {
        let rest = statement.trim_ascii_end().strip_prefix(COPY)?;
        let rest = rest.strip_suffix(FROM_STDIN)?;
        let mut quoted = false;
        let end = rest.iter().position(|byte| {
            quoted ^= *byte == b'"';
            !quoted && matches!(byte, b' ' | b'(')
        });
        let (table, columns) = rest.split_at(end.unwrap_or(rest.len()));
        let columns = columns.trim_ascii();
        let inside = columns
            .strip_prefix(b"(")
            .and_then(|list| list.strip_suffix(b")"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (!table.is_empty()).then(|| Self {
            table: text(table),
            columns: text(inside.unwrap_or(columns)),
        })
    }
}

/// Gives a session the settings by which values become the text that a dump has of them, besides those that every session of ours and
/// pg_dump's begins with: the server's own encoding, and an error for rows that would be left out.
pub async fn prepare(server: &Server) -> Result<(), ServerError> {
    server
        .execute(
            "SET row_security = off; SET synchronize_seqscans = off;
             SET constraint_exclusion = off;
             SELECT pg_catalog.set_config('client_encoding', pg_catalog.current_setting('server_encoding'), false)",
        )
        .await
}

/// The rows of a table as a dump would have them; none where there is no such table. The session is [`prepare`]d.
pub async fn of_table(
    server: &Server,
    target: &CopyTarget,
) -> Result<Option<TableDigest>, ServerError> {
    let asked = server.rows(&about(&target.table)).await?;
    let Some(table) = asked.first() else {
        return Ok(None);
    };
    let CopyTarget {
        table: name,
        columns,
    } = target;
    let listed = if columns.is_empty() { "*" } else { columns };
    let query = match (table.get(0).unwrap_or_default(), table.get(1)) {
        ("p", Some(partitions)) => {
            format!("COPY (SELECT {listed} FROM {name} WHERE tableoid IN ({partitions})) TO STDOUT")
        }
        (_, Some(condition)) => {
            format!("COPY (SELECT {listed} FROM {name} {condition}) TO STDOUT")
        }
        ("p", None) => format!("COPY (SELECT {listed} FROM {name}) TO STDOUT"),
        _ if columns.is_empty() => format!("COPY {name} TO STDOUT"),
        _ => format!("COPY {name} ({columns}) TO STDOUT"),
    };
    let mut rows = Rows::default();
    copy_out(server, &query, |piece| {
        // No mark ends the rows on the wire.
        rows.read(piece);
    })
    .await?;
    Ok(Some(rows.take().digest()))
}

/// A table's kind, and which of its rows a dump has under this name, where it has not all of them: the condition of the extension that
/// the table belongs to; of a partitioned table those partitions that are loaded through it, because their rows may belong into others
/// on another server (`forcePartitionRootLoad` in `pg_dump.c`: hash partitions by an enum).
fn about(table: &str) -> String {
    let table = literal(table);
    format!(
        "SELECT c.relkind, CASE c.relkind WHEN 'p' THEN (
             SELECT pg_catalog.string_agg(p.relid::pg_catalog.oid::pg_catalog.text, ',')
             FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf AND EXISTS (
               SELECT FROM pg_catalog.pg_partition_ancestors(p.relid) a
               JOIN pg_catalog.pg_partitioned_table t ON t.partrelid = a.relid AND t.partstrat = 'h'
               JOIN pg_catalog.pg_opclass o ON o.oid = ANY (t.partclass) AND o.opcname = 'enum_ops'))
           ELSE (SELECT NULLIF(e.extcondition[pg_catalog.array_position(e.extconfig, c.oid)], '')
             FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig) LIMIT 1) END
         FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({table})"
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
    copy_out(server, &query, |piece| {
        line.extend_from_slice(piece);
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
    })
    .await?;
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

async fn copy_out(
    server: &Server,
    query: &str,
    mut take: impl FnMut(&[u8]),
) -> Result<(), ServerError> {
    let failed = |error| ServerError::of_asking(&error, server.dsn());
    let stream = server.client().copy_out(query).await.map_err(failed)?;
    let mut stream = pin!(stream);
    while let Some(piece) = stream.next().await {
        take(&piece.map_err(failed)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_statements_are_taken_apart() {
        let table = [
            (
                "COPY public.users (id, \"select\") FROM stdin;\n",
                "public.users",
                "id, \"select\"",
            ),
            ("COPY public.none  FROM stdin;", "public.none", ""),
            (
                "COPY \"My Schema\".\"ta\"\"ble.\n(x) FROM stdin;\" (a, \"b)\nFROM stdin;\") FROM stdin;",
                "\"My Schema\".\"ta\"\"ble.\n(x) FROM stdin;\"",
                "a, \"b)\nFROM stdin;\"",
            ),
        ];
        for (statement, table, columns) in table {
            let expected = CopyTarget {
                table: table.to_owned(),
                columns: columns.to_owned(),
            };
            assert_eq!(CopyTarget::parse(statement.as_bytes()), Some(expected));
        }
        for other in [
            "COPY t (a) TO stdout;",
            "COPY  FROM stdin;",
            "SELECT 1;",
            "",
        ] {
            assert_eq!(CopyTarget::parse(other.as_bytes()), None, "{other}");
        }
    }
}
