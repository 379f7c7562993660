//! One object of the storage archive: its file, or files where it has several versions, in place or in a directory of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stream::directory::{self, Descent};
use stream::durable;
use tokio_util::sync::CancellationToken;

use super::tree::{
    self, RestoreError, Restored, TreeRequest, Wanted, check_room, named, unpack_checked,
};

/// Names that are told when there is no such object.
const NEAR: usize = 5;
/// The buckets' place in a stock stack, for sets of which no other is known.
const STOCK_PREFIX: &str = "stub/stub";

/// An object that came back.
#[derive(Debug)]
pub struct RestoredObject {
    /// Its files, as they lie now.
    pub files: Vec<PathBuf>,
    /// Files of that name that were there and differ, kept under these names.
    pub kept: Vec<PathBuf>,
    /// What could not be kept of it.
    pub restored: Restored,
}

/// Restores `object`, a bucket and a name joined by a slash: into the tree at `request.to`, or, where `apart`, into a new directory there.
pub async fn restore_object(
    request: TreeRequest<'_>,
    object: &str,
    apart: bool,
    cancel: &CancellationToken,
) -> Result<RestoredObject, RestoreError> {
    let artifact = tree::find(request.entry, request.label)?.clone();
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
    let aside = if apart {
        if request.to.symlink_metadata().is_ok() {
            return Err(fault(
                "is there already: name a directory that is not, nothing is overwritten".to_owned(),
            ));
        }
        durable::aside(request.to)
    } else {
        request
            .to
            .join(format!(".backupd-restoring-{}", request.entry.id))
    };
    let room = aside
        .parent()
        .filter(|parent| *parent != Path::new(""))
        .unwrap_or(Path::new("."));
    // One object needs less than the whole tree; what is checked is whether attributes are kept, and that it can be written to.
    let small = catalog::manifest::Artifact {
        database: None,
        tree: None,
        ..artifact.clone()
    };
    check_room(&request, &small, room)?;
    let near = Arc::new(Mutex::new(Vec::new()));
    let restored = unpack_checked(
        &request,
        &artifact,
        &aside,
        Some(wanted(below.clone(), near.clone())),
        cancel,
    )
    .await?;
    let unlisted = |error: io::Error| fault(format!("cannot be listed: {error}"));
    let found = files_below(&aside.join(&below)).map_err(unlisted)?;
    if found.is_empty() {
        let _ = directory::remove(&aside); // Empty directories of the way to it.
        let near = near
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join(", ");
        let near = if near.is_empty() {
            "nothing is near to it".to_owned()
        } else {
            format!("near to it are {near}")
        };
        return Err(fault(format!(
            "was to get {object}, which the archive does not have: {near}"
        )));
    }
    if apart {
        named(durable::rename(&aside, request.to), request.to, &aside)?;
        let files = files_below(&request.to.join(&below)).map_err(unlisted)?;
        return Ok(RestoredObject {
            files,
            kept: Vec::new(),
            restored,
        });
    }
    let done = place_all(&found, &aside, request.to, &request.entry.id.to_string());
    let (files, kept) = named(done, request.to, &aside)?;
    let _ = directory::remove(&aside); // Empty by now.
    Ok(RestoredObject {
        files,
        kept,
        restored,
    })
}

fn prefix(request: &TreeRequest<'_>) -> PathBuf {
    let manifest = request.entry.manifest.as_ref().ok();
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

/// Files at a path: itself, or those in it.
fn files_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_dir() => return Ok(vec![path.to_owned()]),
        Ok(_) => {}
    }
    let mut descent = Descent::open(path)?;
    loop {
        match descent.next_name()? {
            Some(found) if found.kind.is_dir() => {
                let below = directory::open_directory(descent.directory()?, &*found.name)?;
                descent.enter(&found.name, below)?;
            }
            Some(found) => files.push(path.join(descent.path_of(&found.name))),
            None if descent.leave()?.is_none() => break,
            None => {}
        }
    }
    files.sort();
    Ok(files)
}

/// Moves files from one tree into another. One that is there and differs is kept under a name that no service serves.
fn place_all(
    files: &[PathBuf],
    from: &Path,
    into: &Path,
    set: &str,
) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut placed, mut kept) = (Vec::new(), Vec::new());
    for file in files {
        let target = into.join(file.strip_prefix(from).unwrap_or(file));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        if target.symlink_metadata().is_ok() {
            let name = target
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let before = target.with_file_name(format!("{name}.before-{set}"));
            durable::rename(&target, &before)?;
            kept.push(before);
        }
        durable::rename(file, &target)?;
        placed.push(target);
    }
    Ok((placed, kept))
}
