//! How large a tree is, and whether all of it may be read, by looking at every name and opening every file.

use std::ffi::CStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::path::Arg;
use stream::directory::{Descent, Name, open_directory, shown};
use tokio_util::sync::CancellationToken;

use crate::{LeftOut, PackError};

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
    left_out: Option<LeftOut<'_>>,
    cancel: &CancellationToken,
) -> Result<Tree, PackError> {
    let meta = check_root(root)?;
    let mut tree = Tree::default();
    if meta.is_file() {
        tree.files = 1;
        tree.bytes = meta.len();
        return Ok(tree);
    }
    let mut unreadable = Unreadable::default();
    let mut lost = |below: PathBuf, error: &io::Error| {
        if !is_gone(error) {
            unreadable.add(&root.join(below), error);
        }
    };
    let mut descent = Descent::open(root).map_err(|error| unreadable_root(root, &error))?;
    loop {
        if cancel.is_cancelled() {
            return Err(PackError::Cancelled);
        }
        let found = descent.next_name().unwrap_or_else(|error| {
            lost(descent.path().to_owned(), &error);
            None
        });
        let Some(Name { name, kind }) = found else {
            match descent.leave() {
                Ok(Some(_)) => continue,
                Ok(None) => break,
                Err(error) => {
                    lost(descent.path().to_owned(), &error);
                    break;
                }
            }
        };
        if left_out.is_some_and(|left_out| left_out(&descent.path_of(&name))) {
            continue;
        }
        if let Err(error) = look(&mut descent, &name, kind, &mut tree) {
            lost(descent.path_of(&name), &error);
        }
    }
    unreadable.into_result(tree)
}

fn look(descent: &mut Descent, name: &CStr, kind: FileType, tree: &mut Tree) -> io::Result<()> {
    if kind.is_dir() {
        let below = open_directory(descent.directory()?, name)?;
        descent.enter(name, below)?;
    } else if kind.is_file() {
        let meta = open_file(descent.directory()?, name)?.metadata()?;
        tree.files += 1;
        tree.bytes += meta.len();
    }
    Ok(())
}

/// Opens a regular file: not through a link, and without waiting should a pipe stand there now.
pub(super) fn open_file(directory: BorrowedFd<'_>, name: impl Arg) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?.into())
}

/// Whether what was listed is not there any more: nothing is, or something else (a link where a file or a directory was).
pub(super) fn is_gone(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOENT | Errno::LOOP | Errno::NOTDIR))
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
            self.paths.push(format!("{}: {error}", shown(path)));
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

/// The root is there, may be read, and is not an empty directory. What it is.
pub fn check_root(root: &Path) -> Result<Metadata, PackError> {
    let unreadable = |error: io::Error| unreadable_root(root, &error);
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
        return Ok(meta);
    }
    match fs::read_dir(root).map_err(unreadable)?.next() {
        None => Err(PackError::RootEmpty {
            path: root.to_owned(),
        }),
        Some(Err(error)) => Err(unreadable(error)),
        Some(Ok(_)) => Ok(meta),
    }
}

pub(super) fn unreadable_root(root: &Path, error: &io::Error) -> PackError {
    PackError::Unreadable {
        paths: vec![format!("{}: {error}", root.display())],
        total: 1,
    }
}
