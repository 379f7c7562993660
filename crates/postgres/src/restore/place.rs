//! The place of a database on its server: the present one is moved aside by a new name, a fresh one gets the name, and any fault puts
//! the present one back. Both renames are one transaction, so that at no moment a database is without its place.
//!
//! A fresh database carries marks (settings of its own, `backupd.restoring` and others) until it is complete. They tell what a restore
//! that was killed left behind, and keep a backup run from taking a half-loaded database for a whole one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stream::child::ChildError;
use tokio_util::sync::CancellationToken;

use super::roles::RolesScript;
use super::strangers::{self, Stranger};
use crate::dsn::Dsn;
use crate::server::{Server, ServerError, ident, literal};

/// The setting that a database carries while it is being restored.
pub const MARK: &str = "backupd.restoring";
/// The database that lies aside for it.
const MARK_ASIDE: &str = "backupd.aside";
/// The name that it is to have.
const MARK_NAME: &str = "backupd.name";
/// Databases from which another can be renamed: there is one besides any that is restored.
const MAINTENANCE: [&str; 2] = ["template1", "postgres"];
/// PostgreSQL's `NAMEDATALEN` less one.
const NAME_BYTES: usize = 63;
/// Ended sessions are gone within moments; a rename waits five seconds for them by itself.
const RENAME_WITHIN: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(200);
/// The server starts a worker again after a second, and after its crash after a few.
const WORKERS_WITHIN: Duration = Duration::from_secs(8);
/// More restores of one set than this were not made.
const ASIDE_MOST: u32 = 99;
/// Characters of a statement that a message shows.
const STATEMENT_CHARS: usize = 2000;

/// Why a database was not restored.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum RestoreError {
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// One of PostgreSQL's programs failed.
    #[error("{}", failing(.0))]
    Load(ChildError),
    /// A statement of the roles file.
    #[error("{source}; the statement is: {statement}")]
    Statement {
        statement: String,
        source: ServerError,
    },
    /// The artifact could not be read.
    #[error("the dump could not be read: {0}")]
    Source(std::io::Error),
    /// Something of this machine.
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: std::io::Error,
    },
    /// The role may not.
    #[error("role {user} may not restore {name}, which takes a superuser: {able}")]
    NotAllowed {
        user: String,
        name: String,
        able: String,
    },
    /// Somebody is connected.
    #[error("{name} is in use by {}: stop them, or say --force to end their sessions", sessions.join(", "))]
    Busy { name: String, sessions: Vec<String> },
    /// The name is taken.
    #[error("there is a database {name} already: choose another name, or drop it: {drop}")]
    Exists { name: String, drop: String },
    /// Nobody but its owner knows why.
    #[error(
        "{name} takes no connections (ALLOW_CONNECTIONS false), so nobody can restore it: allow them first"
    )]
    Closed { name: String },
    /// Ended by a signal.
    #[error("interrupted")]
    Interrupted,
}

/// The tool's words from its first error on.
fn failing(error: &ChildError) -> String {
    let ChildError::Failed {
        program, stderr, ..
    } = error
    else {
        return error.to_string();
    };
    let from = ["ERROR:", "FATAL:", "error:"]
        .iter()
        .find_map(|word| stderr.find(word));
    let words: String = stderr[from.unwrap_or_default()..]
        .trim()
        .chars()
        .take(STATEMENT_CHARS)
        .collect();
    format!("{program} failed: {words}")
}

/// A database as it is.
#[derive(Debug, Clone)]
pub struct Present {
    /// Its owner.
    pub owner: String,
    /// On the server's disk.
    pub bytes: u64,
    encoding: String,
    collate: String,
    ctype: String,
    open: bool,
    /// What it is being restored from, if it is.
    pub mark: Option<String>,
    aside: Option<String>,
    for_name: Option<String>,
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
            able: match able.as_slice() {
                [] => "connect as one (BACKUP_RESTORE_URLS)".to_owned(),
                names => format!("connect as {} (BACKUP_RESTORE_URLS)", names.join(" or ")),
            },
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
                WHERE s.setdatabase = d.oid AND s.setrole = 0 AND pg_catalog.starts_with(c, {}))", name.len() + 2, literal(&format!("{name}=")))
        };
        let query = format!(
            "SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_database_size(d.oid),
               pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, d.datallowconn, {}, {}, {}
             FROM pg_catalog.pg_database d WHERE {condition}",
            mark(MARK),
            mark(MARK_ASIDE),
            mark(MARK_NAME)
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
                    mark: optional(7),
                    aside: optional(8),
                    for_name: optional(9),
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

    /// Puts back what restores that were killed left of the database `name`, and says what was done.
    pub async fn undo(&self, name: &str) -> Result<Vec<String>, RestoreError> {
        let mut done = Vec::new();
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
                .or_else(|| is_fresh_name(&found).then(String::new))
            else {
                continue;
            };
            if found == name {
                if let Some(aside) = &present.aside {
                    let fresh = fresh_name(name, &set);
                    self.exchange(name, &fresh, aside).await?;
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
                self.drop(&found).await?;
                // It may have been closed to be renamed.
                if self.look(name).await?.is_some_and(|present| !present.open) {
                    self.allow_connections(name, true).await?;
                }
                done.push(format!("{name} was not touched yet by the restore that was cut off; {found}, which it had begun, is gone"));
            }
        }
        Ok(done)
    }

    /// Drops the databases of this beginning that drills which were killed left.
    pub async fn sweep(&self, prefix: &str) -> Result<(), ServerError> {
        let condition = format!("pg_catalog.starts_with(d.datname, {})", literal(prefix));
        for (name, present) in self.databases(&condition).await? {
            if present.mark.is_some() {
                self.drop(&name).await?;
            }
        }
        Ok(())
    }

    async fn allow_connections(&self, name: &str, allowed: bool) -> Result<(), ServerError> {
        self.server
            .execute(&format!(
                "ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}",
                ident(name)
            ))
            .await
    }

    /// Drops a database with whatever sessions there are.
    pub async fn drop(&self, name: &str) -> Result<(), ServerError> {
        let began = Instant::now();
        loop {
            match self.server.execute(&drop_statement(name)).await {
                Err(ServerError::Unavailable { .. }) if began.elapsed() < RENAME_WITHIN => {
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                done => return done,
            }
        }
    }

    /// In one transaction, `name` becomes `out` and `into_place` becomes `name`. Ends sessions in both as long as they are in the way.
    async fn exchange(&self, name: &str, out: &str, into_place: &str) -> Result<(), RestoreError> {
        let began = Instant::now();
        self.allow_connections(name, false).await?;
        loop {
            for database in [name, into_place] {
                strangers::end(&self.server, database).await?;
            }
            let renamed = self
                .server
                .execute(&format!(
                    "BEGIN; ALTER DATABASE {name} RENAME TO {out}; ALTER DATABASE {into_place} RENAME TO {name};
                     ALTER DATABASE {name} ALLOW_CONNECTIONS true; COMMIT",
                    name = ident(name),
                    out = ident(out),
                    into_place = ident(into_place)
                ))
                .await;
            let Err(error) = renamed else { return Ok(()) };
            // A failed statement leaves the transaction open; a server that is gone has none.
            let _ = self.server.execute("ROLLBACK").await;
            if began.elapsed() > RENAME_WITHIN || matches!(error, ServerError::Unreachable { .. }) {
                return Err(error.into());
            }
            // A full disk may be in the way as well: the server writes other databases' pages where it needs room for these.
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// Sessions of restores of this database that were killed may still be at work on the server: their last statement is ended first.
    async fn end_orphans(&self, name: &str) -> Result<(), ServerError> {
        let began = Instant::now();
        let query = format!(
            "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
             WHERE application_name LIKE {} AND application_name <> {}",
            literal(&like(&application("%", name))),
            literal(&self.server.dsn().application)
        );
        while self.server.number(&query).await? > 0 && began.elapsed() < RENAME_WITHIN {
            tokio::time::sleep(RETRY_EVERY).await;
        }
        Ok(())
    }

    /// Which of these workers of the server are not in a database now. They are waited for: they come back within seconds, or not at
    /// all (pg_cron before 1.5 ends for good when it is ended).
    pub async fn missing_workers(&self, name: &str, workers: &[String]) -> Vec<String> {
        let began = Instant::now();
        loop {
            let there = self.sessions(name).await.unwrap_or_default().workers;
            let missing: Vec<String> = workers
                .iter()
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

/// What sessions of a restore call themselves: by it others know them, and the next restore knows what a killed one left running.
pub fn application(process: &str, name: &str) -> String {
    let prefix = format!("backupd restore {process} ");
    // PostgreSQL cuts it to this.
    cut(&format!("{prefix}{name}"), "")
}

/// A pattern of LIKE in which only a `%` standing for the process is one.
fn like(application: &str) -> String {
    let literal = application.replace('\\', "\\\\").replace('_', "\\_");
    let (before, after) = literal.split_once('%').unwrap_or((&literal, ""));
    format!("{before}%{}", after.replace('%', "\\%"))
}

/// Who is connected to a database.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    /// Clients.
    pub clients: Vec<String>,
    /// The server's own workers, pg_cron's among them.
    pub workers: Vec<String>,
}

/// A database being restored.
pub struct Place<'a> {
    admin: &'a Admin,
    name: &'a str,
    set: &'a str,
    /// Where it is loaded: under its own name, once that is free.
    aside: Option<String>,
    fresh: String,
}

impl<'a> Place<'a> {
    /// Makes the fresh database, marked, under a name of its own. Nothing else is touched. Where the server does not know the locale of
    /// the dumped database, the present one's is taken, and said.
    pub async fn prepare(
        admin: &'a Admin,
        name: &'a str,
        set: &'a str,
        script: &RolesScript,
        beside: bool,
    ) -> Result<(Self, Option<String>), RestoreError> {
        let present = admin.look(name).await?;
        let fresh = if present.is_none() {
            name.to_owned()
        } else {
            fresh_name(name, set)
        };
        match &present {
            Some(_) if beside => {
                return Err(RestoreError::Exists {
                    name: name.to_owned(),
                    drop: drop_statement(name),
                });
            }
            Some(present) if !present.open => {
                return Err(RestoreError::Closed {
                    name: name.to_owned(),
                });
            }
            _ => {}
        }
        let place = Self {
            admin,
            name,
            set,
            aside: None,
            fresh,
        };
        match place.create(script, present.as_ref()).await {
            Ok(note) => Ok((place, note)),
            Err(error) => {
                // Most often it is not there; else its name tells the next restore what it is.
                let _ = admin.drop(&place.fresh).await;
                Err(error)
            }
        }
    }

    async fn create(
        &self,
        script: &RolesScript,
        present: Option<&Present>,
    ) -> Result<Option<String>, RestoreError> {
        let server = &self.admin.server;
        let as_present = present.map_or_else(
            || format!("CREATE DATABASE {} WITH TEMPLATE = template0", ident(&self.fresh)),
            |present| {
                format!(
                    "CREATE DATABASE {} WITH TEMPLATE = template0 ENCODING = {} LC_COLLATE = {} LC_CTYPE = {}",
                    ident(&self.fresh),
                    literal(&present.encoding),
                    literal(&present.collate),
                    literal(&present.ctype)
                )
            },
        );
        let note = match script.creation(&self.fresh) {
            None => {
                server.execute(&as_present).await?;
                None
            }
            Some(as_dumped) => match server.execute(&as_dumped).await {
                Ok(()) => None,
                Err(ServerError::Query { reason, .. }) => {
                    server.execute(&as_present).await?;
                    Some(format!(
                        "the server cannot make a database of the dumped one's locale ({reason}): it has the present one's"
                    ))
                }
                Err(error) => return Err(error.into()),
            },
        };
        let fresh = ident(&self.fresh);
        let marks = format!(
            "ALTER DATABASE {fresh} SET {MARK} TO {}; ALTER DATABASE {fresh} SET {MARK_NAME} TO {}; ALTER DATABASE {fresh} CONNECTION LIMIT 0",
            literal(self.set),
            literal(self.name)
        );
        server.execute(&marks).await?;
        Ok(note)
    }

    /// Moves the present database aside and gives the fresh one its name. Sessions are ended; without `force` there must be no clients'.
    pub async fn move_aside(&mut self, force: bool) -> Result<(), RestoreError> {
        if self.fresh == self.name {
            return Ok(());
        }
        let admin = self.admin;
        let clients = admin.sessions(self.name).await?.clients;
        if !clients.is_empty() && !force {
            return Err(RestoreError::Busy {
                name: self.name.to_owned(),
                sessions: clients,
            });
        }
        let aside = self.free_name().await?;
        admin
            .server
            .execute(&format!(
                "ALTER DATABASE {} SET {MARK_ASIDE} TO {}",
                ident(&self.fresh),
                literal(&aside)
            ))
            .await?;
        admin.exchange(self.name, &aside, &self.fresh).await?;
        self.aside = Some(aside);
        Ok(())
    }

    async fn free_name(&self) -> Result<String, RestoreError> {
        for number in 1..=ASIDE_MOST {
            let suffix = if number == 1 {
                format!("_before_{}", self.set)
            } else {
                format!("_before_{}_{number}", self.set)
            };
            let name = cut(self.name, &suffix) + &suffix;
            if self.admin.look(&name).await?.is_none() {
                return Ok(name);
            }
        }
        let name = format!("{}_before_{}", self.name, self.set);
        Err(RestoreError::Exists {
            drop: drop_statement(&name),
            name,
        })
    }

    /// Ends the sessions of others in the new database as they appear, until cancelled; says who they were.
    pub async fn keep_strangers_out(&self, until: CancellationToken) -> Vec<String> {
        strangers::keep_ending(&self.admin.server, self.name, until)
            .await
            .iter()
            .map(|(stranger, count)| many(stranger, *count))
            .collect()
    }

    /// The new database is complete: its limits and its doors are as they were, and its marks go.
    pub async fn complete(&self, script: &RolesScript) -> Result<Option<String>, RestoreError> {
        let server = &self.admin.server;
        let name = ident(self.name);
        server
            .execute(&format!(
                "BEGIN; ALTER DATABASE {name} CONNECTION LIMIT -1; ALTER DATABASE {name} RESET {MARK};
                 ALTER DATABASE {name} RESET {MARK_ASIDE}; ALTER DATABASE {name} RESET {MARK_NAME}"
            ))
            .await?;
        script.restore_limits(server, self.name).await?;
        if let Some(aside) = &self.aside {
            self.admin.allow_connections(aside, true).await?;
        }
        server.execute("COMMIT").await?;
        Ok(self.aside.clone())
    }

    /// Something went wrong: the database that was here has its name again, and the new one is gone. Where that could not be dropped, it
    /// is told.
    pub async fn put_back(&self) -> Result<Option<String>, RestoreError> {
        // A failed statement may have left a transaction open.
        let _ = self.admin.server.execute("ROLLBACK").await;
        if let Some(aside) = &self.aside {
            self.admin.exchange(self.name, &self.fresh, aside).await?;
        } else if self.fresh != self.name {
            self.admin.allow_connections(self.name, true).await?;
        }
        let dropped = self.admin.drop(&self.fresh).await;
        Ok(dropped.err().map(|error| {
            format!(
                "{} could not be dropped ({error}); later: {}",
                self.fresh,
                drop_statement(&self.fresh)
            )
        }))
    }
}

/// The statement that drops a database with whatever sessions there are.
pub fn drop_statement(name: &str) -> String {
    format!("DROP DATABASE {} WITH (FORCE)", ident(name))
}

fn many(stranger: &Stranger, count: u64) -> String {
    if count == 1 {
        stranger.to_string()
    } else {
        format!("{stranger} ({count} times)")
    }
}

fn fresh_name(name: &str, set: &str) -> String {
    let suffix = format!("_restoring_{set}");
    cut(name, &suffix) + &suffix
}

fn is_fresh_name(name: &str) -> bool {
    name.rsplit_once("_restoring_")
        .is_some_and(|(_, set)| set.len() == 16 && set.ends_with('Z'))
}

/// As much of a name as leaves room for a suffix.
fn cut(name: &str, suffix: &str) -> String {
    let mut end = name.len().min(NAME_BYTES - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_keep_whole_characters() {
        let set = "20261120T020000Z";
        assert_eq!(
            fresh_name("postgres", set),
            "postgres_restoring_20261120T020000Z"
        );
        let long = fresh_name(&"ü".repeat(31), set);
        assert!(
            long.len() <= NAME_BYTES && long.starts_with("üü") && is_fresh_name(&long),
            "{long}"
        );
        assert!(!is_fresh_name("postgres_before_20261120T020000Z"));
    }
}
