//! A restore, planned: what it would do, for a person to agree to, and everything that was read for it. It is prepared once, and carried
//! out as it was told.

use std::path::PathBuf;

use catalog::artifact::Artifact;
use catalog::census::Census;
use postgres::restore::admin::Sessions;
use postgres::restore::roles::RolesScript;
use postgres::server::ServerError;
use serde::Serialize;

use super::error::DatabaseRestoreError;
use super::prepared::{Checked, Prepared, check_files};
use super::request::DatabaseRequest;

/// What a restore will do.
#[derive(Debug, Clone, Serialize)]
pub struct DatabasePlan {
    /// The set.
    pub set: String,
    /// The database's label in it.
    pub source: String,
    /// Its server, as whom, and its name after the restore.
    pub into: String,
    /// The name alone.
    pub name: String,
    /// Bytes of the present database of that name, which is moved aside; none where there is none.
    pub present_bytes: Option<u64>,
    /// Bytes of the dump's file.
    pub bytes: u64,
    /// Bytes that it decodes to.
    pub raw_bytes: u64,
    /// Rows it holds.
    pub rows: u64,
    /// Tables it has rows of.
    pub tables: usize,
    /// Roles that are missing and are created.
    pub roles_created: Vec<String>,
    /// Clients that are in the way.
    pub clients: Vec<String>,
    /// The server's own workers that are ended.
    pub workers: Vec<String>,
    /// What a restore that was cut off left here, which is put right first.
    pub cut_off: Option<String>,
}

/// A restore that can be carried out.
pub struct RestorePlan<'a> {
    /// What was asked.
    pub request: &'a DatabaseRequest<'a>,
    /// What it will do, as it looked when it was asked.
    pub told: DatabasePlan,
    pub(super) artifact: &'a Artifact,
    /// The artifact's file, which is what was made.
    pub(super) file: PathBuf,
    pub(super) roles: &'a Artifact,
    pub(super) roles_file: PathBuf,
    pub(super) script: RolesScript,
    pub(super) census: Option<Census>,
    /// Why there is none, where there should be one.
    pub(super) note: Option<String>,
}

impl RestorePlan<'_> {
    /// Whether the files are still those that were read: a person may have thought for long, and databases before this one took their time.
    pub(super) async fn is_unchanged(&self) -> Result<(), DatabaseRestoreError> {
        check_files(vec![
            (self.file.clone(), self.artifact.clone()),
            (self.roles_file.clone(), self.roles.clone()),
        ])
        .await
    }
}

/// Plans a restore. Changes nothing.
pub async fn plan<'a>(
    request: &'a DatabaseRequest<'a>,
) -> Result<RestorePlan<'a>, DatabaseRestoreError> {
    let prepared = Prepared::find(request).await?;
    let Checked {
        script,
        census,
        note,
    } = prepared.check().await?;
    let server = |error: ServerError| DatabaseRestoreError::Refused(error.into());
    let admin = &prepared.admin;
    let present = admin.look(request.name).await.map_err(server)?;
    let sessions = match &present {
        Some(_) if !request.beside => admin.sessions(request.name).await.map_err(server)?,
        _ => Sessions::default(),
    };
    let there = admin
        .server
        .names("SELECT rolname FROM pg_catalog.pg_roles")
        .await
        .map_err(server)?;
    let tables = prepared.artifact.tables().unwrap_or_default();
    let told = DatabasePlan {
        set: request.entry.id.to_string(),
        source: request.label.to_owned(),
        into: admin.server.dsn().to_database(request.name).to_string(),
        name: request.name.to_owned(),
        cut_off: present.as_ref().and_then(|present| present.mark.clone()),
        present_bytes: present.map(|present| present.bytes),
        bytes: prepared.artifact.bytes,
        raw_bytes: prepared.artifact.raw_bytes,
        rows: tables.iter().map(|table| table.rows).sum(),
        tables: tables.len(),
        roles_created: script
            .names()
            .into_iter()
            .filter(|name| !there.iter().any(|other| other == name))
            .map(str::to_owned)
            .collect(),
        clients: sessions.clients,
        workers: sessions.workers,
    };
    Ok(RestorePlan {
        request,
        told,
        artifact: prepared.artifact,
        file: prepared.path(prepared.artifact),
        roles: prepared.roles,
        roles_file: prepared.path(prepared.roles),
        script,
        census,
        note,
    })
}
