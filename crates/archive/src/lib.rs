//! Archives of file trees in PAX format: extended attributes, sub-second times, owners, holes, any file name.
//!
//! Written for GNU tar and bsdtar to read (`tar --xattrs --xattrs-include='*' -xf`). Nothing here knows what the trees mean.

mod attributes;
mod inspect;
mod listing;
mod members;
mod pack;
mod pax;
mod sparse;
mod tree;
mod unpack;
mod walk;
mod xattrs;

use std::path::PathBuf;

use stream::words::counted;

pub use attributes::Attributes;
pub use inspect::inspect;
pub use listing::{Listed, Lister};
pub use pack::{Packing, pack};
pub use tree::{Tree, check_root, measure};
pub use unpack::{OutsideLinks, Selection, UnpackError, Unpacked, takes_attributes, unpack};
pub use walk::{Walked, walk};

/// How many paths are named in reports; the counts say how many there were.
const NAMED_MAX: usize = 100;

/// Says of a path below the root whether it is left out, with all that is in it. It is asked from the thread that walks.
pub type LeftOut<'a> = &'a (dyn Fn(&std::path::Path) -> bool + Sync);

/// What a finished archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// Regular files with content of their own, hard links to them apart.
    pub files: u64,
    /// Directories, the root among them.
    pub directories: u64,
    /// Symbolic links, kept as links.
    pub symlinks: u64,
    /// Further names of files already packed.
    pub hard_links: u64,
    /// Sum of the files' sizes.
    pub bytes: u64,
    /// Names, sizes, modes, owners and extended attributes.
    pub attributes: Attributes,
    /// The first files that changed while they were read.
    pub changed: Vec<Changed>,
    /// How many there were.
    pub changed_total: u64,
    /// The first symbolic links that lead out of the tree, which no unpacking makes unless told to.
    pub outside_links: Vec<String>,
    /// How many there are.
    pub outside_links_total: u64,
    /// The first that were left out: sockets, pipes, devices, and what was asked to be.
    pub skipped: Vec<String>,
}

/// A file that changed under the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Below the root; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// What happened.
    pub what: Change,
}

/// What happened to a file while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Longer than announced: what was announced is archived.
    Grew,
    /// Shorter than announced: the rest is zeros.
    Shrank,
    /// Listed and then gone: left out.
    Vanished,
    /// Same size, written to meanwhile.
    Modified,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Grew => "grew",
            Self::Shrank => "shrank",
            Self::Vanished => "vanished",
            Self::Modified => "modified",
        })
    }
}

/// Why a tree could not be packed or measured.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Nothing is there.
    #[error("{} does not exist", path.display())]
    RootMissing {
        /// The root.
        path: PathBuf,
    },
    /// A directory with nothing in it.
    #[error("{} is empty", path.display())]
    RootEmpty {
        /// The root.
        path: PathBuf,
    },
    /// Files that may not be read.
    #[error("{} cannot be read: {}", counted(*total, "path"), named(paths, *total))]
    Unreadable {
        /// The first, each with the system's words.
        paths: Vec<String>,
        /// How many there are.
        total: u64,
    },
    /// The archive could not be written.
    #[error("the archive could not be written: {0}")]
    Sink(#[source] std::io::Error),
    /// Ended early on request.
    #[error("packing was cancelled")]
    Cancelled,
}

fn named(paths: &[String], total: u64) -> String {
    let mut text = paths.join(", ");
    if total > paths.len() as u64 {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests;
