//! How much room a run will need, and how much there is.

use std::io;
use std::path::Path;

use catalog::manifest::{Artifact, Kind, Manifest};

/// Dump size over `pg_database_size` when nothing better is known. The server's figure counts indexes and dead rows that a dump
/// leaves out, and text compresses to a third or less; only random bytes in `bytea` columns reach 1.
const FIRST_DATABASE_RATIO: f64 = 0.5;
/// Archive size over the tree's bytes when nothing better is known: images and video do not shrink.
const FIRST_TREE_RATIO: f64 = 1.0;
/// Growth allowed for between the last set and this one, and for the estimate being an estimate.
const MARGIN: f64 = 1.2;
/// Room that must remain whatever the estimate: manifest, history, other writers on the file system.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// A source's size now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSize {
    /// Label of the source.
    pub label: String,
    /// Database or tree.
    pub is_database: bool,
    /// `pg_database_size`, or the sum of file sizes.
    pub bytes: u64,
}

/// Bytes the next set will need at most, by all that is known: each source's size now times what the last set needed per byte.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate: the error of f64 is far below its margin, and every factor is positive"
)]
pub fn estimate(sources: &[SourceSize], last: Option<&Manifest>) -> u64 {
    let needed: f64 = sources
        .iter()
        .map(|source| {
            let first = if source.is_database {
                FIRST_DATABASE_RATIO
            } else {
                FIRST_TREE_RATIO
            };
            let ratio = last
                .and_then(|manifest| last_ratio(manifest, source))
                .unwrap_or(first);
            source.bytes as f64 * ratio * MARGIN
        })
        .sum();
    needed as u64 + RESERVE_BYTES
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a ratio of byte counts, used in an estimate"
)]
fn last_ratio(manifest: &Manifest, source: &SourceSize) -> Option<f64> {
    let artifact = manifest.artifacts.iter().find(|artifact| {
        artifact.label == source.label
            && (artifact.kind == Kind::Database) == source.is_database
            && artifact.kind != Kind::Roles
    })?;
    let then = source_bytes(artifact)?;
    (then > 0).then(|| artifact.bytes as f64 / then as f64)
}

fn source_bytes(artifact: &Artifact) -> Option<u64> {
    match artifact.kind {
        Kind::Database => artifact.source.as_ref()?.database_bytes,
        Kind::Storage | Kind::Files => artifact.tree.as_ref().map(|tree| tree.bytes),
        Kind::Roles => None,
    }
}

/// Bytes an unprivileged writer can still write below `dir`; the most there can be where the file system has no limit (ramfs).
pub fn free(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    if stat.f_blocks == 0 {
        return Ok(u64::MAX);
    }
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether no byte or no further file can be written below `dir`, by what its file system says.
pub fn is_full(dir: &Path) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    rustix::fs::statvfs(dir).is_ok_and(|stat| {
        // What is reserved for root is left to root.
        let (blocks, files) = if is_root {
            (stat.f_bfree, stat.f_ffree)
        } else {
            (stat.f_bavail, stat.f_favail)
        };
        (stat.f_blocks > 0 && blocks == 0) || (stat.f_files > 0 && files == 0)
    })
}

/// A byte count as people read it: `1.5 GiB`.
#[allow(
    clippy::cast_precision_loss,
    reason = "shown with one digit after the point"
)]
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(is_database: bool, bytes: u64) -> SourceSize {
        SourceSize {
            label: "x".to_owned(),
            is_database,
            bytes,
        }
    }

    #[test]
    fn first_estimate_takes_trees_whole_and_databases_by_half() {
        let mib = 1024 * 1024;
        let sources = [source(true, 100 * mib), source(false, 100 * mib)];
        assert_eq!(estimate(&sources, None), (60 + 120 + 16) * mib);
    }

    #[test]
    fn sizes_read_like_sizes() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(5 * 1024 * 1024 * 1024), "5.0 GiB");
    }
}
