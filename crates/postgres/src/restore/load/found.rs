//! What is known of a database's tables before the first rows come.

use std::collections::{BTreeMap, BTreeSet};

use crate::server::{Server, ServerError};
use crate::sql::QualifiedName;

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

/// One of them.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, none a state"
)]
pub(super) struct FoundTable {
    pub is_there: bool,
    pub before: u64,
    pub in_order: bool,
    pub is_trapped: bool,
    pub has_triggers: bool,
}

impl Found {
    /// Whatever is known of this one.
    pub fn of(&self, name: &QualifiedName) -> FoundTable {
        FoundTable {
            is_there: self.tables.contains(name),
            before: self.brought.get(name).copied().unwrap_or_default(),
            in_order: self.in_order.contains(name),
            is_trapped: self.trapped.contains(name),
            has_triggers: self.with_triggers.contains(name),
        }
    }

    /// One more is there.
    pub fn is_made(&mut self, name: &QualifiedName) {
        self.tables.insert(name.clone());
    }

    pub async fn ask(server: &Server) -> Result<Self, ServerError> {
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
