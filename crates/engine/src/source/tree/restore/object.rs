//! One object of the storage archive: its file, or files where it has several versions, in place or in a directory of their own.
//!
//! In place all is prepared in one directory, `new` with the files, `old` for those that are there and differ, `none` with a mark for each
//! path that nothing has; then names alone change.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stream::alike::alike;
use stream::blocking::in_place;
use stream::directory;
use stream::durable;
use tokio_util::sync::CancellationToken;

use super::error::RestoreError;
use super::parents::make_parents;
use super::placing::{NONE, OLD, files_below, finish};
use super::request::{Restored, TreeRequest, find};
use super::swap::{ended_at_last, in_the_way, not_made};
use super::target::check_taken;
use super::unpacking::{Wanted, named, unpack_checked};
use catalog::layout::tree::{Mark, NEW, Names, make_own};

/// Names that are told when there is no such object.
const NEAR: usize = 5;
/// The buckets' place in a stock stack, for sets of which no other is known.
const STOCK_PREFIX: &str = "stub/stub";

/// An object that came back.
#[derive(Debug)]
pub struct RestoredObject {
    /// Its files, as they lie now.
    pub files: Vec<PathBuf>,
    /// Files that were there already, with the same content and attributes.
    pub same: Vec<PathBuf>,
    /// Files that were there and differ, kept under these names.
    pub kept: Vec<PathBuf>,
    /// What could not be kept of it.
    pub restored: Restored,
}

/// Restores `object`, a bucket and a name joined by a slash: into the tree at `request.to`, or, where `apart`, into a new directory there.
/// What an earlier restore left in the tree must be undone before.
pub async fn restore_object(
    request: TreeRequest<'_>,
    object: &str,
    apart: bool,
    cancel: &CancellationToken,
) -> Result<RestoredObject, RestoreError> {
    let fault = |fault: String| RestoreError::Target {
        path: request.to.to_owned(),
        fault,
    };
    let below = prefix(&request).join(object.trim_matches('/'));
    if below
        .components()
        .any(|part| !matches!(part, std::path::Component::Normal(_)))
    {
        return Err(fault(format!(
            "`{object}` is no object: write bucket/path/name"
        )));
    }
    if apart {
        return unpacked_apart(&request, object, &below, cancel).await;
    }
    let names = Names::of(request.to);
    if !names.root.is_dir() {
        return Err(fault(
            "is no directory: one object comes back into a tree, or by --to PATH into a new directory"
                .to_owned(),
        ));
    }
    let set = request.entry.id.to_string();
    let work = names.inside(Mark::Restoring, &set);
    check_taken(&request, &names.root)?;
    make_own(&work).map_err(|error| fault(not_made(&work, &error)))?;
    let done = unpack_object(&request, object, &below, &work.join(NEW), cancel).await;
    let (restored, found) = done.inspect_err(|_| {
        let _ = in_place(|| directory::remove(&work)); // It says by its name what it is.
    })?;
    let found = below_of(&found, &work.join(NEW));
    let free = in_the_way(&names, &set, &work.join(NEW));
    free.map_err(|error| {
        let _ = in_place(|| directory::remove(&work)); // It says by its name what it is.
        fault(error)
    })?;
    let planned = in_place(|| {
        let plan = Plan::of(&found, &work.join(NEW), &names.root)?;
        plan.prepare(&work)?;
        Ok::<_, io::Error>(plan)
    });
    let plan = planned.map_err(|error| {
        let _ = in_place(|| directory::remove(&work)); // It says by its name what it is.
        fault(format!("was not touched: {error}"))
    })?;
    let before = match in_place(|| plan.carry_out(&names, &set)) {
        Ok(before) => before,
        Err(error) => ended_at_last(request.to, &set, &error).map_err(fault)?,
    };
    let at = |dir: &Path, paths: Vec<PathBuf>| paths.iter().map(|path| dir.join(path)).collect();
    let is_same = |path: &PathBuf| plan.same.contains(path);
    let (same, files) = found.into_iter().partition(is_same);
    Ok(RestoredObject {
        files: at(&names.root, files),
        same: at(&names.root, same),
        kept: before.map_or(Vec::new(), |before| at(&before, plan.replace)),
        restored,
    })
}

async fn unpacked_apart(
    request: &TreeRequest<'_>,
    object: &str,
    below: &Path,
    cancel: &CancellationToken,
) -> Result<RestoredObject, RestoreError> {
    let to = request.to;
    if to.symlink_metadata().is_ok() {
        return Err(RestoreError::Target {
            path: to.to_owned(),
            fault: "is there already: name a directory that is not, nothing is overwritten"
                .to_owned(),
        });
    }
    let parent = to.parent().filter(|parent| *parent != Path::new(""));
    check_taken(request, parent.unwrap_or(Path::new(".")))?;
    let aside = durable::aside(to);
    let (restored, found) = unpack_object(request, object, below, &aside, cancel).await?;
    in_place(|| named(durable::rename_new(&aside, to), to, &aside))?;
    let files = below_of(&found, &aside);
    Ok(RestoredObject {
        files: files.iter().map(|file| to.join(file)).collect(),
        same: Vec::new(),
        kept: Vec::new(),
        restored,
    })
}

/// Unpacks one object, with the directories on its way, and gives its files. On a fault nothing of it stays.
async fn unpack_object(
    request: &TreeRequest<'_>,
    object: &str,
    below: &Path,
    into: &Path,
    cancel: &CancellationToken,
) -> Result<(Restored, Vec<PathBuf>), RestoreError> {
    let artifact = find(request.entry, request.label)?.clone();
    let near = Arc::new(Mutex::new(Vec::new()));
    let wanted = wanted(below.to_owned(), near.clone());
    let restored = unpack_checked(request, &artifact, into, Some(wanted), cancel).await?;
    let fault = match files_below(&into.join(below)) {
        Ok(found) if !found.is_empty() => return Ok((restored, found)),
        Ok(_) => {
            let near = near
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .join(", ");
            let near = if near.is_empty() {
                "nothing is near to it".to_owned()
            } else {
                format!("near to it are {near}")
            };
            format!("was to get {object}, which the archive does not have: {near}")
        }
        Err(error) => format!("cannot be listed: {error}"),
    };
    let _ = directory::remove(into); // Empty directories of the way to it.
    Err(RestoreError::Target {
        path: request.to.to_owned(),
        fault,
    })
}

fn prefix(request: &TreeRequest<'_>) -> PathBuf {
    let manifest = request.entry.manifest();
    let known = manifest.and_then(|manifest| manifest.storage.as_ref()?.reconcile.as_ref());
    PathBuf::from(known.map_or(STOCK_PREFIX, |known| known.prefix.as_str()))
}

/// The way to the object, and what is in it. Others of a like name are remembered.
fn wanted(below: PathBuf, near: Arc<Mutex<Vec<String>>>) -> Wanted {
    let name = below
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    Arc::new(move |path: &Path| {
        if below.starts_with(path) || path.starts_with(&below) {
            return true;
        }
        let like = path
            .file_name()
            .is_some_and(|other| other.to_string_lossy().to_lowercase().contains(&name));
        let mut near = near.lock().unwrap_or_else(PoisonError::into_inner);
        if like && near.len() < NEAR {
            near.push(path.display().to_string());
        }
        false
    })
}

fn below_of(paths: &[PathBuf], root: &Path) -> Vec<PathBuf> {
    let below = paths
        .iter()
        .map(|path| path.strip_prefix(root).unwrap_or(path).to_owned());
    below.collect()
}

/// What is to be done to a tree, as paths below its root.
#[derive(Debug, Default)]
struct Plan {
    /// What is not there: files, or directories with all that is in them, as the archive has them.
    add: BTreeSet<PathBuf>,
    /// Where something else lies, which is kept.
    replace: Vec<PathBuf>,
    /// What is there already, and stays.
    same: Vec<PathBuf>,
}

impl Plan {
    fn of(found: &[PathBuf], new: &Path, live: &Path) -> io::Result<Self> {
        let mut plan = Self::default();
        for file in found {
            let mut way = PathBuf::new();
            for part in file {
                way.push(part);
                let there = match live.join(&way).symlink_metadata() {
                    Ok(there) => there,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        plan.add.insert(way);
                        break;
                    }
                    Err(error) => return Err(error),
                };
                if way == *file {
                    if there.is_dir() {
                        return Err(io::Error::other(format!(
                            "{} is a directory now: --to PATH restores the object apart",
                            live.join(file).display()
                        )));
                    }
                    if alike(&new.join(file), &live.join(file))? {
                        plan.same.push(way);
                    } else {
                        plan.replace.push(way);
                    }
                    break;
                }
                if !there.is_dir() {
                    if !plan.replace.contains(&way) {
                        plan.replace.push(way);
                    }
                    break;
                }
            }
        }
        Ok(plan)
    }

    /// Makes all directories that are needed, and marks what was not there, so that nothing but renaming is left.
    fn prepare(&self, work: &Path) -> io::Result<()> {
        if !self.replace.is_empty() {
            // It stays in the tree under another name.
            make_own(&work.join(OLD))?;
        }
        for (below, paths) in [
            (NONE, self.add.iter().collect::<Vec<_>>()),
            (OLD, self.replace.iter().collect()),
        ] {
            for path in paths {
                let path = work.join(below).join(path);
                make_parents(&path)?;
                if below == NONE {
                    durable::create_private(&path)?;
                }
            }
        }
        durable::sync_tree(work)
    }

    /// Puts everything in its place; gives the directory of what was there before.
    fn carry_out(&self, names: &Names, set: &str) -> io::Result<Option<PathBuf>> {
        let prepared = names.inside(Mark::Restoring, set);
        if self.add.is_empty() && self.replace.is_empty() {
            directory::remove(&prepared)?;
            return Ok(None);
        }
        let (root, work) = (&names.root, names.inside(Mark::Placing, set));
        let (new, old) = (work.join(NEW), work.join(OLD));
        durable::rename_new(&prepared, &work)?;
        for path in &self.add {
            durable::rename_new(&new.join(path), &root.join(path))?;
        }
        for path in &self.replace {
            durable::rename_new(&root.join(path), &old.join(path))?;
            durable::rename_new(&new.join(path), &root.join(path))?;
        }
        durable::rename_new(&work, &names.inside(Mark::Placed, set))?;
        finish(names, set)
    }
}
