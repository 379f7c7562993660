//! One connection of a load.

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::error::Error;

use crate::dsn::Dsn;
use crate::restore::fault::LoadFault;
use crate::server::{Server, ServerError};

/// The load need not wait for the disk at every statement: what follows it does, once, for all. Questions about the catalogs look costly
/// while these have no statistics: to compile them takes seconds, to answer them milliseconds (servers before 11 have no `jit`).
const SETTINGS: &str = "SET synchronous_commit = off; SET default_transaction_read_only = off; SET statement_timeout = 0;
    SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET session_replication_role = origin;
    SELECT pg_catalog.set_config(name, 'off', false) FROM pg_catalog.pg_settings WHERE name = 'jit'";

/// Connects for a load.
pub(super) async fn connect(dsn: &Dsn) -> Result<Server, ServerError> {
    let server = Server::connect(dsn).await?.patient();
    server.execute(SETTINGS).await?;
    Ok(server)
}

/// Runs one statement.
pub(super) async fn run(server: &Server, statement: &str) -> Result<(), LoadFault> {
    server
        .one(statement)
        .await
        .map_err(|error| LoadFault::of(statement, &error))
}

/// Runs statements of ours, in which nothing of a dump's stands but names, quoted.
pub(super) async fn ours(server: &Server, statements: &str) -> Result<(), LoadFault> {
    server
        .client()
        .batch_execute(statements)
        .await
        .map_err(|error| LoadFault::of(statements, &error))
}

/// A COPY whose rows come by and by; gives the rows that the server took. No trigger of the table fires where it has any.
pub(super) async fn copy(
    server: &Server,
    statement: &str,
    has_triggers: bool,
    rows: tokio::sync::mpsc::Receiver<Bytes>,
) -> Result<u64, LoadFault> {
    if !has_triggers {
        return copy_rows(server, statement, rows).await;
    }
    run(server, "SET session_replication_role = replica").await?;
    let copied = copy_rows(server, statement, rows).await;
    let reset = run(server, "SET session_replication_role = origin").await;
    // In a transaction that failed nothing can be set: it is that failure that counts.
    let taken = copied?;
    reset.map(|()| taken)
}

async fn copy_rows(
    server: &Server,
    statement: &str,
    mut rows: tokio::sync::mpsc::Receiver<Bytes>,
) -> Result<u64, LoadFault> {
    let copying = async {
        let sink = server.client().copy_in(statement).await?;
        let mut sink = std::pin::pin!(sink);
        while let Some(bytes) = rows.recv().await {
            sink.send(bytes).await?;
        }
        sink.finish().await
    };
    let done = copying.await;
    done.map_err(|error: Error| LoadFault::of(statement, &error))
}
