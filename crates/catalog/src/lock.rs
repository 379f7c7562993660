//! One writer at a time: an advisory lock on a file, which the kernel lets go of when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::OFlags;

use crate::layout;

/// Bytes of what is said of a holder.
const HOLDER_MOST: u64 = 1024;

/// Between taking the lock and writing who did it lie microseconds.
const HOLDER_TRIES: u32 = 10;
const HOLDER_SOON: Duration = Duration::from_millis(10);

/// Held while it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum LockError {
    /// Another process holds it.
    #[error("another backupd is at work here: {by}")]
    Held { by: String },
    /// The file cannot be opened or locked.
    #[error("the lock {path} cannot be taken: {source}")]
    Io { path: String, source: io::Error },
}

impl Lock {
    /// Takes the lock of a backup directory at once, or says who has it. `what` says what it is taken for.
    pub fn acquire(root: &Path, now: DateTime<Utc>, what: &str) -> Result<Self, LockError> {
        Self::acquire_file(&layout::lock(root), now, what)
    }

    /// As [`Lock::acquire`], for drills alone: they read one set, and runs need not wait for them.
    pub fn acquire_for_drill(root: &Path, now: DateTime<Utc>) -> Result<Self, LockError> {
        Self::acquire_file(&layout::drill_lock(root), now, "a drill")
    }

    fn acquire_file(path: &Path, now: DateTime<Utc>, what: &str) -> Result<Self, LockError> {
        let failed = |source| LockError::Io {
            path: path.display().to_string(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0))
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    by: holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let since = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        let holder = format!("{what}, process {}, since {since}\n", std::process::id());
        // The lock is had either way; on a full disk others are told less about its holder.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(holder.as_bytes()));
        Ok(Self { _file: file })
    }
}

/// Who holds the lock, in words: whoever has just taken it writes that a moment later.
fn holder(file: &mut File) -> String {
    for _ in 0..HOLDER_TRIES {
        let mut by = String::new();
        // Who it is only helps the message.
        let _ = file.rewind();
        let _ = file.take(HOLDER_MOST).read_to_string(&mut by);
        if !by.trim().is_empty() {
            return by.trim().to_owned();
        }
        std::thread::sleep(HOLDER_SOON);
    }
    "a process that could not write down which it is (is the disk full?)".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it_and_the_lock_ends_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(layout::private(dir.path())).unwrap();
        let now = "2026-11-20T02:00:00Z".parse().unwrap();
        let first = Lock::acquire(dir.path(), now, "a backup run").unwrap();
        let refused = Lock::acquire(dir.path(), now, "prune")
            .unwrap_err()
            .to_string();
        assert!(refused.contains("a backup run, process"), "{refused}");
        // As on a full disk, or a moment before it is written.
        let path = layout::lock(dir.path());
        File::create(path).unwrap();
        let refused = Lock::acquire(dir.path(), now, "prune")
            .unwrap_err()
            .to_string();
        assert!(refused.contains("here: a process that"), "{refused}");
        drop(first);
        Lock::acquire(dir.path(), now, "prune").unwrap();
    }
}
