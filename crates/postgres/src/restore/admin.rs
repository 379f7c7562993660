//! A superuser's connection beside the database that is restored: looks at databases, and at who is at work on them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::error::RestoreError;
use super::marks::{MARK, MARK_ASIDE, MARK_NAME, MARK_SUBSCRIPTIONS};
use super::strangers::{self, Stranger};
use crate::dsn::Dsn;
use crate::server::{Server, ServerError, ident, literal};

/// Databases from which another can be renamed: there is one besides any that is restored. Nobody can copy `template1` meanwhile, so it
/// comes last.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];
/// Ended sessions are gone within moments; a rename waits five seconds for them by itself.
pub(super) const RENAME_WITHIN: Duration = Duration::from_secs(30);
pub(super) const RETRY_EVERY: Duration = Duration::from_millis(200);
/// The server starts a worker again after a second, and after its crash after a few.
const WORKERS_WITHIN: Duration = Duration::from_secs(8);
/// How the names of workers of subscriptions begin.
const OF_SUBSCRIPTIONS: &str = "logical replication ";

/// A database as it is.
#[derive(Debug, Clone)]
pub struct Present {
    /// Its owner.
    pub owner: String,
    /// On the server's disk.
    pub bytes: u64,
    pub(super) encoding: String,
    pub(super) collate: String,
    pub(super) ctype: String,
    pub(super) open: bool,
    /// Whether its owner is superuser, as that of a database that is being restored: others can mark their own databases as they like.
    pub(super) of_superuser: bool,
    /// What it is being restored from, if it is.
    pub mark: Option<String>,
    pub(super) aside: Option<String>,
    pub(super) for_name: Option<String>,
    /// Subscriptions that were disabled in the database that it takes the place of.
    pub(super) subscriptions: Option<String>,
}

/// A connection that may do it, to another database than the one that is restored.
pub struct Admin {
    /// The connection.
    pub server: Server,
    /// The server's major version.
    pub major: u32,
}

impl Admin {
    /// Connects to the server of `dsn` beside the database `name`. The role must be superuser.
    pub async fn connect(dsn: &Dsn, name: &str) -> Result<Self, RestoreError> {
        let mut lost = None;
        for database in MAINTENANCE.iter().filter(|database| **database != name) {
            match Server::connect(&dsn.to_database(database)).await {
                Ok(server) => {
                    let admin = Self {
                        major: u32::try_from(server.number("SELECT pg_catalog.current_setting('server_version_num')::int / 10000").await?).unwrap_or_default(),
                        server: server.patient(),
                    };
                    admin.may_restore(name).await?;
                    return Ok(admin);
                }
                Err(error) => lost = lost.or(Some(error)),
            }
        }
        Err(lost.map_or(RestoreError::Interrupted, RestoreError::Server))
    }

    async fn may_restore(&self, name: &str) -> Result<(), RestoreError> {
        let superuser =
            "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper";
        if self.server.number(superuser).await? == 1 {
            return Ok(());
        }
        let able = self
            .server
            .names("SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper AND rolcanlogin ORDER BY rolname LIMIT 5")
            .await?;
        Err(RestoreError::NotAllowed {
            user: self.server.dsn().user.clone(),
            name: name.to_owned(),
            able,
        })
    }

    /// Looks at a database; none where there is none.
    pub async fn look(&self, name: &str) -> Result<Option<Present>, ServerError> {
        let mut all = self
            .databases(&format!("d.datname = {}", literal(name)))
            .await?;
        Ok(all.remove(name))
    }

    /// The databases `d` for which a condition holds, by name.
    pub(super) async fn databases(
        &self,
        condition: &str,
    ) -> Result<BTreeMap<String, Present>, ServerError> {
        let mark = |name: &str| {
            format!("(SELECT pg_catalog.max(pg_catalog.substr(c, {})) FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
                WHERE r.rolsuper AND s.setdatabase = d.oid AND s.setrole = 0 AND pg_catalog.starts_with(c, {}))", name.len() + 2, literal(&format!("{name}=")))
        };
        let query = format!(
            "SELECT d.datname, r.rolname, pg_catalog.pg_database_size(d.oid),
               pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, d.datallowconn, r.rolsuper, {}, {}, {}, {}
             FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba WHERE {condition}",
            mark(MARK),
            mark(MARK_ASIDE),
            mark(MARK_NAME),
            mark(MARK_SUBSCRIPTIONS)
        );
        let rows = self.server.rows(&query).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let text = |at: usize| row.get(at).unwrap_or_default().to_owned();
                let optional = |at: usize| row.get(at).map(str::to_owned);
                let present = Present {
                    owner: text(1),
                    bytes: text(2).parse().unwrap_or_default(),
                    encoding: text(3),
                    collate: text(4),
                    ctype: text(5),
                    open: text(6) == "t",
                    of_superuser: text(7) == "t",
                    mark: optional(8),
                    aside: optional(9),
                    for_name: optional(10),
                    subscriptions: optional(11),
                };
                (text(0), present)
            })
            .collect())
    }

    /// Whether the database of this number has the name, and no mark of a restore, whoever owns it by now.
    pub async fn is_complete(&self, name: &str, oid: u32) -> Result<bool, ServerError> {
        let query = format!(
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_database d WHERE d.oid = {oid} AND d.datname = {} AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
               WHERE s.setdatabase = d.oid AND s.setrole = 0 AND pg_catalog.starts_with(c, {}))",
            literal(name),
            literal(&format!("{MARK}="))
        );
        Ok(self.server.number(&query).await? == 1)
    }

    /// The sessions in a database, each kind in words; the clients' apart from the server's own workers.
    pub async fn sessions(&self, name: &str) -> Result<Sessions, ServerError> {
        let mut sessions = Sessions::default();
        for (stranger, count) in strangers::look(&self.server, name).await? {
            let list = if stranger.client {
                &mut sessions.clients
            } else {
                &mut sessions.workers
            };
            list.push(many(&stranger, count));
        }
        Ok(sessions)
    }

    /// Logical replication slots of a database: they hold its log, and nobody can make one of their names elsewhere.
    pub async fn slots(&self, name: &str) -> Result<Vec<String>, ServerError> {
        let query = format!(
            "SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE database = {} ORDER BY slot_name",
            literal(name)
        );
        self.server.names(&query).await
    }

    /// Drops slots; none may be in use.
    pub async fn drop_slots(&self, slots: &[String]) -> Result<(), ServerError> {
        for slot in slots {
            let drop = format!(
                "SELECT pg_catalog.pg_drop_replication_slot({})",
                literal(slot)
            );
            self.server.execute(&drop).await?;
        }
        Ok(())
    }

    pub(super) async fn allow_connections(
        &self,
        name: &str,
        allowed: bool,
    ) -> Result<(), ServerError> {
        self.server
            .execute(&format!(
                "ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}",
                ident(name)
            ))
            .await
    }

    /// Transactions that were prepared for two-phase commit in a database: nothing ends them but whoever prepared them.
    pub async fn prepared_transactions(&self, name: &str) -> Result<Vec<String>, ServerError> {
        self.prepared("gid", name).await
    }

    /// The same, each as a literal of SQL.
    pub(super) async fn prepared_literals(&self, name: &str) -> Result<Vec<String>, ServerError> {
        self.prepared("pg_catalog.quote_literal(gid)", name).await
    }

    async fn prepared(&self, what: &str, name: &str) -> Result<Vec<String>, ServerError> {
        let query = format!(
            "SELECT {what} FROM pg_catalog.pg_prepared_xacts WHERE database = {} ORDER BY prepared, gid",
            literal(name)
        );
        self.server.names(&query).await
    }

    /// Which of these workers of the server are not in a database now. They are waited for: they come back within seconds, or not at
    /// all (pg_cron before 1.5 ends for good when it is ended). Those of subscriptions are there when their subscription is enabled.
    pub async fn missing_workers(&self, name: &str, workers: &[String]) -> Vec<String> {
        let began = Instant::now();
        loop {
            let there = self.sessions(name).await.unwrap_or_default().workers;
            let missing: Vec<String> = workers
                .iter()
                .filter(|worker| !worker.starts_with(OF_SUBSCRIPTIONS))
                .filter(|worker| !there.contains(worker))
                .cloned()
                .collect();
            if missing.is_empty() || began.elapsed() > WORKERS_WITHIN {
                return missing;
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }
}

/// Who is connected to a database.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    /// Clients.
    pub clients: Vec<String>,
    /// The server's own workers, pg_cron's among them.
    pub workers: Vec<String>,
}

fn many(stranger: &Stranger, count: u64) -> String {
    if count == 1 {
        stranger.to_string()
    } else {
        format!("{stranger} ({count} times)")
    }
}
