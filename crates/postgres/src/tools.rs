//! PostgreSQL's own programs: where they are and of which version. Several versions may be installed side by side; the newest complete
//! set is taken, because `pg_dump` refuses servers newer than itself and reads all older ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use stream::child::{ChildError, Program};
use tokio_util::sync::CancellationToken;

/// What a complete set holds.
const PROGRAMS: [&str; 4] = ["pg_dump", "pg_dumpall", "pg_restore", "psql"];
/// Debian's directory of versions; each holds a `bin`.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Where PostgreSQL's own build and Alpine's packages put programs, besides `PATH`.
const USUAL: [&str; 3] = [
    "/usr/local/bin",
    "/usr/local/pgsql/bin",
    "/usr/libexec/postgresql",
];

/// A complete set of programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// Their directory.
    pub bindir: PathBuf,
    /// Their version, as `pg_dump` tells it.
    pub version: ToolVersion,
}

/// A version such as 17.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolVersion {
    /// Decides which servers can be dumped.
    pub major: u32,
    /// Decides between equal majors; 0 for a development version.
    pub minor: u32,
    /// As printed, `17.6`.
    pub text: String,
}

/// Why there are no programs.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// No directory has them all.
    #[error(
        "PostgreSQL's client programs ({}) were not found together in {}: install them (apt-get install postgresql-client), or name \
         their directory in BACKUP_PG_BINDIR",
        PROGRAMS.join(", "), looked.join(", ")
    )]
    NotFound {
        /// The directories.
        looked: Vec<String>,
    },
    /// The directory that was asked for has not all of them.
    #[error("{bindir} has no {missing}: BACKUP_PG_BINDIR must name the directory that holds {}", PROGRAMS.join(", "))]
    Incomplete {
        /// The directory.
        bindir: PathBuf,
        /// The first program that is not there.
        missing: &'static str,
    },
    /// The programs are there and do not work.
    #[error("{program} does not tell its version: {source}")]
    Broken {
        /// Its path.
        program: PathBuf,
        /// What happened.
        source: ChildError,
    },
    /// The programs are there and are something else.
    #[error("{program} printed no version that backupd understands")]
    NoVersion {
        /// Its path.
        program: PathBuf,
    },
}

impl Tools {
    /// Takes the programs in `bindir`, or else the newest complete set in the usual places and in `search` (the directories of `PATH`).
    pub async fn find(
        bindir: Option<&Path>,
        search: &[PathBuf],
        cancel: &CancellationToken,
    ) -> Result<Self, ToolsError> {
        if let Some(bindir) = bindir {
            if let Some(missing) = missing(bindir) {
                return Err(ToolsError::Incomplete {
                    bindir: bindir.to_owned(),
                    missing,
                });
            }
            return Self::at(bindir, cancel).await;
        }
        let places = places(search);
        let mut newest: Option<Self> = None;
        let mut broken = None;
        for place in places.iter().filter(|place| missing(place).is_none()) {
            match Self::at(place, cancel).await {
                Ok(found) => {
                    if newest
                        .as_ref()
                        .is_none_or(|old| old.version.rank() < found.version.rank())
                    {
                        newest = Some(found);
                    }
                }
                // One broken installation must not hide a working one.
                Err(error) => broken = Some(error),
            }
        }
        match (newest, broken) {
            (Some(tools), _) => Ok(tools),
            (None, Some(error)) => Err(error),
            (None, None) => Err(ToolsError::NotFound {
                looked: places
                    .iter()
                    .map(|place| place.display().to_string())
                    .collect(),
            }),
        }
    }

    async fn at(bindir: &Path, cancel: &CancellationToken) -> Result<Self, ToolsError> {
        let program = bindir.join("pg_dump");
        let printed = Program::new(&program)
            .arg("--version")
            .output(cancel)
            .await
            .map_err(|source| ToolsError::Broken {
                program: program.clone(),
                source,
            })?;
        let version = ToolVersion::read(&String::from_utf8_lossy(&printed.stdout))
            .ok_or(ToolsError::NoVersion { program })?;
        Ok(Self {
            bindir: bindir.to_owned(),
            version,
        })
    }

    /// Dumps a database.
    pub fn pg_dump(&self) -> PathBuf {
        self.bindir.join("pg_dump")
    }

    /// Dumps roles.
    pub fn pg_dumpall(&self) -> PathBuf {
        self.bindir.join("pg_dumpall")
    }

    /// Reads dumps of the custom format.
    pub fn pg_restore(&self) -> PathBuf {
        self.bindir.join("pg_restore")
    }

    /// Runs SQL.
    pub fn psql(&self) -> PathBuf {
        self.bindir.join("psql")
    }
}

impl ToolVersion {
    /// Reads `pg_dump (PostgreSQL) 17.6 (Debian 17.6-1.pgdg120+1)`, also `18beta1` and `19devel`.
    fn read(printed: &str) -> Option<Self> {
        let (_, rest) = printed.split_once(") ")?;
        let text = rest.split_whitespace().next()?;
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        // What follows `beta` is no minor version.
        let minor = match text.split_once('.') {
            Some((_, minor)) => minor
                .split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()?,
            None => 0,
        };
        Some(Self {
            major,
            minor,
            text: text.to_owned(),
        })
    }

    fn rank(&self) -> (u32, u32) {
        (self.major, self.minor)
    }
}

/// Where to look, each directory once.
fn places(search: &[PathBuf]) -> Vec<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    let mut seen = BTreeSet::new();
    versions
        .into_iter()
        .chain(USUAL.iter().map(PathBuf::from))
        .chain(search.iter().cloned())
        // A relative entry of PATH would depend on where backupd was started.
        .filter(|place| place.is_absolute() && seen.insert(place.clone()))
        .collect()
}

fn missing(bindir: &Path) -> Option<&'static str> {
    PROGRAMS
        .into_iter()
        .find(|program| !bindir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn install(dir: &Path, version: &str, programs: &[&str]) {
        fs::create_dir_all(dir).unwrap();
        for program in programs {
            let path = dir.join(program);
            fs::write(
                &path,
                format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n"),
            )
            .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn versions_are_read_as_printed() {
        let table = [
            (
                "pg_dump (PostgreSQL) 17.6 (Debian 17.6-1.pgdg120+1)\n",
                17,
                6,
                "17.6",
            ),
            ("pg_dump (PostgreSQL) 15.18\n", 15, 18, "15.18"),
            ("pg_dump (PostgreSQL) 18beta1\n", 18, 0, "18beta1"),
            ("pg_dump (PostgreSQL) 19devel\n", 19, 0, "19devel"),
        ];
        for (printed, major, minor, text) in table {
            let version = ToolVersion::read(printed).unwrap();
            assert_eq!(
                (version.major, version.minor, version.text.as_str()),
                (major, minor, text)
            );
        }
        assert_eq!(ToolVersion::read("busybox"), None);
    }

    #[tokio::test]
    async fn the_newest_complete_set_wins() {
        let dir = tempfile::tempdir().unwrap();
        let complete = dir.path().join("complete");
        let newer = dir.path().join("newer");
        let incomplete = dir.path().join("incomplete");
        install(&complete, "98.9", &PROGRAMS);
        install(&newer, "98.10", &PROGRAMS);
        install(&incomplete, "99.1", &PROGRAMS[..3]);
        let search = [complete, newer.clone(), incomplete];
        let tools = Tools::find(None, &search, &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(
            (tools.bindir, tools.version.text.as_str()),
            (newer, "98.10")
        );
    }

    #[tokio::test]
    async fn a_named_directory_is_taken_or_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        install(dir.path(), "9.1", &PROGRAMS);
        let tools = Tools::find(Some(dir.path()), &[], &cancel).await.unwrap();
        assert_eq!(tools.version.major, 9);
        fs::remove_file(dir.path().join("psql")).unwrap();
        let error = Tools::find(Some(dir.path()), &[], &cancel)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("has no psql"), "{error}");
    }
}
