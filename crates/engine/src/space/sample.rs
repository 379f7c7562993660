//! What the first set of a source will take, by a sample of it: bounded in bytes, names and time, so that it costs a run next to nothing.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postgres::dsn::Dsn;
use postgres::sample;
use rustix::fs::{AtFlags, statat};
use stream::artifact::Compression;
use stream::directory::{Descent, open_directory};
use stream::read::open_regular;

/// A sample that takes longer is given up: the estimate does without.
const WITHIN: Duration = Duration::from_secs(5);
/// A dump's text over the bytes of a table on the server's disk, at most: `bytea` is written in hexadecimal.
const TEXT_OVER_TABLE: f64 = 2.0;
/// What a dump has besides rows: some hundred statements a mebibyte, compressed.
const STATEMENTS_BYTES: u64 = 512 * 1024;
/// Names of a tree that are looked at, and for how long.
const NAMES_MOST: u64 = 100_000;
const WALK_WITHIN: Duration = Duration::from_secs(2);
/// Files that are read, and how much of each.
const FILES: usize = 64;
const FILE_BYTES: u64 = 64 * 1024;
/// Of a file's headers in an archive, compressed.
const HEADER_BYTES: u64 = 200;

/// A database's dump; none where it could not be sampled.
pub async fn of_database(dsn: &Dsn, compression: Compression) -> Option<u64> {
    let taken = tokio::time::timeout(WITHIN, sample::take(dsn)).await.ok()?;
    let sample = taken
        .inspect_err(|error| tracing::debug!(%error, "no sample of a database"))
        .ok()?;
    let packing = move || of_rows(&sample, compression).ok();
    tokio::task::spawn_blocking(packing).await.ok()?
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate: the error of f64 is far below its own, and every factor is positive"
)]
fn of_rows(sample: &sample::Sample, compression: Compression) -> std::io::Result<u64> {
    let (mut needed, mut known, mut text, mut packed) = (0_f64, 0, 0_u64, 0_u64);
    for table in &sample.tables {
        let (raw, small) = (table.text.len() as u64, compression.size_of(&table.text)?);
        text += raw;
        packed += small;
        known += table.bytes;
        needed += match (table.is_whole, raw) {
            (true, _) | (_, 0) => small as f64,
            (false, raw) => table.bytes as f64 * TEXT_OVER_TABLE * small as f64 / raw as f64,
        };
    }
    let ratio = if text == 0 {
        1.0
    } else {
        packed as f64 / text as f64
    };
    let rest = sample.bytes.saturating_sub(known) as f64;
    Ok(needed as u64 + (rest * TEXT_OVER_TABLE * ratio) as u64 + STATEMENTS_BYTES)
}

/// A tree as far as it was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance {
    /// Regular files.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Whether this is all of it.
    pub is_whole: bool,
    /// What an archive of it takes.
    pub packed: u64,
}

/// Looks at a tree, or at a single file. What cannot be read is passed over: the step will say so.
pub fn of_tree(
    root: &Path,
    left_out: &dyn Fn(&Path) -> bool,
    compression: Compression,
) -> std::io::Result<Glance> {
    let meta = root.metadata()?;
    let mut glance = Glance::default();
    let mut chosen = Chosen::default();
    if meta.is_dir() {
        walk(root, left_out, &mut glance, &mut chosen)?;
    } else {
        (glance.files, glance.bytes, glance.is_whole) = (1, meta.len(), true);
        chosen.offer(root.to_owned());
    }
    let mut content = Vec::new();
    for path in &chosen.paths {
        let Ok(file) = open_regular(path) else {
            continue;
        };
        let (began, have) = (Instant::now(), content.len());
        if file.take(FILE_BYTES).read_to_end(&mut content).is_err() {
            content.truncate(have);
        }
        // A disk that is slow is not asked for more.
        if began.elapsed() > WALK_WITHIN {
            break;
        }
    }
    let packed = compression.size_of(&content)?;
    glance.packed =
        scaled(glance.bytes, packed, content.len() as u64) + glance.files * HEADER_BYTES;
    Ok(glance)
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate: the error of f64 is far below its own, and every factor is positive"
)]
fn scaled(bytes: u64, packed: u64, of: u64) -> u64 {
    if of == 0 {
        return bytes;
    }
    (bytes as f64 * packed as f64 / of as f64) as u64
}

fn walk(
    root: &Path,
    left_out: &dyn Fn(&Path) -> bool,
    glance: &mut Glance,
    chosen: &mut Chosen,
) -> std::io::Result<()> {
    let began = Instant::now();
    let mut names = 0;
    let mut descent = Descent::open(root)?;
    loop {
        let Some(found) = descent.next_name().unwrap_or_default() else {
            match descent.leave() {
                Ok(Some(_)) => continue,
                ended => {
                    glance.is_whole = ended.is_ok();
                    return Ok(());
                }
            }
        };
        names += 1;
        if names > NAMES_MOST || began.elapsed() > WALK_WITHIN {
            return Ok(());
        }
        let path = descent.path_of(&found.name);
        if left_out(&path) {
            continue;
        }
        let directory = descent.directory()?;
        if found.kind.is_dir() {
            if let Ok(below) = open_directory(directory, &*found.name) {
                descent.enter(&found.name, below)?;
            }
        } else if found.kind.is_file()
            && let Ok(stat) = statat(directory, &*found.name, AtFlags::SYMLINK_NOFOLLOW)
        {
            glance.files += 1;
            glance.bytes += u64::try_from(stat.st_size).unwrap_or(0);
            chosen.offer(root.join(path));
        }
    }
}

/// Some of the files, each with the same chance whatever their number and order.
#[derive(Default)]
struct Chosen {
    paths: Vec<PathBuf>,
    offered: u64,
    state: u64,
}

impl Chosen {
    fn offer(&mut self, path: PathBuf) {
        self.offered += 1;
        if self.paths.len() < FILES {
            self.paths.push(path);
            return;
        }
        // Knuth's MMIX generator: any would do.
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = (self.state >> 33) % self.offered;
        if let Some(place) = usize::try_from(at)
            .ok()
            .and_then(|at| self.paths.get_mut(at))
        {
            *place = path;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GZIP: Compression = Compression::Gzip { level: 2 };

    #[test]
    fn a_tree_is_estimated_by_what_some_of_its_files_become() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        for number in 0..200 {
            let path = dir.path().join(format!("below/{number}"));
            fs::write(path, "the same words again\n".repeat(1000)).unwrap();
        }
        fs::write(dir.path().join("aside"), vec![0; 1000]).unwrap();
        let glance = of_tree(dir.path(), &|path| path == Path::new("aside"), GZIP).unwrap();
        assert_eq!((glance.files, glance.bytes), (200, 200 * 21_000));
        assert!(glance.is_whole);
        assert!(glance.packed < glance.bytes / 20, "{glance:?}");
    }

    #[test]
    fn rows_are_estimated_by_what_some_of_them_become() {
        let table = |bytes, text: &str, is_whole| sample::Table {
            bytes,
            text: text.into(),
            is_whole,
        };
        let words = "some words of a table\n".repeat(20_000);
        let small = sample::Sample {
            bytes: 3_000_000,
            tables: vec![table(3_000_000, &words, true)],
        };
        // All rows were read: what they become is known.
        assert!(of_rows(&small, GZIP).unwrap() < STATEMENTS_BYTES + 30_000);
        let mut state = 1_u64;
        let noise: String = (0..200_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                char::from_digit(u32::try_from(state >> 60).unwrap(), 16).unwrap()
            })
            .collect();
        let large = sample::Sample {
            bytes: 100_000_000,
            tables: vec![table(90_000_000, &noise, false)],
        };
        let needed = of_rows(&large, GZIP).unwrap();
        assert!((95_000_000..130_000_000).contains(&needed), "{needed}");
        assert_eq!(
            of_rows(&sample::Sample::default(), GZIP).unwrap(),
            STATEMENTS_BYTES
        );
    }
}
