//! One connection of a load, and what a server says of a statement that it refuses.

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::error::Error;

use crate::dsn::Dsn;
use crate::server::{Server, ServerError, told};

/// Bytes of a statement that a message shows.
const SHOWN_BYTES: usize = 2000;
/// The load need not wait for the disk at every statement: what follows it does, once, for all. Questions about the catalogs look costly
/// while these have no statistics: to compile them takes seconds, to answer them milliseconds (servers before 11 have no `jit`).
const SETTINGS: &str = "SET synchronous_commit = off; SET default_transaction_read_only = off; SET statement_timeout = 0;
    SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET session_replication_role = origin;
    SELECT pg_catalog.set_config(name, 'off', false) FROM pg_catalog.pg_settings WHERE name = 'jit'";

/// A statement that the server refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFault {
    /// The statement, cut to a length that can be read; empty for what is of none.
    pub statement: String,
    /// Why, in the server's words, without the content of rows.
    pub reason: String,
    /// SQLSTATE; none where the connection was lost.
    pub code: Option<String>,
}

impl std::fmt::Display for LoadFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.statement.is_empty() {
            return f.write_str(&self.reason);
        }
        let statement = told::without_strings(&self.statement);
        write!(f, "{}; the statement is: {statement}", self.reason)
    }
}

impl LoadFault {
    pub(crate) fn of(statement: &str, error: &Error) -> Self {
        Self {
            statement: shown(statement),
            reason: words(error),
            code: error.code().map(|code| code.code().to_owned()),
        }
    }

    /// Whether the statement alone is at fault: not the connection, the server's resources or its disk, nor what the dump may not hold.
    pub fn is_of_statement(&self) -> bool {
        const OF_THE_SERVER: [&str; 5] = ["08", "53", "57", "58", "XX"];
        let is_of_the_server =
            |code: &String| OF_THE_SERVER.iter().any(|class| code.starts_with(class));
        // 58P01 is an extension's file that is not there.
        self.code
            .as_ref()
            .is_some_and(|code| code == "58P01" || !is_of_the_server(code))
    }

    /// Whether the function, relation or schema is not there that the statement is about.
    pub fn is_of_missing_object(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        ["3F000", "42P01", "42883"].contains(&code)
    }

    /// Whether something that the statement names is not there.
    pub fn is_of_missing_thing(&self) -> bool {
        const MISSING: [&str; 6] = ["3F000", "42P01", "42883", "42704", "42703", "58P01"];
        self.code
            .as_deref()
            .is_some_and(|code| MISSING.contains(&code))
    }
}

/// As much of a statement as a person reads, on one line less its rows.
fn shown(statement: &str) -> String {
    let mut end = statement.len().min(SHOWN_BYTES);
    while !statement.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < statement.len() { " …" } else { "" };
    format!("{}{cut}", statement[..end].trim())
}

fn words(error: &Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), told::words)
}

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
