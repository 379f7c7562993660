//! Rows on their way into tables: over all connections, or into a table that stands in for one that cannot be.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::feed::{Fed, Feed};
use super::session::{self, LoadFault};
use super::{Class, Deferred, LoadedTable, Loader, column_names, copied};
use crate::restore::error::RestoreError;
use crate::server::{Server, ServerError, ident, literal};
use crate::sql::QualifiedName;
use crate::sql::split::Rows;

/// Pieces of rows on their way to one connection.
const QUEUE: usize = 2;
/// Rows of a table that are held until it is known whether it is small: as many as there are connections are held at most.
const SMALL_BYTES: usize = 8 * 1024 * 1024;

impl Loader<'_> {
    pub(super) async fn copy(&mut self, bytes: &[u8], feed: &mut Feed) -> Result<(), RestoreError> {
        let statement = self.decoded(bytes).await?;
        let Some((name, target)) = copied(statement.as_bytes()) else {
            let fault = LoadFault {
                statement,
                reason: "it is no COPY that pg_dump writes".to_owned(),
                code: None,
            };
            return self.fault(fault);
        };
        let found = self.look(&name).await?;
        let mut table = LoadedTable {
            target,
            before: found.before,
            rows: 0,
            stand_in: false,
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
                return skip_rows(feed).await;
            }
            if self.request.absent.is_empty() {
                skip_rows(feed).await?;
                return self.fault(fault);
            }
            self.stand_in(&table).await?;
            if let Some(found) = &mut self.found {
                found.tables.insert(table.name.clone());
            }
            table.stand_in = true;
        }
        // Partitions that are loaded through their root come in a block each.
        let known = self
            .loaded
            .tables
            .iter()
            .position(|other| other.name == table.name);
        let at = known.unwrap_or_else(|| {
            self.loaded.tables.push(table.clone());
            self.loaded.tables.len() - 1
        });
        self.copy_plain(at, &table, feed).await
    }

    /// Keeps what came of a table's rows.
    fn took(&mut self, table: usize, copied: Result<u64, LoadFault>) -> Result<(), RestoreError> {
        match copied {
            Ok(rows) => {
                self.loaded.tables[table].rows += rows;
                Ok(())
            }
            Err(fault) => self.fault(fault),
        }
    }

    /// The statement that takes rows, in the dump's encoding.
    fn copy_statement(&self, target: &str) -> String {
        format!(
            "COPY {target} FROM STDIN WITH (ENCODING {})",
            literal(&self.encoding)
        )
    }

    /// What is known of a table. Asked of the server when the first rows come: then all tables are made.
    async fn look(&mut self, name: &QualifiedName) -> Result<FoundTable, RestoreError> {
        if self.found.is_none() {
            self.drain().await?;
            self.found = Some(Found::ask(&self.main).await?);
        }
        let Some(found) = &self.found else {
            return Err(RestoreError::Interrupted);
        };
        Ok(FoundTable {
            is_there: found.tables.contains(name),
            before: found.brought.get(name).copied().unwrap_or_default(),
        })
    }

    /// A table of text columns for rows whose extension is absent: their content is proven all the same.
    async fn stand_in(&mut self, table: &LoadedTable) -> Result<(), RestoreError> {
        let columns: Vec<String> = column_names(&table.target.columns)
            .iter()
            .map(|column| format!("{} pg_catalog.text", ident(column)))
            .collect();
        self.drain().await?;
        session::run(
            &self.main,
            &format!(
                "CREATE SCHEMA IF NOT EXISTS {}; CREATE TABLE {} ({})",
                ident(&table.name.schema),
                table.name,
                columns.join(", ")
            ),
        )
        .await
        .map_err(RestoreError::from)
    }

    /// Rows of a small table go to one connection, beside those of others, and keep their order; those of a large one are spread over
    /// all connections.
    async fn copy_plain(
        &mut self,
        at: usize,
        table: &LoadedTable,
        feed: &mut Feed,
    ) -> Result<(), RestoreError> {
        let statement = self.copy_statement(&listed(&table.name, &table.target.columns));
        let mut begun = Vec::new();
        let mut bytes = 0;
        // One connection has nothing to share.
        let small = if self.servers.len() == 1 {
            1
        } else {
            SMALL_BYTES
        };
        while bytes < small {
            let Some(rows) = next_rows(feed).await? else {
                return self.copy_small(at, statement, begun).await;
            };
            bytes += rows.bytes.len();
            begun.push(rows);
        }
        self.copy_spread(at, statement, begun, feed).await
    }

    async fn copy_small(
        &mut self,
        at: usize,
        statement: String,
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
            let copied = session::copy(&server, &statement, receiver).await;
            (connection, copied.map(|rows| Some((at, rows))))
        });
        Ok(())
    }

    async fn copy_spread(
        &mut self,
        at: usize,
        statement: String,
        begun: Vec<Rows>,
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
                None => match next_rows(feed).await? {
                    Some(rows) => rows,
                    None => break,
                },
            };
            if !within_row {
                to = if senders.len() < self.servers.len() {
                    let (sender, receiver) = mpsc::channel(QUEUE);
                    let server = self.servers[senders.len()].clone();
                    let statement = statement.clone();
                    copying
                        .spawn(async move { session::copy(&server, &statement, receiver).await });
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

/// The tables of a database before the first rows come.
pub(super) struct Found {
    tables: BTreeSet<QualifiedName>,
    /// Rows that extensions brought.
    brought: BTreeMap<QualifiedName, u64>,
}

struct FoundTable {
    is_there: bool,
    before: u64,
}

impl Found {
    async fn ask(server: &Server) -> Result<Self, ServerError> {
        let names = async |condition: &str| -> Result<BTreeSet<QualifiedName>, ServerError> {
            let question = format!(
                "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE {condition}"
            );
            let rows = server.rows(&question).await?;
            Ok(rows
                .iter()
                .map(|row| QualifiedName {
                    schema: row.get(0).unwrap_or_default().to_owned(),
                    name: row.get(1).unwrap_or_default().to_owned(),
                })
                .collect())
        };
        let mut brought = BTreeMap::new();
        let of_extensions = "c.relkind = 'r' AND c.oid = ANY (SELECT pg_catalog.unnest(extconfig) FROM pg_catalog.pg_extension)";
        for name in names(of_extensions).await? {
            let question = format!("SELECT pg_catalog.count(*) FROM ONLY {name}");
            let rows = server.number(&question).await?;
            brought.insert(name, rows);
        }
        Ok(Self {
            tables: names("c.relkind IN ('r', 'p', 'f')").await?,
            brought,
        })
    }
}

pub(super) fn ended_early(panic: tokio::task::JoinError) -> RestoreError {
    RestoreError::Io {
        what: "a part of the load ended early",
        source: std::io::Error::other(panic),
    }
}

/// The next rows of the block that is read; none at its end.
async fn next_rows(feed: &mut Feed) -> Result<Option<Rows>, RestoreError> {
    match feed.next().await? {
        Some(Fed::Rows(rows)) => Ok(Some(rows)),
        Some(Fed::EndOfRows) => Ok(None),
        // The feed gives rows up to their end, or an error.
        _ => Err(RestoreError::Interrupted),
    }
}

async fn skip_rows(feed: &mut Feed) -> Result<(), RestoreError> {
    while let Some(Fed::Rows(_)) = feed.next().await? {}
    Ok(())
}
