//! Trees: whether they are there, whether all of them may be read, and whether one that is empty should be.

use std::fs;
use std::path::Path;

use archive::{PackError, check_root, measure};
use catalog::artifact::Tree;
use catalog::manifest::Manifest;
use catalog::set::SetId;
use postgres::words::counted;
use stream::blocking::in_place;
use tokio_util::sync::CancellationToken;

use super::sample::{Glance, of_tree};
use crate::config::{Config, DatabaseRole, TreeRole, TreeSource};
use crate::finding::{Blocks, Check, Fault, Outcome};
use crate::source::preflight::{Look, Preflight};
use crate::space;
use crate::stack::objects;
use catalog::layout::tree::{CutOff, Names, cut_off};

/// Directories in which other programs keep *their* storage format under Supabase's storage volume. An archive of them taken live
/// is no backup.
const FOREIGN_STORES: [(&str, &str); 2] = [(".minio.sys", "MinIO"), (".rustfs.sys", "RustFS")];

pub(crate) async fn check(
    config: &Config,
    source: &TreeSource,
    look: Look,
    cancel: &CancellationToken,
    found: &mut Preflight,
) {
    let label = source.label.as_str();
    let blocks = Blocks::Step(label.to_owned());
    let setting = source.setting();
    let root = source.root.clone();
    if let Some(text) = in_place(|| holds_backup_dir(&root, &config.backup_dir)) {
        found.fail(label, &blocks, format!("{setting} {text}"), None);
        return;
    }
    if source.role == TreeRole::Storage
        && let Some(text) = in_place(|| foreign_store(&root))
    {
        found.fail(label, &blocks, format!("{setting} {text}"), None);
        return;
    }
    if source.role == TreeRole::Storage
        && let Some((outcome, text)) = in_place(|| left_by_a_restore(&root))
    {
        let fault = Some(Fault::TreeHalfRestored);
        let text = format!("{setting} {text}");
        let check = Check::new(label, outcome, blocks.clone(), text, fault);
        found.checks.push(check);
        if outcome == Outcome::Failed {
            return;
        }
    }
    let found_it = match look {
        Look::Whole => walked(config, source, found.last.as_deref(), cancel).await,
        Look::Run { .. } => glanced(config, source, found.last.as_deref()).await,
    };
    let error = match found_it {
        Ok((tree, text)) => {
            found.pass(label, text);
            found.trees.insert(label.to_owned(), tree);
            return;
        }
        Err(error) => error,
    };
    let mut text = tree_fault(setting, source, &error);
    if let (PackError::RootEmpty { path }, TreeRole::Storage) = (&error, source.role) {
        match should_be_empty(config).await {
            Empty::Rightly => {
                let text = format!(
                    "{} is empty, and so is storage.objects: nobody has uploaded anything yet",
                    path.display()
                );
                found.pass(label, text);
                found.empty.insert(label.to_owned());
                return;
            }
            Empty::Wrongly => {
                text = format!(
                    "{setting}={}: the directory is empty, and storage.objects has objects: is the volume mounted, and is this the \
                     directory the storage service writes to?",
                    path.display()
                );
            }
            Empty::Unknown(None) => {}
            Empty::Unknown(Some(why)) => {
                text =
                    format!("{text} (whether storage.objects has any objects is not known: {why})");
            }
        }
    }
    let fault = match error {
        PackError::RootMissing { .. } | PackError::RootEmpty { .. } => {
            Some(Fault::NoTree(source.root.clone()))
        }
        PackError::Unreadable { .. } => Some(Fault::TreeUnreadable(source.root.clone())),
        _ => None,
    };
    found.fail(label, &blocks, text, fault);
}

/// Reads every name.
async fn walked(
    config: &Config,
    source: &TreeSource,
    last: Option<&Manifest>,
    cancel: &CancellationToken,
) -> Result<(Glance, String), PackError> {
    let (root, token) = (source.root.clone(), cancel.clone());
    let tree = off_the_runtime(move || {
        let names = Names::of(&root);
        measure(&root, Some(&|below| names.is_aside(below)), &token)
    })
    .await?;
    let mut packed = 0;
    if of_last(source, last).is_none() {
        let seen = glance(config, source).await?;
        packed = seen.packed + tree.bytes.saturating_sub(seen.bytes);
    }
    let glance = Glance {
        files: tree.files,
        bytes: tree.bytes,
        is_whole: true,
        packed,
    };
    let text = format!("{} holds {}", source.root.display(), told(&glance));
    Ok((glance, text))
}

/// What the last set held, or, for the first, as much as can be seen in a moment.
async fn glanced(
    config: &Config,
    source: &TreeSource,
    last: Option<&Manifest>,
) -> Result<(Glance, String), PackError> {
    let root = source.root.clone();
    off_the_runtime(move || check_root(&root).map(drop)).await?;
    let shown = source.root.display();
    if let Some((set, tree)) = of_last(source, last) {
        let glance = Glance {
            files: tree.files,
            bytes: tree.bytes,
            is_whole: true,
            packed: 0,
        };
        let text = format!("{shown} held {} in set {set}", told(&glance));
        return Ok((glance, text));
    }
    let glance = glance(config, source).await?;
    let bound = if glance.is_whole { "" } else { "at least " };
    let text = format!("{shown} holds {bound}{}", told(&glance));
    Ok((glance, text))
}

fn of_last<'a>(source: &TreeSource, last: Option<&'a Manifest>) -> Option<(SetId, &'a Tree)> {
    let last = last?;
    let mut artifacts = last.artifacts.iter();
    let artifact = artifacts.find(|one| one.label == source.label && one.tree().is_some())?;
    Some((last.set, artifact.tree()?))
}

async fn glance(config: &Config, source: &TreeSource) -> Result<Glance, PackError> {
    let (root, compression) = (source.root.clone(), config.encoding.compression);
    off_the_runtime(move || {
        let names = Names::of(&root);
        of_tree(&root, &|below| names.is_aside(below), compression).map_err(|error| {
            PackError::Unreadable {
                paths: vec![format!("{}: {error}", root.display())],
                total: 1,
            }
        })
    })
    .await
}

fn told(tree: &Glance) -> String {
    format!(
        "{}, {}",
        counted(tree.files, "file"),
        space::human(tree.bytes)
    )
}

/// A look at a file system that hangs keeps nobody else waiting.
async fn off_the_runtime<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, PackError> + Send + 'static,
) -> Result<T, PackError> {
    match tokio::task::spawn_blocking(look).await {
        Ok(seen) => seen,
        Err(panic) => Err(PackError::Unreadable {
            paths: vec![panic.to_string()],
            total: 1,
        }),
    }
}

/// What an empty storage tree means.
enum Empty {
    /// There are no objects.
    Rightly,
    /// There are some.
    Wrongly,
    /// There is no database to ask, or it does not say.
    Unknown(Option<String>),
}

async fn should_be_empty(config: &Config) -> Empty {
    let mut databases = config.databases.iter();
    let Some(supabase) = databases.find(|source| source.role == DatabaseRole::Supabase) else {
        return Empty::Unknown(None);
    };
    match objects::are_there(&supabase.dsn).await {
        Ok(Some(false)) => Empty::Rightly,
        Ok(Some(true)) => Empty::Wrongly,
        Ok(None) => Empty::Unknown(Some("the database has no such table".to_owned())),
        Err(error) => Empty::Unknown(Some(error.to_string())),
    }
}

/// A tree's fault with the setting that names it and what to do.
pub(crate) fn tree_fault(setting: &str, source: &TreeSource, error: &PackError) -> String {
    let fix = match error {
        PackError::RootMissing { .. } | PackError::RootEmpty { .. } => {
            ": is the volume mounted, and is this the directory the storage service writes to?"
        }
        PackError::Unreadable { .. } => {
            ": run backupd as a user that may read them, or give it the capability DAC_READ_SEARCH"
        }
        _ => "",
    };
    format!("{setting}={}: {error}{fix}", source.root.display())
}

fn holds_backup_dir(root: &Path, backup_dir: &Path) -> Option<String> {
    let inside = backup_dir
        .canonicalize()
        .ok()?
        .starts_with(root.canonicalize().ok()?);
    inside.then(|| {
        format!(
            "{} holds BACKUP_DIR {}: every set would swallow the ones before it; keep them apart",
            root.display(),
            backup_dir.display()
        )
    })
}

/// What a restore that is at work, or was cut off, means for a set of its tree.
fn left_by_a_restore(root: &Path) -> Option<(Outcome, String)> {
    const UNDO: &str = "`backupd restore --undo --only storage`";
    let shown = root.display();
    match cut_off(root) {
        Ok(None) => None,
        Ok(Some(CutOff::Unpacking(set))) => Some((
            Outcome::Warning,
            format!(
                "{shown} was not touched by a restore from {set} that did not end: {UNDO} removes what it had unpacked"
            ),
        )),
        Ok(Some(CutOff::Changing(set))) => Some((
            Outcome::Failed,
            format!(
                "{shown} is half restored from {set}: wait for the restore to end, or put back what was there before by {UNDO}"
            ),
        )),
        Err(error) => Some((
            Outcome::Failed,
            format!("{shown} cannot be looked at: {error}"),
        )),
    }
}

fn foreign_store(root: &Path) -> Option<String> {
    let below = fs::read_dir(root)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    for dir in std::iter::once(root.to_owned()).chain(below) {
        for (mark, name) in FOREIGN_STORES {
            if dir.join(mark).exists() {
                return Some(format!(
                    "{} is {name}'s data directory ({mark} is there), not Supabase's file backend: an archive of it taken while \
                     {name} runs is no backup; back up the bucket through {name} itself and take `storage` out of BACKUP_SOURCES",
                    dir.display()
                ));
            }
        }
    }
    None
}
