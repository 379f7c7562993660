//! Rows of tables whose checks, generated columns, domains or keys of partitions call more than PostgreSQL's own unchanging functions. They
//! are brought into a table of ours that checks nothing, and from there into theirs as the role whose code it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::feed::{Fed, Feed};
use super::loaded::LoadedTable;
use super::loader::Loader;
use super::request::Only;
use super::session;
use crate::restore::contain::Container;
use crate::restore::error::RestoreError;
use crate::restore::fault::LoadFault;
use crate::server::{Server, ServerError, ident, literal};
use crate::sql::{Kind, QualifiedName, classify};

/// Rows of one statement.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// The table of ours.
const STAGE: &str = "pg_temp.backupd_rows";

/// SQLSTATE.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Expressions that act, the types that come with them, and the tables that they act in, with the role whose code it is: the table's
/// owner; where that is a superuser, the owner of the domain or function. What a superuser wrote acts as a superuser, as ever. A
/// partition's rows are checked by its root's key, and a root's go through its partitions: they are of one family.
///
/// An expression is harmless when all that it calls is PostgreSQL's own and IMMUTABLE: then it reads its arguments alone. The types are
/// kept, as a table of ours must do without them.
const ACTING: &str = r"
CREATE TABLE {schema}.types AS
WITH RECURSIVE ordinary AS (SELECT r.oid FROM pg_catalog.pg_roles r WHERE NOT r.rolsuper),
expressions AS (
  SELECT k.conrelid AS relid, k.contypid AS typid, k.conbin::pg_catalog.text AS tree
  FROM pg_catalog.pg_constraint k WHERE k.contype = 'c' AND k.oid >= 16384
  UNION ALL
  SELECT d.adrelid, 0, d.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef d
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE a.attgenerated <> ''
  UNION ALL
  SELECT p.partrelid, 0, p.partexprs::pg_catalog.text FROM pg_catalog.pg_partitioned_table p WHERE p.partexprs IS NOT NULL
), calls AS (
  SELECT e.relid, e.typid, e.tree, m.found[1]::pg_catalog.oid AS function
  FROM expressions e LEFT JOIN LATERAL pg_catalog.regexp_matches(e.tree, ':(?:funcid|opfuncid) ([0-9]+)', 'g') AS m (found) ON true
), acting AS (
  SELECT c.relid, c.typid, p.proowner FROM calls c LEFT JOIN pg_catalog.pg_proc p ON p.oid = c.function
  WHERE c.function >= 16384 OR p.provolatile <> 'i' OR c.tree ~ 'COERCETODOMAIN|JSON'
    OR c.tree ~ 'COERCEVIAIO' AND c.tree ~ ':resulttype [0-9]{5,}'
), typed (oid, role) AS (
  SELECT t.oid, o.oid FROM acting a JOIN pg_catalog.pg_type t ON t.oid = a.typid JOIN ordinary o ON o.oid IN (t.typowner, a.proowner)
  UNION
  SELECT n.oid, y.role FROM typed y JOIN LATERAL (
    SELECT t.oid FROM pg_catalog.pg_type t WHERE y.oid IN (t.typelem, t.typbasetype)
    UNION ALL
    SELECT c.reltype FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE a.atttypid = y.oid AND NOT a.attisdropped AND c.reltype <> 0
    UNION ALL
    SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngsubtype = y.oid
    UNION ALL
    SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typtype = 'm' AND t.oid IN (
      SELECT d.objid FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
        AND d.refclassid = d.classid AND d.refobjid = y.oid)
  ) n ON true
), tables (oid, role) AS (
  SELECT c.oid, o.oid FROM acting a JOIN pg_catalog.pg_class c ON c.oid = a.relid
    JOIN ordinary o ON o.oid = c.relowner OR o.oid = a.proowner AND NOT EXISTS (SELECT FROM ordinary s WHERE s.oid = c.relowner)
  UNION
  SELECT c.oid, COALESCE(o.oid, y.role) FROM typed y JOIN pg_catalog.pg_attribute a ON a.atttypid = y.oid AND NOT a.attisdropped
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid LEFT JOIN ordinary o ON o.oid = c.relowner WHERE c.relkind IN ('r', 'p')
  UNION
  SELECT c.oid, o.oid FROM pg_catalog.pg_class c JOIN ordinary o ON o.oid = c.relowner WHERE c.relkind = 'f' AND c.relispartition
), family (oid, role) AS (
  SELECT t.oid, t.role FROM tables t
  UNION
  SELECT c.oid, COALESCE(o.oid, f.role) FROM family f JOIN pg_catalog.pg_inherits i ON f.oid IN (i.inhrelid, i.inhparent)
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
    JOIN pg_catalog.pg_class c ON c.oid IN (i.inhrelid, i.inhparent) AND c.oid <> f.oid LEFT JOIN ordinary o ON o.oid = c.relowner
)
SELECT y.oid, NULL::pg_catalog.oid AS role FROM typed y WHERE y.oid <> 0
UNION ALL SELECT f.oid, pg_catalog.min(f.role::pg_catalog.int8)::pg_catalog.oid FROM family f GROUP BY f.oid";

/// What a table of ours has for each column of another, and what becomes of it there: a domain's own type; for types that hold domains,
/// text that is read by the other's.
const COLUMNS: &str = "
WITH RECURSIVE base (attnum, oid, typmod) AS (
  SELECT a.attnum, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = {table}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, t.typbasetype, t.typtypmod FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid
  WHERE t.typtype = 'd' AND t.oid IN (SELECT y.oid FROM {schema}.types y WHERE y.role IS NULL)
)
SELECT a.attname,
  CASE WHEN y.oid IS NULL THEN pg_catalog.format_type(b.oid, b.typmod) ELSE 'pg_catalog.text' END,
  CASE WHEN y.oid IS NULL THEN '' ELSE '::' || pg_catalog.format_type(a.atttypid, NULL) END
FROM pg_catalog.pg_attribute a JOIN base b ON b.attnum = a.attnum JOIN pg_catalog.pg_type t ON t.oid = b.oid
  LEFT JOIN {schema}.types y ON y.oid = b.oid AND y.role IS NULL
WHERE a.attrelid = {table}::pg_catalog.regclass AND NOT (t.typtype = 'd' AND y.oid IS NOT NULL)";

/// The tables whose rows are brought as a role, which is named.
pub(super) async fn tables(
    server: &Server,
    schema: &str,
) -> Result<BTreeMap<QualifiedName, String>, ServerError> {
    server.execute(&ACTING.replace("{schema}", schema)).await?;
    let question = format!(
        "SELECT n.nspname, c.relname, r.rolname FROM {schema}.types t JOIN pg_catalog.pg_class c ON c.oid = t.oid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = t.role"
    );
    let rows = server.rows(&question).await?;
    let text =
        |row: &tokio_postgres::SimpleQueryRow, at| row.get(at).unwrap_or_default().to_owned();
    let table = |row| {
        let name = QualifiedName {
            schema: text(row, 0),
            name: text(row, 1),
        };
        (name, text(row, 2))
    };
    Ok(rows.iter().map(table).collect())
}

/// The table of ours for another, and the statement that brings its rows over.
struct Stage {
    create: String,
    insert: String,
}

impl Stage {
    async fn of(
        server: &Server,
        container: &Container,
        table: &LoadedTable,
    ) -> Result<Self, ServerError> {
        let name = table.name.to_string();
        let question = COLUMNS
            .replace("{table}", &literal(&name))
            .replace("{schema}", container.schema());
        let rows = server.rows(&question).await?;
        let mut types = BTreeMap::new();
        for row in &rows {
            if let (Some(column), Some(kind), Some(cast)) = (row.get(0), row.get(1), row.get(2)) {
                types.insert(column.to_owned(), (kind.to_owned(), cast.to_owned()));
            }
        }
        let (mut made, mut into, mut from) = (Vec::new(), Vec::new(), Vec::new());
        for column in table.target.column_names() {
            let (kind, cast) = types.remove(&column).unwrap_or_else(|| {
                // The server says what is wrong with it.
                ("pg_catalog.text".to_owned(), String::new())
            });
            let column = ident(&column);
            made.push(format!("{column} {kind}"));
            from.push(format!("{column}{cast}"));
            into.push(column);
        }
        let into = if into.is_empty() {
            String::new()
        } else {
            format!(" ({}) OVERRIDING SYSTEM VALUE", into.join(", "))
        };
        Ok(Self {
            create: format!("CREATE TEMPORARY TABLE backupd_rows ({})", made.join(", ")),
            insert: format!(
                "INSERT INTO {name}{into} SELECT {} FROM {STAGE}",
                from.join(", ")
            ),
        })
    }
}

impl Loader<'_> {
    /// Rows of such a table, in the dump's order, when everything before them is there, and before anything behind them is.
    pub(super) async fn copy_contained(
        &mut self,
        at: usize,
        table: &LoadedTable,
        role: &str,
        feed: &mut Feed,
    ) -> Result<(), RestoreError> {
        self.drain().await?;
        let Some(container) = self.container.clone() else {
            return Err(RestoreError::Interrupted);
        };
        let stage = Stage::of(&self.main, &container, table).await?;
        let whom = ident(role);
        // Of its own tables it may do anything.
        let (grant, revoke) = if self.owns(role, &table.name).await? {
            (String::new(), String::new())
        } else {
            (
                format!("GRANT INSERT ON {} TO {whom}; ", table.name),
                format!("REVOKE INSERT ON {} FROM {whom}; ", table.name),
            )
        };
        let begin = format!(
            "BEGIN; {grant}{}; GRANT SELECT ON {STAGE} TO {whom}",
            stage.create
        );
        let end = format!("{revoke}DROP TABLE {STAGE}; COMMIT");
        let copy = self.copy_statement(STAGE);
        let mut parts = Parts { feed, ended: false };
        let bringing = async {
            session::ours(&self.main, &begin).await?;
            let mut taken = 0;
            while let Some(part) = parts.next().await.map_err(BringError::Dump)? {
                let (sender, receiver) = mpsc::channel(part.len().max(1));
                for bytes in part {
                    // There is room for all of them.
                    let _ = sender.try_send(bytes);
                }
                drop(sender);
                session::copy(&self.main, &copy, false, receiver).await?;
                taken += container.act(&self.main, role, &stage.insert).await?;
                session::run(&self.main, &format!("TRUNCATE {STAGE}")).await?;
            }
            session::ours(&self.main, &end).await?;
            Ok::<u64, BringError>(taken)
        };
        match bringing.await {
            Ok(rows) => self.took(at, Ok(rows)),
            Err(BringError::Dump(error)) => Err(error),
            Err(BringError::Fault(fault)) => {
                // Without a connection there is nothing to roll back.
                let _ = session::run(&self.main, "ROLLBACK").await;
                if !parts.ended {
                    parts.feed.skip_rows().await?;
                }
                if self.waits_for_privileges(&fault) {
                    self.again.insert(table.name.clone());
                    return Ok(());
                }
                self.took(at, Err(fault))
            }
        }
    }

    /// A dump gives privileges behind all rows, and the code may read by them.
    fn waits_for_privileges(&self, fault: &LoadFault) -> bool {
        !self.privileges_given
            && self.request.only == Only::Everything
            && fault.code.as_deref() == Some(INSUFFICIENT_PRIVILEGE)
    }

    /// Whether a statement rests on rows that wait for privileges: then it waits, too.
    pub(super) fn waits_for_rows(&mut self, kind: &Kind, statement: &str) -> bool {
        let (table, other) = match kind {
            Kind::Check(table) => (table, None),
            Kind::ForeignKey(table, other) => (table, other.as_ref()),
            _ => return false,
        };
        let waits = [Some(table), other]
            .into_iter()
            .flatten()
            .any(|table| self.again.contains(table));
        if waits {
            self.after.push(statement.to_owned());
        }
        waits
    }

    /// Reads the dump once more for the rows that needed what is given at its end.
    pub(super) async fn bring_again(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<(), RestoreError> {
        self.drain().await?;
        let tables = std::mem::take(&mut self.again);
        if tables.is_empty() {
            return Ok(());
        }
        self.give_back_privileges().await?;
        self.privileges_given = true;
        let wanted = Box::new(move |name: &QualifiedName| tables.contains(name));
        let mut feed = Feed::begin(&self.request.source, wanted, cancel);
        while let Some(fed) = feed.next().await? {
            if let Fed::Copy(bytes) = fed {
                self.copy(&bytes, &mut feed).await?;
            }
        }
        for statement in std::mem::take(&mut self.after) {
            self.one_by_one(&classify(&statement), &statement).await?;
        }
        self.drain().await
    }

    async fn owns(&self, role: &str, table: &QualifiedName) -> Result<bool, ServerError> {
        let question = format!(
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
             WHERE c.oid = {}::pg_catalog.regclass AND r.rolname = {}",
            literal(&table.to_string()),
            literal(role)
        );
        Ok(self.main.number(&question).await? > 0)
    }
}

enum BringError {
    /// The dump could not be read.
    Dump(RestoreError),
    /// The server refused.
    Fault(LoadFault),
}

impl From<LoadFault> for BringError {
    fn from(fault: LoadFault) -> Self {
        Self::Fault(fault)
    }
}

/// The rows of a block in the dump.
struct Parts<'a> {
    feed: &'a mut Feed,
    ended: bool,
}

impl Parts<'_> {
    /// Whole rows, as many as go at once; none at their end.
    async fn next(&mut self) -> Result<Option<Vec<Bytes>>, RestoreError> {
        let (mut part, mut bytes, mut whole) = (Vec::new(), 0, true);
        while !self.ended && (bytes < PART_BYTES || !whole) {
            let Some(rows) = self.feed.next_rows().await? else {
                self.ended = true;
                break;
            };
            bytes += rows.bytes.len();
            whole = rows.whole;
            part.push(rows.bytes.into());
        }
        Ok((!part.is_empty()).then_some(part))
    }
}
