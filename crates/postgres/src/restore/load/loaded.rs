//! What a load did, and what it left for later.

use crate::restore::fault::LoadFault;
use crate::sql::{CopyTarget, Kind, QualifiedName};

/// Statements that the caller runs when the rest is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Refreshes of materialized views.
    pub refreshes: Vec<String>,
    /// Publications and subscriptions.
    pub replication: Vec<String>,
    /// Event triggers, what is said about them, and their owners.
    pub event_triggers: Vec<String>,
    /// What waits for the extension that comes later, in the dump's order.
    pub later: Vec<Deferred>,
    /// Indexes and statistics that call functions, and what is said about them; before anything else of this.
    pub calculated: Vec<Calculated>,
}

impl Held {
    pub(super) fn add(&mut self, kind: &Kind, statement: String) {
        let list = match kind {
            Kind::Refresh => &mut self.refreshes,
            Kind::EventTrigger => &mut self.event_triggers,
            _ => &mut self.replication,
        };
        list.push(statement);
    }
}

/// A part of a dump that was put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deferred {
    /// A statement.
    Statement(String),
    /// Rows of a table, which the dump is read for again.
    Rows(QualifiedName),
}

/// A table that got rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedTable {
    /// Its name.
    pub name: QualifiedName,
    /// The same as the dump names it, and its columns.
    pub target: CopyTarget,
    /// The name in the set's own list; not the same where the dump is in another encoding than UTF-8, as they were up to 0.1.0.
    pub listed: String,
    /// The encoding of the dump's rows.
    pub encoding: String,
    /// Rows that were in it before: those that its extension brings.
    pub before: u64,
    /// Rows that the server took.
    pub rows: u64,
    /// Whether it stands in for a table of an extension that is absent.
    pub stand_in: bool,
    /// Whether code of ordinary roles may be in what a query on it evaluates.
    pub acts: bool,
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Tables, in the dump's order.
    pub tables: Vec<LoadedTable>,
    /// What is left to do.
    pub held: Held,
    /// Statements that failed and were gone over.
    pub faults: Vec<LoadFault>,
    /// Privileges on what the dump does not make and the server does not have: members of an extension that is absent, or that an event
    /// trigger made while the extension was created.
    pub left_out: Vec<LoadFault>,
}

/// A statement that is put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calculated {
    /// The dump's own statement that sets the tablespace before it, where there was one.
    pub(super) tablespace: Option<String>,
    pub(super) statement: String,
}
