//! What is said of a database ahead of a dump or a restore: a sentence, and what it is about with what a repair needs to know.

/// A remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What it is about.
    pub about: About,
    /// The sentence.
    pub text: String,
}

/// What a remark is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A restore is at work or was cut off.
    HalfRestored,
    /// The server is newer than the client programs.
    Newer {
        /// Its major version.
        major: u32,
    },
    /// The role does not see everything.
    MayNotRead {
        /// Superusers that may log in.
        able: Vec<String>,
    },
    /// The connection goes through a transaction pooler.
    Pooler,
    /// The server is a standby.
    Standby,
    /// Names in `SQL_ASCII` that are not UTF-8.
    NotUtf8,
    /// The server's lock table is too small.
    Locks {
        /// `max_locks_per_transaction` that is enough.
        wanted: u64,
    },
    /// Prepared transactions.
    Prepared {
        /// Their names, as SQL literals.
        names: Vec<String>,
    },
    /// Indexes that are not valid.
    InvalidIndexes {
        /// As SQL names them.
        names: Vec<String>,
    },
    /// Materialized views on foreign tables.
    ForeignRefreshes,
    /// Functions that a load calls, which name tables without their schema.
    LostNames,
    /// CHECK constraints that may judge otherwise at load.
    UnsteadyChecks,
    /// Tablespaces.
    Tablespaces,
}

impl Remark {
    pub(crate) fn new(about: About, text: impl Into<String>) -> Self {
        Self {
            about,
            text: text.into(),
        }
    }
}
