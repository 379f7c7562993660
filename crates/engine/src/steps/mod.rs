//! The data steps of a run: each turns one source into artifacts in the set's directory.

pub(crate) mod database;
mod lock_wait;
mod tree;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use catalog::manifest::{Artifact, Keycloak, Kind, Storage};
use postgres::words::one_line;
use stream::artifact::{Compression, Meter, Written};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::event::Observer;
use crate::plan::{Source, Step};
use crate::preflight::{Preflight, has_vanished};
use crate::reconcile::Reconciler;

/// What a step works with.
pub(crate) struct Context<'a> {
    pub config: &'a Config,
    pub preflight: &'a Preflight,
    /// The set's directory, still `.partial`.
    pub dir: &'a Path,
    /// Counts bytes for whoever shows progress.
    pub meter: Arc<Meter>,
    /// Supabase's objects, which its dump's snapshot tells and the storage archive is compared with.
    pub objects: &'a Mutex<Option<Reconciler>>,
    pub cancel: &'a CancellationToken,
    pub observer: &'a dyn Observer,
}

impl Context<'_> {
    /// Keeps the objects, or takes them.
    pub fn exchange_objects(&self, objects: Option<Reconciler>) -> Option<Reconciler> {
        // A panic elsewhere leaves a plain value behind.
        let mut kept = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *kept, objects)
    }
}

/// What a step made, whole artifacts only, and why it did not make more.
#[derive(Default)]
pub(crate) struct Product {
    pub artifacts: Vec<Artifact>,
    pub storage: Option<Storage>,
    pub keycloak: Option<Keycloak>,
    /// Worth knowing, fails nothing.
    pub notes: Vec<String>,
    pub failure: Option<Failure>,
}

/// Why a step failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure {
    /// In words, with the tool's own.
    pub message: String,
    /// The child's exit status, where a child failed.
    pub exit_code: Option<i32>,
    /// Whether the same may go well a little later.
    pub passing: bool,
}

impl Product {
    pub fn failed(message: impl Into<String>, exit_code: Option<i32>) -> Self {
        let mut product = Self::default();
        product.fail(message, exit_code);
        product
    }

    pub fn fail(&mut self, message: impl Into<String>, exit_code: Option<i32>) {
        self.failure = Some(Failure {
            message: message.into(),
            exit_code,
            passing: false,
        });
    }
}

/// Does one data step. A finding of preflight against the step is its failure.
pub(crate) async fn perform(step: &Step, context: &Context<'_>) -> Product {
    let product = match (context.preflight.blocked(&step.name), &step.source) {
        (Some(failure), _) => Product {
            failure: Some(failure),
            ..Product::default()
        },
        (None, Source::Database(source)) => lock_wait::perform(source, context).await,
        (None, Source::Tree(source)) => tree::perform(source, context).await,
    };
    match &step.source {
        Source::Database(source)
            if product.failure.is_some()
                && product.artifacts.is_empty()
                && has_vanished(source).await =>
        {
            Product {
                notes: vec![format!(
                    "database {} was dropped or renamed while the run was at work: it is not in this set",
                    one_line(&source.dsn.database)
                )],
                ..Product::default()
            }
        }
        _ => product,
    }
}

/// An artifact's record with what every kind has in common.
fn record(
    kind: Kind,
    label: &str,
    format: &str,
    compression: Compression,
    written: Written,
) -> Artifact {
    Artifact {
        file: written.file,
        kind,
        label: label.to_owned(),
        source: None,
        path: None,
        identity: None,
        tool: None,
        format: format.to_owned(),
        compression: compression.into(),
        bytes: written.bytes,
        raw_bytes: written.raw_bytes,
        sha256: written.sha256,
        tables: None,
        census: None,
        database: None,
        tree: None,
        large_objects: None,
        passwords_included: None,
    }
}
