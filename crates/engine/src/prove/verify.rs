//! Reads a set back: sizes, digests, whole decode, dump trailer, rows per table, every archive entry.
//!
//! Compares what lies on disk with the manifest and both with `SHA256SUMS`, so that one flipped byte in any of them is named.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use catalog::history::{Happening, History};
use catalog::layout::{CENSUS, MANIFEST, SUMS};
use catalog::manifest::{CensusFile, Manifest, sums_text};
use catalog::set::SetId;
use stream::blocking::in_place;
use stream::read::{hash_file, read_regular};

use crate::clock;
use crate::source::kind_of;
use crate::source::read_back::{Flaw, Reading, Report, flaw_of};

/// Bytes of a list of digests that are read: a hundred thousand artifacts.
const SUMS_MOST: u64 = 32 * 1024 * 1024;

/// Interrupted before the end: nothing is known.
#[derive(Debug, thiserror::Error)]
#[error("verification was interrupted")]
pub struct Interrupted;

/// Reads a finished set back: its list of files, digests and artifacts.
pub async fn verify_set(
    dir: &Path,
    manifest: &Manifest,
    reading: &Reading<'_>,
) -> Result<Report, Interrupted> {
    let mut report = Report::default();
    in_place(|| {
        check_listing(dir, manifest, &mut report);
        check_sums(dir, manifest, &mut report);
    });
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
        if let Err((flaw, words)) = in_place(|| looked_at(&path)) {
            report.tell(&artifact.file, flaw, words);
            continue;
        }
        let kind = kind_of(artifact);
        let read = kind.read_back(&path, artifact, reading, report).await;
        if reading.cancel.is_cancelled() {
            return Err(Interrupted);
        }
        if let Err(unread) = read {
            report.tell(&artifact.file, unread.flaw, unread.words);
        }
        report.files += 1;
    }
    if let Some(census) = &manifest.census {
        in_place(|| verify_census(dir, census, report));
    }
    Ok(())
}

/// Its digest tells; whoever uses it reads what it says.
fn verify_census(dir: &Path, census: &CensusFile, report: &mut Report) {
    match looked_at(&dir.join(CENSUS)) {
        Err((flaw, words)) => return report.tell(CENSUS, flaw, words),
        Ok(()) => report.files += 1,
    }
    match hash_file(&dir.join(CENSUS)) {
        Ok((bytes, sha256)) if (bytes, &sha256) == (census.bytes, &census.sha256) => {
            report.bytes += bytes;
        }
        Ok((_, sha256)) => {
            let words = format!("SHA-256 is {sha256}, the manifest says {}", census.sha256);
            report.tell(CENSUS, Flaw::Damaged, words);
        }
        Err(error) => report.tell(CENSUS, flaw_of(&error), format!("cannot be read: {error}")),
    }
}

/// A regular file is there, as names tell.
fn looked_at(path: &Path) -> Result<(), (Flaw, String)> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err((Flaw::Missing, "missing".to_owned()))
        }
        Err(error) => Err((Flaw::Unread, format!("cannot be read: {error}"))),
        Ok(found) if !found.is_file() => Err((Flaw::Missing, "is not a regular file".to_owned())),
        Ok(_) => Ok(()),
    }
}

/// Keeps the verdict on a finished set, so that one that was found damaged no longer counts as good.
pub fn keep(root: &Path, set: SetId, report: &Report) -> io::Result<()> {
    // A file that is missing or strange is seen by looking; of one that could not be read nothing is known.
    if !report.is_whole() && !report.is_damaged() {
        return Ok(());
    }
    let problems = report.problems.iter();
    let verified = Happening::SetVerified {
        set,
        whole: report.is_whole(),
        problems: problems
            .map(|problem| format!("{}: {}", problem.file, problem.what))
            .collect(),
    };
    History::open(root)?.append(clock::now(), &verified)
}

fn check_listing(dir: &Path, manifest: &Manifest, report: &mut Report) {
    let known: BTreeSet<&str> = manifest.files().collect();
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
