//! Whether the set that `latest` means could be restored: it is there and whole, and nothing is in its way.

use std::collections::BTreeSet;

use catalog::artifact::{Artifact, Kind};
use catalog::catalog::{Entry, FindError};
use catalog::set::{Selector, SetId};
use engine::clock;
use engine::finding::{Check, Fault};
use engine::space::human;
use postgres::tools::Tools;
use postgres::words::counted;
use stream::read::hash_file;
use tokio_util::sync::CancellationToken;

use super::findings::Findings;
use crate::commands::exit::Refusal;
use crate::commands::restore::obstacles;
use crate::commands::sets::open;
use crate::settings::Environment;
use crate::signals::Signals;

const SETS: &str = "sets";

pub async fn look(
    environment: &Environment,
    signals: &Signals,
    found: &mut Findings,
) -> Option<SetId> {
    let entry = match newest(environment) {
        Ok(entry) => entry,
        Err(check) => {
            found.add(*check);
            return None;
        }
    };
    let Ok(manifest) = &entry.manifest else {
        return None;
    };
    let search = environment.tool_search();
    let tools = Tools::find(search.bindir.as_deref(), &search.path, &signals.token).await;
    match tools {
        Ok(tools) => found.extend(obstacles(&entry, &tools, environment).await),
        Err(error) => found.add(Check::obstacle("tools", error.to_string(), Fault::NoTools)),
    }
    let labels: BTreeSet<&str> = manifest
        .artifacts
        .iter()
        .map(|artifact| artifact.label.as_str())
        .collect();
    for label in environment.labels() {
        if !labels.contains(label.as_str()) {
            let text = format!("is not in set {}, the newest good one", entry.id);
            found.add(Check::obstacle(&label, text, Fault::NotInSet));
        }
    }
    found.extend(read(&entry, &manifest.artifacts, &signals.token).await);
    Some(entry.id)
}

/// The set that a restore would take.
fn newest(environment: &Environment) -> Result<Entry, Box<Check>> {
    let lost = |words: String, fault: Fault| Box::new(Check::obstacle(SETS, words, fault));
    let opened = environment
        .backup_dir()
        .map_err(Refusal::from)
        .and_then(|dir| open(&dir).map(|catalog| (catalog, dir)));
    let (catalog, dir) = opened.map_err(|error| {
        let dir = environment.backup_dir().unwrap_or_default();
        lost(error.to_string(), Fault::NoDirectory(dir))
    })?;
    match catalog.find(&Selector::Latest, clock::now()) {
        Ok(found) => Ok(found.entry),
        Err(error) => {
            let fault = match error {
                FindError::OnlyFuture { .. } => Fault::OnlyFuture,
                FindError::OnlyOdd { .. } => Fault::OnlyAnomalies,
                FindError::Io(_) => Fault::NoDirectory(dir),
                _ => Fault::NoSet,
            };
            Err(lost(error.to_string(), fault))
        }
    }
}

/// Every file that a restore reads is compared with its digest.
async fn read(entry: &Entry, artifacts: &[Artifact], cancel: &CancellationToken) -> Vec<Check> {
    let (set, path, artifacts) = (entry.id, entry.path.clone(), artifacts.to_vec());
    let cancel = cancel.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        let (mut files, mut bytes) = (0, 0);
        let wanted = artifacts
            .iter()
            .filter(|artifact| artifact.kind() != Kind::Files);
        for artifact in wanted {
            if cancel.is_cancelled() {
                return found;
            }
            let fault = match hash_file(&path.join(&artifact.file)) {
                Ok((size, sha256)) if size == artifact.bytes && sha256 == artifact.sha256 => {
                    (files, bytes) = (files + 1, bytes + size);
                    continue;
                }
                Ok(_) => "is not what its manifest says".to_owned(),
                Err(error) => format!("cannot be read: {error}"),
            };
            let text = format!("{} of {set} {fault}", artifact.file);
            found.push(Check::obstacle(SETS, text, Fault::Damaged(set)));
        }
        if found.is_empty() {
            let text = format!(
                "{set} is the newest good one; what a restore reads of it is as it was ({}, {})",
                counted(files, "file"),
                human(bytes)
            );
            found.push(Check::passed(SETS, text));
        }
        found
    });
    reading.await.unwrap_or_else(|panic| {
        vec![Check::obstacle(
            SETS,
            panic.to_string(),
            Fault::Damaged(set),
        )]
    })
}
