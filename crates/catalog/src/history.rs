//! `.backupd/history.jsonl`: what happened to runs and to finished sets, a line each. It is appended to, and when it has become long its
//! oldest lines go to `history.1.jsonl`.

mod carried;
mod record;
mod restored;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::FlockOperation;
use stream::durable;
use stream::read::{open_regular, read_regular};

pub use record::{Happening, Record, Runs};

use crate::layout;
use crate::set::SetId;

pub use restored::Restoration;
use restored::{Begun, begun, restored};

/// Bytes of a history that are read.
const BYTES_MOST: u64 = 256 * 1024 * 1024;
/// A longer one is shortened: some years of nightly runs.
const BYTES_LONG: u64 = 1024 * 1024;
/// Lines that stay as they are: the newest.
const LINES_KEPT: usize = 500;

/// The history of a backup directory.
#[derive(Debug)]
pub struct History {
    root: PathBuf,
    path: PathBuf,
}

impl History {
    /// The history below a backup directory, which must have its `.backupd` already to be written to.
    pub fn open(root: &Path) -> io::Result<Self> {
        let private = layout::private(root);
        let words = |why: &dyn std::fmt::Display| format!("{}: {why}", private.display());
        match private.metadata() {
            Ok(meta) if meta.is_dir() => Ok(Self {
                root: root.to_owned(),
                path: layout::history(root),
            }),
            Ok(_) => Err(io::Error::other(words(&"is no directory"))),
            Err(error) => Err(io::Error::new(error.kind(), words(&error))),
        }
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line, durably.
    pub fn append(&self, at: DateTime<Utc>, happening: &Happening) -> io::Result<()> {
        let record = Record {
            at,
            happening: happening.clone(),
        };
        let _alone = self.alone()?;
        durable::append_line(&self.path, &serde_json::to_string(&record)?)
    }

    /// All lines that can be read, oldest first. A line torn by a power cut, or written by a newer backupd, is passed over.
    pub fn read(&self) -> io::Result<Vec<Record>> {
        let file = match open_regular(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let path = self.path.display();
                return Err(io::Error::new(error.kind(), format!("{path}: {error}")));
            }
        };
        if file.metadata()?.len() > BYTES_MOST {
            let path = self.path.display();
            return Err(io::Error::other(format!(
                "{path} has more than {BYTES_MOST} bytes: move it away"
            )));
        }
        let mut records = Vec::new();
        for line in BufReader::new(file.take(BYTES_MOST)).split(b'\n') {
            if let Ok(record) = serde_json::from_slice(&line?) {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Puts the oldest lines of a long history away, into `history.1.jsonl`, but for those that still tell something. The caller holds
    /// the directory's lock; who appends without it waits.
    pub fn shorten(&self) -> io::Result<()> {
        let long = |bytes| bytes > BYTES_LONG;
        match fs::symlink_metadata(&self.path) {
            Ok(meta) if long(meta.len()) => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
        let _alone = self.alone()?;
        let records = self.read()?;
        let mut text = Vec::new();
        for record in carried::shortened(records, LINES_KEPT) {
            serde_json::to_writer(&mut text, &record)?;
            text.push(b'\n');
        }
        if long(text.len() as u64 * 2) {
            return Ok(()); // It is long by what must stay.
        }
        let put_away = layout::history_put_away(&self.root);
        durable::write_atomic(&put_away, &read_regular(&self.path, BYTES_MOST)?)?;
        durable::write_atomic(&self.path, &text)
    }

    /// Nobody else appends while this lives.
    fn alone(&self) -> io::Result<File> {
        let guard = layout::history_lock(&self.root);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(guard)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))?;
        Ok(file)
    }

    /// Which sources were restored in place, from what and behind which run's set. The order of the lines tells, which no clock that is
    /// set disturbs.
    pub fn restored(&self) -> io::Result<Vec<Restoration>> {
        Ok(restored(&self.read()?))
    }

    /// Keeps what a look found that an earlier restore of a source in place had left: `Some` when there was something, and whether the
    /// restored one is in use now. Needed where history has no end of it. `follow` is told first of restores that turn out to have been
    /// none, and of those that stay: if it fails, or is cut off, nothing is kept, and the next look finds the same again.
    pub fn settle(
        &self,
        at: DateTime<Utc>,
        source: &str,
        into: &str,
        left: Option<bool>,
        follow: impl FnOnce(&[Restoration], &[Restoration]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut records = self.read()?;
        let in_use = match (begun(&records, source, into), left) {
            (Some(_), Some(in_use)) => in_use,
            // Nothing says that it was cut off.
            (Some(Begun::Untold), None) => true,
            (Some(Begun::Failed), None) | (None, _) => return Ok(()),
        };
        let settled = Happening::RestoreSettled {
            source: source.to_owned(),
            into: into.to_owned(),
            in_use,
        };
        let mut lost = restored(&records);
        records.push(Record {
            at,
            happening: settled.clone(),
        });
        let after = restored(&records);
        lost.retain(|one| !after.contains(one));
        follow(&lost, &after)?;
        self.append(at, &settled)
    }
}

/// The differences that the last verification of each set found, where it found any.
pub fn damaged(records: &[Record]) -> BTreeMap<SetId, &str> {
    let mut damaged = BTreeMap::new();
    for record in records {
        if let Happening::SetVerified {
            set,
            whole,
            problems,
        } = &record.happening
        {
            damaged.remove(set);
            if !whole {
                damaged.insert(*set, problems.first().map_or("", String::as_str));
            }
        }
    }
    damaged
}

#[cfg(test)]
mod tests;
