//! File trees of a set: in place, into a directory of their own, or one object of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use archive::OutsideLinks;
use catalog::artifact::Artifact;
use catalog::catalog::Entry;
use catalog::layout::tree::cut_off;
use engine::event::{Event, Observer};
use engine::finding::Check;
use engine::restore::{InPlace, remember, settle};
use engine::source::tree::restore::{
    RestoreError, Restored, TreeRequest, check_archive, check_swap, obstacles, restore_object,
    restore_tree, swap_tree, undo,
};
use engine::space::human;
use engine::tell_while;
use postgres::words::counted;
use stream::artifact::Meter;

use super::ask;
use super::told::{Source, Told, in_the_way, noted, shown};
use crate::cli::Restore;
use crate::commands::exit::{Exit, Refusal};
use crate::render;
use crate::render::progress::Progress;
use crate::settings::Environment;
use crate::signals::Signals;

/// The label of Supabase's storage tree.
pub const STORAGE: &str = "storage";

pub fn request<'a>(
    asked: &Restore,
    entry: &'a Entry,
    label: &'a str,
    to: &'a Path,
) -> TreeRequest<'a> {
    TreeRequest {
        entry,
        label,
        to,
        without_xattrs: asked.without_xattrs,
        outside_links: if asked.allow_outside_links {
            OutsideLinks::Allowed
        } else {
            OutsideLinks::Refused
        },
        meter: Arc::new(Meter::default()),
    }
}

/// `--to PATH`: the whole tree, or one object of it.
pub async fn apart(
    asked: &Restore,
    told: &Told,
    entry: &Entry,
    label: &str,
    to: &Path,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let request = request(asked, entry, label, to);
    if let Some(object) = &asked.object {
        let done = restore_object(request, object, true, &signals.token).await;
        return say_object(label, to, done, told, signals);
    }
    let (meter, expected) = (request.meter.clone(), expected(&request));
    let progress = Progress::start(&environment.logging()?);
    let work = restore_tree(request, &signals.token);
    let ended = tell_while(work, &progress, label, &meter, expected).await;
    progress.clear();
    match ended {
        Ok(restored) => {
            let source = Source::restored(label, &shown(to), facts(&restored), true);
            told.say(&summary(label, entry, to, &restored), source)?;
            Ok(Exit::Done)
        }
        Err(error) => {
            told.keep(Source::failed(label, &shown(to), &error));
            Ok(failed(&error, signals))
        }
    }
}

/// Before anything is restored: the tree can be swapped, and a person agrees. A plan is only told.
pub async fn prepare(
    asked: &Restore,
    told: &Told,
    entry: &Entry,
    (label, root): (&str, &Path),
    with_databases: bool,
    environment: &Environment,
    signals: &Signals,
) -> Result<Result<(), Exit>, Refusal> {
    let plan = plan(asked, entry, label, root);
    let request = request(asked, entry, label, root);
    if asked.dry_run {
        let found = obstacles(&request);
        let stops: Vec<&Check> = found.iter().filter(|check| check.stops_restore()).collect();
        let value = plan_facts(asked, entry, label, root);
        let source = Source::planned(label, &shown(root), Some(value), &stops, None);
        told.say(&(plan + &in_the_way(&stops)), source)?;
        if asked.object.is_none()
            && let Err(exit) = read_whole(&request, told, environment, signals).await?
        {
            return Ok(Err(exit));
        }
        return Ok(if stops.is_empty() {
            Ok(())
        } else {
            Err(Exit::Failed)
        });
    }
    for ended in undone(root, environment)? {
        render::error::note(&ended.to_string());
    }
    if asked.object.is_none()
        && let Err(error) = check_swap(&request)
    {
        told.keep(Source::failed(label, &shown(root), &error));
        return Ok(Err(failed(&error, signals)));
    }
    // Alone, it is unpacked beside the tree before that is touched.
    if with_databases && let Err(exit) = read_whole(&request, told, environment, signals).await? {
        return Ok(Err(exit));
    }
    if !asked.yes && asked.object.is_none() {
        ask::for_name(&plan, &name_of(root), signals)?;
    }
    Ok(Ok(()))
}

/// The archive is what was made, and no member of it is refused.
async fn read_whole(
    request: &TreeRequest<'_>,
    told: &Told,
    environment: &Environment,
    signals: &Signals,
) -> Result<Result<(), Exit>, Refusal> {
    let progress = Progress::start(&environment.logging()?);
    progress.on(&Event::StepStarted {
        step: format!("{} check", request.label),
    });
    let checked = check_archive(request, &signals.token).await;
    progress.clear();
    Ok(checked.map_err(|error| {
        told.block(request.label, request.to, &error);
        failed(&error, signals)
    }))
}

/// The tree in the place of `root`, or one object of it.
pub async fn in_place(
    asked: &Restore,
    told: &Told,
    entry: &Entry,
    label: &str,
    root: &Path,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let request = request(asked, entry, label, root);
    let began = Instant::now();
    let took = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let dir = environment.backup_dir()?;
    if let Some(object) = &asked.object {
        let done = restore_object(request, object, false, &signals.token).await;
        let into = format!("{}: {object}", root.display());
        let error = done.as_ref().err().map(ToString::to_string);
        noted(remember(&dir, entry.id, label, into, took(), error));
        return say_object(label, root, done, told, signals);
    }
    let (meter, expected) = (request.meter.clone(), expected(&request));
    let progress = Progress::start(&environment.logging()?);
    let in_place = InPlace::new(&dir, &progress, entry.id, label, shown(root));
    let work = swap_tree(request, &in_place, &signals.token);
    let ended = tell_while(work, &progress, label, &meter, expected).await;
    progress.clear();
    let error = ended.as_ref().err().map(ToString::to_string);
    noted(in_place.end(took(), error));
    match ended {
        Ok(swapped) => {
            let mut text = summary(label, entry, root, &swapped.restored);
            if let Some(before) = &swapped.before {
                text.push_str(&format!(
                    "  the tree before is kept as {}; backups leave it out; remove it when it is no longer needed\n",
                    before.display()
                ));
            }
            for meanwhile in &swapped.meanwhile {
                text.push_str(&format!(
                    "  what somebody made there meanwhile is kept as {}\n",
                    meanwhile.display()
                ));
            }
            let mut what = facts(&swapped.restored);
            what["kept_as"] = swapped.before.as_deref().map(shown).into();
            let meanwhile: Vec<String> = swapped.meanwhile.iter().map(|path| shown(path)).collect();
            what["made_meanwhile"] = meanwhile.into();
            told.say(&text, Source::restored(label, &shown(root), what, true))?;
            Ok(Exit::Done)
        }
        Err(error) => {
            told.keep(Source::failed(label, &shown(root), &error));
            Ok(failed(&error, signals))
        }
    }
}

/// What is read of the archive.
fn expected(request: &TreeRequest<'_>) -> Option<u64> {
    let artifacts = &request.entry.manifest.as_ref().ok()?.artifacts;
    let mut trees = artifacts.iter().filter(|one| one.tree().is_some());
    trees
        .find(|one| one.label == request.label)
        .map(|one| one.raw_bytes)
}

/// `--undo`: what restores of a tree that were cut off left.
pub fn undo(root: &Path, told: &Told, environment: &Environment) -> Result<(), Refusal> {
    let done = undone(root, environment)?;
    let mut lines: Vec<String> = done.iter().map(ToString::to_string).collect();
    if lines.is_empty() {
        lines.push(format!(
            "{}: nothing was left by a restore that was cut off",
            root.display()
        ));
    }
    let text = lines.join("\n") + "\n";
    told.say(&text, Source::undone(STORAGE, &shown(root), lines))?;
    Ok(())
}

/// Puts right what restores of the tree left. The history is told how those of the whole tree ended.
fn undone(root: &Path, environment: &Environment) -> Result<Vec<undo::Undone>, Refusal> {
    let done = undo::undo(root).map_err(|error| Refusal::Unusable(error.to_string()))?;
    let dir = environment.backup_dir()?;
    let settled = |left| noted(settle(&dir, STORAGE, &shown(root), left));
    if done.is_empty() {
        settled(None);
    }
    for ended in done.iter().filter(|ended| !ended.of_object) {
        settled(Some(matches!(ended.end, undo::End::Complete { .. })));
    }
    Ok(done)
}

fn artifact<'a>(entry: &'a Entry, label: &str) -> Option<&'a Artifact> {
    let mut artifacts = entry.manifest()?.artifacts.iter();
    artifacts.find(|artifact| artifact.label == label && artifact.tree().is_some())
}

fn plan(asked: &Restore, entry: &Entry, label: &str, root: &Path) -> String {
    let (size, tree) =
        artifact(entry, label).map_or((0, None), |artifact| (artifact.bytes, artifact.tree()));
    let held = tree.map_or(String::new(), |tree| {
        format!("{}, {}, ", counted(tree.files, "file"), human(tree.bytes))
    });
    if let Some(object) = &asked.object {
        return format!(
            "object {object} of {label} of {} goes into {}; a file that is there and differs is kept in {}\n",
            entry.id,
            root.display(),
            root.join(format!("{}.before-{}", name_of(root), entry.id))
                .display()
        );
    }
    let fate = if root.exists() {
        format!(
            "the present tree is kept as {}.before-{}",
            name_of(root),
            entry.id
        )
    } else {
        "there is none now".to_owned()
    };
    let first = match cut_off(root) {
        Ok(None) => "",
        Ok(Some(_)) | Err(_) => {
            "  a restore that was cut off left something here, which is put right first\n"
        }
    };
    format!(
        "{label} of {}: {held}{} on disk\n  into {}\n{first}  {fate}\n",
        entry.id,
        human(size),
        root.display()
    )
}

fn name_of(root: &Path) -> String {
    let name = root.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn summary(label: &str, entry: &Entry, to: &Path, restored: &Restored) -> String {
    let walked = restored.walked;
    told_unkept(restored);
    format!(
        "{}: {label} of {} is back: {}, {}, {}, {}\n",
        to.display(),
        entry.id,
        counted(walked.files, "file"),
        human(walked.bytes),
        counted(walked.directories, "directory"),
        counted(walked.symlinks + walked.hard_links, "link")
    )
}

fn told_unkept(restored: &Restored) {
    if restored.unkept_total > 0 {
        render::error::note(&format!(
            "not kept: {}, the first: {}",
            counted(restored.unkept_total, "extended attribute"),
            restored.unkept.first().map_or("", String::as_str)
        ));
    }
    if restored.foreign_owners > 0 {
        render::error::note(&format!(
            "belonging to this user now, and to others before: {}; root alone can give them back",
            counted(restored.foreign_owners, "entry")
        ));
    }
}

/// What came back, for machines.
fn facts(restored: &Restored) -> serde_json::Value {
    let walked = restored.walked;
    serde_json::json!({
        "files": walked.files,
        "bytes": walked.bytes,
        "directories": walked.directories,
        "symlinks": walked.symlinks,
        "hard_links": walked.hard_links,
        "attributes_not_kept": restored.unkept_total,
        "owners_not_kept": restored.foreign_owners,
    })
}

/// The plan, for machines.
fn plan_facts(asked: &Restore, entry: &Entry, label: &str, root: &Path) -> serde_json::Value {
    let artifact = artifact(entry, label);
    let tree = artifact.and_then(|artifact| artifact.tree());
    let kept = root
        .exists()
        .then(|| format!("{}.before-{}", name_of(root), entry.id));
    serde_json::json!({
        "object": asked.object,
        "files": tree.map(|tree| tree.files),
        "bytes": artifact.map(|artifact| artifact.bytes),
        "raw_bytes": tree.map(|tree| tree.bytes),
        "present_is_kept_as": kept,
        "cut_off": !matches!(cut_off(root), Ok(None)),
    })
}

fn say_object(
    label: &str,
    into: &Path,
    done: Result<engine::source::tree::restore::RestoredObject, RestoreError>,
    told: &Told,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    match done {
        Ok(object) => {
            let mut text = String::new();
            for file in &object.files {
                text.push_str(&format!("{} is back\n", file.display()));
            }
            for same in &object.same {
                text.push_str(&format!(
                    "{} is there already, the same as in the set\n",
                    same.display()
                ));
            }
            for kept in &object.kept {
                text.push_str(&format!(
                    "  the file that was there is kept as {}\n",
                    kept.display()
                ));
            }
            let all = |paths: &[std::path::PathBuf]| -> Vec<String> {
                paths.iter().map(|path| shown(path)).collect()
            };
            let what = serde_json::json!({
                "files": all(&object.files),
                "same": all(&object.same),
                "kept": all(&object.kept),
                "attributes_not_kept": object.restored.unkept_total,
                "owners_not_kept": object.restored.foreign_owners,
            });
            told.say(&text, Source::restored(label, &shown(into), what, true))?;
            told_unkept(&object.restored);
            Ok(Exit::Done)
        }
        Err(error) => {
            told.keep(Source::failed(label, &shown(into), &error));
            Ok(failed(&error, signals))
        }
    }
}

fn failed(error: &RestoreError, signals: &Signals) -> Exit {
    render::error::say(&error.to_string());
    if error.is_outside_link() {
        render::error::note(
            "where the tree had such links when it was packed, say --allow-outside-links",
        );
    }
    match error {
        RestoreError::Different { .. } => Exit::Different,
        RestoreError::Interrupted => Exit::Interrupted(signals.exit_code()),
        _ => Exit::Failed,
    }
}
