//! Walks a tree a little ahead of who packs it, so that waiting for the kernel and compressing overlap. A file costs one open, one list of its
//! attributes, and a stat before and behind its content; small files are read here, large ones are handed on open.

use std::ffi::{CStr, OsStr};
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};

use rustix::fs::{AtFlags, CWD, FileType, readlinkat, statat};
use rustix::io::Errno;
use rustix::path::Arg;
use stream::directory::{Descent, Name, open_directory};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Found};

use super::links::Links;
use super::read::{change_since, read_at};
use crate::pax::{self, About, Xattr};
use crate::sparse::has_holes;
use crate::tree::{is_gone, open_file, unreadable_root};
use crate::xattrs::Xattrs;
use crate::{Change, LeftOut, PackError};

/// A file up to this size is read here.
const SMALL_BYTES: u64 = 64 * 1024;
/// A file up to this size is stored whole, though all of it may be a hole.
const HOLE_BYTES: u64 = 4096;

/// Both ends of the queue at the walk's side.
pub(super) struct Queue {
    /// Batches to be packed.
    pub full: SyncSender<Batch>,
    /// Those that were.
    pub empty: Receiver<Batch>,
}

/// Walks to the end, or until it is cancelled or nobody takes what was found.
pub(super) fn walk(
    root: &Path,
    left_out: Option<LeftOut<'_>>,
    queue: Queue,
    cancel: &CancellationToken,
) -> Result<(), PackError> {
    let mut walk = Walk {
        root,
        left_out,
        queue,
        cancel,
        batch: Batch::default(),
        links: Links::default(),
        xattrs: Xattrs::default(),
    };
    let meta = fs::metadata(root).map_err(|error| unreadable_root(root, &error))?;
    if meta.is_dir() {
        walk.tree()?;
    } else {
        walk.single(&meta)?;
    }
    walk.hand_on()
}

struct Walk<'a> {
    root: &'a Path,
    left_out: Option<LeftOut<'a>>,
    queue: Queue,
    cancel: &'a CancellationToken,
    batch: Batch,
    links: Links,
    xattrs: Xattrs,
}

impl Walk<'_> {
    fn single(&mut self, meta: &Metadata) -> Result<(), PackError> {
        let unreadable = |error| unreadable_root(self.root, &error);
        let real = fs::canonicalize(self.root).map_err(unreadable)?;
        let name = self.root.file_name().unwrap_or(self.root.as_os_str());
        let name = self.name(Path::new(""), name.as_bytes());
        let found = if meta.is_file() {
            self.file(CWD, &real, &name)
        } else {
            Found::Skipped("no file")
        };
        self.give(name, found)
    }

    fn tree(&mut self) -> Result<(), PackError> {
        let opened = Descent::open(self.root).and_then(|descent| {
            let root = File::from(descent.directory()?.try_clone_to_owned()?);
            Ok((descent, self.directory(&root, 1)?))
        });
        let (mut descent, found) = opened.map_err(|error| unreadable_root(self.root, &error))?;
        let name = self.name(Path::new(""), b".");
        self.give(name, found)?;
        loop {
            if self.cancel.is_cancelled() {
                return Err(PackError::Cancelled);
            }
            let next = match descent.next_name() {
                Ok(next) => next,
                Err(error) => {
                    self.lost(descent.path(), error)?;
                    None
                }
            };
            if let Some(next) = next {
                self.entry(&mut descent, &next)?;
                continue;
            }
            match descent.leave() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                // What is left of the directories above was not read.
                Err(error) => {
                    let name = self.name(descent.path(), b"");
                    return self.give(name, Found::Unreadable(error));
                }
            }
        }
    }

    fn entry(&mut self, descent: &mut Descent, next: &Name) -> Result<(), PackError> {
        let name = self.name(descent.path(), next.name.to_bytes());
        let path = Path::new(OsStr::from_bytes(&self.batch.bytes[name.clone()]));
        if self.left_out.is_some_and(|left_out| left_out(path)) {
            return self.give(name, Found::Skipped("kept by a restore"));
        }
        let directory = match descent.directory() {
            Ok(directory) => directory,
            Err(error) => return self.give(name, lost(error)),
        };
        let found = match next.kind {
            FileType::Directory => {
                let opened = open_directory(directory, &*next.name).map_err(io::Error::from);
                let looked_at = opened.and_then(|opened| {
                    let file = File::from(opened);
                    let found = self.directory(&file, name.len())?;
                    Ok((file, found))
                });
                match looked_at {
                    Ok((file, found)) => return self.enter(descent, next, name, file, found),
                    Err(error) => lost(error),
                }
            }
            FileType::Symlink => symlink(directory, &next.name, name.len()),
            FileType::RegularFile => self.file(directory, &*next.name, &name),
            FileType::Socket => Found::Skipped("socket"),
            FileType::Fifo => Found::Skipped("pipe"),
            _ => Found::Skipped("device"),
        };
        self.give(name, found)
    }

    /// A directory comes before what is in it.
    fn enter(
        &mut self,
        descent: &mut Descent,
        next: &Name,
        name: Range<usize>,
        directory: File,
        found: Found,
    ) -> Result<(), PackError> {
        self.give(name, found)?;
        match descent.enter(&next.name, directory.into()) {
            Ok(()) => Ok(()),
            Err(error) => {
                let name = self.name(descent.path(), next.name.to_bytes());
                self.give(name, lost(error))
            }
        }
    }

    fn directory(&mut self, directory: &File, name: usize) -> io::Result<Found> {
        let meta = directory.metadata()?;
        let xattrs = self.xattrs.of(directory)?;
        pax::fits(name, 0, &xattrs)?;
        let about = About::from(&meta);
        Ok(Found::Directory { about, xattrs })
    }

    fn file(&mut self, directory: BorrowedFd<'_>, file: impl Arg, name: &Range<usize>) -> Found {
        let opened = open_file(directory, file).and_then(|file| Ok((file.metadata()?, file)));
        let (meta, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return lost(error),
        };
        if !meta.is_file() {
            return Found::Vanished;
        }
        if meta.nlink() > 1
            && let Some(further) = self.further_name(&meta, name.len())
        {
            return further;
        }
        let xattrs = self.xattrs.of(&file);
        let xattrs = xattrs.and_then(|xattrs| pax::fits(name.len(), 0, &xattrs).map(|()| xattrs));
        let found = match xattrs {
            Err(error) => return lost(error),
            Ok(xattrs) if is_small(&meta) => match self.small(&file, &meta, xattrs) {
                Err(error) => return lost(error),
                Ok(found) => found,
            },
            Ok(xattrs) => {
                let meta = Box::new(meta.clone());
                Found::Large { file, meta, xattrs }
            }
        };
        if meta.nlink() > 1 {
            let name = OsStr::from_bytes(&self.batch.bytes[name.clone()]);
            self.links.packed(&meta, Path::new(name));
        }
        found
    }

    /// What a further name of a file that was found is; none when it is the first one.
    fn further_name(&mut self, meta: &Metadata, name: usize) -> Option<Found> {
        let first = self.links.first_of(meta)?;
        let about = About::from(meta);
        Some(match pax::fits(name, first.as_os_str().len(), &[]) {
            Ok(()) => Found::Link { about, first },
            Err(error) => Found::Unreadable(error),
        })
    }

    /// Reads a file; what is missing of the announced bytes is zeros.
    fn small(&mut self, file: &File, meta: &Metadata, xattrs: Vec<Xattr>) -> io::Result<Found> {
        let start = self.batch.bytes.len();
        let size = usize::try_from(meta.len()).map_err(io::Error::other)?;
        self.batch.bytes.resize(start + size, 0);
        let content = start..start + size;
        let got = read_at(file, &mut self.batch.bytes[content.clone()], 0)?;
        let change = if got < size {
            Some(Change::Shrank)
        } else {
            change_since(file, meta)
        };
        let about = About::from(meta);
        Ok(Found::Small {
            about,
            xattrs,
            content,
            change,
        })
    }

    /// Puts a name into the batch.
    fn name(&mut self, directory: &Path, name: &[u8]) -> Range<usize> {
        let bytes = &mut self.batch.bytes;
        let start = bytes.len();
        let directory = directory.as_os_str().as_bytes();
        bytes.extend_from_slice(directory);
        if !directory.is_empty() && !name.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        start..bytes.len()
    }

    fn lost(&mut self, name: &Path, error: io::Error) -> Result<(), PackError> {
        let name = self.name(name, b"");
        self.give(name, lost(error))
    }

    fn give(&mut self, name: Range<usize>, found: Found) -> Result<(), PackError> {
        self.batch.push(name, found);
        if self.batch.is_full() {
            self.hand_on()?;
        }
        Ok(())
    }

    /// Hands on what was found, and begins another batch.
    fn hand_on(&mut self) -> Result<(), PackError> {
        let empty = self.queue.empty.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.batch, empty);
        // Who packs them has given up, and says why.
        self.queue.full.send(full).map_err(|_| PackError::Cancelled)
    }
}

fn is_small(meta: &Metadata) -> bool {
    let size = meta.len();
    size <= HOLE_BYTES || size <= SMALL_BYTES && !has_holes(meta)
}

fn symlink(directory: BorrowedFd<'_>, link: &CStr, name: usize) -> Found {
    let read = readlinkat(directory, link, Vec::new())
        .and_then(|target| Ok((target, statat(directory, link, AtFlags::SYMLINK_NOFOLLOW)?)));
    match read {
        Ok((target, stat)) => {
            let (about, target) = (About::from(&stat), target.into_bytes());
            match pax::fits(name, target.len(), &[]) {
                Ok(()) => Found::Symlink { about, target },
                Err(error) => Found::Unreadable(error),
            }
        }
        // No symbolic link any more.
        Err(Errno::INVAL) => Found::Vanished,
        Err(errno) => lost(errno.into()),
    }
}

/// What vanished is a change; what may not be read fails the whole at the end.
fn lost(error: io::Error) -> Found {
    if is_gone(&error) {
        Found::Vanished
    } else {
        Found::Unreadable(error)
    }
}
