//! `backupd restore`: puts back what a set holds.

mod ask;
mod database;
mod told;
mod tree;

use catalog::artifact::Kind;
use catalog::catalog::Entry;
use catalog::identity::Identity;
use catalog::manifest::Manifest;
use engine::finding::{Check, Fault};
use engine::identity;
use engine::restore::{Held, hold, know};
use postgres::restore::is_too_long;
use postgres::tools::Tools;

use super::exit::{Exit, Refusal};
use super::sets::find;
use crate::cli::Restore;
use crate::render;
use crate::settings::{Environment, Problems};
use crate::signals::Signals;
use told::Told;
use tree::STORAGE;

pub async fn execute(
    asked: &Restore,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let told = Told::new(asked);
    let exit = perform(asked, &told, environment, signals).await?;
    told.end()?;
    Ok(exit)
}

async fn perform(
    asked: &Restore,
    told: &Told,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    if asked.undo {
        let _held = lock(environment)?;
        return undo(asked, told, environment).await;
    }
    let entry = find(environment, &asked.set)?;
    told.of_set(entry.id);
    if let Some(why) = &entry.why_not_good {
        render::error::note(&format!("{} is not good: {why}", entry.id));
    }
    let manifest = match &entry.manifest {
        Ok(manifest) => manifest,
        Err(error) => return Err(Refusal::Unusable(format!("set {}: {error}", entry.id))),
    };
    let chosen = choose(asked, &entry, manifest)?;
    if let Some(to) = &asked.to {
        return tree::apart(
            asked,
            told,
            &entry,
            &chosen.trees[0],
            to,
            environment,
            signals,
        )
        .await;
    }
    let root = match chosen.trees.as_slice() {
        [] => None,
        _ => Some(environment.storage_root()?),
    };
    let _held = if asked.dry_run {
        None
    } else {
        Some(lock(environment)?)
    };
    // Asked before: with --roles passwords change.
    let lasting = !asked.dry_run && asked.into.is_none();
    let before = if lasting {
        servers(&chosen.databases, manifest, environment).await?
    } else {
        Vec::new()
    };
    let in_place = root.zip(chosen.trees.first());
    let mut planned = Exit::Done;
    if let Some((root, label)) = &in_place {
        let with_databases = !chosen.databases.is_empty();
        let prepared = tree::prepare(
            asked,
            told,
            &entry,
            (label.as_str(), root.as_path()),
            with_databases,
            environment,
            signals,
        );
        if let Err(exit) = prepared.await? {
            // A plan is told whole.
            if !asked.dry_run || signals.token.is_cancelled() {
                return Ok(exit);
            }
            planned = exit;
        }
    }
    if !chosen.databases.is_empty() {
        let done =
            database::execute(asked, told, &entry, &chosen.databases, environment, signals).await?;
        if done != Exit::Done {
            return Ok(done);
        }
        if lasting {
            // A database that was not there could not be asked.
            let after = servers(&chosen.databases, manifest, environment).await?;
            known(environment, before.into_iter().chain(after))?;
        }
    }
    if let Some((root, label)) = in_place
        && !asked.dry_run
    {
        let done = tree::in_place(asked, told, &entry, label, &root, environment, signals).await?;
        if done == Exit::Done && asked.object.is_none() {
            let tree = identity::of_tree(&root).map(|tree| (label.clone(), tree));
            known(environment, tree)?;
        }
        return Ok(done);
    }
    Ok(planned)
}

/// What was restored into is what the sets are of from now on.
fn known(
    environment: &Environment,
    sources: impl IntoIterator<Item = (String, Identity)>,
) -> Result<(), Refusal> {
    if let Err(error) = know(&environment.backup_dir()?, sources) {
        render::error::note(&format!(
            "the next run will take what was restored for another source: {error}"
        ));
    }
    Ok(())
}

fn lock(environment: &Environment) -> Result<Held, Refusal> {
    let dir = environment.backup_dir()?;
    let held = hold(&dir)?;
    if matches!(held, Held::ReadOnly) {
        render::error::note(&format!(
            "{} cannot be written to: no lock is taken, and nothing is kept in its history",
            dir.display()
        ));
    }
    Ok(held)
}

/// Everything that `restore latest` would meet, each database and Storage alone. What is wrong with one says nothing of the others.
pub async fn obstacles(entry: &Entry, tools: &Tools, environment: &Environment) -> Vec<Check> {
    let asked = Restore::default();
    let Ok(manifest) = &entry.manifest else {
        return Vec::new();
    };
    let chosen = match choose(&asked, entry, manifest) {
        Ok(chosen) => chosen,
        Err(refusal) => {
            return vec![Check::obstacle(
                "restore",
                refusal.to_string(),
                Fault::NoSet,
            )];
        }
    };
    let mut found = Vec::new();
    for label in chosen.databases {
        let targets = environment.restore_targets(std::slice::from_ref(&label), Some(manifest));
        match targets {
            Ok(targets) => {
                for target in &targets {
                    let request = database::request(&asked, entry, target, tools);
                    found.extend(engine::source::database::restore::obstacles(&request).await);
                }
            }
            Err(problems) => found.push(no_target(&label, &problems)),
        }
    }
    for label in chosen.trees {
        match environment.storage_root() {
            Ok(root) => {
                let request = tree::request(&asked, entry, &label, &root);
                found.extend(engine::source::tree::restore::obstacles(&request));
            }
            Err(problems) => found.push(no_target(&label, &problems)),
        }
    }
    found
}

fn no_target(label: &str, problems: &Problems) -> Check {
    let words: Vec<&str> = problems.iter().collect();
    Check::obstacle(label, words.join("; "), Fault::NoTarget(label.to_owned()))
}

/// Which servers the databases are restored to.
async fn servers(
    labels: &[String],
    manifest: &Manifest,
    environment: &Environment,
) -> Result<Vec<(String, Identity)>, Refusal> {
    let mut servers = Vec::new();
    for target in environment.restore_targets(labels, Some(manifest))? {
        if let Some(server) = identity::of_database(&target.dsns).await {
            servers.push((target.source.label, server));
        }
    }
    Ok(servers)
}

async fn undo(asked: &Restore, told: &Told, environment: &Environment) -> Result<Exit, Refusal> {
    // What a set says of databases that no setting names; without one, the settings' own are looked at.
    let entry = find(environment, &asked.set).ok();
    let set = entry.as_ref().and_then(|entry| entry.manifest());
    let mut labels = if asked.only.is_empty() {
        environment.database_labels(set)
    } else {
        asked.only.clone()
    };
    let of_storage = |label: &String| label == STORAGE;
    let storage = asked.into.is_none() && (asked.only.is_empty() || labels.iter().any(of_storage));
    labels.retain(|label| !of_storage(label));
    if let Ok(root) = environment.storage_root()
        && storage
        && root.parent().is_some_and(std::path::Path::exists)
    {
        tree::undo(&root, told, environment)?;
    }
    if labels.is_empty() {
        return Ok(Exit::Done);
    }
    database::undo(asked, told, &labels, set, environment).await
}

/// What is restored, by label.
struct Chosen {
    databases: Vec<String>,
    trees: Vec<String>,
}

fn choose(asked: &Restore, entry: &Entry, manifest: &Manifest) -> Result<Chosen, Refusal> {
    let of = |kinds: &[Kind]| -> Vec<String> {
        let artifacts = manifest.artifacts.iter();
        artifacts
            .filter(|artifact| kinds.contains(&artifact.kind()))
            .map(|artifact| artifact.label.clone())
            .collect()
    };
    let (databases, trees) = (of(&[Kind::Database]), of(&[Kind::Storage, Kind::Files]));
    let has: Vec<&String> = databases.iter().chain(&trees).collect();
    if let Some(unknown) = asked.only.iter().find(|label| !has.contains(label)) {
        let has: Vec<&str> = has.iter().map(|label| label.as_str()).collect();
        return Err(Refusal::Unusable(format!(
            "set {} holds no `{unknown}`: it has {}",
            entry.id,
            has.join(", ")
        )));
    }
    let wanted = |label: &String| asked.only.is_empty() || asked.only.contains(label);
    let mut chosen = Chosen {
        databases: databases.into_iter().filter(wanted).collect(),
        trees: trees.into_iter().filter(wanted).collect(),
    };
    // One table, one object or one copy is of one source, the likeliest unless another is said.
    if asked.only.is_empty() && asked.into.is_some() {
        chosen.trees.clear();
        if asked.table.is_some() {
            chosen.databases.truncate(1);
        }
    }
    if asked.only.is_empty() && (asked.object.is_some() || asked.to.is_some()) {
        chosen.databases.clear();
    }
    if asked.object.is_some()
        && (!chosen.databases.is_empty()
            || chosen.trees.first().is_none_or(|label| label != STORAGE))
    {
        return Err(Refusal::Usage(format!(
            "--object is of --only {STORAGE} alone"
        )));
    }
    // Extra paths lie anywhere: where to, must be said.
    if asked.to.is_none() {
        if let Some(extra) = asked
            .only
            .iter()
            .find(|label| chosen.trees.contains(label) && *label != STORAGE)
        {
            return Err(Refusal::Usage(format!(
                "{extra} is a tree of BACKUP_EXTRA_PATHS: say --to PATH, a directory that is not there yet"
            )));
        }
        chosen.trees.retain(|label| label == STORAGE);
    }
    if let Some(name) = &asked.into {
        into_new(name)?;
    }
    let single = |what: &str, found: &[String]| {
        Refusal::Usage(format!(
            "{what}: say which by --only ({})",
            found.join(", ")
        ))
    };
    if asked.to.is_some()
        && (chosen.trees.len() != 1 || !asked.only.is_empty() && !chosen.databases.is_empty())
    {
        return Err(single(
            "--to takes one file tree",
            &of(&[Kind::Storage, Kind::Files]),
        ));
    }
    if asked.into.is_some()
        && (chosen.databases.len() != 1 || !asked.only.is_empty() && !chosen.trees.is_empty())
    {
        return Err(single("--into takes one database", &of(&[Kind::Database])));
    }
    Ok(chosen)
}

/// `--into` names a new database.
fn into_new(name: &str) -> Result<(), Refusal> {
    let fault = match name {
        "" => "a database's name cannot be empty".to_owned(),
        "postgres" | "template0" | "template1" => {
            "PostgreSQL's own database is on every server, and no copy is made in its place"
                .to_owned()
        }
        name if is_too_long(name) => {
            format!(
                "a database's name has 63 bytes at most, this has {}",
                name.len()
            )
        }
        _ => return Ok(()),
    };
    Err(Refusal::Usage(format!(
        "--into {}: {fault}: say a name that no database has, such as --into rescue (without --into a database is restored in its place)",
        if name.is_empty() { "''" } else { name }
    )))
}
