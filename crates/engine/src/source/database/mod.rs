//! Databases of PostgreSQL servers: dumped in one snapshot, restored under a name of their own that is exchanged in the end.

mod back_up;
mod census;
mod check;
mod content;
pub(crate) mod facts;
mod lock_wait;
mod neighbours;
mod prove;
mod read_back;
pub mod restore;
mod restorers;
mod sample;
mod ways;

use std::path::Path;

use catalog::artifact::Artifact;
use catalog::drill::DrillReport;
use catalog::manifest::Manifest;
use postgres::words::one_line;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::preflight::Preflight;
use super::product::Product;
use super::proving::{DrillError, DrillRequest};
use super::read_back::{Reading, Report, Unreadable};
use super::verbs::{Kind, OnFailure, Source, Work};
use crate::config::{Config, DatabaseRole, DatabaseSource};
use crate::event::Observer;
use crate::space::{SourceSize, of_last};
pub(crate) use check::check;
pub use ways::ways_in;

impl Source for DatabaseSource {
    fn label(&self) -> &str {
        &self.label
    }

    fn on_failure(&self) -> OnFailure {
        match self.role {
            DatabaseRole::Supabase => OnFailure::SkipData,
            DatabaseRole::Keycloak | DatabaseRole::Extra | DatabaseRole::Found => OnFailure::GoOn,
        }
    }

    fn estimate<'a>(
        &'a self,
        config: &'a Config,
        found: &'a Preflight,
    ) -> Work<'a, Option<SourceSize>> {
        Box::pin(async {
            let told = found.databases.get(&self.label)?;
            let mut size = SourceSize {
                label: self.label.clone(),
                is_database: true,
                bytes: Some(told.facts.database_bytes),
                sampled: None,
            };
            let last = found.last.as_deref();
            if last.and_then(|last| of_last(last, &size)).is_none() {
                size.sampled = sample::of_database(&self.dsn, config.encoding.compression).await;
            }
            Some(size)
        })
    }

    fn expected(&self, _found: &Preflight) -> Option<u64> {
        None
    }

    /// One of those that `BACKUP_DATABASES=all` found may be gone by now, which is no failure.
    fn back_up<'a>(&'a self, context: &'a Context<'a>) -> Work<'a, Product> {
        Box::pin(async {
            let product = lock_wait::perform(self, context).await;
            let is_lost = product.failure.is_some() && product.artifacts.is_empty();
            if is_lost && neighbours::has_vanished(self).await {
                return Product {
                    notes: vec![format!(
                        "database {} was dropped or renamed while the run was at work: it is not in this set",
                        one_line(&self.dsn.database)
                    )],
                    ..Product::default()
                };
            }
            product
        })
    }
}

/// Dumps and files of roles, as sets hold them.
pub(crate) struct Databases;

impl Kind for Databases {
    fn read_back<'a>(
        &'a self,
        path: &'a Path,
        artifact: &'a Artifact,
        reading: &'a Reading<'a>,
        report: &'a mut Report,
    ) -> Work<'a, Result<(), Unreadable>> {
        Box::pin(read_back::read_back(path, artifact, reading, report))
    }

    fn prove<'a>(
        &'a self,
        request: &'a DrillRequest<'a>,
        manifest: &'a Manifest,
        report: &'a mut DrillReport,
        observer: &'a dyn Observer,
        cancel: &'a CancellationToken,
    ) -> Work<'a, Result<(), DrillError>> {
        Box::pin(prove::prove(request, manifest, report, observer, cancel))
    }

    fn clear<'a>(&'a self, request: &'a DrillRequest<'a>) -> Work<'a, Result<(), DrillError>> {
        Box::pin(prove::clear(request))
    }
}
