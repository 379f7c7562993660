//! How large a tree is, and whether all of it may be read, by looking at every name and opening every file.

use std::fs;
use std::io;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{LeftOut, PackError};

/// Unreadable paths that are named.
const UNREADABLE_MAX: usize = 20;

/// A tree's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tree {
    /// Regular files.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
}

/// Measures a tree, or a single file. Paths that may not be read are collected to the end and fail the whole, as they would fail
/// [`super::pack`]; what vanishes meanwhile is passed over.
pub fn measure(
    root: &Path,
    left_out: Option<LeftOut>,
    cancel: &CancellationToken,
) -> Result<Tree, PackError> {
    check_root(root)?;
    let mut tree = Tree::default();
    let mut unreadable = Unreadable::default();
    let mut lost = |path: &Path, error: &io::Error| {
        if error.kind() != io::ErrorKind::NotFound {
            unreadable.add(path, error);
        }
    };
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
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                lost(&directory, &error);
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let below = path.strip_prefix(root).unwrap_or(&path);
            if left_out.is_some_and(|left_out| left_out(below)) {
                continue;
            }
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => directories.push(entry.path()),
                Ok(meta) if meta.is_file() => {
                    tree.files += 1;
                    tree.bytes += meta.len();
                    if let Err(error) = fs::File::open(entry.path()) {
                        lost(&entry.path(), &error);
                    }
                }
                _ => {}
            }
        }
    }
    unreadable.into_result(tree)
}

/// Paths that may not be read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    paths: Vec<String>,
    total: u64,
}

impl Unreadable {
    /// Takes note of a path.
    pub fn add(&mut self, path: &Path, error: &io::Error) {
        self.total += 1;
        if self.paths.len() < UNREADABLE_MAX {
            self.paths.push(format!("{}: {error}", path.display()));
        }
    }

    /// The value, unless there is any.
    pub fn into_result<T>(self, value: T) -> Result<T, PackError> {
        if self.total == 0 {
            return Ok(value);
        }
        Err(PackError::Unreadable {
            paths: self.paths,
            total: self.total,
        })
    }
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
