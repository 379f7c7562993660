//! The databases of a set, each restored into a server of its own, or into one that somebody named, and compared with its source.

mod answers;
mod content;
mod excuses;
pub(super) mod names;
mod one;
mod storage;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use catalog::artifact::{Artifact, Kind};
use catalog::census::Census;
use catalog::drill::DrillReport;
use catalog::layout;
use catalog::manifest::Manifest;
use postgres::dsn::Dsn;
use postgres::restore::RestoreError;
use postgres::restore::admin::Admin;
use postgres::scratch::{self, Fencing, Scratch};
use stream::blocking::in_place;
use stream::durable;
use tokio_util::sync::CancellationToken;

use super::neighbours::DRILLS_WHERE_IT_IS_AT_WORK;
use crate::event::{Event, Observer};
use crate::identity;
use crate::progress::warn;
use crate::source::proving::{DrillError, DrillRequest};
use crate::space;
use crate::stack::SUPERUSER;
use one::{Drill, Found, name_in_source};

/// Time to drop what a drill that was cut off left on a server that was named.
const CLEAR_UP_WITHIN: Duration = Duration::from_secs(30);
/// What a restored database needs per byte of its source: indexes are built anew, and rows are written twice at most (into the log).
const ROOM_RATIO: u64 = 3;
const ROOM_RATIO_OF: u64 = 2;
/// An empty cluster and its log.
const ROOM_BYTES: u64 = 512 * 1024 * 1024;

/// Restores each, and tells the report what came back.
pub(crate) async fn prove(
    request: &DrillRequest<'_>,
    manifest: &Manifest,
    report: &mut DrillReport,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<(), DrillError> {
    let dir = layout::scratch(request.backup_dir);
    let io = |source| DrillError::Io {
        path: dir.clone(),
        source,
    };
    in_place(|| scratch::sweep(&dir)).map_err(io)?;
    let prefix = in_place(|| prefix(request.backup_dir)).map_err(io)?;
    // Reading the set back has told of one that cannot be read.
    let held = in_place(|| manifest.censuses(&request.entry.path)).unwrap_or_default();
    if let Some(url) = request.url {
        report.server = url.to_string();
        let here = identity::of_database(std::slice::from_ref(url)).await;
        let source = |artifact: &Artifact| {
            let known = here.as_ref().zip(artifact.identity.as_ref());
            known.is_some_and(|(here, then)| here.is_same(then) == Some(true))
        };
        if databases(manifest).any(source) {
            warn(observer, "drill", DRILLS_WHERE_IT_IS_AT_WORK.to_owned());
        }
        for artifact in databases(manifest) {
            let drill = drill_of(request, manifest, artifact, &held, url.clone(), &prefix)?;
            keep_found(report, drill.perform(observer, cancel).await?);
        }
        return Ok(());
    }
    in_place(|| check_room(request.backup_dir, manifest))?;
    // Each has a server of its own, as roles of one name are others on the server of another database.
    for artifact in databases(manifest) {
        let scratch = start(request, &dir, observer, cancel).await?;
        report.server = format!(
            "a private PostgreSQL {}, {}",
            request.tools.version.text,
            match request.fencing {
                Fencing::Required => scratch.fence.clone(),
                Fencing::Off => format!(
                    "without a fence (BACKUP_DRILL_FENCE=off): it {}",
                    scratch.fence
                ),
            }
        );
        let dsn = scratch
            .dsn(&name_in_source(artifact))
            .map_err(|error| DrillError::Scratch(error.into()))?;
        let done = match drill_of(request, manifest, artifact, &held, dsn, &prefix) {
            Ok(drill) => drill.perform(observer, cancel).await,
            Err(error) => Err(error),
        };
        scratch.stop().await.map_err(io)?;
        keep_found(report, done?);
    }
    Ok(())
}

/// Removes what a drill that was cut off leaves.
pub(crate) async fn clear(request: &DrillRequest<'_>) -> Result<(), DrillError> {
    // The server was killed with its owner; its directory is left.
    let path = layout::scratch(request.backup_dir);
    let io = |source| DrillError::Io {
        path: path.clone(),
        source,
    };
    in_place(|| scratch::sweep(&path)).map_err(io)?;
    let Some(url) = request.url else {
        return Ok(());
    };
    let prefix = in_place(|| prefix(request.backup_dir)).map_err(io)?;
    let sweeping = async {
        let admin = Admin::connect(url, "").await?;
        Ok::<_, RestoreError>(admin.sweep(&prefix).await?)
    };
    tokio::time::timeout(CLEAR_UP_WITHIN, sweeping)
        .await
        .unwrap_or(Err(RestoreError::Interrupted))
        .map_err(|error| DrillError::Left {
            server: url.to_string(),
            prefix,
            reason: error.to_string(),
        })
}

/// How databases of drills from this backup directory begin on a server that others use, too: by a number of the directory's own.
fn prefix(backup_dir: &Path) -> std::io::Result<String> {
    let path = layout::id(backup_dir);
    let id = match std::fs::read_to_string(&path) {
        Ok(id) => id,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
            durable::write_atomic(&path, id.as_bytes())?;
            id
        }
        Err(error) => return Err(error),
    };
    Ok(names::prefix(&id))
}

/// A private server.
async fn start(
    request: &DrillRequest<'_>,
    dir: &Path,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Scratch, DrillError> {
    observer.on(&Event::StepStarted {
        step: "drill server".to_owned(),
    });
    let tools = request.tools;
    let major = tools.version.major;
    Scratch::start(
        &tools.bindir,
        major,
        dir,
        SUPERUSER,
        request.fencing,
        cancel,
    )
    .await
    .map_err(|error| {
        // The error on its way says more; what remains is removed by the next drill.
        let _ = scratch::sweep(dir);
        error.into()
    })
}

fn databases(manifest: &Manifest) -> impl Iterator<Item = &Artifact> {
    let artifacts = manifest.artifacts.iter();
    artifacts.filter(|artifact| artifact.kind() == Kind::Database)
}

/// The drill of one database, on a server.
fn drill_of<'a>(
    request: &'a DrillRequest<'a>,
    manifest: &'a Manifest,
    artifact: &'a Artifact,
    held: &'a BTreeMap<String, Census>,
    dsn: Dsn,
    prefix: &'a str,
) -> Result<Drill<'a>, DrillError> {
    let roles = manifest
        .artifacts
        .iter()
        .find(|roles| roles.kind() == Kind::Roles && roles.label == artifact.label)
        .ok_or_else(|| DrillError::Unusable {
            set: manifest.set.to_string(),
            reason: format!("it has no roles of {}", artifact.label),
        })?;
    Ok(Drill {
        request,
        manifest,
        artifact,
        roles,
        census: held.get(&artifact.label),
        dsn,
        prefix,
        lacks_roles: false,
    })
}

fn keep_found(report: &mut DrillReport, found: Found) {
    report.databases.push(found.database);
    report.storage = report.storage.take().or(found.storage);
}

/// The scratch server shares its disk with the sets: what it may need must be there before it begins.
fn check_room(backup_dir: &Path, manifest: &Manifest) -> Result<(), DrillError> {
    let bytes: u64 = databases(manifest)
        .map(|artifact| {
            artifact
                .source()
                .and_then(|source| source.database_bytes)
                .unwrap_or(artifact.raw_bytes)
        })
        .sum();
    let needed = bytes * ROOM_RATIO / ROOM_RATIO_OF + ROOM_BYTES;
    let free = space::free(backup_dir).map_err(|source| DrillError::Io {
        path: backup_dir.to_owned(),
        source,
    })?;
    if free < needed {
        return Err(DrillError::NoRoom {
            dir: backup_dir.to_owned(),
            needed,
            free,
        });
    }
    Ok(())
}
