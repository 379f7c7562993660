//! `.backupd/accepted.json`: what somebody has accepted. Without it, and where it cannot be read, every anomaly is open.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stream::durable;
use stream::read::read_regular;

use crate::anomaly::Anomaly;
use crate::history::Restoration;
use crate::identity::Identity;
use crate::layout;
use crate::set::SetId;

/// Bytes that are read: a line a set, and a few a source.
const BYTES_MOST: u64 = 16 * 1024 * 1024;

/// What is accepted, and what waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Sets whose anomalies are accepted.
    #[serde(default)]
    pub sets: BTreeSet<SetId>,
    /// Those of them whose source a restore brought back since: sets of a disaster that is over, which count for nothing.
    #[serde(default)]
    pub mended: BTreeSet<SetId>,
    /// Sources that a restore or a person made known, besides those of the sets.
    #[serde(default)]
    pub sources: BTreeMap<String, Vec<Identity>>,
    /// Sources that a daemon found to be others than the sets', for which it waits.
    #[serde(default)]
    pub waiting: BTreeMap<String, Stranger>,
}

/// A source that is another than the sets'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stranger {
    /// The newest set of the source before.
    pub since: SetId,
    /// What that set's source was.
    pub was: Identity,
    /// What is there.
    pub is: Identity,
}

impl Accepted {
    /// What is kept in a backup directory.
    pub fn read(root: &Path) -> io::Result<Self> {
        match read_regular(&path(root), BYTES_MOST) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{} is damaged ({error}): move it away",
                        path(root).display()
                    ),
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!(
                    "{} cannot be read ({error}): where that stays so, move it away, and every anomaly counts as open",
                    path(root).display()
                ),
            )),
        }
    }

    /// As [`Accepted::read`]. What cannot be read has accepted nothing: then anomalies are open, and sets are kept rather than removed.
    pub fn read_or_nothing(root: &Path) -> Self {
        Self::read(root).unwrap_or_else(|error| {
            tracing::warn!("{error}; every anomaly counts as open");
            Self::default()
        })
    }

    /// As [`Accepted::read_or_nothing`] where the file is damaged; an error of the disk is one.
    pub fn read_unless_damaged(root: &Path) -> io::Result<Self> {
        match Self::read(root) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!("{error}; every anomaly counts as open");
                Ok(Self::default())
            }
            read => read,
        }
    }

    /// Keeps it. The caller holds the lock.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        durable::write_atomic(&path(root), &text)
    }

    /// Changes what is kept, and writes it where that made a difference. The caller holds the lock.
    pub fn update(root: &Path, change: impl FnOnce(&mut Self)) -> io::Result<()> {
        let before = Self::read(root)?;
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        after.write(root)
    }

    /// Accepts what is odd about a set. `restored` are the restores in place.
    pub fn accept(&mut self, set: SetId, anomalies: &[Anomaly], restored: &[Restoration]) {
        self.sets.insert(set);
        if restored.iter().any(|one| one.mends(set, anomalies)) {
            self.mended.insert(set);
        }
    }

    /// Restores that were `lost` turned out to have been none, and `restored` are those that were: what the former alone had mended is not.
    pub fn unmend(
        &mut self,
        lost: &[Restoration],
        restored: &[Restoration],
        anomalies: impl Fn(SetId) -> Vec<Anomaly>,
    ) {
        self.mended.retain(|set| {
            let anomalies = anomalies(*set);
            let by = |all: &[Restoration]| all.iter().any(|one| one.mends(*set, &anomalies));
            by(restored) || !by(lost)
        });
    }

    /// Forgets a set that is gone.
    pub fn forget(&mut self, set: SetId) {
        self.sets.remove(&set);
        self.mended.remove(&set);
    }

    /// Makes a source known; nobody waits for it any more.
    pub fn know(&mut self, label: &str, identity: Identity) {
        self.waiting.remove(label);
        let known = self.sources.entry(label.to_owned()).or_default();
        if !known.contains(&identity) {
            known.push(identity);
        }
    }

    /// Whether a source was made known.
    pub fn knows(&self, label: &str, identity: &Identity) -> bool {
        let known = self.sources.get(label).into_iter().flatten();
        known
            .into_iter()
            .any(|one| one.is_same(identity) == Some(true))
    }
}

fn path(root: &Path) -> PathBuf {
    layout::accepted(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(system: &str) -> Identity {
        Identity::Server {
            system: system.to_owned(),
            database: 5,
        }
    }

    #[test]
    fn what_is_accepted_comes_back_and_a_damaged_file_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(layout::private(dir.path())).unwrap();
        assert_eq!(Accepted::read(dir.path()).unwrap(), Accepted::default());
        let set: SetId = "20261120T020000Z".parse().unwrap();
        Accepted::update(dir.path(), |accepted| {
            accepted.sets.insert(set);
            let stranger = Stranger {
                since: set,
                was: server("1"),
                is: server("2"),
            };
            accepted.waiting.insert("supabase".to_owned(), stranger);
        })
        .unwrap();
        Accepted::update(dir.path(), |accepted| {
            accepted.know("supabase", server("2"));
            accepted.know("supabase", server("2"));
        })
        .unwrap();
        let read = Accepted::read(dir.path()).unwrap();
        assert!(read.sets.contains(&set) && read.waiting.is_empty());
        assert_eq!(read.sources["supabase"], [server("2")]);
        assert!(read.knows("supabase", &server("2")) && !read.knows("supabase", &server("1")));
        assert!(!read.knows("keycloak", &server("2")));

        std::fs::write(path(dir.path()), "{").unwrap();
        let refused = Accepted::update(dir.path(), |accepted| accepted.sets.clear());
        assert!(refused.unwrap_err().to_string().contains("is damaged"));
        assert_eq!(Accepted::read_or_nothing(dir.path()), Accepted::default());
    }

    #[test]
    fn a_set_that_a_restore_followed_is_mended_and_others_are_not() {
        let set = |day: u32| -> SetId { format!("202611{day:02}T020000Z").parse().unwrap() };
        let odd = [Anomaly::AnotherSource {
            source: "supabase".to_owned(),
            since: set(1),
            was: server("1"),
            is: server("2"),
        }];
        let restoration = |source: &str, from: u32, behind: u32| Restoration {
            source: source.to_owned(),
            from: set(from),
            behind: set(behind),
        };
        let restored = [
            restoration("supabase", 1, 7),
            restoration("keycloak", 1, 9),
            // From what is odd itself: that is what it is to be.
            restoration("supabase", 8, 9),
            restoration("supabase", 2, 9),
        ];
        let mut accepted = Accepted::default();
        for day in 6..10 {
            accepted.accept(set(day), &odd, &restored);
        }
        assert_eq!(accepted.sets, (6..10).map(set).collect());
        assert_eq!(accepted.mended, (6..8).map(set).collect());
        let before = accepted.clone();
        accepted.unmend(&restored[1..], &restored[..1], |_| odd.to_vec());
        assert_eq!(accepted, before);
        accepted.unmend(&restored[..1], &restored[1..], |_| odd.to_vec());
        assert_eq!(accepted.mended, BTreeSet::new());
        assert_eq!(accepted.sets, before.sets);
        accepted = before;
        accepted.forget(set(6));
        assert!(!accepted.sets.contains(&set(6)) && !accepted.mended.contains(&set(6)));
    }
}
