//! A file tree in the place of the present one, which is kept. Beside an ordinary directory the new tree is unpacked and both names are
//! exchanged; a mount point cannot be renamed, so the new tree is unpacked inside and the children change places one by one.
//!
//! What a killed restore leaves tells by its names how far it came: `restoring` holds an unfinished new tree, and nothing else was
//! touched; `swapping` says that names were being exchanged; inside a mount point, `keeping` has the children of the old tree.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use catalog::manifest::Artifact;
use catalog::set::SetId;
use stream::{directory, durable};
use tokio_util::sync::CancellationToken;

use super::tree::{self, RestoreError, Restored, TreeRequest, check_room, named, unpack_checked};

/// More restores of one set than this were not made.
const KEPT_MOST: u32 = 99;
const RESTORING: &str = ".backupd-restoring-";
const SWAPPING: &str = ".backupd-swapping-";
const KEEPING: &str = ".backupd-keeping-";
const BEFORE: &str = ".before-";

/// A tree that came back in place.
#[derive(Debug)]
pub struct Swapped {
    /// What it holds.
    pub restored: Restored,
    /// Where the tree before lies; none where there was none.
    pub before: Option<PathBuf>,
}

/// Whether a path below a root is what a restore keeps or works with there: no part of the tree.
pub fn is_kept_aside(below: &Path) -> bool {
    let mut parts = below.components();
    let (Some(first), None) = (parts.next(), parts.next()) else {
        return false;
    };
    let name = first.as_os_str().to_string_lossy();
    let of_set = name.rsplit_once(BEFORE).is_some_and(|(_, set)| {
        let set = set.get(..16).unwrap_or_default();
        set.parse::<SetId>().is_ok()
    });
    of_set
        || [RESTORING, SWAPPING, KEEPING]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Where a tree is swapped.
enum Place {
    /// Its root can be renamed.
    Beside { parent: PathBuf },
    /// Its root is a mount point, or its parent is not ours to write to.
    Inside,
}

/// Whether a tree could be swapped: asked before anything else is restored. Changes nothing.
pub fn check_swap(request: &TreeRequest<'_>) -> Result<(), RestoreError> {
    let root = request.to;
    let artifact = tree::find(request.entry, request.label)?;
    if root.symlink_metadata().is_err() {
        return tree::check_target(request, artifact);
    }
    match place(root) {
        Place::Beside { parent } => check_room(request, artifact, &parent),
        Place::Inside => check_room(request, artifact, root),
    }
}

/// Restores a tree in the place of `request.to`.
pub async fn swap_tree(
    request: TreeRequest<'_>,
    cancel: &CancellationToken,
) -> Result<Swapped, RestoreError> {
    let root = request.to;
    if root.symlink_metadata().is_err() {
        let restored = tree::restore_tree(request, cancel).await?;
        return Ok(Swapped {
            restored,
            before: None,
        });
    }
    let artifact = tree::find(request.entry, request.label)?.clone();
    let fault = |fault: String| RestoreError::Target {
        path: root.to_owned(),
        fault,
    };
    if !root.metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(fault("is no directory".to_owned()));
    }
    undo_swap(root).map_err(|error| {
        fault(format!(
            "has what a restore that was cut off left, which could not be put back: {error}"
        ))
    })?;
    match place(root) {
        Place::Beside { parent } => beside(&request, &artifact, &parent, cancel).await,
        Place::Inside => inside(&request, &artifact, cancel).await,
    }
}

fn place(root: &Path) -> Place {
    let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let Some(parent) = real.parent() else {
        return Place::Inside;
    };
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    // A bind mount may be of the same device; renaming it says so, before anything is lost.
    let mounted = device(&real) != device(parent) || is_mount_point(&real);
    let writable = rustix::fs::access(parent, rustix::fs::Access::WRITE_OK).is_ok();
    if mounted || !writable {
        Place::Inside
    } else {
        Place::Beside {
            parent: parent.to_owned(),
        }
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

async fn beside(
    request: &TreeRequest<'_>,
    artifact: &Artifact,
    parent: &Path,
    cancel: &CancellationToken,
) -> Result<Swapped, RestoreError> {
    let root = request
        .to
        .canonicalize()
        .unwrap_or_else(|_| request.to.to_owned());
    check_room(request, artifact, parent)?;
    let set = request.entry.id.to_string();
    let name = file_name(&root);
    let restoring = parent.join(format!("{RESTORING}{name}-{set}"));
    let restored = unpack_checked(request, artifact, &restoring, None, cancel).await?;
    let done = (|| -> io::Result<PathBuf> {
        let before = free_name(parent, &name, &set)?;
        // Whose inode it is tells later whether the names were exchanged.
        let inode = fs::metadata(&restoring)?.ino();
        let swapping = parent.join(format!("{SWAPPING}{name}-{set}-{inode}"));
        durable::rename(&restoring, &swapping)?;
        if durable::exchange(&root, &swapping)? {
            durable::rename(&swapping, &before)?;
        } else {
            durable::rename(&root, &before)?;
            durable::rename(&swapping, &root)?;
        }
        Ok(before)
    })();
    let before = named(done, &root, &restoring).inspect_err(|_| {
        // The error on its way says what failed; what is left is told by `restore --undo`.
        let _ = undo_swap(&root);
    })?;
    Ok(Swapped {
        restored,
        before: Some(before),
    })
}

async fn inside(
    request: &TreeRequest<'_>,
    artifact: &Artifact,
    cancel: &CancellationToken,
) -> Result<Swapped, RestoreError> {
    let root = request.to;
    check_room(request, artifact, root)?;
    let set = request.entry.id.to_string();
    let restoring = root.join(format!("{RESTORING}{set}"));
    let restored = unpack_checked(request, artifact, &restoring, None, cancel).await?;
    let done = exchange_children(root, &restoring, &set);
    match done {
        Ok(before) => Ok(Swapped { restored, before }),
        Err(error) => {
            let back = undo_swap(root);
            let fault = match back {
                Ok(_) => format!("could not be exchanged: {error}; it is as it was"),
                Err(undo) => format!(
                    "could not be exchanged: {error}; nor put back: {undo}; nothing is lost, `backupd restore --undo --only {}` goes on with it",
                    request.label
                ),
            };
            Err(RestoreError::Target {
                path: root.to_owned(),
                fault,
            })
        }
    }
}

fn exchange_children(root: &Path, restoring: &Path, set: &str) -> io::Result<Option<PathBuf>> {
    let swapping = root.join(format!("{SWAPPING}{set}"));
    let keeping = root.join(format!("{KEEPING}{set}"));
    durable::create_dir_private(&keeping)?;
    let present = children(root)?;
    move_all(&present, &keeping)?;
    // From here on what lies in the root is of the new tree.
    durable::rename(restoring, &swapping)?;
    move_all(&everything(&swapping)?, root)?;
    fs::remove_dir(&swapping)?;
    if present.is_empty() {
        fs::remove_dir(&keeping)?;
        return Ok(None);
    }
    let before = free_name(root, &file_name(root), set)?;
    durable::rename(&keeping, &before)?;
    Ok(Some(before))
}

/// Puts back what restores that were killed left of a tree, and says what was done.
pub fn undo_swap(root: &Path) -> io::Result<Vec<String>> {
    let mut done = Vec::new();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    undo_inside(&root, &mut done)?;
    if let Some(parent) = root.parent() {
        undo_beside(&root, parent, &mut done)?;
    }
    Ok(done)
}

fn undo_inside(root: &Path, done: &mut Vec<String>) -> io::Result<()> {
    let keeping = remains(root, KEEPING)?;
    let put_back = |set: &str| -> io::Result<()> {
        let Some((path, _)) = keeping.iter().find(|(_, other)| other == set) else {
            return Ok(());
        };
        move_all(&everything(path)?, root)?;
        fs::remove_dir(path)
    };
    for (path, set) in remains(root, SWAPPING)? {
        // What is in the root is of the new tree, which goes.
        move_all(&children(root)?, &path)?;
        put_back(&set)?;
        directory::remove(&path)?;
        done.push(as_before(root, &set));
    }
    for (path, set) in remains(root, RESTORING)? {
        put_back(&set)?;
        directory::remove(&path)?;
        done.push(as_before(root, &set));
    }
    for (path, set) in remains(root, KEEPING)? {
        // Only its name was wanting.
        let before = free_name(root, &file_name(root), &set)?;
        durable::rename(&path, &before)?;
        done.push(format!(
            "the restore of {} from {set} was complete; the tree before is kept as {}",
            root.display(),
            before.display()
        ));
    }
    Ok(())
}

fn as_before(root: &Path, set: &str) -> String {
    format!(
        "{} is as it was before the restore from {set} was cut off",
        root.display()
    )
}

fn undo_beside(root: &Path, parent: &Path, done: &mut Vec<String>) -> io::Result<()> {
    let name = file_name(root);
    for (path, set) in remains(parent, &format!("{SWAPPING}{name}-"))? {
        let inode = path
            .to_string_lossy()
            .rsplit_once('-')
            .and_then(|(_, inode)| inode.parse().ok());
        let is_new = fs::metadata(&path).map(|meta| meta.ino()).ok() == inode;
        if root.symlink_metadata().is_err() {
            // Without an exchange the root has no name for a moment.
            let before = newest_before(parent, &name, &set);
            durable::rename(before.as_deref().unwrap_or(&path), root)?;
        } else if !is_new && !durable::exchange(root, &path)? {
            continue;
        }
        if path.symlink_metadata().is_ok() {
            directory::remove(&path)?;
        }
        done.push(as_before(root, &set));
    }
    for (path, set) in remains(parent, &format!("{RESTORING}{name}-"))? {
        directory::remove(&path)?;
        done.push(format!(
            "{} was not touched: what the restore from {set} had unpacked is gone",
            root.display()
        ));
    }
    Ok(())
}

/// Directories of this beginning, with the set in their names.
fn remains(dir: &Path, prefix: &str) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let set = name.strip_prefix(prefix).and_then(|rest| rest.get(..16));
        if let Some(set) = set.filter(|set| set.parse::<SetId>().is_ok()) {
            found.push((entry.path(), set.to_owned()));
        }
    }
    Ok(found)
}

/// The children of a root, without what restores keep there.
fn children(root: &Path) -> io::Result<Vec<PathBuf>> {
    let all = everything(root)?.into_iter();
    Ok(all
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|name| is_kept_aside(Path::new(name)))
        })
        .collect())
}

fn everything(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

fn move_all(paths: &[PathBuf], into: &Path) -> io::Result<()> {
    for path in paths {
        durable::rename(path, &into.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn kept_names<'a>(
    dir: &'a Path,
    name: &'a str,
    set: &'a str,
) -> impl Iterator<Item = PathBuf> + 'a {
    (1..=KEPT_MOST).map(move |number| {
        let more = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        dir.join(format!("{name}{BEFORE}{set}{more}"))
    })
}

fn free_name(dir: &Path, name: &str, set: &str) -> io::Result<PathBuf> {
    kept_names(dir, name, set)
        .find(|path| path.symlink_metadata().is_err())
        .ok_or_else(|| {
            io::Error::other(format!(
                "{KEPT_MOST} trees before {set} are kept already: remove some"
            ))
        })
}

fn newest_before(dir: &Path, name: &str, set: &str) -> Option<PathBuf> {
    kept_names(dir, name, set)
        .take_while(|path| path.symlink_metadata().is_ok())
        .last()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_restores_keep_is_known_by_its_name() {
        for name in [
            "storage.before-20261120T020000Z",
            "storage.before-20261120T020000Z-2",
            ".backupd-restoring-20261120T020000Z",
            ".backupd-swapping-x",
        ] {
            assert!(is_kept_aside(Path::new(name)), "{name}");
        }
        for name in [
            "stub",
            "photo.before-tuesday",
            "stub/x.before-20261120T020000Z",
            ".before-",
        ] {
            assert!(!is_kept_aside(Path::new(name)), "{name}");
        }
    }
}
