//! Reads a set back: sizes, digests, whole decode, dump trailer, rows per table, every archive entry.
//!
//! Compares what lies on disk with the manifest and both with `SHA256SUMS`, so that one flipped byte in any of them is named.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::walk;
use catalog::layout::{MANIFEST, SUMS};
use catalog::manifest::{Artifact, Kind, LargeObjects, Manifest, TableRows, sums_text};
use postgres::inventory::{self, Inventory};
use postgres::restore::{custom_inventory, custom_list};
use postgres::tools::Tools;
use serde::Serialize;
use stream::artifact::{Compression, Meter};
use stream::read::{ArtifactReader, ReadBack, hash_file, read_regular};
use tokio_util::sync::CancellationToken;

use crate::content::{describe, large_objects_of, tables_of};

/// Bytes of a list of digests that are read: a hundred thousand artifacts.
const SUMS_MOST: u64 = 32 * 1024 * 1024;

/// What reading a set back found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Files looked at.
    pub files: usize,
    /// Bytes read from the set.
    pub bytes: u64,
    /// Bytes they decode to.
    pub raw_bytes: u64,
    /// Rows counted in dumps.
    pub rows: u64,
    /// Entries walked in archives.
    pub entries: u64,
    /// Every difference; empty when the set is whole.
    pub problems: Vec<Problem>,
}

/// One difference between a set and its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File name inside the set.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
    /// Of what kind that is.
    pub flaw: Flaw,
}

/// What is known by a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flaw {
    /// Bytes were read, and they are not what they were.
    Damaged,
    /// A file is not there.
    Missing,
    /// A file is there that is none of the set's.
    Foreign,
    /// It could not be read: of its bytes nothing is known.
    Unread,
}

impl Report {
    /// Whether everything was as the manifest says.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether bytes were read that are not what they were: then it is no good set, until it is read whole.
    pub fn is_damaged(&self) -> bool {
        self.has(Flaw::Damaged)
    }

    /// Whether there is a difference of this kind.
    pub fn has(&self, flaw: Flaw) -> bool {
        self.problems.iter().any(|problem| problem.flaw == flaw)
    }

    fn say(&mut self, file: &str, what: impl Into<String>) {
        self.tell(file, Flaw::Damaged, what);
    }

    fn tell(&mut self, file: &str, flaw: Flaw, what: impl Into<String>) {
        self.problems.push(Problem {
            file: file.to_owned(),
            what: what.into(),
            flaw,
        });
    }
}

/// Interrupted before the end: nothing is known.
#[derive(Debug, thiserror::Error)]
#[error("verification was interrupted")]
pub struct Interrupted;

/// How artifacts are read.
pub struct Reading<'a> {
    /// For dumps in custom format, which only `pg_restore` can read.
    pub tools: Option<&'a Tools>,
    /// Counts decoded bytes.
    pub meter: Arc<Meter>,
    /// Ends the reading early.
    pub cancel: &'a CancellationToken,
}

/// Reads a finished set back: its list of files, digests and artifacts.
pub async fn verify_set(
    dir: &Path,
    manifest: &Manifest,
    reading: &Reading<'_>,
) -> Result<Report, Interrupted> {
    let mut report = Report::default();
    check_listing(dir, manifest, &mut report);
    check_sums(dir, manifest, &mut report);
    verify_artifacts(dir, manifest, reading, &mut report).await?;
    Ok(report)
}

/// Reads the artifacts of a set back, finished or not.
pub async fn verify_artifacts(
    dir: &Path,
    manifest: &Manifest,
    reading: &Reading<'_>,
    report: &mut Report,
) -> Result<(), Interrupted> {
    for artifact in &manifest.artifacts {
        let path = dir.join(&artifact.file);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                report.tell(&artifact.file, Flaw::Missing, "missing");
                continue;
            }
            Err(error) => {
                let words = format!("cannot be read: {error}");
                report.tell(&artifact.file, Flaw::Unread, words);
                continue;
            }
            Ok(found) if !found.is_file() => {
                report.tell(&artifact.file, Flaw::Missing, "is not a regular file");
                continue;
            }
            Ok(_) => {}
        }
        let read = read_artifact(&path, artifact, reading).await;
        if reading.cancel.is_cancelled() {
            return Err(Interrupted);
        }
        match read {
            Ok(found) => compare(artifact, found, report),
            Err(Unreadable { words, flaw }) => report.tell(&artifact.file, flaw, words),
        }
        report.files += 1;
    }
    Ok(())
}

/// Why an artifact was not read whole.
struct Unreadable {
    words: String,
    flaw: Flaw,
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self {
            words: format!("cannot be read whole: {error}"),
            flaw: flaw_of(&error),
        }
    }
}

fn is_of_the_system(error: &(dyn std::error::Error + 'static)) -> bool {
    let own = error.downcast_ref::<io::Error>();
    if own.is_some_and(|error| error.raw_os_error().is_some()) {
        return true;
    }
    // An error that carries another gives that one's source as its own.
    let carried = own.and_then(io::Error::get_ref);
    carried.is_some_and(|carried| is_of_the_system(carried))
        || error.source().is_some_and(is_of_the_system)
}

/// What an artifact holds by reading it.
struct Found {
    back: ReadBack,
    content: Content,
}

enum Content {
    Dump {
        /// None of a file of roles.
        held: Option<inventory::Census>,
        complete: bool,
    },
    Archive(archive::Walked),
}

async fn read_artifact(
    path: &Path,
    artifact: &Artifact,
    reading: &Reading<'_>,
) -> Result<Found, Unreadable> {
    match (artifact.kind, artifact.format.as_str()) {
        (Kind::Database, "custom") => read_custom(path, artifact, reading).await,
        (Kind::Database | Kind::Roles, _) => {
            let (path, compression) = (path.to_owned(), artifact.compression.decoded());
            let (meter, cancel) = (reading.meter.clone(), reading.cancel.clone());
            let roles = artifact.kind == Kind::Roles;
            blocking(move || read_plain(&path, compression, roles, meter, &cancel)).await
        }
        (Kind::Storage | Kind::Files, _) => {
            let (path, compression) = (path.to_owned(), artifact.compression.decoded());
            let (meter, cancel) = (reading.meter.clone(), reading.cancel.clone());
            blocking(move || {
                let mut reader = ArtifactReader::open(&path, compression, meter)?;
                let walked = walk(&mut reader, None, &cancel)?;
                Ok(Found {
                    back: reader.finish()?,
                    content: Content::Archive(walked),
                })
            })
            .await
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Unreadable> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Unreadable::from),
        Err(panic) => Err(unread(panic.to_string())),
    }
}

fn unread(words: String) -> Unreadable {
    Unreadable {
        words,
        flaw: Flaw::Unread,
    }
}

fn read_plain(
    path: &Path,
    compression: Compression,
    roles: bool,
    meter: Arc<Meter>,
    cancel: &CancellationToken,
) -> io::Result<Found> {
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
    Ok(Found {
        back: reader.finish()?,
        content: Content::Dump {
            complete: if roles {
                census.cluster_complete
            } else {
                census.complete
            },
            held: (!roles).then_some(census),
        },
    })
}

/// Its digest comes first: what the program says of bytes that are what they were is no word about them.
async fn read_custom(
    path: &Path,
    artifact: &Artifact,
    reading: &Reading<'_>,
) -> Result<Found, Unreadable> {
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
    Ok(Found {
        back: ReadBack {
            bytes,
            raw_bytes: bytes,
            sha256,
        },
        content: Content::Dump {
            complete: held.complete,
            held: Some(held),
        },
    })
}

fn compare(artifact: &Artifact, found: Found, report: &mut Report) {
    let file = artifact.file.as_str();
    let back = found.back;
    report.bytes += back.bytes;
    report.raw_bytes += back.raw_bytes;
    if back.bytes != artifact.bytes {
        report.say(
            file,
            format!(
                "is {} bytes, the manifest says {}",
                back.bytes, artifact.bytes
            ),
        );
    }
    if back.sha256 != artifact.sha256 {
        report.say(
            file,
            format!(
                "SHA-256 is {}, the manifest says {}",
                back.sha256, artifact.sha256
            ),
        );
    }
    if back.raw_bytes != artifact.raw_bytes {
        report.say(
            file,
            format!(
                "decodes to {} bytes, the manifest says {}",
                back.raw_bytes, artifact.raw_bytes
            ),
        );
    }
    match found.content {
        Content::Dump { held, complete } => {
            if !complete {
                report.say(file, "ends without the dump's closing line: it is cut off");
            }
            if let Some(held) = held {
                let tables = tables_of(held.tables);
                report.rows += tables.iter().map(|table| table.rows).sum::<u64>();
                if let Some(expected) = &artifact.tables {
                    compare_tables(file, expected, &tables, report);
                }
                let objects = large_objects_of(held.large_objects);
                if let Some(expected) = &artifact.large_objects
                    && *expected != objects
                {
                    report.say(file, differ(expected, &objects));
                }
            }
        }
        Content::Archive(walked) => {
            report.entries += walked.entries;
            if let Some(tree) = &artifact.tree {
                let pairs = [
                    ("files", walked.files, tree.files),
                    ("directories", walked.directories, tree.directories),
                    ("symbolic links", walked.symlinks, tree.symlinks),
                    ("hard links", walked.hard_links, tree.hard_links),
                    ("bytes in files", walked.bytes, tree.bytes),
                ];
                if let Some(expected) = &tree.attributes
                    && *expected != walked.attributes.to_string()
                {
                    report.say(
                        file,
                        "holds other names, modes, owners or attributes (content types among them) than the manifest says",
                    );
                }
                for (what, is, expected) in pairs {
                    if is != expected {
                        report.say(
                            file,
                            format!("holds {is} {what}, the manifest says {expected}"),
                        );
                    }
                }
            }
        }
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

/// What a dump in custom format holds, which only its read-back tells.
pub async fn look_into_custom(
    dir: &Path,
    manifest: &mut Manifest,
    tools: &Tools,
    cancel: &CancellationToken,
) -> Result<(), String> {
    for artifact in &mut manifest.artifacts {
        if artifact.kind == Kind::Database && artifact.format == "custom" {
            let held = custom_inventory(tools, &dir.join(&artifact.file), cancel)
                .await
                .map_err(|error| format!("{}: {error}", artifact.file))?;
            describe(artifact, held);
        }
    }
    Ok(())
}

fn check_listing(dir: &Path, manifest: &Manifest, report: &mut Report) {
    let known: BTreeSet<&str> = manifest
        .artifacts
        .iter()
        .map(|artifact| artifact.file.as_str())
        .chain([MANIFEST, SUMS])
        .collect();
    match fs::read_dir(dir) {
        Err(error) => report.tell(".", Flaw::Unread, format!("cannot be listed: {error}")),
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Err(error) => {
                        report.tell(".", Flaw::Unread, format!("cannot be listed: {error}"));
                    }
                    Ok(entry) => {
                        let name = entry.file_name().to_string_lossy().into_owned();
                        if !known.contains(name.as_str()) {
                            report.tell(&name, Flaw::Foreign, "is not part of the set");
                        }
                    }
                }
            }
        }
    }
}

/// What an error says of a file's bytes. What the system refuses says nothing; what a decoder or a reader of archives refuses, it has read.
pub fn flaw_of(error: &io::Error) -> Flaw {
    if error.kind() == io::ErrorKind::NotFound {
        Flaw::Missing
    } else if is_of_the_system(error) {
        Flaw::Unread
    } else {
        Flaw::Damaged
    }
}

fn check_sums(dir: &Path, manifest: &Manifest, report: &mut Report) {
    let found = match read_regular(&dir.join(SUMS), SUMS_MOST) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => {
            let flaw = flaw_of(&error);
            report.tell(SUMS, flaw, format!("cannot be read: {error}"));
            return;
        }
    };
    let manifest_sha = match hash_file(&dir.join(MANIFEST)) {
        Ok((_, sha)) => sha,
        Err(error) => {
            let flaw = flaw_of(&error);
            report.tell(MANIFEST, flaw, format!("cannot be read: {error}"));
            return;
        }
    };
    if found == sums_text(manifest, &manifest_sha) {
        return;
    }
    let line = format!("{manifest_sha}  {MANIFEST}");
    if found.lines().any(|found| found == line) {
        report.say(SUMS, "does not list the digests that the manifest holds");
    } else {
        report.say(
            MANIFEST,
            format!(
                "SHA-256 is {manifest_sha}, which {SUMS} does not say: one of the two was altered"
            ),
        );
    }
}
