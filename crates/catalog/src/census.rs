//! What a database holds by name: taken of the source in the snapshot of its dump, kept in the manifest, and compared with what a restore
//! brings back. Names alone: definitions are written differently by each major version.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde::{Deserialize, Serialize};
use stream::digest::Hashing;

/// More names of one kind than this are kept as their count and a hash: a manifest is to be read by people too.
const NAMES_MOST: usize = 5_000;
/// Differences of one kind that are named.
const NAMED: usize = 20;
/// What a server has besides a database's own content; another server has more of it.
const OF_THE_SERVER: [&str; 2] = ["role", "membership"];
/// The kind that extensions have.
pub const EXTENSION: &str = "extension";

/// What a database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Names by kind: `table`, `view`, `function`, `policy`, `role`, ….
    pub kinds: BTreeMap<String, Names>,
    /// What cannot be there without an extension: `kind name` by extension.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<String, BTreeSet<String>>,
    /// Where sequences stood when the dump began.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<String, i64>,
}

/// The names of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// How many.
    pub count: usize,
    /// All of them, where they are few.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
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
    /// Of objects and sequences.
    pub fn of(objects: Vec<Object>, positions: BTreeMap<String, i64>) -> Self {
        let mut census = Self {
            positions,
            ..Self::default()
        };
        let mut kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Object { kind, name, needs } in objects {
            for extension in needs {
                let needed = census.needs.entry(extension).or_default();
                needed.insert(format!("{kind} {name}"));
            }
            kinds.entry(kind).or_default().insert(name);
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

    /// The extension of `absent` without which an object cannot be.
    pub fn needed_by(&self, kind: &str, name: &str, absent: &BTreeSet<String>) -> Option<&str> {
        let object = format!("{kind} {name}");
        let mut needs = self.needs.iter();
        needs
            .find(|(extension, objects)| absent.contains(*extension) && objects.contains(&object))
            .map(|(extension, _)| extension.as_str())
    }

    /// Compares what came back with this. Extensions that the server does not have are `absent`.
    pub fn compare(&self, found: &Self, absent: &BTreeSet<String>) -> Compared {
        let mut compared = Compared::default();
        for (kind, names) in &self.kinds {
            let other = found.kinds.get(kind).cloned().unwrap_or_default();
            if names.sha256.is_some() || other.sha256.is_some() {
                self.compare_many(kind, names, &other, absent, &mut compared);
                continue;
            }
            let (unproven, missing): (Vec<_>, Vec<_>) =
                names.names.difference(&other.names).partition(|name| {
                    (kind == EXTENSION && absent.contains(*name))
                        || self.needed_by(kind, name, absent).is_some()
                });
            say(&mut compared.differences, kind, "missing", &missing);
            say(&mut compared.not_proven, kind, "not proven", &unproven);
        }
        for (kind, other) in &found.kinds {
            let known = self.kinds.get(kind).cloned().unwrap_or_default();
            if !OF_THE_SERVER.contains(&kind.as_str())
                && known.sha256.is_none()
                && other.sha256.is_none()
            {
                let extra: Vec<_> = other.names.difference(&known.names).collect();
                say(&mut compared.differences, kind, "not in the source", &extra);
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
    fn of(names: BTreeSet<String>) -> Self {
        let count = names.len();
        if count <= NAMES_MOST {
            return Self {
                count,
                names,
                sha256: None,
            };
        }
        let mut hashing = Hashing::new(std::io::sink());
        for name in &names {
            // A sink takes everything.
            let _ = writeln!(hashing, "{name}");
        }
        Self {
            count,
            names: BTreeSet::new(),
            sha256: Some(hashing.finish().2),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str, needs: &[&str]) -> Object {
        Object {
            kind: kind.to_owned(),
            name: name.to_owned(),
            needs: needs.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn census(objects: &[Object]) -> Census {
        Census::of(
            objects.to_vec(),
            BTreeMap::from([("public.s".to_owned(), 5)]),
        )
    }

    #[test]
    fn what_is_missing_is_a_difference_unless_its_extension_is_absent() {
        let whole = [
            object(EXTENSION, "vector", &[]),
            object("table", "public.a", &[]),
            object("table", "public.b", &["vector"]),
            object("role", "x", &[]),
        ];
        let source = census(&whole);
        assert_eq!(
            source.compare(&source, &BTreeSet::new()),
            Compared::default()
        );
        let none = Census::default();
        let absent = BTreeSet::from(["vector".to_owned()]);
        let compared = source.compare(&none, &absent);
        assert_eq!(
            compared.not_proven,
            ["extension vector: not proven", "table public.b: not proven"]
        );
        assert_eq!(
            compared.differences,
            [
                "role x: missing",
                "table public.a: missing",
                "sequence public.s stands at its beginning, not at 5 or later"
            ]
        );
        let more = census(
            &[
                whole.as_slice(),
                &[object("policy", "p", &[]), object("role", "y", &[])],
            ]
            .concat(),
        );
        assert_eq!(
            source.compare(&more, &absent).differences,
            ["policy p: not in the source"]
        );
    }

    #[test]
    fn many_names_are_compared_by_their_hash() {
        let many: Vec<Object> = (0..=NAMES_MOST)
            .map(|number| object("index", &format!("i{number}"), &[]))
            .collect();
        let source = census(&many);
        assert!(source.kinds["index"].names.is_empty());
        assert_eq!(
            source.compare(&census(&many), &BTreeSet::new()).differences,
            Vec::<String>::new()
        );
        let less = source.compare(&census(&many[1..]), &BTreeSet::new());
        assert_eq!(
            less.differences,
            [format!(
                "index: {NAMES_MOST} came back of {}",
                NAMES_MOST + 1
            )]
        );
    }
}
