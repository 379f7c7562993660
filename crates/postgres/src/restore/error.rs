//! Why a database was not restored, in the server's and the tools' own words.

use stream::child::ChildError;

use super::fault::LoadFault;
use crate::server::ServerError;

/// Characters of a statement that a message shows.
const STATEMENT_CHARS: usize = 2000;

/// Why a database was not restored.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum RestoreError {
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A statement of the dump failed.
    #[error("{0}")]
    Load(Box<LoadFault>),
    /// One of PostgreSQL's programs failed.
    #[error("{}", failing(.0))]
    Tool(ChildError),
    /// Transactions that were prepared for two-phase commit hold the database.
    #[error("{name} is held by prepared transactions ({}): commit or roll them back (ROLLBACK PREPARED '…', connected to {name})", transactions.join(", "))]
    Prepared {
        name: String,
        transactions: Vec<String>,
        /// The same, as SQL writes them.
        literals: Vec<String>,
    },
    /// Nothing can be written to it.
    #[error("{server} is a standby, to which nothing can be restored: name the primary")]
    Standby { server: String },
    /// A statement of the roles file.
    #[error("{source}; the statement is: {statement}")]
    Statement {
        statement: String,
        source: ServerError,
    },
    /// The artifact could not be read.
    #[error("the dump could not be read: {0}")]
    Source(std::io::Error),
    /// Something of this machine.
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: std::io::Error,
    },
    /// The role may not.
    #[error(
        "role {user} may not restore {name}, which takes a superuser: connect as {}",
        one_of(able)
    )]
    NotAllowed {
        user: String,
        name: String,
        /// Superusers that may log in.
        able: Vec<String>,
    },
    /// Somebody is connected.
    #[error("{name} is in use by {}", sessions.join(", "))]
    Busy { name: String, sessions: Vec<String> },
    /// The name is taken.
    #[error("there is a database {name} already: choose another name, or drop it:\n{drop}")]
    Exists { name: String, drop: String },
    /// Nobody but its owner knows why.
    #[error(
        "{name} takes no connections (ALLOW_CONNECTIONS false), so nobody can restore it: allow them first"
    )]
    Closed { name: String },
    /// Ended by a signal.
    #[error("interrupted")]
    Interrupted,
}

impl RestoreError {
    /// Whether the rest could be loaded without what failed.
    pub fn can_be_gone_over(&self) -> bool {
        matches!(self, Self::Load(fault) if fault.is_of_statement())
    }
}

fn one_of(able: &[String]) -> String {
    match able {
        [] => "one".to_owned(),
        names => names.join(" or "),
    }
}

/// The tool's words from its first error on.
fn failing(error: &ChildError) -> String {
    let ChildError::Failed {
        program, stderr, ..
    } = error
    else {
        return error.to_string();
    };
    let from = ["ERROR:", "FATAL:", "error:"]
        .iter()
        .find_map(|word| stderr.find(word));
    let words: String = stderr[from.unwrap_or_default()..]
        .trim()
        .chars()
        .take(STATEMENT_CHARS)
        .collect();
    format!("{program} failed: {words}")
}

impl From<ChildError> for RestoreError {
    fn from(error: ChildError) -> Self {
        match error {
            ChildError::Cancelled { .. } => Self::Interrupted,
            error => Self::Tool(error),
        }
    }
}

impl From<LoadFault> for RestoreError {
    fn from(fault: LoadFault) -> Self {
        Self::Load(Box::new(fault))
    }
}
