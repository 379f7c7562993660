//! The whole sample stack: a server, a storage tree, a directory for backups, and the settings a user of it would have.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;

use crate::backupd::Backupd;
use crate::host::bindir;
use crate::server::{KEYCLOAK_PASSWORD, KEYCLOAK_USER, Options, PgServer};
use crate::storage;

/// A server with both databases, a storage tree, and a directory for backups. All of it goes with the value.
#[derive(Debug)]
pub struct Stack {
    /// The server of both databases.
    pub server: PgServer,
    /// Root of the storage tree.
    pub storage: PathBuf,
    /// `BACKUP_DIR`.
    pub backups: PathBuf,
}

impl Stack {
    /// A stack of its own for one test.
    pub fn new() -> Self {
        Self::with(&Options::default())
    }

    /// As [`Self::new`], with options for the server.
    pub fn with(options: &Options) -> Self {
        let server = PgServer::start_with(options);
        let (storage, backups) = (server.root().join("storage"), server.root().join("backups"));
        storage::build(&storage);
        fs::create_dir(&backups).unwrap();
        Self {
            server,
            storage,
            backups,
        }
    }

    /// The settings that a user of this stack would have.
    pub fn env(&self) -> Vec<(String, String)> {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let keycloak = format!(
            "jdbc:postgresql://127.0.0.1:{}/keycloak",
            self.server.port()
        );
        [
            ("DATABASE_URL", self.server.url("postgres")),
            ("KC_DB_URL", keycloak),
            ("KC_DB_USERNAME", KEYCLOAK_USER.to_owned()),
            ("KC_DB_PASSWORD", KEYCLOAK_PASSWORD.to_owned()),
            ("SUPABASE_STORAGE_PATH", path(&self.storage)),
            ("BACKUP_DIR", path(&self.backups)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The real binary with these arguments and [`Self::env`].
    pub fn backupd<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(&self, arguments: I) -> Backupd {
        Backupd::new(arguments).envs(self.env())
    }

    /// A directory for `BACKUP_PG_BINDIR` whose `pg_dump` is a script around the real one; `$REAL` is the real one's directory.
    pub fn tools(&self, script: &str) -> String {
        let real = bindir();
        let dir = self.server.root().join("tools");
        fs::create_dir(&dir).unwrap();
        for name in ["pg_dumpall", "pg_restore", "psql"] {
            symlink(real.join(name), dir.join(name)).unwrap();
        }
        let path = dir.join("pg_dump");
        let text = format!(
            "#!/bin/bash\nREAL={}\ncase \"$*\" in *--version*) exec $REAL/pg_dump --version;; esac\n{script}\n",
            real.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        dir.to_str().unwrap().to_owned()
    }

    /// As [`Self::tools`]: Supabase's dump waits as long as there is a file `hold` in the server's directory, and makes a file `dumping`
    /// when it begins.
    pub fn held_tools(&self) -> String {
        let root = self.server.root().display();
        self.tools(&format!(
            "case $PGDATABASE in postgres) touch {root}/dumping; while [ -e {root}/hold ]; do sleep 0.02; done;; esac\n\
             exec $REAL/pg_dump \"$@\""
        ))
    }

    /// Finished sets, oldest first.
    pub fn sets(&self) -> Vec<PathBuf> {
        sets(&self.backups)
    }

    /// The only set there is.
    pub fn only_set(&self) -> PathBuf {
        let mut sets = self.sets();
        assert_eq!(sets.len(), 1, "one set in {:?}", self.entries());
        sets.remove(0)
    }

    /// Every name in `BACKUP_DIR`, sorted.
    pub fn entries(&self) -> Vec<String> {
        names(&self.backups)
    }

    /// A set's manifest.
    pub fn manifest(&self, set: &Path) -> serde_json::Value {
        manifest(set)
    }
}

impl Default for Stack {
    fn default() -> Self {
        Self::new()
    }
}

/// Finished sets in a backup directory, oldest first.
pub fn sets(backups: &Path) -> Vec<PathBuf> {
    let is_set = |name: &String| {
        name.len() == 16 && NaiveDateTime::parse_from_str(name, "%Y%m%dT%H%M%SZ").is_ok()
    };
    names(backups)
        .into_iter()
        .filter(is_set)
        .map(|name| backups.join(name))
        .collect()
}

/// Every name in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A set's manifest.
pub fn manifest(set: &Path) -> serde_json::Value {
    let path = set.join("manifest.json");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
