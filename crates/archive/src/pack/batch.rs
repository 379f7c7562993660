//! What was found in a tree and waits to be packed: entries in the order of the walk, with what they hold in one buffer, which is used again.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::Change;
use crate::pax::About;
use crate::pax::Xattr;

/// Bytes of names, attributes and content after which a batch is handed on.
const BYTES: usize = 256 * 1024;
/// Entries of a batch, some 300 bytes each.
const ENTRIES: usize = 512;
/// Files of a batch that are handed on open: some 100 in all batches, where a process may have 1,024.
const OPEN: usize = 16;

/// Entries, and the bytes that they name by where these lie.
#[derive(Default)]
pub(super) struct Batch {
    pub entries: Vec<Entry>,
    /// Names and contents.
    pub bytes: Vec<u8>,
    /// Of attributes, which are not in `bytes`.
    attribute_bytes: usize,
    open: usize,
}

/// A name below the root, and what stands there.
pub(super) struct Entry {
    pub name: Range<usize>,
    pub found: Found,
}

/// What stands under a name.
pub(super) enum Found {
    Directory {
        about: About,
        xattrs: Vec<Xattr>,
    },
    Symlink {
        about: About,
        target: Vec<u8>,
    },
    /// A further name of a file that was found before.
    Link {
        about: About,
        first: PathBuf,
    },
    /// A file that was read.
    Small {
        about: About,
        xattrs: Vec<Xattr>,
        content: Range<usize>,
        /// What happened to it meanwhile.
        change: Option<Change>,
    },
    /// A file that is to be read.
    Large {
        file: File,
        meta: Box<Metadata>,
        xattrs: Vec<Xattr>,
    },
    /// It was listed, and is not there any more.
    Vanished,
    /// It is left out, and why.
    Skipped(&'static str),
    Unreadable(io::Error),
}

impl Batch {
    pub fn push(&mut self, name: Range<usize>, found: Found) {
        match &found {
            Found::Large { xattrs, .. } => {
                self.open += 1;
                self.count(xattrs);
            }
            Found::Directory { xattrs, .. } | Found::Small { xattrs, .. } => self.count(xattrs),
            _ => {}
        }
        self.entries.push(Entry { name, found });
    }

    fn count(&mut self, xattrs: &[Xattr]) {
        let bytes = xattrs.iter().map(|(name, value)| name.len() + value.len());
        self.attribute_bytes += bytes.sum::<usize>();
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.attribute_bytes >= BYTES
            || self.entries.len() >= ENTRIES
            || self.open >= OPEN
    }

    /// Makes room for other entries.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.bytes.shrink_to(2 * BYTES);
        (self.attribute_bytes, self.open) = (0, 0);
    }
}
