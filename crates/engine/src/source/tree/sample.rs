//! What the first archive of a tree will take, by a sample of its files: bounded in bytes, names and time, so that it costs a run next to
//! nothing.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, statat};
use stream::artifact::Compression;
use stream::directory::{Descent, open_directory};
use stream::read::open_regular;

/// Names of a tree that are looked at, and for how long.
const NAMES_MOST: u64 = 100_000;
const WALK_WITHIN: Duration = Duration::from_secs(2);
/// Files that are read, and how much of each.
const FILES: usize = 64;
const FILE_BYTES: u64 = 64 * 1024;
/// Of a file's headers in an archive, compressed.
const HEADER_BYTES: u64 = 200;

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
}
