//! The backup directory: whether it can be used.

use std::path::Path;

use rustix::fs::Access;

/// Why a backup directory cannot be used, with the fix.
pub(crate) fn backup_dir_fault(dir: &Path) -> Option<String> {
    match dir.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some(format!(
                "BACKUP_DIR {} does not exist: create it, or mount the backup volume there",
                dir.display()
            ));
        }
        Err(error) => {
            return Some(format!(
                "BACKUP_DIR {} cannot be looked at: {error}",
                dir.display()
            ));
        }
        Ok(meta) if !meta.is_dir() => {
            return Some(format!("BACKUP_DIR {} is not a directory", dir.display()));
        }
        Ok(_) => {}
    }
    let error =
        rustix::fs::access(dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(format!(
        "BACKUP_DIR {} is not writable: {}; give it to the user backupd runs as (uid {})",
        dir.display(),
        std::io::Error::from(error),
        rustix::process::geteuid().as_raw()
    ))
}
