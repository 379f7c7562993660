//! A file tree, into a directory of its own. Nothing that is there is touched.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{OutsideLinks, Selection, UnpackError, Walked, takes_attributes, unpack};
use catalog::catalog::Entry;
use catalog::manifest::{Artifact, Kind};
use postgres::words::counted;
use stream::artifact::Meter;
use stream::{directory, durable};
use tokio_util::sync::CancellationToken;

use super::archive::Archive;
use crate::space;

/// A tree that came back.
#[derive(Debug)]
pub struct Restored {
    /// What it holds.
    pub walked: Walked,
    /// The first attributes that could not be kept.
    pub unkept: Vec<String>,
    /// How many there were.
    pub unkept_total: u64,
    /// Files and directories that belong to this user now, and belonged to another.
    pub foreign_owners: u64,
}

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

/// What to restore where.
#[derive(Debug)]
pub struct TreeRequest<'a> {
    /// The set.
    pub entry: &'a Entry,
    /// The tree's label.
    pub label: &'a str,
    /// A directory that is not there yet.
    pub to: &'a Path,
    /// Whether attributes that cannot be kept are no fault.
    pub without_xattrs: bool,
    /// Whether symbolic links may lead out of the tree.
    pub outside_links: OutsideLinks,
    /// Counts bytes for whoever shows progress.
    pub meter: Arc<Meter>,
}

/// Restores a tree.
pub async fn restore_tree(
    request: TreeRequest<'_>,
    cancel: &CancellationToken,
) -> Result<Restored, RestoreError> {
    let artifact = find(request.entry, request.label)?.clone();
    check_target(&request, &artifact)?;
    let aside = durable::aside(request.to);
    let restored = unpack_checked(&request, &artifact, &aside, None, cancel).await?;
    named(durable::rename_new(&aside, request.to), request.to, &aside)?;
    Ok(restored)
}

/// The last step: a name. Without it nothing stays.
pub(super) fn named<T>(done: io::Result<T>, to: &Path, aside: &Path) -> Result<T, RestoreError> {
    done.map_err(|error| {
        // What cannot be removed lies beside the target under a name that says what it is.
        let _ = directory::remove(aside);
        RestoreError::Target {
            path: to.to_owned(),
            fault: format!("could not get its name: {error}"),
        }
    })
}

/// Which entries are unpacked.
pub(super) type Wanted = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// Unpacks into a directory that is not there, compares what was read with the manifest, and makes it survive a power cut. On a fault
/// nothing of it stays.
pub(super) async fn unpack_checked(
    request: &TreeRequest<'_>,
    artifact: &Artifact,
    directory: &Path,
    wanted: Option<Wanted>,
    cancel: &CancellationToken,
) -> Result<Restored, RestoreError> {
    let fault = |fault: String| RestoreError::Target {
        path: request.to.to_owned(),
        fault,
    };
    let (archive, target, token) = (
        Archive::of(request, artifact),
        directory.to_owned(),
        cancel.clone(),
    );
    let outside_links = request.outside_links;
    let filling = move || {
        let wanted = wanted
            .as_deref()
            .map(|wanted| wanted as &dyn Fn(&Path) -> bool);
        let selection = Selection {
            outside_links,
            wanted,
        };
        archive.read(
            |reader| unpack(reader, &target, selection, &token),
            |unpacked| &unpacked.walked,
        )
    };
    let done = match tokio::task::spawn_blocking(filling).await {
        Ok(done) => done,
        Err(panic) => Err(fault(panic.to_string())),
    };
    let done = done.and_then(|unpacked| {
        if unpacked.unkept_total > 0 && !request.without_xattrs {
            return Err(fault(format!(
                "cannot keep {}, where content types are: {}; restore as another user or elsewhere, or say \
                 --without-xattrs",
                counted(unpacked.unkept_total, "extended attribute"),
                unpacked.unkept.first().cloned().unwrap_or_default()
            )));
        }
        durable::sync_tree(directory)
            .map_err(|error| fault(format!("could not be written to the disk: {error}")))?;
        Ok(unpacked)
    });
    match done {
        Ok(unpacked) => Ok(Restored {
            walked: unpacked.walked,
            unkept: unpacked.unkept,
            unkept_total: unpacked.unkept_total,
            foreign_owners: unpacked.foreign_owners,
        }),
        Err(error) => {
            // What cannot be removed lies beside the target under a name that says what it is.
            let _ = directory::remove(directory);
            Err(if cancel.is_cancelled() {
                RestoreError::Interrupted
            } else {
                error
            })
        }
    }
}

pub(super) fn find<'a>(entry: &'a Entry, label: &str) -> Result<&'a Artifact, RestoreError> {
    let set = entry.id.to_string();
    let manifest = entry
        .manifest
        .as_ref()
        .map_err(|error| RestoreError::Unusable {
            set: set.clone(),
            reason: error.to_string(),
        })?;
    let trees = manifest
        .artifacts
        .iter()
        .filter(|artifact| matches!(artifact.kind, Kind::Storage | Kind::Files));
    trees
        .clone()
        .find(|artifact| artifact.label == label)
        .ok_or_else(|| RestoreError::NoTree {
            set,
            label: label.to_owned(),
            has: trees.map(|artifact| artifact.label.clone()).collect(),
        })
}

/// The target is free, its parent is there, takes attributes, and has room.
pub(super) fn check_target(
    request: &TreeRequest<'_>,
    artifact: &Artifact,
) -> Result<(), RestoreError> {
    let to = request.to;
    let fault = |fault: String| {
        Err(RestoreError::Target {
            path: to.to_owned(),
            fault,
        })
    };
    if to.symlink_metadata().is_ok() {
        return fault(
            "is there already: name a directory that is not, nothing is overwritten".to_owned(),
        );
    }
    let parent = match to.parent() {
        Some(parent) if parent == Path::new("") => Path::new("."),
        Some(parent) => parent,
        None => return fault("is no directory to be made".to_owned()),
    };
    if !parent.is_dir() {
        return fault(format!("has no parent: make {} first", parent.display()));
    }
    let aside = durable::aside(to);
    if aside.symlink_metadata().is_ok() {
        return fault(format!(
            "was begun before: {} is there; remove it, unless another restore is at work",
            aside.display()
        ));
    }
    check_room(request, artifact, parent)
}

/// A directory takes what the tree holds: attributes, and its bytes.
pub(super) fn check_room(
    request: &TreeRequest<'_>,
    artifact: &Artifact,
    directory: &Path,
) -> Result<(), RestoreError> {
    let fault = |fault: RoomFault| {
        Err(RestoreError::Room {
            path: request.to.to_owned(),
            fault,
        })
    };
    match takes_attributes(directory) {
        Ok(true) => {}
        Ok(false) if request.without_xattrs => {}
        Ok(false) => return fault(RoomFault::NoAttributes),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            return fault(RoomFault::ReadOnly);
        }
        Err(error) => return fault(RoomFault::NotWritable(error)),
    }
    let needed = artifact.tree.as_ref().map_or(0, |tree| tree.bytes);
    match space::free(directory) {
        Ok(free) if free < needed => fault(RoomFault::TooLittle { needed, free }),
        Ok(_) => Ok(()),
        Err(error) => fault(RoomFault::NotWritable(error)),
    }
}
