//! Every name in a backup directory, and (`tree`) those that a restore gives to directories of a file tree. docs/set-format.md is its
//! document. Nobody else puts such a name together.

pub mod tree;

use std::path::{Path, PathBuf};

use crate::set::SetId;

/// A set's manifest.
pub const MANIFEST: &str = "manifest.json";
/// What each database of a set held.
pub const CENSUS: &str = "census.json.gz";
/// A set's digests, as sha256sum writes them.
pub const SUMS: &str = "SHA256SUMS";
/// backupd's own directory.
const PRIVATE: &str = ".backupd";

/// What a directory beside the sets is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// A set in the making.
    Partial,
    /// A set on its way out.
    Removed,
}

impl Aside {
    fn suffix(self) -> &'static str {
        match self {
            Self::Partial => ".partial",
            Self::Removed => ".removed",
        }
    }

    /// Its name.
    pub fn name(self, set: SetId) -> String {
        format!(".{set}{}", self.suffix())
    }

    /// The set that a name is of.
    pub fn set(self, name: &str) -> Option<SetId> {
        let set = name.strip_prefix('.')?.strip_suffix(self.suffix())?;
        set.parse().ok()
    }
}

/// A finished set.
pub fn set(root: &Path, set: SetId) -> PathBuf {
    root.join(set.to_string())
}

/// backupd's own directory: lock, history, drills, scratch.
pub fn private(root: &Path) -> PathBuf {
    root.join(PRIVATE)
}

/// Held by whoever changes sets.
pub fn lock(root: &Path) -> PathBuf {
    private(root).join("lock")
}

/// Held by a drill.
pub fn drill_lock(root: &Path) -> PathBuf {
    private(root).join("drill.lock")
}

/// What happened, a line each.
pub fn history(root: &Path) -> PathBuf {
    private(root).join("history.jsonl")
}

/// The oldest lines of a long history.
pub fn history_put_away(root: &Path) -> PathBuf {
    private(root).join("history.1.jsonl")
}

/// Held by whoever adds a line.
pub fn history_lock(root: &Path) -> PathBuf {
    private(root).join("history.lock")
}

/// Anomalies and sources that somebody accepted.
pub fn accepted(root: &Path) -> PathBuf {
    private(root).join("accepted.json")
}

/// The report of a set's last drill.
pub fn drill_report(root: &Path, set: SetId) -> PathBuf {
    private(root).join("drills").join(format!("{set}.json"))
}

/// Where a drill's server has its files.
pub fn scratch(root: &Path) -> PathBuf {
    private(root).join("scratch")
}

/// The backup directory's own number.
pub fn id(root: &Path) -> PathBuf {
    private(root).join("id")
}

/// Written and removed to see whether writing works.
pub fn probe(root: &Path) -> PathBuf {
    private(root).join("probe")
}

/// A database's dump in plain SQL, before its compression's extension.
pub fn plain_dump(label: &str) -> String {
    format!("{label}_db.sql")
}

/// A database's dump as pg_dump's own archive.
pub fn custom_dump(label: &str) -> String {
    format!("{label}_db.dump")
}

/// A server's roles, before the compression's extension.
pub fn roles(label: &str) -> String {
    format!("{label}_roles.sql")
}

/// Supabase Storage's files, before the compression's extension.
pub const STORAGE: &str = "storage_buckets.tar";

/// Another tree's files, before the compression's extension.
pub fn files(label: &str) -> String {
    format!("extra_{label}.tar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_aside_are_known_by_their_names() {
        let set: SetId = "20261120T020000Z".parse().unwrap();
        for aside in [Aside::Partial, Aside::Removed] {
            assert_eq!(aside.set(&aside.name(set)), Some(set));
        }
        assert_eq!(Aside::Partial.name(set), ".20261120T020000Z.partial");
        for name in [
            "20261120T020000Z",
            ".backupd",
            ".x.partial",
            ".20261120T020000Z.removed",
        ] {
            assert_eq!(Aside::Partial.set(name), None, "{name}");
        }
    }
}
