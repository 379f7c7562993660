//! Sessions that are not ours in a database: named before it is moved aside, and ended while the new one loads. Background workers
//! (pg_cron, pg_net) and services that log in as superuser come back within a second, and no connection limit binds them.

use std::collections::BTreeMap;

use crate::server::{Server, ServerError, literal};

/// The server's own housekeeping, which needs no ending: it gives way by itself, and parallel workers are ours.
const OF_THE_SERVER: &str = "('autovacuum worker', 'parallel worker')";

/// A kind of session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Stranger {
    /// Its role; empty for a background worker.
    pub role: String,
    /// What it calls itself, or the worker's name.
    pub application: String,
    /// Where it comes from; empty for sockets and workers.
    pub address: String,
    /// Whether it is a client; else it is one of the server's workers.
    pub client: bool,
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.application.is_empty() {
            "unnamed"
        } else {
            &self.application
        };
        if !self.client {
            return write!(f, "{name} (background worker)");
        }
        write!(f, "{name} as {}", self.role)?;
        if !self.address.is_empty() {
            write!(f, " from {}", self.address)?;
        }
        Ok(())
    }
}

/// The sessions in a database besides ours, each kind once, with how many there are.
pub(super) async fn look(
    admin: &Server,
    database: &str,
) -> Result<BTreeMap<Stranger, u64>, ServerError> {
    let query = format!(
        "SELECT 1, {COLUMNS} FROM pg_catalog.pg_stat_activity WHERE {} AND {}",
        of_database(database),
        not_ours(admin)
    );
    read(admin, &query).await
}

/// Ends all there are but the one that asks, once.
pub(super) async fn end(
    admin: &Server,
    database: &str,
) -> Result<BTreeMap<Stranger, u64>, ServerError> {
    let query = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid), {COLUMNS} FROM pg_catalog.pg_stat_activity
         WHERE {} AND pid <> pg_catalog.pg_backend_pid()",
        of_database(database)
    );
    read(admin, &query).await
}

const COLUMNS: &str = "COALESCE(usename, ''),
  CASE WHEN backend_type = 'client backend' OR backend_type = 'walsender' THEN application_name ELSE backend_type END,
  COALESCE(pg_catalog.host(client_addr), ''), backend_type IN ('client backend', 'walsender')";

fn of_database(database: &str) -> String {
    format!(
        "datname = {} AND backend_type NOT IN {OF_THE_SERVER}",
        literal(database)
    )
}

/// Sessions of ours are known by their processes on the server: a name is anybody's.
fn not_ours(admin: &Server) -> String {
    let pids: Vec<String> = admin
        .dsn()
        .way()
        .our_sessions()
        .iter()
        .map(i32::to_string)
        .collect();
    format!("pid <> ALL ('{{{}}}')", pids.join(","))
}

async fn read(admin: &Server, query: &str) -> Result<BTreeMap<Stranger, u64>, ServerError> {
    let mut found: BTreeMap<Stranger, u64> = BTreeMap::new();
    for row in admin.rows(query).await? {
        let text = |at: usize| row.get(at).unwrap_or_default().to_owned();
        let stranger = Stranger {
            role: text(1),
            application: text(2),
            address: text(3),
            client: text(4) == "t",
        };
        *found.entry(stranger).or_default() += 1;
    }
    Ok(found)
}
