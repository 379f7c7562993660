//! Why a tree did not come back. The target is as it was.

use std::io;
use std::path::PathBuf;

use archive::UnpackError;

use crate::space;

/// Why a tree did not come back. The target is as it was.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum RestoreError {
    /// The set has no such tree.
    #[error("set {set} holds no tree `{label}`: it has {}", if has.is_empty() { "none".to_owned() } else { has.join(", ") })]
    NoTree {
        set: String,
        label: String,
        has: Vec<String>,
    },
    /// The set cannot be used.
    #[error("set {set} cannot be restored from: {reason}")]
    Unusable { set: String, reason: String },
    /// The target cannot be what it should.
    #[error("{} {fault}", path.display())]
    Target { path: PathBuf, fault: String },
    /// The target's file system does not take the tree.
    #[error("{} {fault}", path.display())]
    Room { path: PathBuf, fault: RoomFault },
    /// The archive is not what its manifest says, or is an enemy's.
    #[error("{file} is not what its manifest says: {reason}; nothing was restored")]
    Different { file: String, reason: String },
    /// It could not be unpacked.
    #[error("{file}: {source}; nothing was restored")]
    Unpack { file: String, source: UnpackError },
    /// Ended by a signal.
    #[error("interrupted; nothing was restored")]
    Interrupted,
}

/// Why a file system does not take a tree.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum RoomFault {
    /// Content types would be lost.
    #[error(
        "would lie on a file system without extended attributes, and content types would be lost: restore elsewhere, or say \
         --without-xattrs"
    )]
    NoAttributes,
    /// A mount that is read-only.
    #[error(
        "is mounted read-only: mount it writable for the restore (docs/restore.md has the command)"
    )]
    ReadOnly,
    /// Its mode, most often.
    #[error("cannot be written to: {0}")]
    NotWritable(io::Error),
    /// It is too small.
    #[error("would need {}, and {} are free", space::human(*needed), space::human(*free))]
    TooLittle { needed: u64, free: u64 },
}

impl RestoreError {
    /// Whether a symbolic link that leads out was the only fault so far.
    pub fn is_outside_link(&self) -> bool {
        matches!(
            self,
            Self::Unpack {
                source: UnpackError::OutsideLink { .. },
                ..
            }
        )
    }
}
