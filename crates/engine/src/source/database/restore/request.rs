//! What to restore where, and what came back.

use catalog::catalog::Entry;
use postgres::dsn::Dsn;
use postgres::tools::Tools;
use serde::Serialize;

use crate::config::DatabaseRole;

/// What to restore where.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own, none a state"
)]
pub struct DatabaseRequest<'a> {
    /// The set.
    pub entry: &'a Entry,
    /// The database's label in it.
    pub label: &'a str,
    /// What it is to the stack.
    pub role: DatabaseRole,
    /// Its server, and as whom; the first that is a superuser is taken.
    pub dsns: Vec<Dsn>,
    /// As the stack's service reaches it.
    pub own: &'a Dsn,
    /// The database's name after the restore.
    pub name: &'a str,
    /// Whether it is made beside what is there, whose name must be free.
    pub beside: bool,
    /// The one table whose rows are wanted, as the manifest names it.
    pub table: Option<String>,
    /// Whether roles that are there get their attributes and passwords back too.
    pub roles: bool,
    /// Whether clients' sessions are ended.
    pub force: bool,
    /// Whether what cannot be loaded is gone over and told, instead of ending the restore.
    pub keep_going: bool,
    /// Whether the database before is dropped in the end.
    pub drop_old: bool,
    /// Connections that load it.
    pub jobs: u8,
    /// PostgreSQL's programs.
    pub tools: &'a Tools,
}

/// A database that came back.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoredDatabase {
    /// Its name.
    pub name: String,
    /// Where the one before lies.
    pub aside: Option<String>,
    /// What drops that, typed into psql; lines of statements.
    pub drop: Option<String>,
    /// Rows that were counted in it.
    pub rows: u64,
    /// Tables they are in.
    pub tables: usize,
    /// Worth knowing.
    pub notes: Vec<String>,
    /// Statements that failed and rows that differ, gone over because that was asked for.
    pub faults: Vec<String>,
}
