//! The sources of a stack. What can be done with one is the same for every kind: it is checked, estimated, backed up, and what a set holds
//! of it is read back and proven. A kind is a folder here, and the use-cases know none of them.

mod context;
pub mod database;
mod preflight;
mod product;
pub mod proving;
pub mod read_back;
pub mod reconcile;
pub mod tree;
mod verbs;

use catalog::artifact::{self, Artifact};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, DatabaseSource};
pub(crate) use context::Context;
use database::Databases;
pub use preflight::{DatabaseFacts, Look, Preflight};
pub(crate) use product::{Failure, Product};
use tree::Trees;
pub(crate) use verbs::{Kind, OnFailure, Source};

/// Every kind, in the order in which they are proven.
pub(crate) const KINDS: [&dyn Kind; 2] = [&Databases, &Trees];

/// The kind whose artifact it is.
pub(crate) fn kind_of(artifact: &Artifact) -> &'static dyn Kind {
    match artifact.kind() {
        artifact::Kind::Database | artifact::Kind::Roles => &Databases,
        artifact::Kind::Storage | artifact::Kind::Files => &Trees,
    }
}

/// The sources of a run in the order of its steps. `others` are the databases that preflight found to be dumped besides.
pub(crate) fn sources<'a>(config: &'a Config, others: &'a [DatabaseSource]) -> Vec<&'a dyn Source> {
    let databases = config.databases.iter().chain(others);
    let databases = databases.map(|source| source as &dyn Source);
    let trees = config.trees.iter().map(|source| source as &dyn Source);
    databases.chain(trees).collect()
}

/// Looks at every source. Says whether it came to the end: a server that does not answer is waited for, a signal is not.
pub(crate) async fn check(
    config: &Config,
    look: Look,
    cancel: &CancellationToken,
    found: &mut Preflight,
) -> bool {
    let cancelled = tokio::select! {
        () = database::check(config, found) => false,
        () = cancel.cancelled() => true,
    };
    if cancelled {
        return false;
    }
    for source in &config.trees {
        tree::check(config, source, look, cancel, found).await;
    }
    true
}

/// Does the step of a source. A finding of preflight against it is its failure.
pub(crate) async fn back_up(source: &dyn Source, context: &Context<'_>) -> Product {
    match context.preflight.blocked(source.label()) {
        Some(failure) => Product {
            failure: Some(failure),
            ..Product::default()
        },
        None => source.back_up(context).await,
    }
}
