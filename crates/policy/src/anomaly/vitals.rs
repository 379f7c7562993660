//! What of a set is compared with others: counts and identities, out of its manifest.

use std::collections::BTreeMap;

use catalog::anomaly::{Anomaly, Written};
use catalog::artifact::{Artifact, Kind};
use catalog::identity::Identity;
use catalog::manifest::Manifest;
use catalog::set::SetId;

use super::{EMPTIED_BY_SERVICES, Pattern, Settings};

/// Of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vitals {
    /// The set.
    pub set: SetId,
    /// By label.
    pub sources: BTreeMap<String, SourceVitals>,
}

/// Of a source in a set. What is not known, or does not count, is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceVitals {
    /// Which source it was.
    pub identity: Option<Identity>,
    /// By name; those whose names differ in digits alone together.
    pub tables: Option<BTreeMap<String, TableVitals>>,
    /// How many large objects, and their bytes.
    pub large_objects: Option<(u64, u64)>,
    /// Regular files, and their bytes.
    pub files: Option<(u64, u64)>,
    /// Objects that the database says should have a file.
    pub objects: Option<u64>,
    /// Its file.
    pub written: Option<Written>,
    /// Whether its tree comes and goes as its owner likes: not Storage's.
    pub loose: bool,
    /// Whether a table's fall here may have been ordinary: nothing else was odd about its source.
    pub ordinary: bool,
}

/// Of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableVitals {
    /// Rows.
    pub rows: u64,
    /// Of their lines.
    pub bytes: Option<u64>,
}

impl Vitals {
    /// Of the set that this is the manifest of.
    pub fn of(manifest: &Manifest, settings: &Settings) -> Self {
        // That each is one, a test says.
        let ours = EMPTIED_BY_SERVICES
            .iter()
            .filter_map(|text| text.parse().ok());
        let ignore: Vec<Pattern> = settings.ignore.iter().cloned().chain(ours).collect();
        let artifacts = manifest.artifacts.iter();
        let sources = artifacts
            .filter(|artifact| artifact.kind() != Kind::Roles)
            .map(|artifact| {
                let label = artifact.label.clone();
                let of_it = |anomaly: &&Anomaly| anomaly.source() == Some(&label);
                let mut odd = manifest.anomalies.iter().filter(of_it);
                let mut vitals = SourceVitals::of(artifact, &ignore);
                vitals.ordinary = odd.all(|anomaly| match anomaly {
                    Anomaly::TableFell { .. } => true,
                    Anomaly::SourceFell { .. } => vitals.loose,
                    _ => false,
                });
                if artifact.kind() == Kind::Storage && vitals.files.is_some() {
                    let compared = manifest.storage.as_ref();
                    let result = compared.and_then(|storage| storage.reconcile.as_ref());
                    vitals.objects = result.map(|result| result.objects);
                }
                (label, vitals)
            })
            .collect();
        Self {
            set: manifest.set,
            sources,
        }
    }
}

impl SourceVitals {
    fn of(artifact: &Artifact, ignore: &[Pattern]) -> Self {
        let identity = artifact.identity.clone();
        let loose = artifact.kind() == Kind::Files;
        if ignore.iter().any(|all| all.names_all(&artifact.label)) {
            return Self {
                identity,
                loose,
                ..Self::default()
            };
        }
        let tables = artifact.tables().map(|counted| {
            let mut tables = BTreeMap::new();
            let counts = |table: &str| !ignore.iter().any(|one| one.names(&artifact.label, table));
            for one in counted.iter().filter(|one| counts(&one.table)) {
                let sum = tables.entry(folded(&one.table)).or_insert(TableVitals {
                    rows: 0,
                    bytes: Some(0),
                });
                sum.rows += one.rows;
                sum.bytes = sum.bytes.zip(one.bytes).map(|(sum, bytes)| sum + bytes);
            }
            tables
        });
        let held = artifact.dump().and_then(|dump| dump.large_objects.as_ref());
        Self {
            identity,
            tables,
            large_objects: held.map(|held| (held.count, held.bytes)),
            files: artifact.tree().map(|tree| (tree.files, tree.bytes)),
            objects: None,
            written: Some(Written {
                compression: artifact.compression,
                raw_bytes: artifact.raw_bytes,
                bytes: artifact.bytes,
            }),
            loose,
            ordinary: true,
        }
    }
}

/// A name with `#` for each run of digits: partitions and chunks of one table have one name then.
fn folded(table: &str) -> String {
    let mut name = String::with_capacity(table.len());
    for letter in table.chars() {
        if !letter.is_ascii_digit() {
            name.push(letter);
        } else if !name.ends_with('#') {
            name.push('#');
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_one_name() {
        assert_eq!(folded("public.events_p2026_11_20"), "public.events_p#_#_#");
        assert_eq!(folded("public.events_p2026_1_2"), "public.events_p#_#_#");
        assert_eq!(folded("public.users"), "public.users");
        assert_eq!(folded("_t._hyper_1_22_chunk"), "_t._hyper_#_#_chunk");
    }
}
