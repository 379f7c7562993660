//! Supabase's `storage.objects`: which objects there should be, as far as a file can tell. Columns are looked up first, because they
//! change between versions of the storage service, and because everybody who may create a schema may make something else of this name.

use postgres::copy::{Row, TableRows};
use postgres::dsn::Dsn;
use postgres::server::{Server, ServerError};
use serde::Deserialize;
use serde_json::Value;

/// Rows given at once: some hundred kilobytes.
const BATCH: usize = 2_000;
/// The table, and its columns that tell of files. Those of [`NEEDED`] it always had.
const TABLE: &str = "storage.objects";
const COLUMNS: [&str; 6] = [
    "bucket_id",
    "name",
    "version",
    "metadata",
    "archived_at",
    "is_delete_marker",
];
const NEEDED: [&str; 2] = ["bucket_id", "name"];

/// One object that should have a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Object {
    /// `bucket_id`.
    pub bucket: String,
    /// `name`, with its slashes.
    pub name: String,
    /// `version`, which is the file's name where there is one.
    pub version: Option<String>,
    /// By the row's metadata.
    pub size: Option<u64>,
    /// The eTag, where it is the content's MD5.
    pub md5: Option<[u8; 16]>,
}

/// Why objects are not known.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The database.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Something else has the table's name.
    #[error("it is not as Supabase's storage service makes it: {0}")]
    Unlike(String),
}

/// The objects of a database, by and by.
pub struct Objects<'a> {
    rows: TableRows<'a>,
    columns: Vec<&'static str>,
}

/// Whether a database has any object that should have a file; none where it has no table of them. Waits for no lock.
pub async fn are_there(dsn: &Dsn) -> Result<Option<bool>, ObjectsError> {
    let server = Server::connect(dsn).await?;
    server
        .execute("BEGIN READ ONLY; SET LOCAL lock_timeout = '2s'")
        .await?;
    match Objects::open(&server).await? {
        Some(mut objects) => Ok(Some(!objects.next().await?.is_empty())),
        None => Ok(None),
    }
}

impl<'a> Objects<'a> {
    /// Begins to read, in the transaction that is open; none where there is no such table.
    pub async fn open(server: &'a Server) -> Result<Option<Self>, ObjectsError> {
        let Some(columns) = columns(server).await? else {
            return Ok(None);
        };
        let rows = TableRows::open(server, TABLE, &columns).await?;
        Ok(Some(Self { rows, columns }))
    }

    /// The next of them; none at the end.
    pub async fn next(&mut self) -> Result<Vec<Object>, ServerError> {
        let mut objects = Vec::new();
        while objects.len() < BATCH {
            let Some(mut row) = self.rows.next().await? else {
                break;
            };
            objects.extend(self.object(&mut row));
        }
        Ok(objects)
    }

    /// None where the row has no live file: what was archived or marked as deleted.
    fn object(&self, row: &mut Row) -> Option<Object> {
        let mut take = |name: &str| {
            let at = self.columns.iter().position(|column| *column == name)?;
            row.get_mut(at)?.take()
        };
        if take("archived_at").is_some() || take("is_delete_marker").as_deref() == Some("t") {
            return None;
        }
        let metadata = take("metadata").unwrap_or_default();
        // What the service did not write tells neither size nor content.
        let metadata: Metadata = serde_json::from_str(&metadata).unwrap_or_default();
        Some(Object {
            bucket: take("bucket_id")?,
            name: take("name")?,
            version: take("version").filter(|version| !version.is_empty()),
            size: metadata.size.and_then(|size| match size {
                Value::String(text) => text.parse().ok(),
                number => number.as_u64(),
            }),
            md5: metadata.etag.as_ref().and_then(Value::as_str).and_then(md5),
        })
    }
}

#[derive(Default, Deserialize)]
struct Metadata {
    size: Option<Value>,
    #[serde(rename = "eTag")]
    etag: Option<Value>,
}

/// The columns that the table has of those that tell of files; none where there is no such table. Values of PostgreSQL's own types alone
/// are taken.
async fn columns(server: &Server) -> Result<Option<Vec<&'static str>>, ObjectsError> {
    let rows = server
        .rows(&format!(
            "SELECT c.relkind, a.attname, t.typname, n.nspname = 'pg_catalog', a.attgenerated
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
             WHERE c.oid = pg_catalog.to_regclass('{TABLE}')"
        ))
        .await?;
    let mut found = Vec::new();
    let mut unlike = None;
    for row in &rows {
        let text = |at: usize| row.get(at).unwrap_or_default();
        let Some(column) = COLUMNS.into_iter().find(|column| *column == text(1)) else {
            continue;
        };
        let right = match column {
            "metadata" => ["json", "jsonb"].contains(&text(2)),
            "is_delete_marker" => text(2) == "bool",
            _ => true,
        };
        if !right || text(3) != "t" {
            unlike = Some(format!("its column {column} is of type {}", text(2)));
        } else if !text(4).is_empty() {
            unlike = Some(format!("its column {column} is a generated one"));
        }
        found.push(column);
    }
    if !NEEDED.iter().all(|column| found.contains(column)) {
        return Ok(None);
    }
    let kind = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
    let unlike = match kind {
        "r" => unlike,
        "p" => Some("it is a partitioned table".to_owned()),
        "v" => Some("it is a view".to_owned()),
        "m" => Some("it is a materialized view".to_owned()),
        "f" => Some("it is a foreign table".to_owned()),
        other => Some(format!("it is a relation of kind {other}")),
    };
    match unlike {
        Some(words) => Err(ObjectsError::Unlike(words)),
        None => Ok(Some(found)),
    }
}

/// `"<md5>"`, in quotes; what a multipart upload (`"<hex>-2"`) or an mtime makes is no MD5 of the content.
fn md5(etag: &str) -> Option<[u8; 16]> {
    let hex = etag.trim_matches('"');
    if hex.len() != 32 {
        return None;
    }
    let mut md5 = [0; 16];
    for (byte, digits) in md5.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(md5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_md5_is_one() {
        let whole = "\"00112233445566778899aabbccddeeff\"";
        assert_eq!(md5(whole).unwrap()[15], 0xff);
        assert_eq!(md5(whole.trim_matches('"')), md5(whole));
        for other in [
            "",
            "\"00112233445566778899aabbccddeeff-2\"",
            "1700000000000-12",
            "zz112233445566778899aabbccddeeff",
        ] {
            assert_eq!(md5(other), None, "{other}");
        }
    }
}
