//! Checked settings, as the engine needs them. A `Config` exists only if every setting was right; it is built at the door.

use std::path::PathBuf;
use std::time::Duration;

use catalog::layout;
use policy::anomaly;
use policy::retention::Policy;
use postgres::dsn::Dsn;
use postgres::dump::DumpFormat;
use stream::artifact::Encoding;

use crate::space::MinFree;

/// Everything a run needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where sets are kept (`BACKUP_DIR`).
    pub backup_dir: PathBuf,
    /// Databases in the order they are dumped.
    pub databases: Vec<DatabaseSource>,
    /// What becomes of the other databases of Supabase's server (`BACKUP_DATABASES`).
    pub others: OtherDatabases,
    /// Superusers to restore as, by label (`BACKUP_RESTORE_URLS`).
    pub restore_urls: Vec<(String, Dsn)>,
    /// File trees in the order they are packed, after the databases.
    pub trees: Vec<TreeSource>,
    /// Format of database dumps.
    pub format: DumpFormat,
    /// Compression and its threads.
    pub encoding: Encoding,
    /// What follows when files and objects do not agree.
    pub reconcile: ReconcileMode,
    /// Directories between the storage root and the buckets (`BACKUP_STORAGE_PREFIX`); found without.
    pub storage_prefix: Option<String>,
    /// What is kept.
    pub retention: Policy,
    /// Room that must remain when a set is made (`BACKUP_MIN_FREE`).
    pub min_free: MinFree,
    /// What is an anomaly.
    pub anomaly: anomaly::Settings,
    /// Longest time one step may take; `None` is without limit.
    pub step_timeout: Option<Duration>,
    /// Longest time a dump waits for a lock (`BACKUP_LOCK_TIMEOUT`); `None` is without limit.
    pub lock_timeout: Option<Duration>,
    /// The server for drills (`BACKUP_DRILL_URL`), which should be none of the sources'.
    pub drill_url: Option<Dsn>,
    /// Where PostgreSQL's programs are looked for.
    pub tools: ToolSearch,
}

/// What follows when files and the objects of the database do not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileMode {
    /// The storage step succeeds with a warning.
    Warn,
    /// The storage step fails; its archive stays.
    Strict,
    /// They are not compared.
    Off,
}

/// A database to dump.
#[derive(Debug, Clone)]
pub struct DatabaseSource {
    /// The step's name and the beginning of its files' names: `supabase`, `keycloak` or the user's label.
    pub label: String,
    /// What the database is to the stack.
    pub role: DatabaseRole,
    /// How to reach it.
    pub dsn: Dsn,
}

/// What becomes of databases of Supabase's server that have no setting of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherDatabases {
    /// They are in no set, and that is told.
    Told,
    /// They are in no set, and whoever set it so knows it.
    LeftOut,
    /// Every one is dumped.
    All,
    /// These are dumped.
    Named(Vec<String>),
}

/// What a database is to the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseRole {
    /// The heart of the stack: without it a run has no worth.
    Supabase,
    /// Keycloak's own database.
    Keycloak,
    /// One of `BACKUP_EXTRA_DATABASES`, or named in `BACKUP_DATABASES`.
    Extra,
    /// One that `BACKUP_DATABASES=all` found.
    Found,
}

/// Names of a run's own steps and sources, which no label of a user's may take.
pub const RESERVED_LABELS: [&str; 8] = [
    "supabase",
    "keycloak",
    "storage",
    "preflight",
    "manifest",
    "verify",
    "offsite",
    "retention",
];
/// Labels become file names and metric labels.
pub const LABEL_MAX: usize = 40;

/// Whether a text can be a label: lower-case letters, digits, `-` and `_`.
pub fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LABEL_MAX
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        })
}

/// A tree of files to pack.
#[derive(Debug, Clone)]
pub struct TreeSource {
    /// The step's name: `storage` or the user's label.
    pub label: String,
    /// What the tree is.
    pub role: TreeRole,
    /// Its root directory.
    pub root: PathBuf,
}

/// What a tree is to the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeRole {
    /// Supabase Storage's file backend.
    Storage,
    /// One of `BACKUP_EXTRA_PATHS`.
    Extra,
}

impl TreeSource {
    /// The artifact's name before its compression's extension.
    pub fn file_stem(&self) -> String {
        match self.role {
            TreeRole::Storage => layout::STORAGE.to_owned(),
            TreeRole::Extra => layout::files(&self.label),
        }
    }

    /// Whether it is Supabase's.
    pub fn is_storage(&self) -> bool {
        self.role == TreeRole::Storage
    }

    /// The setting that names this tree, for messages.
    pub fn setting(&self) -> &'static str {
        match self.role {
            TreeRole::Storage => "SUPABASE_STORAGE_PATH",
            TreeRole::Extra => "BACKUP_EXTRA_PATHS",
        }
    }
}

/// Where PostgreSQL's programs are looked for.
#[derive(Debug, Clone, Default)]
pub struct ToolSearch {
    /// `BACKUP_PG_BINDIR`: this directory and no other.
    pub bindir: Option<PathBuf>,
    /// The directories of `PATH`.
    pub path: Vec<PathBuf>,
}
