//! A superuser's connection beside the database that is restored: looks at databases and sessions, exchanges names, and puts right what a
//! killed restore left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::error::RestoreError;
use super::names::{application, cut, drop_statement, fresh_name, is_fresh_name, like};
use super::strangers::{self, Stranger};
use super::subscriptions::{MARK_SUBSCRIPTIONS, OF_SUBSCRIPTIONS, detach};
use crate::dsn::Dsn;
use crate::server::{Server, ServerError, ident, literal};

/// The setting that a database carries while it is being restored.
pub const MARK: &str = "backupd.restoring";
/// The database that lies aside for it.
pub(super) const MARK_ASIDE: &str = "backupd.aside";
/// The name that it is to have.
pub(crate) const MARK_NAME: &str = "backupd.name";
/// What a database carries that a restore moved aside: the name that it has there. Under another name it is an ordinary one again.
pub(crate) const MARK_KEPT: &str = "backupd.kept";
/// Databases from which another can be renamed: there is one besides any that is restored. Nobody can copy `template1` meanwhile, so it
/// comes last.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];
/// Ended sessions are gone within moments; a rename waits five seconds for them by itself.
const RENAME_WITHIN: Duration = Duration::from_secs(30);
pub(super) const RETRY_EVERY: Duration = Duration::from_millis(200);
/// The server starts a worker again after a second, and after its crash after a few.
const WORKERS_WITHIN: Duration = Duration::from_secs(8);

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
    of_superuser: bool,
    /// What it is being restored from, if it is.
    pub mark: Option<String>,
    aside: Option<String>,
    for_name: Option<String>,
    /// Subscriptions that were disabled in the database that it takes the place of.
    subscriptions: Option<String>,
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

    async fn databases(&self, condition: &str) -> Result<BTreeMap<String, Present>, ServerError> {
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

    /// Puts back what restores that did not end left of the database `name`, and says what was done. Everything is found by looking at
    /// names and marks on the server.
    pub async fn undo(&self, name: &str) -> Result<Vec<String>, RestoreError> {
        let mut done = Vec::new();
        // A failed statement may have left a transaction open here.
        let _ = self.server.execute("ROLLBACK").await;
        self.end_orphans(name).await?;
        let beginning = cut(name, "_restoring_00000000T000000Z");
        let of_name = format!(
            "d.datname = {} OR pg_catalog.starts_with(d.datname, {})",
            literal(name),
            literal(&format!("{beginning}_restoring_"))
        );
        for (found, present) in self.databases(&of_name).await? {
            let Some(set) = present
                .mark
                .clone()
                .or_else(|| (present.of_superuser && is_fresh_name(&found)).then(String::new))
            else {
                continue;
            };
            if found == name {
                if let Some(aside) = &present.aside {
                    let fresh = fresh_name(name, &set);
                    self.exchange(name, Some(&fresh), aside).await?;
                    self.enable_again(name, present.subscriptions.as_deref())
                        .await?;
                    self.drop(&fresh).await?;
                    done.push(format!("{name} is the database again that it was before the restore from {set} was cut off"));
                } else {
                    self.drop(name).await?;
                    done.push(format!("{name} was not there before the restore from {set} was cut off, and is gone"));
                }
                continue;
            }
            if present
                .for_name
                .as_deref()
                .is_none_or(|other| other == name)
            {
                // It may have been closed to be renamed. What tells of that goes last.
                if self.look(name).await?.is_some_and(|present| !present.open) {
                    self.allow_connections(name, true).await?;
                }
                self.enable_again(name, present.subscriptions.as_deref())
                    .await?;
                self.drop(&found).await?;
                done.push(format!("{name} was not touched yet by the restore that was cut off; {found}, which it had begun, is gone"));
            }
        }
        Ok(done)
    }

    /// Names for which restores other than of `name` began databases that are there. A restore elsewhere may be at work on them.
    pub async fn begun(&self, name: &str) -> Result<Vec<String>, ServerError> {
        let restoring = "pg_catalog.strpos(d.datname, '_restoring_') > 0";
        let found = self.databases(restoring).await?;
        let begun = found.into_iter().filter_map(|(fresh, present)| {
            present.mark.as_ref()?;
            is_fresh_name(&fresh).then_some(present.for_name?)
        });
        let others: BTreeSet<String> = begun.filter(|other| other != name).collect();
        Ok(others.into_iter().collect())
    }

    /// Drops the databases whose names begin so: the caller's own, by a beginning that nobody else has.
    pub async fn sweep(&self, prefix: &str) -> Result<(), ServerError> {
        let condition = format!("pg_catalog.starts_with(d.datname, {})", literal(prefix));
        for name in self.databases(&condition).await?.into_keys() {
            self.drop(&name).await?;
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

    /// Drops a database with whatever sessions there are. Subscriptions in it would forbid that, disabled ones too: they are taken
    /// out first, without touching the publisher's slot.
    pub async fn drop(&self, name: &str) -> Result<(), ServerError> {
        let began = Instant::now();
        loop {
            let dropped = async {
                self.detach_subscriptions(name).await?;
                self.unmark_template(name).await?;
                self.server.execute(&drop_statement(name)).await
            };
            match dropped.await {
                Err(ServerError::Unavailable { .. }) if began.elapsed() < RENAME_WITHIN => {
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                done => return done,
            }
        }
    }

    /// What a person types into psql to drop a database: that of [`Self::drop`].
    pub async fn drop_by_hand(&self, name: &str) -> Result<String, ServerError> {
        let mut lines = Vec::new();
        let subscriptions = self.subscriptions(name).await?;
        if !subscriptions.is_empty() {
            lines.push(format!("\\connect {}", ident(name)));
            for subscription in &subscriptions {
                lines.extend(detach(subscription).map(|statement| format!("{statement};")));
            }
            lines.push(format!("\\connect {}", ident(&self.server.dsn().database)));
        }
        lines.extend(
            self.template_unmarked(name)
                .await?
                .map(|statement| format!("{statement};")),
        );
        lines.push(format!("{};", drop_statement(name)));
        Ok(lines.join("\n"))
    }

    /// A template cannot be dropped.
    async fn unmark_template(&self, name: &str) -> Result<(), ServerError> {
        match self.template_unmarked(name).await? {
            Some(unmark) => self.server.execute(&unmark).await,
            None => Ok(()),
        }
    }

    /// The statement that makes a template an ordinary database.
    async fn template_unmarked(&self, name: &str) -> Result<Option<String>, ServerError> {
        let is_template = format!(
            "SELECT datname FROM pg_catalog.pg_database WHERE datistemplate AND datname = {}",
            literal(name)
        );
        let found = self.server.names(&is_template).await?;
        let unmark = format!("ALTER DATABASE {} IS_TEMPLATE false", ident(name));
        Ok((!found.is_empty()).then_some(unmark))
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

    /// In one transaction, `name` becomes `out`, where there is one, and `into_place` becomes `name`. Ends sessions in both as long as
    /// they are in the way.
    pub(super) async fn exchange(
        &self,
        name: &str,
        out: Option<&str>,
        into_place: &str,
    ) -> Result<(), RestoreError> {
        let began = Instant::now();
        let mut renames = format!(
            "ALTER DATABASE {} RENAME TO {}; ALTER DATABASE {} ALLOW_CONNECTIONS true; ALTER DATABASE {} RESET {MARK_KEPT}",
            ident(into_place),
            ident(name),
            ident(name),
            ident(name)
        );
        if let Some(out) = out {
            self.allow_connections(name, false).await?;
            renames = format!(
                "ALTER DATABASE {} RENAME TO {}; ALTER DATABASE {} SET {MARK_KEPT} TO {}; {renames}",
                ident(name),
                ident(out),
                ident(out),
                literal(out)
            );
        }
        loop {
            for database in [name, into_place] {
                strangers::end(&self.server, database).await?;
            }
            let done = self
                .server
                .execute(&format!("BEGIN; {renames}; COMMIT"))
                .await;
            let Err(error) = done else { return Ok(()) };
            // A failed statement leaves the transaction open; a server that is gone has none.
            let _ = self.server.execute("ROLLBACK").await;
            if began.elapsed() > RENAME_WITHIN || matches!(error, ServerError::Unreachable { .. }) {
                return Err(error.into());
            }
            // A full disk may be in the way as well: the server writes other databases' pages where it needs room for these.
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// Sessions of restores of this database that were killed, or whose connection was lost, may still be at work on the server, those of
    /// this process among them: their last statement is ended first. Only the session that asks is left.
    pub async fn end_orphans(&self, name: &str) -> Result<(), ServerError> {
        let began = Instant::now();
        let query = format!(
            "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
             WHERE application_name LIKE {} AND pid <> pg_catalog.pg_backend_pid()",
            literal(&like(&application("%", name)))
        );
        while self.server.number(&query).await? > 0 && began.elapsed() < RENAME_WITHIN {
            tokio::time::sleep(RETRY_EVERY).await;
        }
        Ok(())
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

pub(super) fn many(stranger: &Stranger, count: u64) -> String {
    if count == 1 {
        stranger.to_string()
    } else {
        format!("{stranger} ({count} times)")
    }
}
