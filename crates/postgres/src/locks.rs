//! Who keeps a session of ours waiting for a lock. Asked over a connection of its own, since the session that waits cannot answer.
//!
//! Sessions are known by their `application_name`, so whoever is watched must have one that nobody else has.

use std::time::Duration;

use tokio_postgres::SimpleQueryRow;

use crate::dsn::Dsn;
use crate::server::{Server, ServerError, literal};
use crate::words::one_line;

/// Time for one look. Somebody who holds a lock on the catalog itself makes the look wait too.
const LOOK: &str = "2s";
/// Holders that are named.
const NAMED: usize = 3;

/// A connection that watches the sessions of one application name in one database.
pub struct LockWatch {
    server: Server,
    application: String,
}

/// A session of ours that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockWait {
    /// Its process id on the server.
    pub pid: String,
    /// What it waits for: `public.orders`, or the kind of lock where it is no relation's.
    pub wanted: String,
    /// Who is in its way, in words, at most 3 and the number of the rest.
    pub holders: String,
    /// How long it has waited, where the server says it.
    pub waited: Option<Duration>,
}

/// A row for each pair of a waiting session and one that is in its way. Servers before 14 do not say since when it waits. `pg_blocking_pids` says 0 for a prepared transaction, whose
/// locks are those of no session (PostgreSQL manual 54.12).
fn question(application: &str) -> String {
    format!(
        "SELECT w.pid, COALESCE(pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), l.locktype), b.pid,
           CASE WHEN h.backend_type <> 'client backend' THEN h.backend_type END, h.usename, h.application_name, h.datname,
           pg_catalog.to_char(h.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), h.wait_event_type = 'Lock',
           (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(x.gid), ', ') FROM pg_catalog.pg_prepared_xacts x
            JOIN pg_catalog.pg_locks t ON t.pid IS NULL AND t.transactionid = x.transaction
            JOIN pg_catalog.pg_locks g ON g.pid IS NULL AND g.virtualtransaction = t.virtualtransaction
            WHERE b.pid = 0 AND g.relation = l.relation AND g.database = l.database),
           EXTRACT(epoch FROM pg_catalog.clock_timestamp() - (pg_catalog.to_jsonb(l) ->> 'waitstart')::pg_catalog.timestamptz)
         FROM pg_catalog.pg_stat_activity w
         JOIN pg_catalog.pg_locks l ON l.pid = w.pid AND NOT l.granted
         LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation AND l.database IN (0, w.datid)
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         CROSS JOIN LATERAL (SELECT DISTINCT p AS pid FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS p) b
         LEFT JOIN pg_catalog.pg_stat_activity h ON h.pid = b.pid
         WHERE w.datname = pg_catalog.current_database() AND w.wait_event_type = 'Lock' AND w.application_name = {}
         ORDER BY w.pid, h.xact_start, b.pid",
        literal(application)
    )
}

impl LockWatch {
    /// Connects to the database of `dsn`, to watch the sessions that call themselves as it says.
    pub async fn connect(dsn: &Dsn) -> Result<Self, ServerError> {
        let mut own = dsn.clone();
        "backupd lock watch".clone_into(&mut own.application);
        let server = Server::connect(&own).await?;
        server
            .execute(&format!(
                "SET lock_timeout = '{LOOK}'; SET statement_timeout = 0"
            ))
            .await?;
        Ok(Self {
            server,
            application: dsn.application.clone(),
        })
    }

    /// The first session of ours that waits for a lock; none where none does.
    pub async fn look(&self) -> Result<Option<LockWait>, ServerError> {
        let rows = self.server.rows(&question(&self.application)).await?;
        let text = |row: &SimpleQueryRow, at: usize| row.try_get(at).ok().flatten().map(one_line);
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let pid = text(first, 0).unwrap_or_default();
        let of_first: Vec<&SimpleQueryRow> = rows
            .iter()
            .filter(|row| text(row, 0).as_ref() == Some(&pid))
            .collect();
        let mut holders: Vec<String> = of_first
            .iter()
            .take(NAMED)
            .map(|row| holder(|at| text(row, at)))
            .collect();
        if of_first.len() > NAMED {
            holders.push(format!("{} more", of_first.len() - NAMED));
        }
        Ok(Some(LockWait {
            pid,
            wanted: text(first, 1).unwrap_or_default(),
            holders: holders.join(" and "),
            waited: text(first, 10)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds.parse().ok()?).ok()),
        }))
    }

    /// Ends sessions of ours that still wait: the server does not notice that their client is gone before they have their lock.
    pub async fn end_waiting(&self) -> Result<(), ServerError> {
        let end = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
             WHERE datname = pg_catalog.current_database() AND wait_event_type = 'Lock' AND application_name = {}
               AND pid <> pg_catalog.pg_backend_pid()",
            literal(&self.application)
        );
        self.server.execute(&end).await
    }
}

fn holder(text: impl Fn(usize) -> Option<String>) -> String {
    let pid = text(2).unwrap_or_default();
    if pid == "0" {
        return text(9).map_or_else(
            || "a prepared transaction".to_owned(),
            |gid| format!("the prepared transaction {gid}"),
        );
    }
    let mut about = Vec::new();
    let mut tell = |what: &str, at: usize| {
        if let Some(value) = text(at).filter(|value| !value.is_empty()) {
            about.push(format!("{what}{value}"));
        }
    };
    tell("", 3);
    tell("role ", 4);
    tell("application ", 5);
    tell("database ", 6);
    tell("in a transaction since ", 7);
    if let (Some(_), Some(last)) = (text(7), about.last_mut()) {
        last.push_str(" UTC");
    }
    if text(8).as_deref() == Some("t") {
        about.push("which waits for a lock itself".to_owned());
    }
    if about.is_empty() {
        format!("session {pid}")
    } else {
        format!("session {pid} ({})", about.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder_of(columns: &[(usize, &str)]) -> String {
        holder(|at| {
            columns
                .iter()
                .find(|(column, _)| *column == at)
                .map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn a_holder_is_told_by_what_is_known() {
        let all = [
            (2, "47"),
            (4, "app"),
            (5, "psql"),
            (6, "postgres"),
            (7, "2026-11-20 02:00:00"),
            (8, "t"),
        ];
        assert_eq!(
            holder_of(&all),
            "session 47 (role app, application psql, database postgres, in a transaction since 2026-11-20 02:00:00 UTC, which waits \
             for a lock itself)"
        );
        assert_eq!(
            holder_of(&[(2, "47"), (3, "autovacuum worker")]),
            "session 47 (autovacuum worker)"
        );
        assert_eq!(holder_of(&[(2, "48")]), "session 48");
        assert_eq!(
            holder_of(&[(2, "0"), (9, "'pay'")]),
            "the prepared transaction 'pay'"
        );
    }
}
