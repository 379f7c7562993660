//! What is in use is moved aside, never removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use catalog::layout::tree::{Kept, Names, everything, is_own, is_there, make_own, too_many};
use stream::durable;

use super::parents::make_parents;

/// Gives what was there before its name; none where nothing was there.
pub(super) fn name_before(
    names: &Names,
    dir: &Path,
    keeping: &Path,
    set: &str,
) -> io::Result<Option<PathBuf>> {
    if everything(keeping)?.is_empty() {
        fs::remove_dir(keeping)?;
        return Ok(None);
    }
    let before = names.free(dir, Kept::Before, set)?;
    durable::rename_new(keeping, &before)?;
    Ok(Some(before))
}

/// Where that goes which is in use and must make room.
pub(super) struct Aside<'a> {
    names: &'a Names,
    dir: &'a Path,
    set: &'a str,
}

impl<'a> Aside<'a> {
    /// In directories of `dir`, which are made when there is something to move.
    pub(super) fn of(names: &'a Names, dir: &'a Path, set: &'a str) -> Self {
        Self { names, dir, set }
    }

    /// Moves what lies at a path of the tree, under the same path.
    pub(super) fn take(&self, live: &Path) -> io::Result<()> {
        let below = live.strip_prefix(&self.names.root).unwrap_or(live);
        for kept in self.names.kept(self.dir, Kept::Meanwhile, self.set) {
            if !is_there(&kept)? {
                make_own(&kept)?;
            } else if !is_own(&kept)? {
                continue;
            }
            let to = kept.join(below);
            match is_there(&to).and_then(|there| {
                if there {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                make_parents(&to)
            }) {
                Ok(()) => return durable::rename_new(live, &to),
                // Something else was moved there before.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Err(too_many(self.set))
    }

    /// Moves a file or directory from one tree into another, under the same path. What is there is moved aside.
    pub(super) fn make_room(&self, into: &Path, from: &Path, path: &Path) -> io::Result<()> {
        let to = into.join(path.strip_prefix(from).unwrap_or(path));
        if is_there(&to)? {
            self.take(&to)?;
        }
        make_parents(&to)?;
        durable::rename_new(path, &to)
    }

    /// What is there of them, whoever made it.
    pub(super) fn there(&self) -> Vec<PathBuf> {
        let kept = self.names.kept(self.dir, Kept::Meanwhile, self.set);
        let is_inside = self.dir == self.names.root;
        kept.filter(|path| path.symlink_metadata().is_ok())
            .filter(|path| !is_inside || is_own(path).unwrap_or(false))
            .collect()
    }
}
