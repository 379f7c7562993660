//! Supabase's `storage.objects`: which objects there should be, as far as a file can tell. Columns are looked up first, because they
//! change between versions of the storage service.

use std::collections::BTreeSet;

use tokio_postgres::SimpleQueryRow;

use crate::server::{Server, ServerError, literal};

/// Rows fetched at once: some hundred kilobytes.
const BATCH: usize = 2_000;

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

/// The objects of a database, by and by.
pub struct Objects<'a> {
    server: &'a Server,
}

impl<'a> Objects<'a> {
    /// Begins to read, in the transaction that is open; none where there is no such table.
    pub async fn open(server: &'a Server) -> Result<Option<Self>, ServerError> {
        let Some(select) = select(server).await? else {
            return Ok(None);
        };
        let declare = format!("DECLARE backupd_objects NO SCROLL CURSOR FOR {select}");
        server.execute(&declare).await?;
        Ok(Some(Self { server }))
    }

    /// The next of them; none at the end.
    pub async fn next(&mut self) -> Result<Vec<Object>, ServerError> {
        let rows = self
            .server
            .rows(&format!("FETCH {BATCH} FROM backupd_objects"))
            .await?;
        if rows.is_empty() {
            self.server.execute("CLOSE backupd_objects").await?;
        }
        Ok(rows.iter().map(object).collect())
    }
}

/// Those of `objects` that are still there as they were.
pub async fn still_there(
    server: &Server,
    objects: &[Object],
) -> Result<BTreeSet<(String, String)>, ServerError> {
    let Some(select) = select(server).await? else {
        return Ok(BTreeSet::new());
    };
    let names: Vec<String> = objects
        .iter()
        .map(|object| format!("({}, {})", literal(&object.bucket), literal(&object.name)))
        .collect();
    let query = format!(
        "{select} AND (bucket_id::text, name) IN (VALUES {})",
        names.join(", ")
    );
    let rows = server.rows(&query).await?;
    let now = rows.iter().map(object).collect::<Vec<_>>();
    Ok(objects
        .iter()
        .filter(|object| now.contains(object))
        .map(|object| (object.bucket.clone(), object.name.clone()))
        .collect())
}

/// The query for rows that have a live file; none where there is no such table.
async fn select(server: &Server) -> Result<Option<String>, ServerError> {
    let columns = server
        .names(
            "SELECT attname FROM pg_catalog.pg_attribute
             WHERE attrelid = pg_catalog.to_regclass('storage.objects') AND attnum > 0 AND NOT attisdropped",
        )
        .await?;
    let has = |name: &str| columns.iter().any(|column| column == name);
    if !has("bucket_id") || !has("name") {
        return Ok(None);
    }
    let version = if has("version") {
        "version::text"
    } else {
        "NULL"
    };
    let metadata = |key: &str| {
        if has("metadata") {
            format!("metadata::jsonb ->> '{key}'")
        } else {
            "NULL".to_owned()
        }
    };
    let mut conditions = vec!["name IS NOT NULL AND bucket_id IS NOT NULL".to_owned()];
    // What was archived or marked as deleted has no live file.
    if has("archived_at") {
        conditions.push("archived_at IS NULL".to_owned());
    }
    if has("is_delete_marker") {
        conditions.push("is_delete_marker IS NOT TRUE".to_owned());
    }
    Ok(Some(format!(
        "SELECT bucket_id::text, name, {version}, {}, {} FROM storage.objects WHERE {}",
        metadata("size"),
        metadata("eTag"),
        conditions.join(" AND ")
    )))
}

fn object(row: &SimpleQueryRow) -> Object {
    let text = |at: usize| row.get(at).map(str::to_owned);
    Object {
        bucket: text(0).unwrap_or_default(),
        name: text(1).unwrap_or_default(),
        version: text(2).filter(|version| !version.is_empty()),
        size: text(3).and_then(|size| size.parse().ok()),
        md5: text(4).and_then(|etag| md5(&etag)),
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
