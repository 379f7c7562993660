//! The backup directory: what is in it, how a set comes and goes.
//!
//! A set has its final name only when it is complete, and loses that name before its files go. Names that are not ours are never
//! touched.

mod look;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use stream::words::counted;
use stream::{directory, durable};

use crate::accepted::Accepted;
use crate::anomaly::Anomaly;
use crate::drill::DrillReport;
use crate::history::{History, damaged};
use crate::layout::{self, Aside};
use crate::manifest::{Manifest, ManifestError};
use crate::remembered::{Detail, Remembered};
use crate::set::{Selector, SetId};
use look::{failure, is_unread, lacking, size};

/// Why a set is not good whose anomaly is accepted and over.
const MENDED: &str = "what was odd about it is over: a restore followed it";
/// How many seconds ahead a free id is looked for; more sets in a row were never begun in one second.
const ID_TRIES: usize = 100;

/// A backup directory.
#[derive(Debug, Clone)]
pub struct Catalog {
    root: PathBuf,
}

/// A set as it lies on disk.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "facts, each of its own")]
pub struct Entry {
    /// Its id, which is its directory's name.
    pub id: SetId,
    /// Its directory.
    pub path: PathBuf,
    /// Its manifest, or why that cannot be used. Of a set in a list only what is short.
    pub manifest: Result<Arc<Manifest>, ManifestError>,
    /// Whether it is a recovery point to count on.
    pub good: bool,
    /// Why it is not good.
    pub why_not_good: Option<String>,
    /// Whether all its files are there with their sizes, and there are any.
    pub complete: bool,
    /// Whether the disk refused to tell whether it is good: nothing is known of it, and [`Entry::why_not_good`] has the disk's words.
    pub unread: bool,
    /// Whether its run ended with an anomaly that nobody has accepted.
    pub odd: bool,
    /// Of all its files.
    pub bytes: u64,
}

impl Entry {
    /// Whether it is a set to count on.
    pub fn counts(&self, now: DateTime<Utc>) -> bool {
        self.id.counts(self.good, self.odd, now)
    }

    /// Whether it is good, and has an anomaly that nobody has accepted.
    pub fn has_open_anomaly(&self) -> bool {
        self.good && self.odd
    }

    /// Its manifest, where that can be used.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_deref().ok()
    }

    /// With all that its manifest tells.
    fn whole(mut self) -> Self {
        if self.manifest.is_ok() {
            self.manifest = Manifest::of_set(&self.path, self.id).map(Arc::new);
        }
        self
    }

    /// What was found odd beside the sets before it, accepted or not.
    pub fn anomalies(&self) -> &[Anomaly] {
        self.manifest().map_or(&[], |manifest| &manifest.anomalies)
    }
}

/// A set that was looked for.
#[derive(Debug)]
pub struct Found {
    /// It.
    pub entry: Entry,
    /// Newer good sets that `latest` passed over, for their anomalies are open.
    pub passed_over: Vec<SetId>,
}

/// A set in the making.
#[derive(Debug)]
pub struct PartialSet {
    /// Its id to be.
    pub id: SetId,
    /// Its directory until it is sealed.
    pub dir: PathBuf,
}

/// What killed runs left.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Sets in the making.
    pub partial: Vec<PartialSet>,
    /// Sets that have lost their names, and not all of their files.
    pub removed: Vec<SetId>,
    /// Their directories.
    pub names: Vec<String>,
}

/// Why no set was found.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum FindError {
    /// There are none.
    #[error("there are no backup sets in {}", root.display())]
    NoSets { root: PathBuf },
    /// The good ones are all from the future.
    #[error(
        "{} in {}, all dated in the future: the clock, {now}, is wrong, or was; name a set by its id to use it all the same",
        counted(*sets as u64, "good set"),
        root.display()
    )]
    OnlyFuture {
        root: PathBuf,
        sets: usize,
        now: SetId,
    },
    /// The good ones all have open anomalies.
    #[error(
        "every good set in {} ({sets}) has an anomaly that nobody has accepted: `backupd list` says which; accept them by `backupd accept`, or name a set by its id",
        root.display()
    )]
    OnlyOdd { root: PathBuf, sets: usize },
    /// The disk refuses to tell whether it is the newest good one.
    #[error(
        "nobody can say which set is the newest good one, for {set} could not be looked at: {why}; name a set by its id to use it all the same"
    )]
    Unread { set: SetId, why: String },
    /// There are only failed or damaged ones.
    #[error("of {} in {} none is good: `backupd list` says why", counted(*sets as u64, "set"), root.display())]
    NoGoodSet { root: PathBuf, sets: usize },
    /// None begins so.
    #[error("no set begins with {prefix}: `backupd list` shows what there is")]
    NoMatch { prefix: String },
    /// Several begin so.
    #[error("{prefix} could be {}: give more of it", matches.join(", "))]
    Ambiguous {
        prefix: String,
        matches: Vec<String>,
    },
    /// The directory cannot be read.
    #[error("the backup directory cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Catalog {
    /// Opens a backup directory for writing and makes backupd's own directory in it. The backup directory itself must be there: a
    /// missing one is most often a lost mount.
    pub fn open(root: &Path) -> io::Result<Self> {
        let catalog = Self::open_read_only(root)?;
        match durable::create_dir_private(&layout::private(root)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(catalog),
        }
    }

    /// Opens a backup directory and makes nothing.
    pub fn open_read_only(root: &Path) -> io::Result<Self> {
        fs::read_dir(root)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Writes and removes a small file in backupd's own directory: the only proof that writing works.
    pub fn try_writing(&self) -> io::Result<()> {
        let probe = layout::probe(&self.root);
        fs::write(&probe, b"backupd was here\n")?;
        fs::remove_file(probe)
    }

    /// All sets, oldest first, with what is short of their manifests.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        self.look(&mut Remembered::default(), 0)
    }

    /// All sets, oldest first, by what is remembered of them; the newest, so many, with what a status page shows.
    pub fn look(&self, remembered: &mut Remembered, shown: usize) -> io::Result<Vec<Entry>> {
        let records = match History::open(&self.root) {
            Ok(history) => remembered.history(&history)?,
            // A copy of sets without the private directory has no history.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Arc::default(),
            Err(error) => return Err(error),
        };
        let damaged = damaged(&records);
        let accepted = Accepted::read_unless_damaged(&self.root)?;
        let mut ids = self.ids()?;
        ids.sort_unstable();
        remembered.keep_only(&ids);
        let brief = ids.len().saturating_sub(shown);
        let entries = ids.iter().enumerate().map(|(at, id)| {
            let detail = if at < brief {
                Detail::Brief
            } else {
                Detail::Shown
            };
            let path = self.path(*id);
            let manifest = remembered.manifest(*id, &path, detail);
            let damage = damaged.get(id).copied();
            entry(*id, path, manifest, &accepted, damage)
        });
        Ok(entries.collect())
    }

    /// The set that is meant.
    pub fn find(&self, selector: &Selector, now: DateTime<Utc>) -> Result<Found, FindError> {
        let mut entries = self.list()?;
        let root = self.root.clone();
        if entries.is_empty() {
            return Err(FindError::NoSets { root });
        }
        let sets = entries.len();
        match selector {
            Selector::Latest => {
                let good = newest_good(&entries, now);
                let newer = &entries[good.map_or(0, |at| at + 1)..];
                let unread = newer
                    .iter()
                    .rfind(|entry| entry.unread && !entry.id.is_from_the_future(now));
                if let Some(unread) = unread {
                    return Err(FindError::Unread {
                        set: unread.id,
                        why: unread.why_not_good.clone().unwrap_or_default(),
                    });
                }
                if let Some(at) = good {
                    let newer = entries[at..].iter().filter(|entry| {
                        entry.has_open_anomaly() && !entry.id.is_from_the_future(now)
                    });
                    let passed_over = newer.map(|entry| entry.id).collect();
                    let entry = entries.swap_remove(at).whole();
                    return Ok(Found { entry, passed_over });
                }
                let good: Vec<&Entry> = entries.iter().filter(|entry| entry.good).collect();
                let of_now = |entry: &&&Entry| !entry.id.is_from_the_future(now);
                Err(match (good.iter().filter(of_now).count(), good.len()) {
                    (0, 0) => FindError::NoGoodSet { root, sets },
                    (0, sets) => FindError::OnlyFuture {
                        root,
                        sets,
                        now: SetId::at(now),
                    },
                    (sets, _) => FindError::OnlyOdd { root, sets },
                })
            }
            Selector::Prefix(prefix) => {
                entries.retain(|entry| entry.id.to_string().starts_with(prefix));
                let prefix = prefix.clone();
                match entries.len() {
                    0 => Err(FindError::NoMatch { prefix }),
                    1 => Ok(Found {
                        entry: entries.remove(0).whole(),
                        passed_over: Vec::new(),
                    }),
                    _ => Err(FindError::Ambiguous {
                        prefix,
                        matches: entries.iter().map(|entry| entry.id.to_string()).collect(),
                    }),
                }
            }
        }
    }

    /// The newest set, good or not; none from the future.
    pub fn newest(&self, now: DateTime<Utc>) -> io::Result<Option<SetId>> {
        let present = self.ids()?.into_iter();
        Ok(present.filter(|id| !id.is_from_the_future(now)).max())
    }

    /// A set's whole manifest.
    pub fn manifest(&self, id: SetId) -> Result<Manifest, ManifestError> {
        Manifest::of_set(&self.path(id), id)
    }

    /// Makes the directory of a new set. Where the clock was set back a little, it comes behind the newest set all the same, so that
    /// retention and `latest` see it as the newest. Where the id is taken, the next free one is used; nothing is overwritten.
    pub fn begin(&self, now: DateTime<Utc>) -> io::Result<PartialSet> {
        let newest = self.newest(now)?;
        let mut id = SetId::at(now).max(newest.map_or(SetId::at(now), SetId::next));
        for _ in 0..ID_TRIES {
            let dir = self.aside(id, Aside::Partial);
            if !self.path(id).exists() {
                match durable::create_dir_private(&dir) {
                    Ok(()) => return Ok(PartialSet { id, dir }),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
            }
            id = id.next();
        }
        Err(io::Error::other(format!(
            "no free set id from {} on",
            SetId::at(now)
        )))
    }

    /// Gives a complete set its name. What is in its directory and none of its files goes first: a step that failed may have left it.
    /// Where it cannot be made to survive a power cut it has no name.
    pub fn seal(&self, partial: &PartialSet, manifest: &Manifest) -> io::Result<()> {
        let path = self.path(partial.id);
        if path.exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there already", path.display()),
            ));
        }
        for entry in fs::read_dir(&partial.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if manifest.files().any(|file| name == file) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        durable::sync_dir(&partial.dir)?;
        durable::rename(&partial.dir, &path).inspect_err(|_| {
            // Where it has not got the name, there is nothing to take back.
            let _ = durable::rename(&path, &partial.dir);
        })
    }

    /// Removes what is in a set in the making. The directory stays: whoever finds it knows that a run was killed.
    pub fn empty(&self, partial: &PartialSet) -> io::Result<()> {
        empty(&partial.dir)
    }

    /// Removes a set in the making.
    pub fn discard(&self, partial: PartialSet) -> io::Result<()> {
        fs::remove_dir_all(partial.dir)
    }

    /// What killed runs left: sets in the making, and sets on their way out. While the lock is held nobody is at work on them.
    pub fn leftovers(&self) -> io::Result<Leftovers> {
        let mut left = Leftovers::default();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (partial, removed) = (Aside::Partial.set(&name), Aside::Removed.set(&name));
            if (partial.is_none() && removed.is_none()) || !entry.file_type()?.is_dir() {
                continue;
            }
            let dir = entry.path();
            left.partial
                .extend(partial.map(|id| PartialSet { id, dir }));
            left.removed.extend(removed);
            left.names.push(name);
        }
        left.names.sort();
        Ok(left)
    }

    /// Takes a finished set's name, so that a half-removed set is never seen; [`Catalog::clear`] removes its files. The inner result is of
    /// the flush behind that: the name is gone however it went.
    #[allow(
        clippy::disallowed_methods,
        reason = "the flush is made, and told apart"
    )]
    pub fn unname(&self, id: SetId) -> io::Result<io::Result<()>> {
        fs::rename(self.path(id), self.aside(id, Aside::Removed))?;
        Ok(durable::sync_dir(&self.root))
    }

    /// Whether there is a set of this id, as far as can be told.
    pub fn has(&self, id: SetId) -> bool {
        self.path(id).try_exists().unwrap_or(true)
    }

    /// Removes what is left of a set without a name. Its files go last: what fails before them is done again by whoever finds them.
    pub fn clear(&self, id: SetId) -> io::Result<()> {
        DrillReport::remove(&self.root, id)?;
        // A line too many in it means nothing: whoever makes a set of this id again, with an anomaly, takes it out.
        let _ = Accepted::update(&self.root, |accepted| {
            accepted.forget(id);
        });
        fs::remove_dir_all(self.aside(id, Aside::Removed))
    }

    /// Removes the files of a set without a name. The directory stays: whoever finds it knows that the set was removed.
    pub fn hollow(&self, id: SetId) -> io::Result<()> {
        empty(&self.aside(id, Aside::Removed))
    }

    fn ids(&self) -> io::Result<Vec<SetId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if let Ok(id) = entry.file_name().to_string_lossy().parse()
                && entry.file_type()?.is_dir()
            {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn path(&self, id: SetId) -> PathBuf {
        layout::set(&self.root, id)
    }

    fn aside(&self, id: SetId, aside: Aside) -> PathBuf {
        self.root.join(aside.name(id))
    }
}

/// Removes all that is in a directory.
fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        directory::remove(&entry?.path())?;
    }
    Ok(())
}

/// What is known of a set by its manifest, and by the names and sizes of its files.
fn entry(
    id: SetId,
    path: PathBuf,
    manifest: Result<Arc<Manifest>, ManifestError>,
    accepted: &Accepted,
    damage: Option<&str>,
) -> Entry {
    let (mut unread, mut complete) = (is_unread(&manifest), false);
    let why_not_good = match &manifest {
        Err(error) => Some(error.to_string()),
        Ok(manifest) => {
            let (failure, lack) = (failure(manifest), lacking(&path, manifest));
            let is_refused = lack.as_ref().is_some_and(|lack| lack.is_unread);
            let is_there = lack.as_ref().is_none_or(|lack| lack.is_beside_the_data);
            complete = !manifest.artifacts.is_empty() && (is_there || is_refused);
            unread = failure.is_none() && is_refused;
            failure
                .or(lack.map(|lack| lack.words))
                .or_else(|| damage.map(|what| format!("found damaged by verify: {what}")))
                .or_else(|| accepted.mended.contains(&id).then(|| MENDED.to_owned()))
        }
    };
    Entry {
        id,
        complete,
        unread,
        bytes: size(&path),
        good: why_not_good.is_none(),
        why_not_good,
        odd: !accepted.sets.contains(&id)
            && manifest
                .as_ref()
                .is_ok_and(|manifest| !manifest.anomalies.is_empty()),
        manifest,
        path,
    }
}

/// Where the newest set to count on is among sets in the order of their ids: what `latest` means.
pub fn newest_good(entries: &[Entry], now: DateTime<Utc>) -> Option<usize> {
    entries.iter().rposition(|entry| entry.counts(now))
}

#[cfg(test)]
mod tests;
