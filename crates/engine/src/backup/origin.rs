//! Who asked for a run, and what was said with it.

use crate::source::Look;

/// Who runs, where and why, and what was said with it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `manual`, `schedule`, `catch-up`, ….
    pub trigger: String,
    /// The machine's name.
    pub host: String,
    /// backupd's version.
    pub backupd: String,
    /// Whether the run waits for a person where the sets here are of other sources: a daemon's first by itself.
    pub careful: bool,
    /// Whether it goes on where there seems to be too little room.
    pub ignore_space: bool,
}

impl Origin {
    /// A run of this `backupd` on this machine.
    pub fn here(trigger: &str, backupd: &str) -> Self {
        let names = rustix::system::uname();
        Self {
            trigger: trigger.to_owned(),
            host: names.nodename().to_string_lossy().into_owned(),
            backupd: backupd.to_owned(),
            careful: false,
            ignore_space: false,
        }
    }

    pub(crate) fn look(&self) -> Look {
        Look::Run {
            ignore_space: self.ignore_space,
        }
    }
}
