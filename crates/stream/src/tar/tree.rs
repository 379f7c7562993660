//! How large a tree is, by looking at every name and opening no file.

use std::fs;
use std::io;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::PackError;

/// A tree's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tree {
    /// Regular files.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
}

/// Measures a tree, or a single file. What cannot be looked at is left to [`super::pack`] to name.
pub fn measure(root: &Path, cancel: &CancellationToken) -> Result<Tree, PackError> {
    check_root(root)?;
    let mut tree = Tree::default();
    let mut directories = vec![root.to_owned()];
    if root.is_file() {
        directories.clear();
        tree.files = 1;
        tree.bytes = fs::metadata(root).map_or(0, |meta| meta.len());
    }
    while let Some(directory) = directories.pop() {
        if cancel.is_cancelled() {
            return Err(PackError::Cancelled);
        }
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => directories.push(entry.path()),
                Ok(meta) if meta.is_file() => {
                    tree.files += 1;
                    tree.bytes += meta.len();
                }
                _ => {}
            }
        }
    }
    Ok(tree)
}

/// The root is there, may be read, and is not an empty directory.
pub fn check_root(root: &Path) -> Result<(), PackError> {
    let unreadable = |error: io::Error| PackError::Unreadable {
        paths: vec![format!("{}: {error}", root.display())],
        total: 1,
    };
    let meta = match fs::metadata(root) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PackError::RootMissing {
                path: root.to_owned(),
            });
        }
        Err(error) => return Err(unreadable(error)),
    };
    if !meta.is_dir() {
        return Ok(());
    }
    match fs::read_dir(root).map_err(unreadable)?.next() {
        None => Err(PackError::RootEmpty {
            path: root.to_owned(),
        }),
        Some(Err(error)) => Err(unreadable(error)),
        Some(Ok(_)) => Ok(()),
    }
}
