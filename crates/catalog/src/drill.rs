//! What a drill proved of a set: `.backupd/drills/SET.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use stream::durable;
use stream::read::read_regular;

use crate::layout;
use crate::set::SetId;

/// Bytes of a report that are read: it names objects, not rows.
const BYTES_MOST: u64 = 64 * 1024 * 1024;

/// How a drill ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillVerdict {
    /// Everything came back, or all but objects without rows whose extension the scratch server lacks.
    Proven,
    /// Rows were not compared, because the scratch server lacked their extension: in reports of 0.1.0 alone.
    Incomplete,
    /// Something is not as it was, or the drill could not be made.
    Failed,
}

impl DrillVerdict {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// A drill's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillReport {
    /// The set.
    pub set: SetId,
    /// In a word.
    pub verdict: DrillVerdict,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: u64,
    /// The server that it was restored into.
    pub server: String,
    /// What reading the set back found, before anything was restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_back: Vec<String>,
    /// The databases, in the set's order.
    pub databases: Vec<DatabaseDrill>,
    /// The storage archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageDrill>,
    /// Why it could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a drill found in one database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseDrill {
    /// Its label.
    pub label: String,
    /// How long it took.
    pub duration_ms: u64,
    /// Tables whose rows were counted.
    pub tables: usize,
    /// Rows that were counted.
    pub rows: u64,
    /// Tables whose every row was compared by digest.
    #[serde(default)]
    pub digests: usize,
    /// Objects that were compared.
    pub objects: usize,
    /// What is not as it was.
    pub differences: Vec<String>,
    /// What could not come back without its extension.
    pub not_proven: Vec<String>,
    /// The scratch server's first complaints; they are no verdict.
    pub complaints: Vec<String>,
    /// Answers to questions that somebody would ask: `users`, `realms`, ….
    pub answers: BTreeMap<String, String>,
}

/// What a drill found in the storage archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageDrill {
    /// Files in the archive.
    pub files: u64,
    /// Objects in the restored database.
    pub objects: u64,
    /// Objects whose file is in the archive, of the right size, and of the right content where that can be told.
    pub matched: u64,
    /// Files whose content was compared by md5.
    pub hashed: u64,
    /// What is not as the database says, and was so neither when the set was made.
    pub differences: Vec<String>,
}

impl DrillReport {
    /// Everything that is not as it was, with where.
    pub fn differences(&self) -> Vec<String> {
        let databases = self.databases.iter().flat_map(|database| {
            database
                .differences
                .iter()
                .map(|what| format!("{}: {what}", database.label))
        });
        let storage = self.storage.iter().flat_map(|storage| {
            storage
                .differences
                .iter()
                .map(|what| format!("storage: {what}"))
        });
        self.error
            .iter()
            .chain(&self.read_back)
            .cloned()
            .chain(databases)
            .chain(storage)
            .collect()
    }

    /// Everything that could not be proven, with where.
    pub fn not_proven(&self) -> Vec<String> {
        let of = |database: &DatabaseDrill| -> Vec<String> {
            database
                .not_proven
                .iter()
                .map(|what| format!("{}: {what}", database.label))
                .collect()
        };
        self.databases.iter().flat_map(of).collect()
    }

    /// The verdict that its findings make.
    pub fn judge(&self) -> DrillVerdict {
        if self.differences().is_empty() {
            DrillVerdict::Proven
        } else {
            DrillVerdict::Failed
        }
    }

    /// Keeps it in a backup directory.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        let path = path(root, self.set);
        if let Some(dir) = path.parent() {
            match durable::create_dir_private(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        durable::write_atomic(&path, &text)
    }

    /// The report of a set; none where it was never drilled.
    pub fn read(root: &Path, set: SetId) -> Option<Self> {
        serde_json::from_slice(&read_regular(&path(root, set), BYTES_MOST).ok()?).ok()
    }

    /// Forgets a set's report, with the set.
    pub fn remove(root: &Path, set: SetId) -> io::Result<()> {
        match fs::remove_file(path(root, set)) {
            // Most sets have none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

fn path(root: &Path, set: SetId) -> PathBuf {
    layout::drill_report(root, set)
}
