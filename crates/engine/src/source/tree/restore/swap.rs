//! A file tree in the place of the present one, which is kept. Beside an ordinary directory the new tree is unpacked and both names are
//! exchanged; a mount point cannot be renamed, so the new tree is unpacked inside and the children change places one by one.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use stream::blocking::in_place;
use stream::{directory, durable};
use tokio_util::sync::CancellationToken;

use super::aside::{Aside, name_before};
use super::error::RestoreError;
use super::request::{Restored, TreeRequest, find};
use super::target::check_room;
use super::undo::{End, Undone, undo};
use super::unpacking::unpack_checked;
use crate::event::{Event, Observer};
use catalog::layout::tree::{Kept, Mark, NEW, Names, everything, is_own, is_there, make_own};

/// A tree that came back in place.
#[derive(Debug)]
pub struct Swapped {
    /// What it holds.
    pub restored: Restored,
    /// Where the tree before lies; none where there was none.
    pub before: Option<PathBuf>,
    /// Where that lies which somebody made while the trees changed places.
    pub meanwhile: Vec<PathBuf>,
}

/// What changed places.
#[derive(Debug, Default)]
struct Changed {
    before: Option<PathBuf>,
    meanwhile: Vec<PathBuf>,
}

/// Where a tree is swapped.
enum Place {
    /// Its root can be renamed.
    Beside,
    /// Its root is a mount point, or its parent is not ours to write to.
    Inside,
}

/// Whether a tree could be swapped: asked before anything else is restored. Changes nothing.
pub fn check_swap(request: &TreeRequest<'_>) -> Result<(), RestoreError> {
    let artifact = find(request.entry, request.label)?;
    let names = Names::of(request.to);
    let fault = |fault: String| {
        Err(RestoreError::Target {
            path: names.root.clone(),
            fault,
        })
    };
    if !names.root.exists() && !names.parent().is_dir() {
        return fault(format!(
            "has no parent: make {} first",
            names.parent().display()
        ));
    }
    match place(&names) {
        Place::Beside => check_room(request, artifact, names.parent()),
        Place::Inside => check_room(request, artifact, &names.root),
    }
}

/// Restores a tree in the place of `request.to`. What an earlier restore left there must be undone before.
pub async fn swap_tree(
    request: TreeRequest<'_>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Swapped, RestoreError> {
    let artifact = find(request.entry, request.label)?.clone();
    let names = Names::of(request.to);
    let fault = |fault: String| RestoreError::Target {
        path: names.root.clone(),
        fault,
    };
    if names.root.exists() && !names.root.is_dir() {
        return Err(fault("is no directory".to_owned()));
    }
    in_place(|| check_swap(&request))?;
    let set = request.entry.id.to_string();
    let (restored, changed) = match place(&names) {
        Place::Beside => {
            let restoring = names.beside(Mark::Restoring, &set, None);
            let restored = unpack_checked(&request, &artifact, &restoring, None, cancel).await?;
            observer.on(&Event::Exchanging);
            (restored, in_place(|| beside(&names, &set, &restoring)))
        }
        Place::Inside => {
            let restoring = names.inside(Mark::Restoring, &set);
            make_own(&restoring).map_err(|error| fault(not_made(&restoring, &error)))?;
            let new = restoring.join(NEW);
            let restored = unpack_checked(&request, &artifact, &new, None, cancel).await;
            let restored = restored.and_then(|restored| {
                in_the_way(&names, &set, &new).map_err(fault)?;
                Ok(restored)
            });
            let restored = restored.inspect_err(|_| {
                let _ = in_place(|| directory::remove(&restoring)); // It says by its name what it is.
            })?;
            observer.on(&Event::Exchanging);
            (restored, in_place(|| inside(&names, &set, &restoring)))
        }
    };
    let changed = match changed {
        Ok(changed) => changed,
        Err(error) => Changed {
            before: in_place(|| ended_at_last(request.to, &set, &error)).map_err(fault)?,
            meanwhile: Vec::new(),
        },
    };
    Ok(Swapped {
        restored,
        before: changed.before,
        meanwhile: changed.meanwhile,
    })
}

/// After an error between two names: the names tell what became of it. What was there before, where all of the set is in its place; in
/// words how it is now, where not.
pub(super) fn ended_at_last(
    root: &Path,
    set: &str,
    error: &io::Error,
) -> Result<Option<PathBuf>, String> {
    match undo(root) {
        Ok(ended) => match ended.into_iter().next_back() {
            Some(Undone {
                end: End::Complete { before },
                ..
            }) => Ok(before),
            Some(ended) => Err(format!("could not be restored: {error}; {ended}")),
            // All is in its place; what failed was to make the last name survive a power cut, behind which the names tell again.
            None => Ok(Names::of(root).newest_before(set)),
        },
        Err(undo) => Err(format!(
            "could not be restored: {error}; nor put back: {undo}"
        )),
    }
}

fn place(names: &Names) -> Place {
    let (root, parent) = (&names.root, names.parent());
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    if !root.exists() {
        return Place::Beside;
    }
    // A bind mount may be of the same device; renaming it says so, before anything is lost.
    let mounted = root == parent || device(root) != device(parent) || is_mount_point(root);
    let writable = rustix::fs::access(parent, rustix::fs::Access::WRITE_OK).is_ok();
    if mounted || !writable {
        Place::Inside
    } else {
        Place::Beside
    }
}

/// By the kernel's list (proc_pid_mountinfo(5)), whose fifth field is the mount point, with blanks as `\040`.
fn is_mount_point(path: &Path) -> bool {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let escaped = path
        .to_string_lossy()
        .replace('\\', "\\134")
        .replace(' ', "\\040");
    text.lines()
        .any(|line| line.split(' ').nth(4) == Some(escaped.as_str()))
}

/// Why a directory inside a tree was not made.
pub(super) fn not_made(path: &Path, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return format!(
            "holds {}, a name that the restore needs and none of its own: give it another, or restore into a directory elsewhere (--to)",
            path.display()
        );
    }
    format!("cannot be written to: {error}")
}

/// Names that the restore needs, in the tree or in what was unpacked of the set: told before anything is touched.
pub(super) fn in_the_way(names: &Names, set: &str, new: &Path) -> Result<(), String> {
    let fault = |error| format!("cannot be listed: {error}");
    for name in names.working(set) {
        let there = new.join(name.strip_prefix(&names.root).unwrap_or(&name));
        if is_there(&there).map_err(fault)? {
            return Err(format!(
                "would get {} from the set, a name that the restore itself needs: restore into a directory elsewhere (--to)",
                name.display()
            ));
        }
        if is_there(&name).map_err(fault)? && !is_own(&name).map_err(fault)? {
            return Err(not_made(&name, &io::ErrorKind::AlreadyExists.into()));
        }
    }
    Ok(())
}

fn beside(names: &Names, set: &str, restoring: &Path) -> io::Result<Changed> {
    let root = &names.root;
    if !is_there(root)? {
        durable::rename_new(restoring, root)?;
        return Ok(Changed::default());
    }
    // Whose inode it is tells later whether the names were exchanged.
    let inode = fs::metadata(restoring)?.ino();
    let swapping = names.beside(Mark::Swapping, set, Some(inode));
    durable::rename_new(restoring, &swapping)?;
    let mut old = swapping.clone();
    if !durable::exchange(root, &swapping)? {
        old = names.beside(Mark::Keeping, set, None);
        durable::rename_new(root, &old)?;
        durable::rename_new(&swapping, root)?;
    }
    let before = names.free(names.parent(), Kept::Before, set)?;
    durable::rename_new(&old, &before)?;
    Ok(Changed {
        before: Some(before),
        meanwhile: Vec::new(),
    })
}

fn inside(names: &Names, set: &str, restoring: &Path) -> io::Result<Changed> {
    let root = &names.root;
    let [keeping, swapping] = [Mark::Keeping, Mark::Swapping].map(|mark| names.inside(mark, set));
    let aside = Aside::of(names, root, set);
    make_own(&keeping)?;
    for child in names.children()? {
        durable::rename_new(&child, &keeping.join(child.file_name().unwrap_or_default()))?;
    }
    // From here on what lies in the root is of the new tree, or was made since.
    durable::rename_new(restoring, &swapping)?;
    let new = swapping.join(NEW);
    for child in everything(&new)? {
        aside.make_room(root, &new, &child)?;
    }
    fs::remove_dir(&new)?;
    fs::remove_dir(&swapping)?;
    // It is complete; what there was before wants its name.
    let before = name_before(names, root, &keeping, set)?;
    Ok(Changed {
        before,
        meanwhile: aside.there(),
    })
}
