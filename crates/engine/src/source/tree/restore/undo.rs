//! Goes on from whatever a restore of a file tree left, by the names alone (`names`). What was in use is moved, never removed: removed is
//! only what was unpacked and never got its place.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use stream::{directory, durable};

use super::aside::{Aside, name_before};
use super::placing;
use catalog::layout::tree::{Kept, Mark, Names, Remain, everything, is_own, is_there};

/// How a restore that was cut off ended at last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The tree had not been touched, and what was unpacked is gone.
    Untouched,
    /// The tree is as it was before the restore.
    AsBefore {
        /// Where that lies which was in use in the meantime.
        meanwhile: Vec<PathBuf>,
    },
    /// The restore was complete but for a name.
    Complete {
        /// Where that lies which was there before; none where there was nothing.
        before: Option<PathBuf>,
    },
}

/// A restore that was cut off, and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The tree.
    pub root: PathBuf,
    /// The set.
    pub set: String,
    /// Whether it was of one object.
    pub of_object: bool,
    /// How it is now.
    pub end: End,
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (root, set) = (self.root.display(), &self.set);
        match &self.end {
            End::Untouched => write!(
                f,
                "{root} was not touched: what the restore from {set} had unpacked is removed"
            ),
            End::AsBefore { meanwhile } => {
                write!(
                    f,
                    "{root} is as it was before the restore from {set}, which was cut off"
                )?;
                if meanwhile.is_empty() {
                    return Ok(());
                }
                write!(
                    f,
                    "; what was there in the meantime is kept as {}: remove it when it is no longer needed",
                    listed(meanwhile)
                )
            }
            End::Complete { before: None } => {
                write!(f, "the restore of {root} from {set} was complete")
            }
            End::Complete {
                before: Some(before),
            } => write!(
                f,
                "the restore of {root} from {set} was complete; what was there before is kept as {}",
                before.display()
            ),
        }
    }
}

pub(super) fn listed(paths: &[PathBuf]) -> String {
    let paths = paths.iter().map(|path| path.display().to_string());
    paths.collect::<Vec<_>>().join(", ")
}

/// Why a tree is still between two states: what lies where, and how to go on.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; nothing is lost{lies}; when the cause is gone, `backupd restore --undo --only storage` goes on", root.display())]
pub struct UndoError {
    root: PathBuf,
    source: io::Error,
    lies: String,
}

/// Puts back what restores of the tree at `root` left, and says how each ended. Nothing is left: an empty list.
pub fn undo(root: &Path) -> Result<Vec<Undone>, UndoError> {
    let names = Names::of(root);
    all(&names).map_err(|source| UndoError {
        lies: lies(&names),
        root: names.root,
        source,
    })
}

fn all(names: &Names) -> io::Result<Vec<Undone>> {
    let sets = |remains: &[Remain]| -> BTreeSet<String> {
        remains.iter().map(|left| left.set.clone()).collect()
    };
    let mut done = Vec::new();
    let mut ended = |set: String, of_object, end| {
        done.push(Undone {
            root: names.root.clone(),
            set,
            of_object,
            end,
        });
    };
    let remains = names.left_inside()?;
    for set in sets(&remains) {
        let is_there = |mark| is_own(&names.inside(mark, &set));
        let of_object = is_there(Mark::Placing)? || is_there(Mark::Placed)?;
        let end = inside(names, &set)?;
        ended(set, of_object, end);
    }
    let remains = names.left_beside()?;
    for set in sets(&remains) {
        let end = beside(names, &set, &remains)?;
        ended(set, false, end);
    }
    Ok(done)
}

fn inside(names: &Names, set: &str) -> io::Result<End> {
    let at = |mark| names.inside(mark, set);
    if is_own(&at(Mark::Placed))? {
        let before = placing::finish(names, set)?;
        return Ok(End::Complete { before });
    }
    let aside = Aside::of(names, &names.root, set);
    let placing = is_own(&at(Mark::Placing))?;
    if placing {
        placing::put_back(names, set, &aside)?;
    }
    let [restoring, keeping, swapping, returning] = [
        Mark::Restoring,
        Mark::Keeping,
        Mark::Swapping,
        Mark::Returning,
    ]
    .map(at);
    let unpacked = is_own(&restoring)?;
    let (mut back, swapped) = (is_own(&returning)?, is_own(&swapping)?);
    if is_own(&keeping)? {
        if !unpacked && !swapped && !back {
            let before = name_before(names, &names.root, &keeping, set)?;
            return Ok(End::Complete { before });
        }
        if swapped && !back {
            // What is in use is of the new tree, or was made since.
            for child in names.children()? {
                aside.take(&child)?;
            }
        }
        if back {
            put_back(names, &returning, &aside)?;
        }
        // From here on what is in use is of the tree before, or was made since.
        if is_there(&returning)? {
            aside.take(&returning)?;
        }
        durable::rename_new(&keeping, &returning)?;
        back = true;
    }
    if back {
        put_back(names, &returning, &aside)?;
    }
    for (there, path) in [(swapped, &swapping), (unpacked, &restoring)] {
        if there {
            directory::remove(path)?;
        }
    }
    if back || swapped || placing {
        return Ok(end_of(&aside));
    }
    Ok(End::Untouched)
}

/// Moves children back into the root. What has their names meanwhile is moved aside.
fn put_back(names: &Names, returning: &Path, aside: &Aside<'_>) -> io::Result<()> {
    for child in everything(returning)? {
        aside.make_room(&names.root, returning, &child)?;
    }
    fs::remove_dir(returning)
}

fn beside(names: &Names, set: &str, remains: &[Remain]) -> io::Result<End> {
    let (root, parent) = (&names.root, names.parent());
    let left = |mark| {
        remains
            .iter()
            .find(|left| left.mark == mark && left.set == set)
    };
    let complete = |from: &Remain| -> io::Result<End> {
        let before = names.free(parent, Kept::Before, set)?;
        durable::rename_new(&from.path, &before)?;
        Ok(End::Complete {
            before: Some(before),
        })
    };
    let aside = Aside::of(names, parent, set);
    let swapping = left(Mark::Swapping);
    match (left(Mark::Keeping), swapping) {
        (Some(keeping), None) => return complete(keeping),
        (Some(keeping), Some(_)) => {
            // The root has no name, or somebody made another.
            if is_there(root)? {
                durable::rename_new(root, &names.free(parent, Kept::Meanwhile, set)?)?;
            }
            durable::rename_new(&keeping.path, root)?;
        }
        (None, Some(swapping)) if !swapping.is_of_the_set()? => return complete(swapping),
        (None, Some(swapping)) if !is_there(root)? => {
            durable::rename_new(&swapping.path, root)?;
            return Ok(End::Complete { before: None });
        }
        (None, _) => {}
    }
    for left in [swapping, left(Mark::Restoring)].into_iter().flatten() {
        directory::remove(&left.path)?;
    }
    Ok(match swapping {
        Some(_) => end_of(&aside),
        None => End::Untouched,
    })
}

fn end_of(aside: &Aside<'_>) -> End {
    End::AsBefore {
        meanwhile: aside.there(),
    }
}

/// What lies where, as part of a sentence.
fn lies(names: &Names) -> String {
    let mut text = String::new();
    let inside = names.left_inside().unwrap_or_default();
    let beside = names.left_beside().unwrap_or_default();
    let mut sets = BTreeSet::new();
    for left in inside.iter().chain(&beside) {
        let what = match left.mark {
            Mark::Restoring => "what was unpacked and never in use",
            Mark::Keeping | Mark::Returning => "what was there before",
            Mark::Swapping if left.is_of_the_set().unwrap_or(false) => {
                "the set's tree, never in use"
            }
            Mark::Swapping if left.path.parent() == Some(&names.root) => {
                "what of the set's tree is not in its place"
            }
            Mark::Swapping => "the tree before",
            Mark::Placing | Mark::Placed => "in `old` the files before, in `new` those of the set",
        };
        text.push_str(&format!("; {} holds {what}", left.path.display()));
        sets.insert(left.set.as_str());
    }
    for set in sets {
        for dir in [&names.root, names.parent()] {
            for kept in Aside::of(names, dir, set).there() {
                text.push_str(&format!(
                    "; {} holds what was in use in the meantime",
                    kept.display()
                ));
            }
        }
    }
    text
}
