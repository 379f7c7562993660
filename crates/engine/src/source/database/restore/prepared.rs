//! A database of a set, found and read, before anything is touched.

use std::collections::BTreeMap;
use std::path::PathBuf;

use catalog::artifact::{Artifact, Kind};
use catalog::census::Census;
use catalog::manifest::Manifest;
use postgres::restore::admin::Admin;
use postgres::restore::roles::RolesScript;
use stream::read::hash_file;

use super::error::DatabaseRestoreError;
use super::request::DatabaseRequest;
use super::script::read_script;
use crate::source::database::ways::connect;

/// A database of a set with its roles, and a way to its server.
pub(super) struct Prepared<'a> {
    pub request: &'a DatabaseRequest<'a>,
    pub artifact: &'a Artifact,
    pub roles: &'a Artifact,
    pub admin: Admin,
}

impl<'a> Prepared<'a> {
    pub async fn find(request: &'a DatabaseRequest<'a>) -> Result<Self, DatabaseRestoreError> {
        let set = request.entry.id.to_string();
        let manifest =
            request
                .entry
                .manifest
                .as_ref()
                .map_err(|error| DatabaseRestoreError::Unusable {
                    set: set.clone(),
                    reason: error.to_string(),
                })?;
        let find = |kind| {
            manifest
                .artifacts
                .iter()
                .find(|artifact| artifact.kind() == kind && artifact.label == request.label)
        };
        let (Some(artifact), Some(roles)) = (find(Kind::Database), find(Kind::Roles)) else {
            return Err(DatabaseRestoreError::NoDatabase {
                set,
                label: request.label.to_owned(),
                has: labels(manifest),
            });
        };
        Ok(Self {
            request,
            artifact,
            roles,
            admin: connect(&request.dsns, request.name)
                .await
                .map_err(DatabaseRestoreError::Refused)?,
        })
    }

    pub fn path(&self, artifact: &Artifact) -> PathBuf {
        self.request.entry.path.join(&artifact.file)
    }

    /// The dump and the roles are the files that were made. What tells what the database held is of less weight: where that cannot be read,
    /// it is as in a set without.
    pub async fn check(&self) -> Result<Checked, DatabaseRestoreError> {
        let (label, dir) = (
            self.request.label.to_owned(),
            self.request.entry.path.clone(),
        );
        let manifest = self.request.entry.manifest.as_ref().ok().cloned();
        let files = [
            (self.path(self.artifact), self.artifact.clone()),
            (self.path(self.roles), self.roles.clone()),
        ];
        check_files(files.to_vec()).await?;
        let read = tokio::task::spawn_blocking(move || {
            let (path, roles) = &files[1];
            let script = read_script(path, roles, &files[0].1).map_err(|error| {
                DatabaseRestoreError::Different {
                    file: roles.file.to_string(),
                    reason: error.to_string(),
                }
            })?;
            let held =
                manifest.map_or_else(|| Ok(BTreeMap::new()), |manifest| manifest.censuses(&dir));
            let (census, note) = match held {
                Ok(mut held) => (held.remove(&label), None),
                Err(error) => (None, Some(unknown(&error))),
            };
            Ok(Checked {
                script,
                census,
                note,
            })
        });
        read.await.unwrap_or_else(|panic| {
            Err(DatabaseRestoreError::Unusable {
                set: self.request.entry.id.to_string(),
                reason: panic.to_string(),
            })
        })
    }
}

/// Files are those that were made.
pub(super) async fn check_files(
    files: Vec<(PathBuf, Artifact)>,
) -> Result<(), DatabaseRestoreError> {
    let reading = tokio::task::spawn_blocking(move || {
        for (path, artifact) in &files {
            let different = |reason: String| DatabaseRestoreError::Different {
                file: artifact.file.to_string(),
                reason,
            };
            let (bytes, sha256) = hash_file(path)
                .map_err(|error| different(format!("it cannot be read: {error}")))?;
            if bytes != artifact.bytes || sha256 != artifact.sha256 {
                return Err(different("its size or digest is another".to_owned()));
            }
        }
        Ok(())
    });
    reading.await.unwrap_or_else(|panic| {
        Err(DatabaseRestoreError::Different {
            file: "the set".to_owned(),
            reason: panic.to_string(),
        })
    })
}

/// What was read of a set.
pub(super) struct Checked {
    pub script: RolesScript,
    /// What the database held, where that is known.
    pub census: Option<Census>,
    /// Why not, where it should be.
    pub note: Option<String>,
}

/// Said where a census cannot be used.
pub(super) fn unknown(error: &std::io::Error) -> String {
    format!(
        "{error}: what an extension brought, and whether there was a schema public, is not known; the restore goes on without"
    )
}

/// The databases of a set.
fn labels(manifest: &Manifest) -> Vec<String> {
    let databases = manifest
        .artifacts
        .iter()
        .filter(|artifact| artifact.kind() == Kind::Database);
    databases.map(|artifact| artifact.label.clone()).collect()
}
