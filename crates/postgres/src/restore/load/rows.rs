//! Rows on their way into tables: over all connections, or into a table that stands in for one that cannot be.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::feed::{Fed, Feed};
use super::session::{self, LoadFault};
use super::{Class, Deferred, LoadedTable, Loader, column_names, copied};
use crate::digest::CopyTarget;
use crate::restore::error::RestoreError;
use crate::server::{Server, ServerError, ident, literal};
use crate::sql::QualifiedName;
use crate::sql::split::Rows;

/// Pieces of rows on their way to one connection.
const QUEUE: usize = 2;
/// Rows of a table that are held until it is known whether it is small: as many as there are connections are held at most.
const SMALL_BYTES: usize = 8 * 1024 * 1024;

/// Tables whose rows go through a function or an operator that is not PostgreSQL's own: by a CHECK, a stored generated column, a domain
/// (in an array or a composite type, too) or a key of partitions, of their own or of a table above or below them. Whatever such a
/// function is declared as, it may read other tables: to find what it would find with one connection, these tables are loaded in the
/// dump's order, alone.
const CALLS_FUNCTIONS: &str = "
WITH RECURSIVE code (kind, oid) AS (
  SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid FROM pg_catalog.pg_proc p
  WHERE p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace
  UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_operator o
  WHERE o.oprnamespace <> 'pg_catalog'::pg_catalog.regnamespace
), callers AS (
  SELECT d.classid, d.objid FROM pg_catalog.pg_depend d JOIN code ON code.kind = d.refclassid AND code.oid = d.refobjid
), types (oid) AS (
  SELECT k.contypid FROM callers JOIN pg_catalog.pg_constraint k ON callers.objid = k.oid
  WHERE callers.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.contypid <> 0
  UNION
  SELECT CASE WHEN c.oid IS NULL THEN d.objid ELSE c.reltype END
  FROM types JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid = types.oid
    LEFT JOIN pg_catalog.pg_class c ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid
  WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass OR c.reltype <> 0
), tables (oid) AS (
  SELECT k.conrelid FROM callers JOIN pg_catalog.pg_constraint k ON callers.objid = k.oid
  WHERE callers.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.contype = 'c'
  UNION
  SELECT g.adrelid FROM callers JOIN pg_catalog.pg_attrdef g ON callers.objid = g.oid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = g.adrelid AND a.attnum = g.adnum
  WHERE callers.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND a.attgenerated <> ''
  UNION
  SELECT p.partrelid FROM callers JOIN pg_catalog.pg_partitioned_table p ON callers.objid = p.partrelid
  WHERE callers.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  UNION
  SELECT a.attrelid FROM types JOIN pg_catalog.pg_attribute a ON a.atttypid = types.oid
), family (oid) AS (
  SELECT oid FROM tables
  UNION
  SELECT CASE WHEN i.inhparent = family.oid THEN i.inhrelid ELSE i.inhparent END
  FROM family JOIN pg_catalog.pg_inherits i ON family.oid IN (i.inhparent, i.inhrelid)
)
SELECT oid FROM family";

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
        if found.is_trapped {
            let fault = LoadFault {
                statement,
                reason: format!(
                    "{} has a trigger of an ordinary role that the dump has not made yet",
                    table.name
                ),
                code: None,
            };
            skip_rows(feed).await?;
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
        let connections = if found.in_order {
            1
        } else {
            self.servers.len()
        };
        self.copy_plain(at, &table, connections, feed).await
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
        if self.found.is_none() {
            self.ready_for_rows().await?;
            self.found = Some(Found::ask(&self.main).await?);
        }
        let Some(found) = &self.found else {
            return Err(RestoreError::Interrupted);
        };
        Ok(FoundTable {
            is_there: found.tables.contains(name),
            before: found.brought.get(name).copied().unwrap_or_default(),
            in_order: found.in_order.contains(name),
            is_trapped: found.trapped.contains(name),
        })
    }

    /// A table of text columns for rows whose extension is absent: their content is proven all the same.
    async fn stand_in(&mut self, table: &LoadedTable) -> Result<(), RestoreError> {
        let columns: Vec<String> = column_names(&table.target.columns)
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
    /// these connections, when everything before them is loaded, and before anything behind them is.
    async fn copy_plain(
        &mut self,
        at: usize,
        table: &LoadedTable,
        connections: usize,
        feed: &mut Feed,
    ) -> Result<(), RestoreError> {
        let statement = self.copy_statement(&listed(&table.name, &table.target.columns));
        // A dump's own triggers come behind its rows; those of an extension's tables are there. Supabase's Vault would encrypt what
        // is encrypted.
        let known = self.found.as_ref();
        let has_triggers = known.is_some_and(|found| found.with_triggers.contains(&table.name));
        let mut begun = Vec::new();
        let mut bytes = 0;
        // One connection has nothing to share.
        let small = if connections == 1 { 1 } else { SMALL_BYTES };
        while bytes < small {
            let Some(rows) = next_rows(feed).await? else {
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
                None => match next_rows(feed).await? {
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

/// The tables of a database before the first rows come.
pub(super) struct Found {
    tables: BTreeSet<QualifiedName>,
    /// Rows that extensions brought.
    brought: BTreeMap<QualifiedName, u64>,
    /// Those that have triggers already.
    with_triggers: BTreeSet<QualifiedName>,
    /// Those of which one calls a function of an ordinary role: users' code made it since, as a dump's come behind all rows.
    trapped: BTreeSet<QualifiedName>,
    /// Tables whose rows may depend on those of others.
    in_order: BTreeSet<QualifiedName>,
}

struct FoundTable {
    is_there: bool,
    before: u64,
    in_order: bool,
    is_trapped: bool,
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
            with_triggers: names(
                "EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)",
            )
            .await?,
            trapped: names(
                "EXISTS (SELECT FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
                   JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
                   WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND NOT r.rolsuper)",
            )
            .await?,
            in_order: names(&format!("c.oid IN ({CALLS_FUNCTIONS})")).await?,
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
pub(super) async fn next_rows(feed: &mut Feed) -> Result<Option<Rows>, RestoreError> {
    match feed.next().await? {
        Some(Fed::Rows(rows)) => Ok(Some(rows)),
        Some(Fed::EndOfRows) => Ok(None),
        // The feed gives rows up to their end, or an error.
        _ => Err(RestoreError::Interrupted),
    }
}

pub(super) async fn skip_rows(feed: &mut Feed) -> Result<(), RestoreError> {
    while let Some(Fed::Rows(_)) = feed.next().await? {}
    Ok(())
}
