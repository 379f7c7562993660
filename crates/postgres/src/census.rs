//! A census of one database: every object by kind and name, the extensions it cannot be without, where sequences stand, and the server's
//! roles. One question, asked in the snapshot of a dump or of what a restore brought back.

use std::collections::BTreeMap;

use crate::server::{Server, ServerError};

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// `table`, `view`, `function`, ….
    pub kind: String,
    /// Its name, with schema and table where it has them.
    pub name: String,
    /// Extensions without which it cannot be, directly or through other objects.
    pub needs: Vec<String>,
}

/// The objects of a database, and where its sequences stand (those that were used, and do not turn over).
pub async fn take(server: &Server) -> Result<(Vec<Counted>, BTreeMap<String, i64>), ServerError> {
    let rows = server.rows(OBJECTS).await?;
    let objects = rows.iter().map(|row| Counted {
        kind: row.get(0).unwrap_or_default().to_owned(),
        name: row.get(1).unwrap_or_default().to_owned(),
        needs: row
            .get(2)
            .unwrap_or_default()
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    });
    let objects = objects.collect();
    let rows = server.rows(POSITIONS).await?;
    let position = |row: &tokio_postgres::SimpleQueryRow| {
        Some((row.get(0)?.to_owned(), row.get(1)?.parse().ok()?))
    };
    Ok((objects, rows.iter().filter_map(position).collect()))
}

/// Extensions that a server could create.
pub async fn available_extensions(server: &Server) -> Result<Vec<String>, ServerError> {
    server
        .names("SELECT name FROM pg_catalog.pg_available_extensions")
        .await
}

/// `need`: what depends on an extension's members, by whatever way (pg_depend, PostgreSQL manual 53.18). A view depends through its
/// rule, a table through a default or a check. What extensions bring themselves is theirs to bring back, but for the tables whose rows a
/// dump holds (`extconfig`). What partitions have of their parents comes with these.
const OBJECTS: &str = "
WITH RECURSIVE member AS (
  SELECT e.extname, d.classid, d.objid FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid
  WHERE d.deptype = 'e' AND e.extname <> 'plpgsql'),
need (extname, classid, objid) AS (
  SELECT extname, classid, objid FROM member
  UNION
  SELECT n.extname, t.classid, t.objid FROM need n
  JOIN pg_catalog.pg_depend d ON d.refclassid = n.classid AND d.refobjid = n.objid AND d.deptype IN ('n', 'a', 'i')
  CROSS JOIN LATERAL (
    SELECT d.classid, d.objid
    UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, r.ev_class FROM pg_catalog.pg_rewrite r
      WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = d.objid
    UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, a.adrelid FROM pg_catalog.pg_attrdef a
      WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND a.oid = d.objid
    UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.conrelid FROM pg_catalog.pg_constraint c
      WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND c.oid = d.objid AND c.contype = 'c' AND c.conrelid <> 0
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, c.contypid FROM pg_catalog.pg_constraint c
      WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND c.oid = d.objid AND c.contypid <> 0) t),
schema AS (
  SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE E'pg\\\\_%'),
rel AS (
  SELECT c.oid, c.relkind, pg_catalog.format('%I.%I', s.nspname, c.relname) AS name
  FROM pg_catalog.pg_class c JOIN schema s ON s.oid = c.relnamespace
  WHERE c.relpersistence <> 't'
    AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = c.oid)),
object (kind, name, classid, objid) AS (
  SELECT 'schema', pg_catalog.quote_ident(s.nspname), 'pg_catalog.pg_namespace'::pg_catalog.regclass, s.oid FROM schema s
  UNION ALL SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
      WHEN 'f' THEN 'foreign table' ELSE 'table' END, name, 'pg_catalog.pg_class'::pg_catalog.regclass, oid
    FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL SELECT 'index', i.name, 'pg_catalog.pg_class'::pg_catalog.regclass, i.oid
    FROM rel i JOIN pg_catalog.pg_index x ON x.indexrelid = i.oid JOIN rel t ON t.oid = x.indrelid
  UNION ALL SELECT 'function', pg_catalog.format('%I.%I(%s)', s.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
      'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid
    FROM pg_catalog.pg_proc p JOIN schema s ON s.oid = p.pronamespace
  UNION ALL SELECT 'type', pg_catalog.format('%I.%I', s.nspname, t.typname), 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid
    FROM pg_catalog.pg_type t JOIN schema s ON s.oid = t.typnamespace LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    WHERE t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
  UNION ALL SELECT 'constraint', pg_catalog.format('%s.%I', COALESCE(r.name, pg_catalog.format_type(c.contypid, NULL)), c.conname),
      'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid
    FROM pg_catalog.pg_constraint c JOIN schema s ON s.oid = c.connamespace LEFT JOIN rel r ON r.oid = c.conrelid
    WHERE c.contype IN ('c', 'f', 'p', 'u', 'x') AND c.conparentid = 0 AND (r.oid IS NOT NULL OR c.contypid <> 0)
  UNION ALL SELECT 'trigger', pg_catalog.format('%s.%I', r.name, t.tgname), 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid
    FROM pg_catalog.pg_trigger t JOIN rel r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal AND t.tgparentid = 0
  UNION ALL SELECT 'policy', pg_catalog.format('%s.%I', r.name, p.polname), 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid
    FROM pg_catalog.pg_policy p JOIN rel r ON r.oid = p.polrelid
  UNION ALL SELECT 'event trigger', pg_catalog.quote_ident(evtname), 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, oid
    FROM pg_catalog.pg_event_trigger
  UNION ALL SELECT 'publication', pg_catalog.quote_ident(pubname), 'pg_catalog.pg_publication'::pg_catalog.regclass, oid
    FROM pg_catalog.pg_publication
  UNION ALL SELECT 'foreign server', pg_catalog.quote_ident(srvname), 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid
    FROM pg_catalog.pg_foreign_server)
SELECT o.kind, o.name, pg_catalog.string_agg(DISTINCT n.extname, ',')
FROM object o LEFT JOIN need n ON n.classid = o.classid AND n.objid = o.objid
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = o.classid AND m.objid = o.objid)
GROUP BY o.kind, o.name, o.classid, o.objid
UNION ALL SELECT 'extension', extname, NULL FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'
UNION ALL SELECT 'table of an extension', pg_catalog.format('%I.%I', n.nspname, c.relname), e.extname
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_class c ON c.oid = ANY (e.extconfig) AND c.relkind = 'r'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL SELECT 'large objects', pg_catalog.format('%s, hash of ids %s', pg_catalog.count(*),
    COALESCE(pg_catalog.sum(pg_catalog.hashoid(oid)), 0)), NULL FROM pg_catalog.pg_largeobject_metadata
UNION ALL SELECT 'role', rolname, NULL FROM pg_catalog.pg_roles WHERE rolname NOT LIKE E'pg\\\\_%'
UNION ALL SELECT 'membership', pg_catalog.format('%I in %I', pg_catalog.pg_get_userbyid(member), pg_catalog.pg_get_userbyid(roleid)), NULL
  FROM pg_catalog.pg_auth_members WHERE pg_catalog.pg_get_userbyid(member) NOT LIKE E'pg\\\\_%'";

const POSITIONS: &str = "
SELECT pg_catalog.format('%I.%I', schemaname, sequencename), last_value FROM pg_catalog.pg_sequences
WHERE last_value IS NOT NULL AND increment_by > 0 AND NOT cycle AND schemaname NOT LIKE E'pg\\\\_%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e'
    AND d.objid = pg_catalog.format('%I.%I', schemaname, sequencename)::pg_catalog.regclass)";
