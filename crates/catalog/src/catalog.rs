//! The backup directory: what is in it, how a set comes and goes.
//!
//! A set has its final name only when it is complete, and loses that name before its files go. Names that are not ours are never
//! touched.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use stream::durable;

use crate::accepted::Accepted;
use crate::anomaly::Anomaly;
use crate::drill::DrillReport;
use crate::history::History;
use crate::manifest::{Manifest, ManifestError, SUMS};
use crate::set::{Selector, SetId};

/// backupd's own directory in the backup directory: lock, history.
pub const PRIVATE: &str = ".backupd";
/// A set in the making is `.<id>.partial`.
const PARTIAL: &str = ".partial";
/// A set on its way out is `.<id>.removed`.
const REMOVED: &str = ".removed";
/// How many seconds ahead a free id is looked for; more sets in a row were never begun in one second.
const ID_TRIES: usize = 100;

/// A backup directory.
#[derive(Debug, Clone)]
pub struct Catalog {
    root: PathBuf,
}

/// A set as it lies on disk.
#[derive(Debug)]
pub struct Entry {
    /// Its id, which is its directory's name.
    pub id: SetId,
    /// Its directory.
    pub path: PathBuf,
    /// Its manifest, or why that cannot be used.
    pub manifest: Result<Manifest, ManifestError>,
    /// Whether it is a recovery point to count on.
    pub good: bool,
    /// Why it is not good.
    pub why_not_good: Option<String>,
    /// Whether all its files are there with their sizes, and there are any.
    pub complete: bool,
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

    /// What was found odd beside the sets before it, accepted or not.
    pub fn anomalies(&self) -> &[Anomaly] {
        self.manifest
            .as_ref()
            .map_or(&[], |manifest| &manifest.anomalies)
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

/// Why no set was found.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum FindError {
    /// There are none.
    #[error("there are no backup sets in {}", root.display())]
    NoSets { root: PathBuf },
    /// The good ones are all from the future.
    #[error(
        "the {sets} good set(s) in {} are all dated in the future: the clock, {now}, is wrong, or was; name a set by its id to use it all the same",
        root.display()
    )]
    OnlyFuture {
        root: PathBuf,
        sets: usize,
        now: SetId,
    },
    /// The good ones all have open anomalies.
    #[error(
        "the {sets} good set(s) in {} have anomalies that nobody has accepted: `backupd list` says which; accept them by `backupd accept`, or name a set by its id",
        root.display()
    )]
    OnlyOdd { root: PathBuf, sets: usize },
    /// There are only failed or damaged ones.
    #[error("none of the {sets} set(s) in {} is good: `backupd list` says why", root.display())]
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
        match durable::create_dir_private(&root.join(PRIVATE)) {
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
        let probe = self.root.join(PRIVATE).join("probe");
        fs::write(&probe, b"backupd was here\n")?;
        fs::remove_file(probe)
    }

    /// All sets, oldest first.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let damaged = match History::open(&self.root) {
            Ok(history) => history.damaged()?,
            // A copy of sets without the private directory has no history.
            Err(_) => Vec::new(),
        };
        let accepted = Accepted::read_or_nothing(&self.root);
        let mut entries: Vec<Entry> = self
            .ids()?
            .into_iter()
            .map(|id| {
                let found = damaged.iter().find(|(set, _)| *set == id);
                let accepted = accepted.sets.contains(&id);
                self.entry(id, accepted, found.map(|(_, problem)| problem.as_str()))
            })
            .collect();
        entries.sort_by_key(|entry| entry.id);
        Ok(entries)
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
                if let Some(at) = newest_good(&entries, now) {
                    let newer = entries[at..].iter().filter(|entry| {
                        entry.has_open_anomaly() && !entry.id.is_from_the_future(now)
                    });
                    let passed_over = newer.map(|entry| entry.id).collect();
                    let entry = entries.swap_remove(at);
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
                        entry: entries.remove(0),
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

    /// Makes the directory of a new set. Where the clock was set back a little, it comes behind the newest set all the same, so that
    /// retention and `latest` see it as the newest. Where the id is taken, the next free one is used; nothing is overwritten.
    pub fn begin(&self, now: DateTime<Utc>) -> io::Result<PartialSet> {
        let present = self.ids()?.into_iter();
        let newest = present.filter(|id| !id.is_from_the_future(now)).max();
        let mut id = SetId::at(now).max(newest.map_or(SetId::at(now), SetId::next));
        for _ in 0..ID_TRIES {
            let dir = self.aside(id, PARTIAL);
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

    /// Gives a complete set its name.
    pub fn seal(&self, partial: &PartialSet) -> io::Result<()> {
        let path = self.path(partial.id);
        if path.exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there already", path.display()),
            ));
        }
        durable::sync_dir(&partial.dir)?;
        durable::rename(&partial.dir, &path)
    }

    /// Removes a set in the making.
    pub fn discard(&self, partial: PartialSet) -> io::Result<()> {
        fs::remove_dir_all(partial.dir)
    }

    /// Removes what killed runs left: sets in the making and on their way out. The caller holds the lock, so nobody is at work on them.
    pub fn sweep(&self) -> io::Result<Vec<String>> {
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stem = name.strip_prefix('.').and_then(|name| {
                name.strip_suffix(PARTIAL)
                    .or_else(|| name.strip_suffix(REMOVED))
            });
            let ours = stem.is_some_and(|stem| stem.parse::<SetId>().is_ok());
            if ours && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
                removed.push(name);
            }
        }
        removed.sort();
        Ok(removed)
    }

    /// Removes a finished set: first its name, then its files, so that a half-removed set is never seen.
    pub fn remove(&self, id: &SetId) -> io::Result<()> {
        let aside = self.aside(*id, REMOVED);
        durable::rename(&self.path(*id), &aside)?;
        DrillReport::remove(&self.root, *id);
        // A line too many in it means nothing: no other set ever has this id.
        let _ = Accepted::update(&self.root, |accepted| {
            accepted.sets.remove(id);
        });
        fs::remove_dir_all(aside)
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

    fn entry(&self, id: SetId, accepted: bool, damage: Option<&str>) -> Entry {
        let path = self.path(id);
        let manifest = Manifest::read(&path).and_then(|manifest| {
            if manifest.set == id {
                Ok(manifest)
            } else {
                Err(ManifestError::Foreign {
                    found: manifest.set,
                })
            }
        });
        let lacking = manifest
            .as_ref()
            .map_or(Some(String::new()), |manifest| lacking(&path, manifest));
        let has_artifacts = manifest
            .as_ref()
            .is_ok_and(|manifest| !manifest.artifacts.is_empty());
        let complete = has_artifacts && lacking.is_none();
        let why_not_good = match &manifest {
            Err(error) => Some(error.to_string()),
            Ok(manifest) => failure(manifest)
                .or(lacking)
                .or_else(|| damage.map(|what| format!("found damaged by verify: {what}"))),
        };
        Entry {
            id,
            complete,
            bytes: size(&path),
            good: why_not_good.is_none(),
            why_not_good,
            odd: !accepted
                && manifest
                    .as_ref()
                    .is_ok_and(|manifest| !manifest.anomalies.is_empty()),
            manifest,
            path,
        }
    }

    fn path(&self, id: SetId) -> PathBuf {
        self.root.join(id.to_string())
    }

    fn aside(&self, id: SetId, suffix: &str) -> PathBuf {
        self.root.join(format!(".{id}{suffix}"))
    }
}

/// Where the newest set to count on is among sets in the order of their ids: what `latest` means.
pub fn newest_good(entries: &[Entry], now: DateTime<Utc>) -> Option<usize> {
    entries.iter().rposition(|entry| entry.counts(now))
}

/// Why a run did not make a good set.
fn failure(manifest: &Manifest) -> Option<String> {
    (!manifest.is_good()).then(|| {
        manifest
            .first_error()
            .unwrap_or_else(|| "its run did not succeed".to_owned())
    })
}

/// What a look at names and sizes finds wanting.
fn lacking(path: &Path, manifest: &Manifest) -> Option<String> {
    if !path.join(SUMS).is_file() {
        return Some(format!("{SUMS} is missing"));
    }
    manifest.artifacts.iter().find_map(|artifact| {
        match fs::symlink_metadata(path.join(&artifact.file)) {
            Err(error) => Some(format!("{}: {error}", artifact.file)),
            Ok(meta) if !meta.is_file() || meta.size() != artifact.bytes => Some(format!(
                "{} has not the size it was written with",
                artifact.file
            )),
            Ok(_) => None,
        }
    })
}

/// Sum of the sizes of a directory's files; what cannot be looked at counts nothing.
fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|meta| meta.size())
        .sum()
}

#[cfg(test)]
mod tests;
