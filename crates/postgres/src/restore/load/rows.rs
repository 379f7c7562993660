//! Rows on their way into tables: over all connections, or into a table that stands in for one that cannot be.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::feed::Feed;
use super::found::{Found, FoundTable};
use super::loaded::{Deferred, LoadedTable};
use super::loader::{Class, Loader, ended_early};
use super::session;
use crate::restore::error::RestoreError;
use crate::restore::fault::LoadFault;
use crate::server::{ident, literal};
use crate::sql::split::Rows;
use crate::sql::{CopyTarget, QualifiedName};

/// Pieces of rows on their way to one connection.
const QUEUE: usize = 2;
/// Rows of a table that are held until it is known whether it is small: as many as there are connections are held at most.
const SMALL_BYTES: usize = 8 * 1024 * 1024;

impl Loader<'_> {
    pub(super) async fn copy(&mut self, bytes: &[u8], feed: &mut Feed) -> Result<(), RestoreError> {
        let statement = self.decoded(bytes).await?;
        let target = CopyTarget::parse(statement.as_bytes());
        let Some((name, target)) = target.and_then(|target| Some((target.name()?, target))) else {
            let fault = LoadFault {
                statement,
                reason: "it is no COPY that pg_dump writes".to_owned(),
                code: None,
            };
            return self.fault(fault);
        };
        let found = self.look(&name).await?;
        // Rows of a set's list are named without being decoded.
        let raw = CopyTarget::parse(bytes);
        let mut table = LoadedTable {
            listed: raw.map_or_else(|| target.table.clone(), |raw| raw.table),
            encoding: self.encoding.clone(),
            target,
            before: found.before,
            rows: 0,
            stand_in: false,
            acts: false,
            name,
        };
        if !found.is_there {
            let fault = LoadFault {
                statement: statement.clone(),
                reason: format!("there is no table {}", table.name),
                code: Some("42P01".to_owned()),
            };
            if self.waits(&statement, &fault) {
                self.loaded.held.later.push(Deferred::Rows(table.name));
                return feed.skip_rows().await;
            }
            if self.request.absent.is_empty() {
                feed.skip_rows().await?;
                return self.fault(fault);
            }
            self.stand_in(&table).await?;
            if let Some(found) = &mut self.found {
                found.is_made(&table.name);
            }
            table.stand_in = true;
        }
        if found.is_trapped {
            let fault = LoadFault {
                statement,
                reason: format!(
                    "{} has a trigger of an ordinary role that the dump has not made yet",
                    table.name
                ),
                code: None,
            };
            feed.skip_rows().await?;
            return self.fault(fault);
        }
        // Partitions that are loaded through their root come in a block each.
        let known = self
            .loaded
            .tables
            .iter()
            .position(|other| other.name == table.name);
        let role = self.contained.get(&table.name).cloned();
        table.acts = role.is_some() || self.late;
        let at = known.unwrap_or_else(|| {
            self.loaded.tables.push(table.clone());
            self.loaded.tables.len() - 1
        });
        if let Some(role) = role {
            return self.copy_contained(at, &table, &role, feed).await;
        }
        self.copy_plain(at, &table, &found, feed).await
    }

    /// Keeps what came of a table's rows.
    pub(super) fn took(
        &mut self,
        table: usize,
        copied: Result<u64, LoadFault>,
    ) -> Result<(), RestoreError> {
        match copied {
            Ok(rows) => {
                self.loaded.tables[table].rows += rows;
                Ok(())
            }
            Err(fault) => self.fault(fault),
        }
    }

    /// The statement that takes rows, in the dump's encoding.
    pub(super) fn copy_statement(&self, target: &str) -> String {
        format!(
            "COPY {target} FROM STDIN WITH (ENCODING {})",
            literal(&self.encoding)
        )
    }

    /// What is known of a table. Asked of the server when the first rows come: then all tables are made.
    async fn look(&mut self, name: &QualifiedName) -> Result<FoundTable, RestoreError> {
        if let Some(found) = &self.found {
            return Ok(found.of(name));
        }
        self.ready_for_rows().await?;
        let found = Found::ask(&self.main).await?;
        Ok(self.found.insert(found).of(name))
    }

    /// A table of text columns for rows whose extension is absent: their content is proven all the same.
    async fn stand_in(&mut self, table: &LoadedTable) -> Result<(), RestoreError> {
        let columns: Vec<String> = table
            .target
            .column_names()
            .iter()
            .map(|column| format!("{} pg_catalog.text", ident(column)))
            .collect();
        self.drain().await?;
        for statement in [
            format!("CREATE SCHEMA IF NOT EXISTS {}", ident(&table.name.schema)),
            format!("CREATE TABLE {} ({})", table.name, columns.join(", ")),
        ] {
            session::run(&self.main, &statement).await?;
        }
        Ok(())
    }

    /// Rows of a small table go to one connection, beside those of others, and keep their order; those of a large one are spread over
    /// all connections, when everything before them is loaded, and before anything behind them is.
    async fn copy_plain(
        &mut self,
        at: usize,
        table: &LoadedTable,
        found: &FoundTable,
        feed: &mut Feed,
    ) -> Result<(), RestoreError> {
        let statement = self.copy_statement(&listed(&table.name, &table.target.columns));
        // A dump's own triggers come behind its rows; those of an extension's tables are there: one that encrypts would encrypt
        // what is encrypted.
        let has_triggers = found.has_triggers;
        let connections = if found.in_order {
            1
        } else {
            self.servers.len()
        };
        let mut begun = Vec::new();
        let mut bytes = 0;
        // One connection has nothing to share.
        let small = if connections == 1 { 1 } else { SMALL_BYTES };
        while bytes < small {
            let Some(rows) = feed.next_rows().await? else {
                return self.copy_small(at, statement, has_triggers, begun).await;
            };
            bytes += rows.bytes.len();
            begun.push(rows);
        }
        self.copy_spread(at, statement, has_triggers, begun, connections, feed)
            .await
    }

    async fn copy_small(
        &mut self,
        at: usize,
        statement: String,
        has_triggers: bool,
        rows: Vec<Rows>,
    ) -> Result<(), RestoreError> {
        let (connection, server) = self.begin_work(Class::Rows, Vec::new()).await?;
        let (sender, receiver) = mpsc::channel(rows.len().max(1));
        for rows in rows {
            // There is room for all of them.
            let _ = sender.try_send(rows.bytes.into());
        }
        self.running.spawn(async move {
            drop(sender);
            let copied = session::copy(&server, &statement, has_triggers, receiver).await;
            (connection, copied.map(|rows| Some((at, rows))))
        });
        Ok(())
    }

    async fn copy_spread(
        &mut self,
        at: usize,
        statement: String,
        has_triggers: bool,
        begun: Vec<Rows>,
        connections: usize,
        feed: &mut Feed,
    ) -> Result<(), RestoreError> {
        self.drain().await?;
        let mut copying = JoinSet::new();
        let mut senders: Vec<mpsc::Sender<Bytes>> = Vec::new();
        let mut to = 0;
        let mut within_row = false;
        let mut begun = begun.into_iter();
        loop {
            let rows = match begun.next() {
                Some(rows) => rows,
                None => match feed.next_rows().await? {
                    Some(rows) => rows,
                    None => break,
                },
            };
            if !within_row {
                to = if senders.len() < connections {
                    let (sender, receiver) = mpsc::channel(QUEUE);
                    let server = self.servers[senders.len()].clone();
                    let statement = statement.clone();
                    copying.spawn(async move {
                        session::copy(&server, &statement, has_triggers, receiver).await
                    });
                    senders.push(sender);
                    senders.len() - 1
                } else {
                    (to + 1) % senders.len()
                };
            }
            within_row = !rows.whole;
            // A connection that failed takes no more: its fault is told below.
            let _ = senders[to].send(rows.bytes.into()).await;
        }
        drop(senders);
        let mut taken = Ok(0);
        while let Some(joined) = copying.join_next().await {
            let copied = joined.map_err(ended_early)?;
            taken = match (taken, copied) {
                (Ok(taken), Ok(rows)) => Ok(taken + rows),
                (Err(fault), _) | (Ok(_), Err(fault)) => Err(fault),
            };
        }
        self.took(at, taken)
    }
}

/// `table (columns)`; a table without columns is named alone.
fn listed(table: &QualifiedName, columns: &str) -> String {
    if columns.is_empty() {
        table.to_string()
    } else {
        format!("{table} ({columns})")
    }
}
