//! How much room a run will need, and how much there is.

use std::io;
use std::path::Path;

use catalog::artifact::{Artifact, Kind};
use catalog::manifest::Manifest;

/// Dump size over `pg_database_size` when nothing better is known. The server's figure counts indexes and dead rows that a dump
/// leaves out, and text compresses to a third or less; only random bytes in `bytea` columns reach 1.
const FIRST_DATABASE_RATIO: f64 = 0.5;
/// Archive size over the tree's bytes when nothing better is known: images and video do not shrink.
const FIRST_TREE_RATIO: f64 = 1.0;
/// Of a smaller database most are the system's catalogs and empty indexes: how its dump compares with it says little of what it grows by.
const MOSTLY_CATALOGS: u64 = 64 * 1024 * 1024;
/// Growth allowed for between the last set and this one, and for the estimate being an estimate.
const MARGIN: f64 = 1.2;
/// Manifest, digests, history, roles.
const BESIDES_BYTES: u64 = 1024 * 1024;

/// What is known of a source's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSize {
    /// Label of the source.
    pub label: String,
    /// Database or tree.
    pub is_database: bool,
    /// Now: `pg_database_size`, or the sum of file sizes; none where that is not known.
    pub bytes: Option<u64>,
    /// What its artifact will take by a sample, where there is one.
    pub sampled: Option<u64>,
}

/// Room that must remain when a set is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinFree {
    /// Bytes.
    Bytes(u64),
    /// Percent of the file system.
    Percent(f64),
}

impl Default for MinFree {
    /// What others write to a file system meanwhile, where a backup has it to itself.
    fn default() -> Self {
        Self::Bytes(16 * 1024 * 1024)
    }
}

impl MinFree {
    /// In bytes, of a file system of this size.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a size, which is positive"
    )]
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            // Without a limit there is nothing to have a part of.
            Self::Percent(_) if total == u64::MAX => 0,
            Self::Percent(percent) => (total as f64 * percent / 100.0) as u64,
        }
    }
}

/// Bytes the next set will need at most, by all that is known: what each source took in the last set, and what it grew by since; for
/// the first set what a sample tells, or a share of its size.
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
            let now = source.bytes.unwrap_or(0);
            match (last.and_then(|last| of_last(last, source)), source.sampled) {
                (Some((taken, then)), _) => {
                    let learnt = taken as f64 / then.max(1) as f64;
                    let grown = now.saturating_sub(then) as f64;
                    let ratio = if source.is_database && then < MOSTLY_CATALOGS {
                        learnt.max(first)
                    } else {
                        learnt
                    };
                    taken as f64 + grown * ratio
                }
                (None, Some(sampled)) => sampled as f64,
                (None, None) => now as f64 * first,
            }
        })
        .sum();
    (needed * MARGIN) as u64 + BESIDES_BYTES
}

/// What a source took in the last set, and its size then.
pub(crate) fn of_last(manifest: &Manifest, source: &SourceSize) -> Option<(u64, u64)> {
    let artifact = manifest.artifacts.iter().find(|artifact| {
        artifact.label == source.label
            && (artifact.kind() == Kind::Database) == source.is_database
            && artifact.kind() != Kind::Roles
    })?;
    Some((artifact.bytes, source_bytes(artifact)?))
}

fn source_bytes(artifact: &Artifact) -> Option<u64> {
    match artifact.kind() {
        Kind::Database => artifact.source()?.database_bytes,
        Kind::Storage | Kind::Files => artifact.tree().map(|tree| tree.bytes),
        Kind::Roles => None,
    }
}

/// A file system's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all; the most there can be where it has no limit (ramfs).
    pub total: u64,
    /// Bytes an unprivileged writer can still write.
    pub free: u64,
}

/// The room below `dir`.
pub fn room(dir: &Path) -> io::Result<Room> {
    let stat = rustix::fs::statvfs(dir)?;
    if stat.f_blocks == 0 {
        return Ok(Room {
            total: u64::MAX,
            free: u64::MAX,
        });
    }
    Ok(Room {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

/// Bytes an unprivileged writer can still write below `dir`.
pub fn free(dir: &Path) -> io::Result<u64> {
    room(dir).map(|room| room.free)
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

    const MIB: u64 = 1024 * 1024;

    fn source(is_database: bool, bytes: u64, sampled: Option<u64>) -> SourceSize {
        SourceSize {
            label: "x".to_owned(),
            is_database,
            bytes: Some(bytes),
            sampled,
        }
    }

    /// A set in which a source of this size took so much.
    fn set(then: u64, taken: u64) -> Manifest {
        let id = "20261120T020000Z".parse().unwrap();
        let mut manifest = Manifest::begin(id, "", "2026-11-20T02:00:00Z".parse().unwrap());
        let artifact = serde_json::json!({
            "file": "x_db.sql.gz", "kind": "database", "label": "x", "format": "plain", "compression": "gzip",
            "bytes": taken, "raw_bytes": taken, "sha256": "",
            "source": {"host": "h", "port": 1, "database": "d", "user": "u", "server_version": "17.1", "database_bytes": then},
        });
        manifest.artifacts = vec![serde_json::from_value(artifact).unwrap()];
        manifest
    }

    #[test]
    fn a_first_estimate_goes_by_a_sample_and_otherwise_by_the_size() {
        let sources = [
            source(true, 100 * MIB, None),
            source(false, 100 * MIB, None),
        ];
        assert_eq!(estimate(&sources, None), (60 + 120 + 1) * MIB);
        let sources = [source(true, 100 * MIB, Some(5 * MIB))];
        assert_eq!(estimate(&sources, None), (6 + 1) * MIB);
    }

    #[test]
    fn an_estimate_learns_from_the_last_set_and_allows_for_growth() {
        let now = |bytes| [source(true, bytes, None)];
        // A small stock database, mostly catalogs: 2.9 MiB.
        let small = set(70 * MIB / 2, 29 * MIB / 10);
        assert!(estimate(&now(35 * MIB), Some(&small)) < 5 * MIB);
        // What it grows by are somebody's rows.
        assert!(estimate(&now(135 * MIB), Some(&small)) > 60 * MIB);
        let large = set(1000 * MIB, 200 * MIB);
        assert_eq!(estimate(&now(1000 * MIB), Some(&large)), 241 * MIB);
        assert_eq!(estimate(&now(2000 * MIB), Some(&large)), 481 * MIB);
        assert_eq!(estimate(&now(500 * MIB), Some(&large)), 241 * MIB);
    }

    #[test]
    fn what_must_remain_is_bytes_or_a_part() {
        assert_eq!(MinFree::Bytes(7).of(100), 7);
        assert_eq!(MinFree::Percent(2.5).of(1000), 25);
        assert_eq!(MinFree::Percent(50.0).of(u64::MAX), 0);
    }

    #[test]
    fn sizes_read_like_sizes() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(5 * 1024 * 1024 * 1024), "5.0 GiB");
    }
}
