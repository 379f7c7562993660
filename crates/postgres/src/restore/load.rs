//! Loads a dump into a database: the text is taken apart into statements and rows, which several connections bring to the server.
//!
//! One code and one set of rules for every load: a restore in place, a copy beside, one table, a drill. What could act on what follows it
//! is held back for the caller: event triggers, publications, subscriptions, refreshes of materialized views. What needs an extension
//! that can only be created later (pg_cron, under the database's real name) is put off until then. Rows of a table are spread over the
//! connections; indexes and keys are built by several at once. User triggers do not fire: a dump creates them behind its rows.

mod asleep;
mod calculated;
mod contained;
mod feed;
mod found;
mod leftover;
mod loaded;
mod loader;
mod made;
mod owners;
mod request;
mod rows;
mod session;
mod statements;

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

pub use feed::Source;
pub use loaded::{Calculated, Deferred, Held, Loaded, LoadedTable};
pub use request::{Later, LoadRequest, OnError, Only};

use self::feed::{Fed, Feed};
use self::loader::{Class, Loader};
use super::error::RestoreError;
use super::fault::LoadFault;
use crate::sql::{CopyTarget, Kind, QualifiedName, classify};

/// Loads it.
pub async fn load(
    request: &LoadRequest<'_>,
    cancel: &CancellationToken,
) -> Result<Loaded, RestoreError> {
    let mut loader = Loader::begin(request).await?;
    let wanted: feed::Wanted = match &request.only {
        Only::Everything => Box::new(|_| true),
        Only::Schema => Box::new(|_| false),
        Only::Tables(tables) => {
            let tables = tables.clone();
            Box::new(move |name| tables.contains(name))
        }
    };
    let mut feed = Feed::begin(&request.source, wanted, cancel);
    let loading = async {
        if !matches!(request.only, Only::Tables(_)) {
            loader.begin_sleep().await?;
        }
        while let Some(fed) = feed.next().await? {
            match fed {
                Fed::Statement(bytes) => loader.statement(&bytes).await?,
                Fed::Copy(bytes) => loader.copy(&bytes, &mut feed).await?,
                Fed::Rows(_) | Fed::EndOfRows => {}
            }
        }
        loader.bring_again(cancel).await?;
        loader.end().await
    };
    tokio::select! {
        done = loading => done?,
        () = cancel.cancelled() => return Err(RestoreError::Interrupted),
    }
    Ok(loader.loaded)
}

/// Brings what was put off: the extension is created now, and the dump's rows that wait for it are read again. `at_rest` is run in the
/// transaction that brings a table's rows, and gives the first column of what it returns.
pub async fn load_deferred(
    request: &LoadRequest<'_>,
    deferred: Vec<Deferred>,
    at_rest: Option<(&QualifiedName, &str)>,
    cancel: &CancellationToken,
) -> Result<(Loaded, Vec<String>), RestoreError> {
    let mut loader = Loader::begin(request).await?;
    loader.ready().await?;
    loader.late = true;
    loader.begin_sleep().await?;
    loader.all_asleep().await?;
    let tables: BTreeSet<QualifiedName> = deferred
        .iter()
        .filter_map(|part| match part {
            Deferred::Rows(name) => Some(name.clone()),
            Deferred::Statement(_) => None,
        })
        .collect();
    let mut told = Vec::new();
    let mut rows_done = false;
    let (mut triggers, mut attached) = (Vec::new(), Vec::new());
    for part in deferred {
        match part {
            Deferred::Statement(statement) if attaches_an_index(&statement) => {
                attached.push(statement);
            }
            Deferred::Statement(statement) if classify(&statement) == Kind::Trigger => {
                triggers.push(statement);
            }
            Deferred::Statement(statement) => {
                let kind = classify(&statement);
                loader.one_by_one(&kind, &statement).await?;
            }
            Deferred::Rows(_) if rows_done => {}
            Deferred::Rows(_) => {
                rows_done = true;
                loader.wake().await?;
                let wanted = tables.clone();
                let wanted: feed::Wanted = Box::new(move |name| wanted.contains(name));
                let mut feed = Feed::begin(&request.source, wanted, cancel);
                while let Some(fed) = feed.next().await? {
                    if let Fed::Copy(bytes) = fed {
                        let rest = {
                            let copied = CopyTarget::parse(&bytes).and_then(|target| target.name());
                            at_rest.filter(|(name, _)| copied.as_ref() == Some(*name))
                        };
                        if let Some((_, sql)) = rest {
                            loader.everywhere("BEGIN").await?;
                            loader.copy(&bytes, &mut feed).await?;
                            // Rows of a small table are on their way still.
                            loader.drain().await?;
                            told.extend(loader.main.names(sql).await?);
                            loader.everywhere("COMMIT").await?;
                        } else {
                            loader.copy(&bytes, &mut feed).await?;
                        }
                        loader.drain().await?;
                    }
                }
            }
        }
    }
    loader.end().await?;
    let attached: Vec<&str> = attached.iter().map(String::as_str).collect();
    loader.in_sleep(&attached).await?;
    // Triggers on what was brought act for the caller's own changes, too: they come last, by the caller.
    loader.loaded.held.later = triggers.into_iter().map(Deferred::Statement).collect();
    Ok((loader.loaded, told))
}

/// Makes the indexes and statistics that were put off, several at once, and says what belongs to them.
pub async fn load_calculated(
    request: &LoadRequest<'_>,
    statements: &[Calculated],
    cancel: &CancellationToken,
) -> Result<Vec<LoadFault>, RestoreError> {
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let mut loader = Loader::begin(request).await?;
    let loading = async {
        loader.ready().await?;
        let (made, about): (Vec<_>, Vec<_>) = statements
            .iter()
            .partition(|one| matches!(classify(&one.statement), Kind::Index | Kind::Key(_)));
        for one in made {
            loader
                .spawn_in(Class::Indexes, Vec::new(), one.clone())
                .await?;
        }
        loader.drain().await?;
        let about: Vec<&str> = about.iter().map(|one| one.statement.as_str()).collect();
        loader.in_sleep(&about).await
    };
    tokio::select! {
        done = loading => done?,
        () = cancel.cancelled() => return Err(RestoreError::Interrupted),
    }
    Ok(loader.loaded.faults)
}

fn attaches_an_index(statement: &str) -> bool {
    statement.starts_with("ALTER INDEX ") && statement.contains(" ATTACH PARTITION ")
}
