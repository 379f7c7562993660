//! What a proof by restoring needs, and why it could not be made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use catalog::catalog::Entry;
use postgres::dsn::Dsn;
use postgres::scratch::{Fencing, ScratchError};
use postgres::tools::Tools;

use crate::hint;
use crate::space;

/// What a drill needs.
pub struct DrillRequest<'a> {
    /// The backup directory.
    pub backup_dir: &'a Path,
    /// The set.
    pub entry: &'a Entry,
    /// PostgreSQL's programs; of a server too, unless there is a `url`.
    pub tools: &'a Tools,
    /// A server to restore into; without, a private one is made.
    pub url: Option<&'a Dsn>,
    /// Whether the private one must be fenced.
    pub fencing: Fencing,
    /// Longest time that it may take; `None` is without limit.
    pub time_limit: Option<Duration>,
}

/// Why a drill could not be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum DrillError {
    /// The set.
    #[error("set {set} cannot be drilled: {reason}")]
    Unusable { set: String, reason: String },
    /// The disk.
    #[error("a drill needs {} in {}, and {} are free: make room, or name a scratch server in BACKUP_DRILL_URL", space::human(*needed), dir.display(), space::human(*free))]
    NoRoom {
        dir: PathBuf,
        needed: u64,
        free: u64,
    },
    /// The scratch server.
    #[error("{}", hint::scratch(.0))]
    Scratch(ScratchError),
    /// A server that was named.
    #[error("BACKUP_DRILL_URL: {0}")]
    Url(postgres::restore::RestoreError),
    /// Of the backup directory.
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("not done within {} s (BACKUP_STEP_TIMEOUT)", .0.as_secs())]
    TooLong(Duration),
    /// A panic.
    #[error("{0}")]
    Defect(String),
    /// Another drill.
    #[error("another drill is at work here: {by}")]
    Busy { by: String },
    /// Retention, or somebody, removed it meanwhile.
    #[error("set {set} was removed while it was drilled: nothing is said of it")]
    Removed { set: String },
    /// Its databases could not be dropped.
    #[error(
        "interrupted, and the databases of the drill on {server} (their names begin with {prefix}) could not be dropped: {reason}; the next drill drops them"
    )]
    Left {
        server: String,
        prefix: String,
        reason: String,
    },
    /// Ended by a signal.
    #[error("interrupted; what the drill had made is removed")]
    Interrupted,
}

impl From<ScratchError> for DrillError {
    fn from(error: ScratchError) -> Self {
        Self::Scratch(error)
    }
}
