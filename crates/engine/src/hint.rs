//! What to do about what PostgreSQL's side finds, in our own words: settings, flags and commands, which the crate `postgres` does not know.

use postgres::remark::{About, Remark};
use postgres::restore::RestoreError;
use postgres::scratch::ScratchError;

/// Why a database is not restored, and what to do about it.
pub fn restore(error: &RestoreError) -> String {
    let hint = match error {
        RestoreError::NotAllowed { .. } => " (BACKUP_RESTORE_URLS)",
        RestoreError::Busy { .. } => ": stop them, or say --force to end their sessions",
        _ => "",
    };
    format!("{error}{hint}")
}

/// Why there is no scratch server, and what to do about it.
pub fn scratch(error: &ScratchError) -> String {
    let hint = match error {
        ScratchError::NoServer { .. } => ", or name a scratch server in BACKUP_DRILL_URL",
        ScratchError::NotFenced(_) => {
            ". Name a server of its own in BACKUP_DRILL_URL, or accept that it can do what backupd can with BACKUP_DRILL_FENCE=off"
        }
        ScratchError::Escapes(_) => {
            ". Name a server of its own in BACKUP_DRILL_URL, or accept it with BACKUP_DRILL_FENCE=off"
        }
        _ => "",
    };
    format!("{error}{hint}")
}

/// What is said of a database, and what to do about it.
pub(crate) fn remark(remark: &Remark) -> String {
    let hint = match remark.about {
        About::HalfRestored => " (`backupd restore --undo`)",
        About::Pooler => " (SESSION_DATABASE_URL)",
        _ => "",
    };
    format!("{}{hint}", remark.text)
}
