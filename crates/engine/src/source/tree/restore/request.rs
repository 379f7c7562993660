//! What to restore where, and what came back.

use std::path::Path;
use std::sync::Arc;

use archive::{OutsideLinks, Walked};
use catalog::artifact::{Artifact, Kind};
use catalog::catalog::Entry;
use stream::artifact::Meter;

use super::error::RestoreError;

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

/// The artifact of a tree.
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
        .filter(|artifact| matches!(artifact.kind(), Kind::Storage | Kind::Files));
    trees
        .clone()
        .find(|artifact| artifact.label == label)
        .ok_or_else(|| RestoreError::NoTree {
            set,
            label: label.to_owned(),
            has: trees.map(|artifact| artifact.label.clone()).collect(),
        })
}
