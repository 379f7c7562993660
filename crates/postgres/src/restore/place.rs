//! The place of a database on its server: a new one is made and loaded under a name of its own, and gets the name of the present one when it
//! is complete; the present one is moved aside by the same transaction. Until then nobody who knows the name has met the new one, and a
//! failed load never touched anything.
//!
//! A new database carries marks (settings of its own, `backupd.restoring` and others) until all is done. They tell what a restore that
//! did not end left behind, keep a backup run from taking a half-restored database for a whole one, and are all that is ever asked.

use std::time::{Duration, Instant};

use super::admin::{Admin, Present, RENAME_WITHIN, RETRY_EVERY};
use super::error::RestoreError;
use super::marks::{MARK, MARK_ASIDE, MARK_KEPT, MARK_NAME, MARK_SUBSCRIPTIONS};
use super::names::{cut, fresh_name};
use super::roles::failed;
use super::strangers;
use crate::server::{ServerError, ident, literal};

/// A session that was left is gone within.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);
/// More restores from one origin than this were not made.
const ASIDE_MOST: u32 = 99;

/// A database being restored.
#[derive(Debug, Clone)]
pub struct Place {
    /// The name that it is to have.
    pub name: String,
    /// The name that it is loaded under.
    pub fresh: String,
    /// The new database's own number, which no name and no mark changes.
    pub oid: u32,
    origin: String,
    beside: bool,
}

impl Place {
    /// Makes the new database, marked, under a name of its own, by the statement `creation` (for the name that it is given). Nothing else
    /// is touched. Where the server does not know the locale of the dumped database, the present one's is taken, and said.
    pub async fn prepare(
        admin: &Admin,
        name: &str,
        origin: &str,
        creation: impl Fn(&str) -> Option<String>,
        beside: bool,
    ) -> Result<(Self, Option<String>), RestoreError> {
        if let Some(refusal) = refusals(admin, name, beside).await?.into_iter().next() {
            return Err(refusal);
        }
        let present = admin.look(name).await?;
        let mut place = Self {
            name: name.to_owned(),
            fresh: fresh_name(name, origin),
            oid: 0,
            origin: origin.to_owned(),
            beside,
        };
        match place
            .create(admin, creation(&place.fresh), present.as_ref())
            .await
        {
            Ok((oid, note)) => {
                place.oid = oid;
                Ok((place, note))
            }
            Err(error) => {
                // Most often it is not there; else its name tells the next restore what it is.
                let _ = admin.drop(&place.fresh).await;
                Err(error)
            }
        }
    }

    async fn create(
        &self,
        admin: &Admin,
        as_dumped: Option<String>,
        present: Option<&Present>,
    ) -> Result<(u32, Option<String>), RestoreError> {
        let server = &admin.server;
        let fresh = ident(&self.fresh);
        let as_present = present.map_or_else(
            || format!("CREATE DATABASE {fresh} WITH TEMPLATE = template0"),
            |present| {
                format!(
                    "CREATE DATABASE {fresh} WITH TEMPLATE = template0 ENCODING = {} LC_COLLATE = {} LC_CTYPE = {}",
                    literal(&present.encoding),
                    literal(&present.collate),
                    literal(&present.ctype)
                )
            },
        );
        let note = match as_dumped {
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
        let marks = format!(
            "ALTER DATABASE {fresh} SET {MARK} TO {}; ALTER DATABASE {fresh} SET {MARK_NAME} TO {}; ALTER DATABASE {fresh} CONNECTION LIMIT 0",
            literal(&self.origin),
            literal(&self.name)
        );
        server.execute(&marks).await?;
        let number = format!(
            "SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_database WHERE datname = {}",
            literal(&self.fresh)
        );
        let oid = u32::try_from(server.number(&number).await?).unwrap_or_default();
        Ok((oid, note))
    }

    /// Gives the new database its name; the present one, if there is one, is moved aside in the same transaction, and its new name is
    /// given back. Its subscriptions are disabled, and sessions are ended.
    pub async fn take(&self, admin: &Admin) -> Result<Option<String>, RestoreError> {
        if admin.look(&self.name).await?.is_none() {
            admin.exchange(&self.name, None, &self.fresh).await?;
            return Ok(None);
        }
        if self.beside {
            return Err(RestoreError::Exists {
                name: self.name.clone(),
                drop: admin.drop_by_hand(&self.name).await?,
            });
        }
        let aside = self.free_name(admin).await?;
        admin
            .server
            .execute(&format!(
                "ALTER DATABASE {} SET {MARK_ASIDE} TO {}",
                ident(&self.fresh),
                literal(&aside)
            ))
            .await?;
        admin.disable_subscriptions(&self.name, &self.fresh).await?;
        admin
            .exchange(&self.name, Some(&aside), &self.fresh)
            .await?;
        Ok(Some(aside))
    }

    async fn free_name(&self, admin: &Admin) -> Result<String, RestoreError> {
        for number in 1..=ASIDE_MOST {
            let suffix = if number == 1 {
                format!("_before_{}", self.origin)
            } else {
                format!("_before_{}_{number}", self.origin)
            };
            let name = cut(&self.name, &suffix) + &suffix;
            if admin.look(&name).await?.is_none() {
                return Ok(name);
            }
        }
        let name = format!("{}_before_{}", self.name, self.origin);
        Err(RestoreError::Exists {
            drop: admin.drop_by_hand(&name).await?,
            name,
        })
    }

    /// All is done: in one transaction the statements of the caller (roles, owner, settings, privileges, limits), the end of the marks, and
    /// the doors of the database before.
    pub async fn complete(
        &self,
        admin: &Admin,
        aside: Option<&str>,
        statements: &[String],
    ) -> Result<(), RestoreError> {
        let server = &admin.server;
        let name = ident(&self.name);
        server
            .execute(&format!(
                "BEGIN; ALTER DATABASE {name} CONNECTION LIMIT -1; ALTER DATABASE {name} RESET {MARK};
                 ALTER DATABASE {name} RESET {MARK_ASIDE}; ALTER DATABASE {name} RESET {MARK_NAME};
                 ALTER DATABASE {name} RESET {MARK_SUBSCRIPTIONS}"
            ))
            .await?;
        for statement in statements {
            server
                .execute(statement)
                .await
                .map_err(|source| failed(statement, source))?;
        }
        if let Some(aside) = aside {
            admin.allow_connections(aside, true).await?;
        }
        server.execute("COMMIT").await?;
        Ok(())
    }
}

impl Admin {
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
}

/// Everything for which no database of this name can be restored on this server, clients apart.
pub async fn refusals(
    admin: &Admin,
    name: &str,
    beside: bool,
) -> Result<Vec<RestoreError>, RestoreError> {
    let mut found = Vec::new();
    let standby = "SELECT pg_catalog.pg_is_in_recovery()::pg_catalog.int4";
    if admin.server.number(standby).await? == 1 {
        found.push(RestoreError::Standby {
            server: admin.server.dsn().to_string(),
        });
    }
    match admin.look(name).await? {
        Some(_) if beside => found.push(RestoreError::Exists {
            name: name.to_owned(),
            drop: admin.drop_by_hand(name).await?,
        }),
        Some(present) if !present.open => found.push(RestoreError::Closed {
            name: name.to_owned(),
        }),
        _ => {}
    }
    let transactions = admin.prepared_transactions(name).await?;
    if !transactions.is_empty() {
        found.push(RestoreError::Prepared {
            name: name.to_owned(),
            literals: admin.prepared_literals(name).await?,
            transactions,
        });
    }
    Ok(found)
}

/// Who is in the way of a new database of this name: clients of the present one. A session that was left a moment ago, by backupd's own
/// look or whoever's, ends by and by: it is waited for.
pub async fn in_the_way(admin: &Admin, name: &str) -> Result<(), RestoreError> {
    let began = Instant::now();
    loop {
        let clients = admin.sessions(name).await?.clients;
        if clients.is_empty() {
            return Ok(());
        }
        if began.elapsed() > LEAVES_WITHIN {
            return Err(RestoreError::Busy {
                name: name.to_owned(),
                sessions: clients,
            });
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}
