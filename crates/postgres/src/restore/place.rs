//! The place of a database on its server: the present one is moved aside by a new name, a fresh one gets the name, and any fault puts
//! the present one back. Both renames are one transaction, so that at no moment a database is without its place.
//!
//! A fresh database carries marks (settings of its own, `backupd.restoring` and others) until it is complete. They tell what a restore
//! that was killed left behind, and keep a backup run from taking a half-loaded database for a whole one.

use tokio_util::sync::CancellationToken;

use super::admin::{Admin, MARK, MARK_ASIDE, MARK_NAME, Present, many};
use super::error::RestoreError;
use super::names::{cut, drop_statement, fresh_name};
use super::roles::RolesScript;
use super::strangers;
use crate::server::{ServerError, ident, literal};

/// More restores of one set than this were not made.
const ASIDE_MOST: u32 = 99;

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
