//! Settings become steps. What follows a step's failure is data here, not an `if` in the runner.

use crate::config::{Config, DatabaseRole, DatabaseSource, TreeSource};

/// One data step of a run.
#[derive(Debug, Clone)]
pub struct Step {
    /// Name in manifest, log and metrics.
    pub name: String,
    /// What it reads.
    pub source: Source,
    /// What follows when it fails.
    pub on_failure: OnFailure,
}

/// What a data step reads.
#[derive(Debug, Clone)]
pub enum Source {
    /// A database, by `pg_dump`.
    Database(DatabaseSource),
    /// A tree of files, by tar.
    Tree(TreeSource),
}

/// What follows a failed step. The run is failed either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The data steps after it are skipped: without the Supabase database the rest is no recovery point.
    SkipData,
    /// The data steps after it are made all the same: one lost source must not cost the others their backup.
    GoOn,
}

/// The data steps of a run, in order.
///
/// `others` are the databases of Supabase's server that preflight found to be dumped besides.
pub fn plan(config: &Config, others: &[DatabaseSource]) -> Vec<Step> {
    let databases = config.databases.iter().chain(others).map(|source| Step {
        name: source.label.clone(),
        source: Source::Database(source.clone()),
        on_failure: match source.role {
            DatabaseRole::Supabase => OnFailure::SkipData,
            DatabaseRole::Keycloak | DatabaseRole::Extra | DatabaseRole::Found => OnFailure::GoOn,
        },
    });
    let trees = config.trees.iter().map(|source| Step {
        name: source.label.clone(),
        source: Source::Tree(source.clone()),
        on_failure: OnFailure::GoOn,
    });
    databases.chain(trees).collect()
}
