//! What a database holds: every object by name, with short digests of what it is like. Taken of the source in the snapshot of its dump,
//! kept in the manifest, and compared with what a restore brings back. Definitions are compared between servers of one major version only,
//! because each version writes them differently. A census of backupd 0.1.0 has names alone.

mod digests;
mod facets;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// More names of one kind than this are kept as their count and a hash: a manifest is to be read by people too.
const NAMES_MOST: usize = 5_000;
/// Differences of one kind that are named.
const NAMED: usize = 20;
/// What a server has besides a database's own content; another server has more of it.
const OF_THE_SERVER: [&str; 2] = ["role", "membership"];
/// Kinds that a census without facets knows.
const KINDS_BEFORE_FACETS: [&str; 18] = [
    "constraint",
    "event trigger",
    EXTENSION,
    "foreign server",
    "foreign table",
    "function",
    "index",
    "large objects",
    "materialized view",
    "policy",
    "publication",
    "schema",
    "sequence",
    "table",
    "table of an extension",
    "trigger",
    "type",
    "view",
];
/// The kind that extensions have.
pub const EXTENSION: &str = "extension";

/// What a database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// What is kept of each object besides its name, in the order of [`Names::facets`]; empty in a census of backupd 0.1.0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facets: Vec<String>,
    /// Names by kind: `table`, `view`, `function`, `policy`, `role`, ….
    pub kinds: BTreeMap<String, Names>,
    /// What cannot be there without an extension: `kind name` by extension.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<String, BTreeSet<String>>,
    /// What each extension brought, as it was: more than creating it brings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub brought: BTreeMap<String, Brought>,
    /// Where sequences stood when the dump began.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<String, i64>,
}

/// What an extension brought, and what was added to it and altered since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// Its version: another brings other things.
    pub version: String,
    /// A digest of its members, how its functions run, and what is given on its schemas.
    pub digest: String,
    /// What a restore gives it back.
    #[serde(flatten)]
    pub altered: serde_json::Map<String, serde_json::Value>,
}

/// The names of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// How many.
    pub count: usize,
    /// All of them, where they are few.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// Of each name, in their order, the census's facets, with spaces between: short digests, `-` for none, `?` for what could not be
    /// seen. Where the names are many: one line, of each facet a digest over all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facets: Vec<String>,
    /// SHA-256 of them, sorted, a line each, where they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// One object as a server tells it.
#[derive(Debug, Clone)]
pub struct Object {
    /// `table`, `view`, ….
    pub kind: String,
    /// Its name, with schema and table where it has them.
    pub name: String,
    /// Extensions without which it cannot be.
    pub needs: Vec<String>,
    /// Of each of the census's facets what is kept; only the last may hold spaces.
    pub facets: Vec<String>,
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// What is not as it should be.
    pub differences: Vec<String>,
    /// What could not come back because its extension is not there.
    pub not_proven: Vec<String>,
}

impl Census {
    /// Of objects and sequences. `facets` names what is told of each object.
    pub fn of(facets: &[&str], objects: Vec<Object>, positions: BTreeMap<String, i64>) -> Self {
        let mut census = Self {
            facets: facets.iter().map(|&facet| facet.to_owned()).collect(),
            positions,
            ..Self::default()
        };
        let mut kinds: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for object in objects {
            let Object {
                kind,
                name,
                needs,
                facets,
            } = object;
            for extension in needs {
                let needed = census.needs.entry(extension).or_default();
                needed.insert(format!("{kind} {name}"));
            }
            kinds.entry(kind).or_default().insert(name, facets);
        }
        census.kinds = kinds
            .into_iter()
            .map(|(kind, names)| (kind, Names::of(names)))
            .collect();
        census
    }

    /// Its extensions.
    pub fn extensions(&self) -> BTreeSet<String> {
        self.kinds
            .get(EXTENSION)
            .map(|names| names.names.clone())
            .unwrap_or_default()
    }

    /// Whether it has a schema of this name, as SQL names it.
    pub fn has_schema(&self, name: &str) -> bool {
        let schemas = self.kinds.get("schema");
        schemas.is_some_and(|schemas| schemas.names.contains(name))
    }

    /// The extension of `absent` without which an object cannot be.
    pub fn needed_by(&self, kind: &str, name: &str, absent: &BTreeSet<String>) -> Option<&str> {
        let object = format!("{kind} {name}");
        let mut needs = self.needs.iter();
        needs
            .find(|(extension, objects)| absent.contains(*extension) && objects.contains(&object))
            .map(|(extension, _)| extension.as_str())
    }

    /// Compares what came back with this. Extensions that the server does not have are `absent`. Whether both servers are of the
    /// `same_major` version decides whether definitions are compared.
    pub fn compare(&self, found: &Self, absent: &BTreeSet<String>, same_major: bool) -> Compared {
        self.compare_kinds(found, absent, same_major, |_| true)
    }

    /// The same without the server's roles, where a database came back alone: on a server that has others.
    pub fn compare_database(
        &self,
        found: &Self,
        absent: &BTreeSet<String>,
        same_major: bool,
    ) -> Compared {
        self.compare_kinds(found, absent, same_major, |kind| {
            !OF_THE_SERVER.contains(&kind)
        })
    }

    fn compare_kinds(
        &self,
        found: &Self,
        absent: &BTreeSet<String>,
        same_major: bool,
        wanted: impl Fn(&str) -> bool,
    ) -> Compared {
        let mut compared = Compared::default();
        for (kind, names) in self.kinds.iter().filter(|(kind, _)| wanted(kind)) {
            let other = found.kinds.get(kind).cloned().unwrap_or_default();
            if names.sha256.is_some() || other.sha256.is_some() {
                self.compare_many(kind, names, &other, absent, &mut compared);
                self.compare_facets(kind, found, absent, same_major, &mut compared);
                continue;
            }
            let (unproven, missing): (Vec<_>, Vec<_>) =
                names.names.difference(&other.names).partition(|name| {
                    (kind == EXTENSION && absent.contains(*name))
                        || self.needed_by(kind, name, absent).is_some()
                });
            say(&mut compared.differences, kind, "missing", &missing);
            say(&mut compared.not_proven, kind, "not proven", &unproven);
            self.compare_facets(kind, found, absent, same_major, &mut compared);
        }
        for (kind, other) in &found.kinds {
            let known = self.kinds.get(kind).cloned().unwrap_or_default();
            let known_of = !self.facets.is_empty() || KINDS_BEFORE_FACETS.contains(&kind.as_str());
            if known_of
                && !OF_THE_SERVER.contains(&kind.as_str())
                && known.sha256.is_none()
                && other.sha256.is_none()
            {
                let extra: Vec<_> = other.names.difference(&known.names).collect();
                say(&mut compared.differences, kind, "not in the source", &extra);
            }
        }
        for (extension, was) in &self.brought {
            let is = found.brought.get(extension);
            if is.is_some_and(|is| is.version == was.version && is.digest != was.digest) {
                compared.not_proven.push(format!(
                    "extension {extension}: its members, how its functions run, or privileges on its schemas are not as they were altered \
                     in the source, which no dump holds"
                ));
            }
        }
        for (sequence, position) in &self.positions {
            let back = found.positions.get(sequence);
            // A position goes on while the dump is made, never back.
            if back.is_none_or(|back| back < position)
                && self.needed_by("sequence", sequence, absent).is_none()
            {
                let back = back.map_or("its beginning".to_owned(), ToString::to_string);
                compared.differences.push(format!(
                    "sequence {sequence} stands at {back}, not at {position} or later"
                ));
            }
        }
        compared
    }

    fn compare_many(
        &self,
        kind: &str,
        names: &Names,
        other: &Names,
        absent: &BTreeSet<String>,
        compared: &mut Compared,
    ) {
        if names == other || names.count == other.count && names.sha256 == other.sha256 {
            return;
        }
        let prefix = format!("{kind} ");
        let without = self
            .needs
            .iter()
            .filter(|(extension, _)| absent.contains(*extension))
            .any(|(_, objects)| objects.iter().any(|object| object.starts_with(&prefix)));
        let words = format!("{kind}: {} came back of {}", other.count, names.count);
        if without {
            compared.not_proven.push(words);
        } else {
            compared.differences.push(words);
        }
    }
}

impl Names {
    fn of(objects: BTreeMap<String, Vec<String>>) -> Self {
        let count = objects.len();
        if count <= NAMES_MOST {
            let facets = objects.values().filter(|facets| !facets.is_empty());
            return Self {
                count,
                facets: facets.map(|facets| facets.join(" ")).collect(),
                sha256: None,
                names: objects.into_keys().collect(),
            };
        }
        Self {
            count,
            facets: digests::of_many(&objects),
            names: BTreeSet::new(),
            sha256: Some(digests::sha256(objects.keys())),
        }
    }
}

fn say(list: &mut Vec<String>, kind: &str, what: &str, names: &[&String]) {
    list.extend(
        names
            .iter()
            .take(NAMED)
            .map(|name| format!("{kind} {name}: {what}")),
    );
    if names.len() > NAMED {
        list.push(format!(
            "{} more of kind {kind}: {what}",
            names.len() - NAMED
        ));
    }
}
