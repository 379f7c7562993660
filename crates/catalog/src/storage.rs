//! The Storage archive, and how its files agree with the objects of the database.

use serde::{Deserialize, Serialize};
use stream::words::counted;

/// About the Storage archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Regular files.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// The first files that changed while they were read.
    pub changed: Vec<Changed>,
    /// How many there were.
    #[serde(default)]
    pub changed_total: u64,
    /// How the files agree with the rows of `storage.objects` in the snapshot that was dumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<Reconcile>,
}

/// Objects of the database against files of the archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconcile {
    /// Directories between the root and the buckets, `stub/stub`; empty for none.
    pub prefix: String,
    /// Whether a file is named by its object's version, in a directory of the object's name.
    pub versioned: bool,
    /// Objects in the database that should have a file.
    pub objects: u64,
    /// Files in the archive.
    pub files: u64,
    /// Objects whose file is there and is right.
    pub matched: u64,
    /// Of these, those whose content was compared by MD5.
    pub hashed: u64,
    /// Objects without a file.
    pub missing: Faults,
    /// Objects whose file has another size.
    pub size_mismatch: Faults,
    /// Objects whose file has the size and another content.
    pub content_mismatch: Faults,
    /// Files without an object, which is no fault: uploads during the run, and what the service keeps for itself.
    pub extra: Faults,
    /// Objects that were deleted or replaced before their file was read, which is no fault.
    pub deleted_meanwhile: Faults,
}

/// How many, and the first of them by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// All of them.
    pub total: u64,
    /// The first 100, `bucket/name` for objects, the path below the root for files.
    pub names: Vec<String>,
}

impl Faults {
    /// Names that are kept.
    const NAMED: usize = 100;

    /// One more.
    pub fn add(&mut self, name: impl Into<String>) {
        self.total += 1;
        if self.names.len() < Self::NAMED {
            self.names.push(name.into());
        }
    }
}

impl Faults {
    /// How many objects are so: `1 object has no file`, `2 objects have no file`.
    pub fn told(&self, what: &str) -> String {
        let objects = counted(self.total, "object");
        if self.total == 1 {
            format!("{objects} {}", what.replacen("have", "has", 1))
        } else {
            format!("{objects} {what}")
        }
    }
}

impl Reconcile {
    /// Faults of `later`, a comparison of what was restored, that this one did not have.
    pub fn new_faults(&self, later: &Self) -> Vec<String> {
        let known = [
            &self.missing,
            &self.size_mismatch,
            &self.content_mismatch,
            &self.deleted_meanwhile,
        ];
        let total = |faults: &[&Faults]| faults.iter().map(|faults| faults.total).sum::<u64>();
        let found = later.faults();
        let all_named = known
            .iter()
            .all(|faults| faults.total == faults.names.len() as u64);
        if !all_named {
            // Names beyond the first are not kept: then the numbers tell.
            let now = total(&found.map(|(_, faults)| faults));
            let more = now.saturating_sub(total(&known));
            return if more == 0 {
                Vec::new()
            } else {
                vec![format!(
                    "{more} more objects lack their file than when the set was made"
                )]
            };
        }
        let is_known = |name: &String| known.iter().any(|faults| faults.names.contains(name));
        let mut words = Vec::new();
        for (what, faults) in found {
            let new = faults.names.iter().filter(|name| !is_known(name));
            words.extend(
                new.map(|name| format!("object {name}: {}", what.replacen("have", "has", 1))),
            );
            if faults.total > faults.names.len() as u64 {
                words.push(faults.told(what));
            }
        }
        words
    }

    /// The faults with their words, of several objects.
    pub fn faults(&self) -> [(&'static str, &Faults); 3] {
        [
            ("have no file", &self.missing),
            ("have a file of another size", &self.size_mismatch),
            ("have a file of another content", &self.content_mismatch),
        ]
    }
}

/// A file that changed while it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Below the root.
    pub path: String,
    /// `grew`, `shrank`, `vanished` or `modified`.
    pub what: String,
}
