//! What a dump or a restore of a database will meet that its tables do not show: named before, while there is time.
//!
//! Every statement here is a cheap one on catalogs. What an extension brings is left out: it is the extension's to bring again.

use crate::remark::{About, Remark};
use crate::server::{Server, ServerError};
use crate::words::listed;

/// Names in one sentence.
const NAMED: usize = 20;

/// What was found, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outlook {
    /// Tables and sequences that a dump locks at once.
    pub locks_needed: u64,
    /// `max_locks_per_transaction`.
    pub locks_per_transaction: u64,
    /// `max_connections` and `max_prepared_transactions` together.
    pub transactions: u64,
    /// Transactions that are prepared in this database.
    pub prepared: Vec<String>,
    /// The names of these, as SQL literals.
    pub prepared_names: Vec<String>,
    /// Indexes that pg_dump leaves out.
    pub invalid_indexes: Vec<String>,
    /// Populated materialized views on foreign tables.
    pub foreign_refreshes: Vec<String>,
    /// What calls a function at load that cannot find its tables then.
    pub lost_names: Vec<String>,
    /// CHECK constraints that may judge otherwise at load.
    pub unsteady_checks: Vec<String>,
    /// Tablespaces that relations name.
    pub tablespaces: Vec<String>,
    /// Event triggers whose owner is no superuser.
    pub event_triggers: Vec<String>,
    /// Subscriptions.
    pub subscriptions: Vec<String>,
}

impl Outlook {
    /// Asks a database.
    pub async fn of(server: &Server) -> Result<Self, ServerError> {
        let load = format!("{LOADED} {LOST_NAMES}");
        let checks = format!("{LOADED} {UNSTEADY_CHECKS}");
        Ok(Self {
            locks_needed: server.number(LOCKS_NEEDED).await?,
            locks_per_transaction: server
                .number("SELECT pg_catalog.current_setting('max_locks_per_transaction')")
                .await?,
            transactions: server.number(TRANSACTIONS).await?,
            prepared: server.names(PREPARED).await?,
            prepared_names: server.names(PREPARED_NAMES).await?,
            invalid_indexes: server.names(INVALID_INDEXES).await?,
            foreign_refreshes: server.names(FOREIGN_REFRESHES).await?,
            lost_names: server.names(&load).await?,
            unsteady_checks: server.names(&checks).await?,
            tablespaces: server.names(TABLESPACES).await?,
            event_triggers: server.names(EVENT_TRIGGERS).await?,
            subscriptions: server.names(SUBSCRIPTIONS).await?,
        })
    }

    /// What stands in the way of a dump or a restore, a sentence each.
    pub fn warnings(&self) -> Vec<Remark> {
        let mut found = Vec::new();
        let room = self.locks_per_transaction * self.transactions;
        if self.locks_needed > room && self.transactions > 0 {
            let wanted = self
                .locks_needed
                .div_ceil(self.transactions)
                .next_power_of_two();
            found.push(Remark::new(About::Locks { wanted }, format!(
                "a dump locks {} tables and sequences at once, and the server's lock table is made for {room} locks (max_locks_per_transaction {} × {} \
                 connections and prepared transactions): dump and restore may end in \"out of shared memory\"; set \
                 max_locks_per_transaction = {wanted} and restart the server",
                self.locks_needed,
                self.locks_per_transaction,
                self.transactions,
            )));
        }
        let mut say = |about: About, names: &[String], sentence: &dyn Fn(String) -> String| {
            if !names.is_empty() {
                found.push(Remark::new(about, sentence(listed(names, NAMED))));
            }
        };
        say(
            About::Prepared {
                names: self.prepared_names.clone(),
            },
            &self.prepared,
            &|names| {
                format!(
                    "prepared transactions would be in the way of a restore, which can neither rename nor drop the database: {names}; end each \
                 by COMMIT PREPARED or ROLLBACK PREPARED"
                )
            },
        );
        say(
            About::InvalidIndexes {
                names: self.invalid_indexes.clone(),
            },
            &self.invalid_indexes,
            &|names| {
                format!(
                    "pg_dump leaves out indexes that are not valid, so no restore brings them back: {names}; REINDEX or drop them"
                )
            },
        );
        say(About::ForeignRefreshes, &self.foreign_refreshes, &|names| {
            format!(
                "materialized views are filled from foreign tables, and a load that does not reach their servers fails: {names}"
            )
        });
        say(About::LostNames, &self.lost_names, &|names| {
            format!(
                "functions that a load calls name tables without their schema, and do not find them, because a load's search_path is empty: \
                 {names}; write the schema, or ALTER FUNCTION … SET search_path"
            )
        });
        say(About::UnsteadyChecks, &self.unsteady_checks, &|names| {
            format!(
                "CHECK constraints call functions that may judge a row otherwise when it is loaded than when it was written: {names}"
            )
        });
        say(About::Tablespaces, &self.tablespaces, &|names| {
            format!(
                "tables or indexes lie in tablespaces, which a server to restore to must have by the same name: {names}"
            )
        });
        found
    }

    /// What a restore does by itself and a load by hand does not, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.event_triggers.is_empty() {
            found.push(format!(
                "event triggers belong to roles that are no superusers, to whom ALTER EVENT TRIGGER … OWNER TO is refused: {}; a restore \
                 gives them back as they were, a load by hand stops there unless they are superusers meanwhile",
                listed(&self.event_triggers, NAMED)
            ));
        }
        if !self.subscriptions.is_empty() {
            found.push(format!(
                "subscriptions come back disabled, so that a copy takes nothing from their publishers: {}; ALTER SUBSCRIPTION … ENABLE and … REFRESH PUBLICATION \
                 when the restored database is the one",
                listed(&self.subscriptions, NAMED)
            ));
        }
        found
    }
}

/// Relations that this role may not alter, because they are another's, as `schema.name (owner)`.
pub async fn owned_by_others(server: &Server) -> Result<Vec<String>, ServerError> {
    server
        .names(
            "SELECT pg_catalog.format('%I.%I (%I)', n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner))
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'S', 'v', 'm') AND c.relpersistence <> 't'
               AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE E'pg\\\\_%'
               AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 AND x.objid = c.oid AND x.deptype = 'e')
             ORDER BY 1",
        )
        .await
}

const LOCKS_NEEDED: &str = "
SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE E'pg\\\\_%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND x.objid = c.oid AND x.deptype = 'e')";

/// The manual's own figure for the size of the lock table (19.12); shared memory has some room beyond it.
const TRANSACTIONS: &str = "
SELECT pg_catalog.current_setting('max_connections')::pg_catalog.int8
  + pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int8";

const PREPARED: &str = "
SELECT pg_catalog.format('%L (role %I, since %s UTC)', gid, owner,
  pg_catalog.to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() ORDER BY prepared, gid";

const PREPARED_NAMES: &str = "
SELECT pg_catalog.quote_literal(gid) FROM pg_catalog.pg_prepared_xacts
WHERE database = pg_catalog.current_database() ORDER BY prepared, gid";

/// As pg_dump's own condition (getIndexes), turned round.
const INVALID_INDEXES: &str = "
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT ((i.indisvalid OR t.relkind = 'p') AND i.indisready) AND c.relpersistence <> 't' AND n.nspname NOT LIKE E'pg\\\\_%'
ORDER BY 1";

/// Through views, and not through other materialized views, which keep what they were filled with.
const FOREIGN_REFRESHES: &str = "
WITH RECURSIVE reads (filled, relation) AS (
  SELECT oid, oid FROM pg_catalog.pg_class WHERE relkind = 'm' AND relispopulated
  UNION
  SELECT s.filled, d.refobjid FROM reads s JOIN pg_catalog.pg_class v ON v.oid = s.relation
  JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  WHERE s.relation = s.filled OR v.relkind = 'v')
SELECT pg_catalog.format('%I.%I (%s)', n.nspname, c.relname,
  pg_catalog.string_agg(DISTINCT pg_catalog.format('%s of server %I', f.ftrelid::pg_catalog.regclass, w.srvname), ', '))
FROM reads s JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = s.relation JOIN pg_catalog.pg_foreign_server w ON w.oid = f.ftserver
JOIN pg_catalog.pg_class c ON c.oid = s.filled JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
GROUP BY n.nspname, c.relname ORDER BY 1";

/// `caller`: what calls functions of users while it is loaded: CHECK constraints, generated columns, indexes, populated materialized
/// views. `body`: the tables that such a function's text names behind FROM or JOIN, as far as there are tables of these names (so that
/// `extract(year FROM day)` is none), and whether by name alone. Bodies written in standard SQL (BEGIN ATOMIC) are parsed already.
const LOADED: &str = "
WITH caller (what, kind, function) AS (
  SELECT pg_catalog.format('constraint %I of %s', c.conname,
      CASE WHEN c.conrelid <> 0 THEN c.conrelid::pg_catalog.regclass::text ELSE pg_catalog.format_type(c.contypid, NULL) END),
    'check', d.refobjid
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = c.oid
  WHERE c.contype = 'c' AND c.coninhcount = 0 AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  UNION SELECT pg_catalog.format('column %I of %s', t.attname, a.adrelid::pg_catalog.regclass), 'column', d.refobjid
  FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_attribute t ON t.attrelid = a.adrelid AND t.attnum = a.adnum
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = a.oid
    OR d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = a.adrelid AND d.objsubid = a.adnum
  WHERE t.attgenerated <> '' AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  UNION SELECT 'index ' || c.oid::pg_catalog.regclass::text, 'index', d.refobjid
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
  WHERE c.relkind IN ('i', 'I') AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  UNION SELECT 'materialized view ' || c.oid::pg_catalog.regclass::text, 'view', d.refobjid
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
  WHERE c.relkind = 'm' AND c.relispopulated AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass),
function AS (
  SELECT p.oid, p.prosrc, p.provolatile, p.proconfig FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE p.oid IN (SELECT function FROM caller) AND l.lanname IN ('sql', 'plpgsql')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      AND x.objid = p.oid AND x.deptype = 'e')),
body (function, relation, alone) AS (
  SELECT DISTINCT f.oid, c.relname, m[1] IS NULL
  FROM function f
  CROSS JOIN LATERAL pg_catalog.regexp_matches(pg_catalog.\"left\"(f.prosrc, 100000),
    '\\m(?:from|join)\\s+(?:only\\s+)?(?:\"?([[:alnum:]_$]+)\"?\\s*\\.\\s*)?\"?([[:alnum:]_$]+)', 'gi') AS m
  JOIN pg_catalog.pg_class c ON c.relname = pg_catalog.lower(m[2]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  WHERE m[1] IS NULL OR n.nspname = pg_catalog.lower(m[1]))";

/// A search_path of the function's own, or the name of a table of the catalog, would find them.
const LOST_NAMES: &str = "
SELECT pg_catalog.format('%s calls %s, which names %s', c.what, f.oid::pg_catalog.regprocedure,
  pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(b.relation), ', '))
FROM caller c JOIN function f ON f.oid = c.function JOIN body b ON b.function = f.oid
WHERE b.alone AND NOT EXISTS (SELECT FROM pg_catalog.unnest(f.proconfig) AS s WHERE s LIKE 'search_path=%')
  AND pg_catalog.to_regclass('pg_catalog.' || pg_catalog.quote_ident(b.relation)) IS NULL
GROUP BY c.what, f.oid ORDER BY 1";

const UNSTEADY_CHECKS: &str = "
SELECT DISTINCT pg_catalog.format('%s calls %s, which %s', c.what, f.oid::pg_catalog.regprocedure,
  CASE WHEN f.oid IN (SELECT function FROM body) THEN 'reads tables' ELSE 'is not IMMUTABLE' END)
FROM caller c JOIN function f ON f.oid = c.function
WHERE c.kind = 'check' AND (f.provolatile <> 'i' OR f.oid IN (SELECT function FROM body))
ORDER BY 1";

/// A database's own tablespace is no part of a dump.
const TABLESPACES: &str = "
SELECT pg_catalog.quote_ident(t.spcname) FROM pg_catalog.pg_tablespace t
WHERE t.spcname NOT IN ('pg_default', 'pg_global') AND t.oid IN (SELECT reltablespace FROM pg_catalog.pg_class WHERE relpersistence <> 't')
ORDER BY 1";

const EVENT_TRIGGERS: &str = "
SELECT pg_catalog.format('%I (%I)', e.evtname, r.rolname)
FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_roles r ON r.oid = e.evtowner
WHERE NOT r.rolsuper AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x
  WHERE x.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AND x.objid = e.oid AND x.deptype = 'e')
ORDER BY 1";

const SUBSCRIPTIONS: &str = "
SELECT pg_catalog.quote_ident(s.subname) FROM pg_catalog.pg_subscription s
JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = pg_catalog.current_database() ORDER BY 1";
