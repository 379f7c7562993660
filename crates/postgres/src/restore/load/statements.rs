//! Statements of a dump, each brought to the server in the way of its kind.

use super::loader::{Class, Loader};
use super::made::gives_privileges;
use super::request::{OnError, Only};
use super::session;
use crate::restore::error::RestoreError;
use crate::restore::fault::LoadFault;
use crate::server::{SQL_ASCII, literal};
use crate::sql::{Kind, classify};

/// pg_dump 17 and later print it for every server; older servers do not know it.
const TRANSACTION_TIMEOUT: &str = "SET transaction_timeout";
/// The first server that knows it.
const TRANSACTION_TIMEOUT_SINCE: u32 = 17;
/// The encoding of the database that a session is in.
const DATABASE_ENCODING: &str = "SELECT pg_catalog.getdatabaseencoding()";

impl Loader<'_> {
    /// A statement's text, which connections take in UTF-8.
    pub(super) async fn decoded(&self, bytes: &[u8]) -> Result<String, RestoreError> {
        if bytes.is_ascii() {
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        }
        if ["UTF8", SQL_ASCII].contains(&self.encoding.as_str()) {
            return String::from_utf8(bytes.to_vec()).map_err(|error| {
                let fault = LoadFault {
                    statement: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                    reason: format!(
                        "a name, a comment or a body in it is not UTF-8 ({error}): backupd cannot send it, psql can"
                    ),
                    code: None,
                };
                fault.into()
            });
        }
        let encoding = literal(&self.encoding);
        Ok(self.main.decoded(bytes, &encoding).await?)
    }

    pub(super) async fn statement(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let statement = self.decoded(bytes).await?;
        let kind = classify(&statement);
        if !self.is_wanted(&kind) || self.puts_off(&kind, &statement).await? {
            return Ok(());
        }
        if rests_on_all(&kind) {
            self.wake().await?;
        }
        if self.waits_for_rows(&kind, &statement) {
            return Ok(());
        }
        match kind {
            Kind::Setting => self.setting(&statement).await,
            Kind::Forbidden => {
                let fault = LoadFault {
                    statement,
                    reason: "pg_dump never writes such a statement into a dump: it was not run"
                        .to_owned(),
                    code: None,
                };
                self.fault(fault)
            }
            Kind::Extension(name) => {
                let later = self
                    .request
                    .later
                    .is_some_and(|later| later.extension == name);
                if later {
                    self.defer(&statement);
                } else if !self.request.absent.contains(&name) {
                    return self.extension(&statement).await;
                }
                Ok(())
            }
            Kind::EventTrigger | Kind::Publication | Kind::Subscription | Kind::Refresh => {
                self.loaded.held.add(&kind, statement);
                Ok(())
            }
            Kind::Index | Kind::Key(_) => self.spawn(Class::Indexes, Vec::new(), statement).await,
            Kind::ForeignKey(ref table, ref other) if !self.acts_in(table, other.as_ref()) => {
                let tables = [Some(table), other.as_ref()];
                let tables = tables.into_iter().flatten().cloned().collect();
                self.spawn(Class::ForeignKeys, tables, statement).await
            }
            _ => self.one_by_one(&kind, &statement).await,
        }
    }

    /// Whether a statement is of what is loaded.
    fn is_wanted(&self, kind: &Kind) -> bool {
        match &self.request.only {
            Only::Everything => true,
            Only::Schema => matches!(
                kind,
                Kind::Setting
                    | Kind::Extension(_)
                    | Kind::Plain
                    | Kind::Check(_)
                    | Kind::DomainCheck(_)
                    | Kind::Roles
                    | Kind::Forbidden
            ),
            Only::Tables(tables) => match kind {
                Kind::Setting | Kind::Forbidden => true,
                Kind::Key(table) => tables.contains(table),
                _ => false,
            },
        }
    }

    async fn setting(&mut self, statement: &str) -> Result<(), RestoreError> {
        if self.request.server_major < TRANSACTION_TIMEOUT_SINCE
            && statement.starts_with(TRANSACTION_TIMEOUT)
        {
            return Ok(());
        }
        let encoding = statement.strip_prefix("SET client_encoding = '");
        if let Some(encoding) = encoding.and_then(|rest| rest.strip_suffix("';")) {
            return self.written_in(encoding).await;
        }
        if let Some(tablespace) = statement.strip_prefix("SET default_tablespace = ")
            && self.request.makes_tablespaces
            && !tablespace.starts_with('\'')
        {
            let make = format!(
                "CREATE TABLESPACE {} LOCATION ''",
                tablespace.trim_end_matches(';')
            );
            // One that is there already is as good; what is wrong besides is told by the setting itself.
            for statement in ["SET allow_in_place_tablespaces = on", &make] {
                let _ = session::run(&self.main, statement).await;
            }
        }
        if statement.starts_with("SET default_tablespace = ") {
            self.tablespace = Some(statement.to_owned());
        }
        if let Err(fault) = self.everywhere(statement).await {
            match fault {
                RestoreError::Load(fault) => return self.fault(*fault),
                other => return Err(other),
            }
        }
        Ok(())
    }

    /// What the dump says it is written in: UTF-8, no encoding, or its database's own, which dumps were written in up to 0.1.0. Another is
    /// no word of pg_dump: rows would be taken for other letters, and read back as the same bytes.
    ///
    /// Statements are decoded; rows go as they are, in their own encoding, by COPY's own option.
    async fn written_in(&mut self, encoding: &str) -> Result<(), RestoreError> {
        if !["UTF8", SQL_ASCII].contains(&encoding) {
            let rows = self.main.rows(DATABASE_ENCODING).await?;
            let own = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
            if own != encoding {
                return self.fault(LoadFault {
                    statement: format!("SET client_encoding = '{encoding}';"),
                    reason: format!("its database is in {own}: a dump of it is in that or in UTF8"),
                    code: None,
                });
            }
        }
        encoding.clone_into(&mut self.encoding);
        Ok(())
    }

    /// The settings that a dump begins with, where what is loaded is not read from its beginning.
    pub(super) async fn ready(&mut self) -> Result<(), RestoreError> {
        for setting in [
            "SELECT pg_catalog.set_config('search_path', '', false)",
            "SET check_function_bodies = false",
            "SET xmloption = content",
            "SET row_security = off",
        ] {
            self.everywhere(setting).await?;
        }
        Ok(())
    }

    /// Nothing of the dump is left.
    pub(super) async fn end(&mut self) -> Result<(), RestoreError> {
        self.drain().await?;
        self.wake().await?;
        self.give_back_privileges().await?;
        if let Some(container) = self.container.take() {
            container.close(&self.main).await?;
        }
        Ok(())
    }

    /// Runs a statement when everything before it is done.
    pub(super) async fn alone(&mut self, statement: &str) -> Result<(), RestoreError> {
        self.drain().await?;
        if gives_privileges(statement) {
            self.wake().await?;
            self.give_back_privileges().await?;
        }
        let done = session::run(&self.main, statement).await;
        self.follow(statement, done).await
    }

    /// What follows a statement that was run.
    pub(super) async fn follow(
        &mut self,
        statement: &str,
        done: Result<(), LoadFault>,
    ) -> Result<(), RestoreError> {
        match done {
            Ok(()) => self.made(statement).await,
            Err(fault) if self.waits(statement, &fault) => {
                self.defer(statement);
                Ok(())
            }
            Err(fault) if self.replaces(&fault, statement).await? => self.made(statement).await,
            Err(fault) => {
                // What would belong to a superuser now is not to act as one.
                if self.request.on_error == OnError::GoOn
                    && self.gives_to_nobody(&fault, statement).await?
                {
                    self.made(statement).await?;
                }
                self.fault(fault)
            }
        }
    }
}

/// Whether a statement comes when everything is made that rows rest on.
fn rests_on_all(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Index
            | Kind::Key(_)
            | Kind::ForeignKey(..)
            | Kind::Check(_)
            | Kind::DomainCheck(_)
            | Kind::Trigger
            | Kind::RestsOnOthers
            | Kind::Data
    )
}
