//! What tells a source from another one of the same name: a new server behind an old address, an empty disk at an old mount point.

use serde::{Deserialize, Serialize};

/// Of a source, as its sets keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Identity {
    /// A database of a server.
    Server {
        /// `pg_control_system().system_identifier`, made by `initdb`: a number of 64 bits, which JSON's numbers do not hold.
        system: String,
        /// `pg_database.oid`. A database that is dropped and made again, as a restore does, has another.
        database: u32,
    },
    /// A directory.
    Directory {
        /// Its root's inode.
        inode: u64,
        /// When that inode was made, as its file system keeps it: RFC 3339 with nanoseconds.
        born: String,
    },
    /// One that a newer backupd knows.
    #[serde(other)]
    Unknown,
}

impl Identity {
    /// Whether both are of one source; none where that cannot be told. A database made anew on the same server is the same source.
    pub fn is_same(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Server { system, .. }, Self::Server { system: other, .. }) => {
                Some(system == other)
            }
            (Self::Directory { .. }, Self::Directory { .. }) => Some(self == other),
            _ => None,
        }
    }

    /// Whether it is known to be another source's.
    pub fn differs(&self, other: &Self) -> bool {
        self.is_same(other) == Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_made_anew_is_the_same_source_and_another_server_is_not() {
        let database = |system: &str, database| Identity::Server {
            system: system.to_owned(),
            database,
        };
        let tree = |inode, born: &str| Identity::Directory {
            inode,
            born: born.to_owned(),
        };
        let cases = [
            (database("1", 5), database("1", 5), Some(true)),
            (database("1", 5), database("1", 16_384), Some(true)),
            (database("1", 5), database("2", 5), Some(false)),
            (tree(2, "a"), tree(2, "a"), Some(true)),
            (tree(2, "a"), tree(2, "b"), Some(false)),
            (tree(2, "a"), tree(3, "a"), Some(false)),
            (tree(2, "a"), database("2", 2), None),
            (Identity::Unknown, database("2", 2), None),
        ];
        for (one, other, same) in cases {
            assert_eq!(one.is_same(&other), same, "{one:?}, {other:?}");
            assert_eq!(other.is_same(&one), same, "{other:?}, {one:?}");
        }
    }

    #[test]
    fn what_a_newer_backupd_knows_is_read_as_unknown() {
        let newer = r#"{"kind":"bucket","name":"b"}"#;
        let read: Identity = serde_json::from_str(newer).unwrap();
        assert_eq!(read, Identity::Unknown);
        let text = r#"{"kind":"server","system":"7381234567890123456","database":5}"#;
        let read: Identity = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}
