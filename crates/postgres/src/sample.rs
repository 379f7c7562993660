//! The first rows of a database's largest tables, as a dump will write them: by them the room of a first dump is estimated.
//!
//! Tables are read by `COPY table TO STDOUT` alone, as [`crate::copy`] explains. It waits for nobody: where a table is locked, or row
//! security binds the role, there is no sample.

use crate::copy::CopyOut;
use crate::dsn::Dsn;
use crate::server::{Server, ServerError, ident};

/// Tables that are looked into, the largest.
const TABLES: usize = 8;
/// Bytes of each that are read. All of a sample is held in memory.
const TABLE_BYTES: usize = 512 * 1024;
/// A migration's lock on one of the tables is not waited for.
const PATIENCE: &str = "SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '2s'; SET LOCAL row_security = off";
/// What a dump has rows of, with its size, the largest first. Sizes are of the table and what is stored out of line, without indexes.
const SIZES: &str = "
SELECT n.nspname, c.relname, pg_catalog.pg_table_size(c.oid) AS bytes
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'
  AND (n.nspname !~ '^pg_' OR c.oid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass)
ORDER BY bytes DESC";

/// What was found.
#[derive(Debug, Default)]
pub struct Sample {
    /// Bytes of all tables on the server's disk.
    pub bytes: u64,
    /// Of the largest.
    pub tables: Vec<Table>,
}

/// Of one table.
#[derive(Debug)]
pub struct Table {
    /// Its bytes on the server's disk.
    pub bytes: u64,
    /// Its first rows, as a dump will have them.
    pub text: Vec<u8>,
    /// Whether these are all.
    pub is_whole: bool,
}

/// Looks into a database.
pub async fn take(dsn: &Dsn) -> Result<Sample, ServerError> {
    let mut sample = Sample::default();
    let mut largest = Vec::new();
    let server = begin(dsn).await?;
    for row in server.rows(SIZES).await? {
        let bytes: u64 = row.get(2).and_then(|text| text.parse().ok()).unwrap_or(0);
        sample.bytes += bytes;
        if let (Some(schema), Some(name)) = (row.get(0), row.get(1))
            && bytes > 0
            && schema != "pg_catalog"
            && largest.len() < TABLES
        {
            largest.push((format!("{}.{}", ident(schema), ident(name)), bytes));
        }
    }
    drop(server);
    for (name, bytes) in largest {
        // A connection each: where only a table's beginning is read, the rest is left by ending the connection.
        let server = begin(dsn).await?;
        let mut copy = CopyOut::begin(&server, &format!("COPY {name} TO STDOUT")).await?;
        let mut text = Vec::new();
        let is_whole = loop {
            match copy.next().await? {
                None => break true,
                Some(piece) => text.extend_from_slice(&piece),
            }
            if text.len() >= TABLE_BYTES {
                // The last row may be of any size.
                text.truncate(TABLE_BYTES);
                text.shrink_to_fit();
                break false;
            }
        };
        sample.tables.push(Table {
            bytes,
            text,
            is_whole,
        });
    }
    Ok(sample)
}

async fn begin(dsn: &Dsn) -> Result<Server, ServerError> {
    let server = Server::connect(dsn).await?;
    server
        .execute(&format!("BEGIN READ ONLY; {PATIENCE}"))
        .await?;
    Ok(server)
}
