//! Where a tree is to lie: whether it can.

use std::io;
use std::path::Path;

use archive::takes_attributes;
use catalog::artifact::Artifact;
use stream::durable;

use super::error::{RestoreError, RoomFault};
use super::request::TreeRequest;
use crate::space;

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
    check_taken(request, directory)?;
    let needed = artifact.tree().map_or(0, |tree| tree.bytes);
    let fault = match space::free(directory) {
        Ok(free) if free < needed => RoomFault::TooLittle { needed, free },
        Ok(_) => return Ok(()),
        Err(error) => RoomFault::NotWritable(error),
    };
    Err(room(request, fault))
}

/// A directory can be written to, and takes attributes where they are wanted.
pub(super) fn check_taken(request: &TreeRequest<'_>, directory: &Path) -> Result<(), RestoreError> {
    let fault = match takes_attributes(directory) {
        Ok(true) => return Ok(()),
        Ok(false) if request.without_xattrs => return Ok(()),
        Ok(false) => RoomFault::NoAttributes,
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => RoomFault::ReadOnly,
        Err(error) => RoomFault::NotWritable(error),
    };
    Err(room(request, fault))
}

fn room(request: &TreeRequest<'_>, fault: RoomFault) -> RestoreError {
    RestoreError::Room {
        path: request.to.to_owned(),
        fault,
    }
}
