//! An object's files between a directory of the restore and their places in the tree: `new` has the set's files, `old` those that were
//! there and differ, `none` a mark for each path that nothing had.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use catalog::layout::tree::{Mark, NEW, Names, is_there};
use stream::directory::{self, Descent};

use super::aside::{Aside, name_before};

pub(super) const OLD: &str = "old";
pub(super) const NONE: &str = "none";

/// Files at a path: itself, or those in it.
pub(super) fn files_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_dir() => return Ok(vec![path.to_owned()]),
        Ok(_) => {}
    }
    let mut descent = Descent::open(path)?;
    loop {
        match descent.next_name()? {
            Some(found) if found.kind.is_dir() => {
                let below = directory::open_directory(descent.directory()?, &*found.name)?;
                descent.enter(&found.name, below)?;
            }
            Some(found) => files.push(path.join(descent.path_of(&found.name))),
            None if descent.leave()?.is_none() => break,
            None => {}
        }
    }
    files.sort();
    Ok(files)
}

/// Everything is in its place: what was there before gets its name, the rest goes.
pub(super) fn finish(names: &Names, set: &str) -> io::Result<Option<PathBuf>> {
    let work = names.inside(Mark::Placed, set);
    let old = work.join(OLD);
    let before = if is_there(&old)? {
        name_before(names, &names.root, &old, set)?
    } else {
        None
    };
    directory::remove(&work)?;
    Ok(before)
}

/// Not everything is in its place: what was there before goes back, and what came instead is moved aside.
pub(super) fn put_back(names: &Names, set: &str, aside: &Aside<'_>) -> io::Result<()> {
    let (root, work) = (&names.root, names.inside(Mark::Placing, set));
    let (none, old) = (work.join(NONE), work.join(OLD));
    for mark in files_below(&none)? {
        let path = mark.strip_prefix(&none).unwrap_or(&mark);
        if !is_there(&work.join(NEW).join(path))? && is_there(&root.join(path))? {
            aside.take(&root.join(path))?;
        }
        fs::remove_file(mark)?;
    }
    for file in files_below(&old)? {
        aside.make_room(root, &old, &file)?;
    }
    directory::remove(&work)
}
