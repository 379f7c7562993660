//! The names of the daemon's jobs.

use std::fmt;

/// A job's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A set is made.
    Run,
    /// The newest good set is restored.
    Drill,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "run",
            Self::Drill => "drill",
        })
    }
}
