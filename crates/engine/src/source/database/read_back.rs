//! Dumps and files of roles, read back: digest, whole decode, closing line, rows per table.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use catalog::artifact::{Artifact, Kind, LargeObjects, TableRows};
use postgres::inventory::{self, Inventory};
use postgres::restore::{custom_inventory, custom_list};
use stream::artifact::{Compression, Meter};
use stream::read::{ArtifactReader, ReadBack, hash_file};
use tokio_util::sync::CancellationToken;

use super::content::{large_objects_of, tables_of};
use crate::source::read_back::{Flaw, Reading, Report, Unreadable, blocking, compare_file, unread};

/// What a dump, or a file of roles, holds by reading it.
struct Dump {
    /// None of a file of roles.
    held: Option<inventory::Census>,
    complete: bool,
}

pub(super) async fn read_back(
    path: &Path,
    artifact: &Artifact,
    reading: &Reading<'_>,
    report: &mut Report,
) -> Result<(), Unreadable> {
    let (back, dump) = if artifact.kind() == Kind::Database && artifact.format == "custom" {
        read_custom(path, artifact, reading).await?
    } else {
        let (path, compression) = (path.to_owned(), artifact.compression.decoded());
        let (meter, cancel) = (reading.meter.clone(), reading.cancel.clone());
        let roles = artifact.kind() == Kind::Roles;
        blocking(move || read_plain(&path, compression, roles, meter, &cancel)).await?
    };
    compare_file(artifact, &back, report);
    compare(artifact, dump, report);
    Ok(())
}

fn read_plain(
    path: &Path,
    compression: Compression,
    roles: bool,
    meter: Arc<Meter>,
    cancel: &CancellationToken,
) -> io::Result<(ReadBack, Dump)> {
    /// Large enough that call overhead vanishes, small enough to stay in the processor's cache.
    const BUFFER_BYTES: usize = 256 * 1024;
    let mut reader = ArtifactReader::open(path, compression, meter)?;
    let mut inventory = Inventory::new(io::sink());
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        inventory.write_all(&buffer[..read])?;
    }
    let (_, census) = inventory.finish();
    let complete = if roles {
        census.cluster_complete
    } else {
        census.complete
    };
    let held = (!roles).then_some(census);
    Ok((reader.finish()?, Dump { held, complete }))
}

/// Its digest comes first: what the program says of bytes that are what they were is no word about them.
async fn read_custom(
    path: &Path,
    artifact: &Artifact,
    reading: &Reading<'_>,
) -> Result<(ReadBack, Dump), Unreadable> {
    let hashed: PathBuf = path.to_owned();
    let (bytes, sha256) = blocking(move || hash_file(&hashed)).await?;
    if (bytes, &sha256) != (artifact.bytes, &artifact.sha256) {
        return Err(Unreadable {
            words: format!("SHA-256 is {sha256}, the manifest says {}", artifact.sha256),
            flaw: Flaw::Damaged,
        });
    }
    let tools = reading.tools.ok_or_else(|| {
        unread(
            "cannot be read back: pg_restore was not found (install postgresql-client)".to_owned(),
        )
    })?;
    custom_list(tools, path, reading.cancel)
        .await
        .map_err(|error| unread(format!("pg_restore cannot list it: {error}")))?;
    let held = custom_inventory(tools, path, reading.cancel)
        .await
        .map_err(|error| unread(format!("pg_restore cannot read it: {error}")))?;
    let back = ReadBack {
        bytes,
        raw_bytes: bytes,
        sha256,
    };
    let complete = held.complete;
    let held = Some(held);
    Ok((back, Dump { held, complete }))
}

fn compare(artifact: &Artifact, dump: Dump, report: &mut Report) {
    let file = artifact.file.as_str();
    if !dump.complete {
        report.say(file, "ends without the dump's closing line: it is cut off");
    }
    let Some(held) = dump.held else {
        return;
    };
    let tables = tables_of(held.tables);
    report.rows += tables.iter().map(|table| table.rows).sum::<u64>();
    if let Some(expected) = artifact.tables() {
        compare_tables(file, expected, &tables, report);
    }
    let objects = large_objects_of(held.large_objects);
    let expected = artifact.dump().and_then(|dump| dump.large_objects.as_ref());
    if let Some(expected) = expected
        && *expected != objects
    {
        report.say(file, differ(expected, &objects));
    }
}

fn compare_tables(file: &str, expected: &[TableRows], found: &[TableRows], report: &mut Report) {
    for table in expected {
        match found.iter().find(|other| other.table == table.table) {
            None => report.say(file, format!("lacks table {}", table.table)),
            Some(other) if other.rows != table.rows => report.say(
                file,
                format!(
                    "table {} has {} rows, the manifest says {}",
                    table.table, other.rows, table.rows
                ),
            ),
            Some(other) if table.digest.is_some() && other.digest != table.digest => report.say(
                file,
                format!(
                    "table {} holds other rows than the manifest says: its digest is {}",
                    table.table,
                    other.digest.as_deref().unwrap_or("not known")
                ),
            ),
            Some(_) => {}
        }
    }
    for table in found {
        if !expected.iter().any(|other| other.table == table.table) {
            report.say(
                file,
                format!("table {} is not in the manifest", table.table),
            );
        }
    }
}

fn differ(expected: &LargeObjects, found: &LargeObjects) -> String {
    if (expected.count, expected.bytes) == (found.count, found.bytes) {
        return "large objects hold other content than the manifest says".to_owned();
    }
    format!(
        "holds {} large objects of {} bytes, the manifest says {} of {}",
        found.count, found.bytes, expected.count, expected.bytes
    )
}
