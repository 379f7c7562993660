//! A census of one database: every object by kind and name with short digests of what it is like, the extensions it cannot be without,
//! where sequences stand, the server's roles, and the database's own properties. One question, asked in the snapshot of a dump or of what
//! a restore brought back.

mod brought;
mod definition;

use std::collections::BTreeMap;

use tokio_postgres::SimpleQueryRow;
use xxhash_rust::xxh3::xxh3_64;

pub use brought::{Brought, Given, Routine, brought};

use crate::server::{Server, ServerError};

/// What is told of an object besides its name: short digests, and the owner's name as it is. The definition, which holds expressions as
/// the server writes them, is the same only on servers of one major version.
pub const FACETS: [&str; 6] = [
    "properties",
    "settings",
    "privileges",
    "comment",
    "definition",
    "owner",
];
/// Facets of an object that has none, or whose are hidden from the role that asked.
const NONE: &str = "-";
const HIDDEN: &str = "?";

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// `table`, `view`, `function`, ….
    pub kind: String,
    /// Its name, with schema and table where it has them.
    pub name: String,
    /// Extensions without which it cannot be, directly or through other objects.
    pub needs: Vec<String>,
    /// Each of [`FACETS`]: eight digits in hex; `-` for none, `?` where it could not be seen. The last is the owner's name.
    pub facets: [String; FACETS.len()],
}

/// The objects of a database, and where its sequences stand (those that were used, and do not turn over).
pub async fn take(server: &Server) -> Result<(Vec<Counted>, BTreeMap<String, i64>), ServerError> {
    // Just-in-time compilation of a query of this size takes 15 seconds, the query itself some hundredths.
    server.execute("SET jit = off").await?;
    let version = server
        .number("SELECT current_setting('server_version_num')")
        .await?;
    let query = if version >= SQL_BODIES_SINCE {
        OBJECTS.replace(SQL_BODY, "pg_get_function_sqlbody(p.oid)")
    } else {
        OBJECTS.to_owned()
    };
    let rows = server.rows(&query).await?;
    let objects = rows.iter().map(counted).collect();
    let rows = server.rows(POSITIONS).await?;
    let position = |row: &SimpleQueryRow| Some((row.get(0)?.to_owned(), row.get(1)?.parse().ok()?));
    Ok((objects, rows.iter().filter_map(position).collect()))
}

fn counted(row: &SimpleQueryRow) -> Counted {
    /// Of the row's columns, those before the facets.
    const NAMED_BY: usize = 3;
    let text = |at: usize| row.get(at).unwrap_or_default();
    let facet = |facet: usize| match (FACETS[facet], row.get(NAMED_BY + facet)) {
        (_, None) => NONE.to_owned(),
        (_, Some(HIDDEN)) => HIDDEN.to_owned(),
        ("owner", Some(name)) => name.to_owned(),
        ("definition", Some(text)) => short_digest(&definition::normal(text)),
        (_, Some(text)) => short_digest(text),
    };
    Counted {
        kind: text(0).to_owned(),
        name: text(1).to_owned(),
        needs: text(2)
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        facets: std::array::from_fn(facet),
    }
}

/// 32 bits: short, because there are thousands of them, and a change that goes unseen is one in four billion.
fn short_digest(text: &str) -> String {
    format!("{:08x}", xxh3_64(text.as_bytes()) >> 32)
}

/// Extensions that a server could create.
pub async fn available_extensions(server: &Server) -> Result<Vec<String>, ServerError> {
    server
        .names("SELECT name FROM pg_catalog.pg_available_extensions")
        .await
}

/// The first server with functions whose body is SQL that the server has understood, and the function that tells it.
const SQL_BODIES_SINCE: u64 = 140_000;
const SQL_BODY: &str = "/*sqlbody*/ NULL";
const OBJECTS: &str = include_str!("census/objects.sql");

const POSITIONS: &str = "
SELECT pg_catalog.format('%I.%I', schemaname, sequencename), last_value FROM pg_catalog.pg_sequences
WHERE last_value IS NOT NULL AND increment_by > 0 AND NOT cycle AND schemaname NOT LIKE E'pg\\\\_%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e'
    AND d.objid = pg_catalog.format('%I.%I', schemaname, sequencename)::pg_catalog.regclass)";
