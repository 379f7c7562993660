//! Tables whose rows run users' code when they are written: a CHECK, a generated column, a domain or a partition key that calls a function
//! of an ordinary role. A superuser's COPY would run that code as superuser. Their rows are taken into a table without any of it first,
//! and written from there by a SECURITY DEFINER function of the table's owner, in which PostgreSQL lets nobody change the role
//! (`SET ROLE` and `SET SESSION AUTHORIZATION` are refused there).

use std::collections::BTreeMap;

use crate::server::{Server, ServerError, ident};
use crate::sql::QualifiedName;

use super::session::{LoadFault, run};

/// A table whose rows are written by its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guarded {
    /// Who writes them.
    pub role: String,
    /// Columns whose type calls such code: they are taken as text first.
    pub as_text: Vec<String>,
}

/// `code`: functions of roles that are no superuser. `used`: what calls them, by pg_depend. `checked`: domains that do, and types made
/// of these. A superuser's table that calls an ordinary role's function is written by that role.
const GUARDED: &str = "
WITH RECURSIVE code AS (
  SELECT p.oid, p.proowner FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
  WHERE p.oid >= 16384 AND NOT r.rolsuper),
called (classid, objid, proowner) AS (
  SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, oid, proowner FROM code
  UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, c.proowner FROM pg_catalog.pg_operator o JOIN code c ON c.oid = o.oprcode
  UNION ALL SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, a.oid, c.proowner FROM pg_catalog.pg_cast a JOIN code c ON c.oid = a.castfunc),
used AS (
  SELECT d.classid, d.objid, c.proowner FROM pg_catalog.pg_depend d
  JOIN called c ON c.classid = d.refclassid AND c.objid = d.refobjid),
checked (oid, proowner) AS (
  SELECT c.contypid, u.proowner FROM pg_catalog.pg_constraint c
  JOIN used u ON u.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND u.objid = c.oid WHERE c.contypid <> 0
  UNION SELECT t.oid, k.proowner FROM checked k JOIN pg_catalog.pg_type t
    ON t.typbasetype = k.oid OR t.typelem = k.oid
      OR EXISTS (SELECT FROM pg_catalog.pg_range r WHERE r.rngsubtype = k.oid AND t.oid = r.rngtypid)
      OR (t.typrelid <> 0 AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = k.oid))),
direct (oid, proowner) AS (
  SELECT c.conrelid, u.proowner FROM pg_catalog.pg_constraint c
    JOIN used u ON u.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND u.objid = c.oid WHERE c.conrelid <> 0 AND c.contype = 'c'
  UNION SELECT a.adrelid, u.proowner FROM pg_catalog.pg_attrdef a
    JOIN used u ON u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND u.objid = a.oid
    JOIN pg_catalog.pg_attribute t ON t.attrelid = a.adrelid AND t.attnum = a.adnum WHERE t.attgenerated <> ''
  UNION SELECT u.objid, u.proowner FROM used u WHERE u.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  UNION SELECT a.attrelid, k.proowner FROM pg_catalog.pg_attribute a JOIN checked k ON k.oid = a.atttypid WHERE a.attnum > 0 AND NOT a.attisdropped),
edge (from_oid, to_oid) AS (
  SELECT i.inhparent, i.inhrelid FROM pg_catalog.pg_inherits i
  UNION ALL SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'p'),
every (oid, proowner) AS (
  SELECT d.oid, d.proowner FROM direct d
  UNION SELECT g.to_oid, e.proowner FROM every e JOIN edge g ON g.from_oid = e.oid)
SELECT n.nspname, c.relname,
  pg_catalog.pg_get_userbyid(CASE WHEN r.rolsuper THEN pg_catalog.min(e.proowner) ELSE c.relowner END),
  (SELECT pg_catalog.json_agg(a.attname) FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN (SELECT oid FROM checked))
FROM every e JOIN pg_catalog.pg_class c ON c.oid = e.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE c.relkind IN ('r', 'p') GROUP BY n.nspname, c.relname, c.oid, c.relowner, r.rolsuper";

/// The tables of a database that are guarded, asked once its tables are made.
pub(super) async fn find(server: &Server) -> Result<BTreeMap<QualifiedName, Guarded>, ServerError> {
    let rows = server.rows(GUARDED).await?;
    let read = rows.iter().map(|row| {
        let text = |at: usize| row.get(at).unwrap_or_default().to_owned();
        let name = QualifiedName {
            schema: text(0),
            name: text(1),
        };
        let guarded = Guarded {
            role: text(2),
            as_text: serde_json::from_str(&text(3)).unwrap_or_default(),
        };
        (name, guarded)
    });
    Ok(read.collect())
}

/// A place for rows before they are written, gone when [`Staged::finish`] is done.
pub(super) struct Staged {
    schema: String,
    table: QualifiedName,
    columns: Vec<String>,
    guarded: Guarded,
    undo: Vec<String>,
}

impl Staged {
    /// Makes the place: a table of the same columns without checks, in a schema of its own.
    pub async fn begin(
        server: &Server,
        table: &QualifiedName,
        columns: &[String],
        guarded: &Guarded,
    ) -> Result<Self, LoadFault> {
        // The database is new and nobody else's: any name that no user has will do.
        let schema = format!("backupd_loading_{}", std::process::id());
        let mut staged = Self {
            schema,
            table: table.clone(),
            columns: columns.to_vec(),
            guarded: guarded.clone(),
            undo: Vec::new(),
        };
        let (stage, role) = (ident(&staged.schema), ident(&guarded.role));
        let selected: Vec<String> = columns
            .iter()
            .map(|column| {
                let quoted = ident(column);
                if guarded.as_text.contains(column) {
                    format!("NULL::pg_catalog.text AS {quoted}")
                } else {
                    quoted
                }
            })
            .collect();
        run(
            server,
            &format!(
                "CREATE SCHEMA {stage}; GRANT USAGE ON SCHEMA {stage} TO {role};
                 CREATE UNLOGGED TABLE {stage}.rows AS SELECT {} FROM {table} WITH NO DATA;
                 GRANT SELECT ON {stage}.rows TO {role}",
                selected.join(", ")
            ),
        )
        .await?;
        staged.allow(server).await?;
        Ok(staged)
    }

    /// Gives the role what it needs to write the rows, where it does not have it: the dump's own grants come at its end.
    async fn allow(&mut self, server: &Server) -> Result<(), LoadFault> {
        let role = ident(&self.guarded.role);
        let has = |what: &str| format!("SELECT pg_catalog.has_{what}::pg_catalog.int4");
        let literal = crate::server::literal;
        let asked = [
            (
                has(&format!(
                    "schema_privilege({}, {}, 'USAGE')",
                    literal(&self.guarded.role),
                    literal(&self.table.schema)
                )),
                format!("USAGE ON SCHEMA {}", ident(&self.table.schema)),
            ),
            (
                has(&format!(
                    "table_privilege({}, {}, 'INSERT')",
                    literal(&self.guarded.role),
                    literal(&self.table.to_string())
                )),
                format!("INSERT ON {}", self.table),
            ),
        ];
        for (question, privilege) in asked {
            let may = server.number(&question).await.map_err(|error| LoadFault {
                statement: question,
                reason: error.to_string(),
                code: None,
            })?;
            if may == 0 {
                run(server, &format!("GRANT {privilege} TO {role}")).await?;
                self.undo.push(format!("REVOKE {privilege} FROM {role}"));
            }
        }
        Ok(())
    }

    /// What takes the rows: a table and its columns.
    pub fn target(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|name| ident(name)).collect();
        format!("{}.rows ({})", ident(&self.schema), columns.join(", "))
    }

    /// Writes the rows as the table's owner, and clears the place.
    pub async fn finish(self, server: &Server, write: bool) -> Result<(), LoadFault> {
        let stage = ident(&self.schema);
        let written = if write {
            let into: Vec<String> = self.columns.iter().map(|name| ident(name)).collect();
            let types = self.types(server).await?;
            let from: Vec<String> = self
                .columns
                .iter()
                .map(|column| match types.get(column) {
                    Some(kind) => format!("{}::{kind}", ident(column)),
                    None => ident(column),
                })
                .collect();
            let body = format!(
                "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {stage}.rows",
                self.table,
                into.join(", "),
                from.join(", ")
            );
            run(
                server,
                &format!(
                    "CREATE FUNCTION {stage}.write() RETURNS pg_catalog.void LANGUAGE sql SECURITY DEFINER SET search_path = '' AS {};
                     ALTER FUNCTION {stage}.write() OWNER TO {}; SELECT {stage}.write()",
                    crate::server::literal(&body),
                    ident(&self.guarded.role)
                ),
            )
            .await
            .map_err(|fault| LoadFault {
                statement: format!("COPY {} (as {})", self.table, self.guarded.role),
                ..fault
            })
        } else {
            Ok(())
        };
        let mut clear = vec![format!("DROP SCHEMA {stage} CASCADE")];
        clear.extend(self.undo);
        run(server, &clear.join("; ")).await?;
        written
    }

    /// Types of the columns that were taken as text, in SQL.
    async fn types(&self, server: &Server) -> Result<BTreeMap<String, String>, LoadFault> {
        let question = format!(
            "SELECT attname, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
             WHERE attrelid = {}::pg_catalog.regclass AND attnum > 0 AND NOT attisdropped",
            crate::server::literal(&self.table.to_string())
        );
        let rows = server.rows(&question).await.map_err(|error| LoadFault {
            statement: question,
            reason: error.to_string(),
            code: None,
        })?;
        let pairs = rows
            .iter()
            .filter_map(|row| Some((row.get(0)?.to_owned(), row.get(1)?.to_owned())));
        Ok(pairs
            .filter(|(column, _)| self.guarded.as_text.contains(column))
            .collect())
    }
}
