//! Why a database did not come back, and how it is now.

use postgres::restore::RestoreError;

use crate::hint;

/// Why a database did not come back.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum DatabaseRestoreError {
    /// The set does not have it.
    #[error("set {set} holds no database `{label}`: it has {}", listed(has))]
    NoDatabase {
        set: String,
        label: String,
        has: Vec<String>,
    },
    /// The set cannot be used.
    #[error("set {set} cannot be restored from: {reason}")]
    Unusable { set: String, reason: String },
    /// A file is not what the manifest says.
    #[error("{file} is not what its manifest says: {reason}; nothing was touched")]
    Different { file: String, reason: String },
    /// It failed before anything was touched.
    #[error("{}; nothing was touched", hint::restore(.0))]
    Refused(#[source] RestoreError),
    /// It failed, and the database is as it was.
    #[error("{what}: {reason}\n{}{}", as_before(name, *there), stay(.roles))]
    PutBack {
        what: &'static str,
        reason: String,
        name: String,
        /// Whether there is one.
        there: bool,
        /// Roles that were made, and stay.
        roles: Vec<String>,
    },
    /// It failed, and what it had begun could not be taken back yet.
    #[error("{0}")]
    Stranded(Box<Stranded>),
    /// Ended by a signal; the database is as it was.
    #[error("interrupted; {}{}", as_before(name, *there), stay(.roles))]
    Interrupted {
        name: String,
        /// Whether there is one.
        there: bool,
        /// Roles that were made, and stay.
        roles: Vec<String>,
    },
}

/// What a restore that failed left behind for now.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are named in the message")]
pub struct Stranded {
    pub what: &'static str,
    pub reason: String,
    pub name: String,
    pub fault: String,
    pub command: String,
    /// Roles that were made, and stay.
    pub roles: Vec<String>,
}

impl std::fmt::Display for Stranded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            what,
            reason,
            name,
            fault,
            command,
            roles,
        } = self;
        let stay = stay(roles);
        write!(
            f,
            "{what}: {reason}\n{name} could not be put back: {fault}\n\
             Nothing is lost{stay}. When the server answers again, this puts it back: {command}"
        )
    }
}

fn as_before(name: &str, there: bool) -> String {
    if there {
        format!("{name} is as it was before")
    } else {
        format!("there is no database {name}, as before")
    }
}

fn stay(roles: &[String]) -> String {
    if roles.is_empty() {
        String::new()
    } else {
        format!(
            "; roles that were missing were created, and stay: {}",
            roles.join(", ")
        )
    }
}

/// Names in one sentence; `none` where there are none.
pub(super) fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
