//! What objects are like, compared facet by facet.

use std::collections::{BTreeMap, BTreeSet};

use super::{Census, Compared, NAMED, Names};

/// The facet that is the same on servers of one major version only.
const DEFINITION: &str = "definition";
/// The facet that is a name.
const OWNER: &str = "owner";
/// The facet that tells roles besides the owner.
const PRIVILEGES: &str = "privileges";
/// What its role could not see.
const HIDDEN: &str = "?";

impl Census {
    /// Compares the facets of the objects that both have.
    pub(super) fn compare_facets(
        &self,
        kind: &str,
        found: &Self,
        absent: &BTreeSet<String>,
        same_major: bool,
        compared: &mut Compared,
    ) {
        if self.facets != found.facets || self.facets.is_empty() {
            return;
        }
        let many = self
            .kinds
            .get(kind)
            .is_some_and(|names| names.sha256.is_some());
        let fits = |names: &Names| names.facets.len() == names.names.len().max(usize::from(many));
        if !self.kinds.get(kind).is_some_and(fits) {
            let words = format!("{kind}: the census does not tell what each of them is like");
            compared.not_proven.push(words);
            return;
        }
        let unknown_roles = self.roles_missing_in(found);
        let (mut differences, mut not_proven) = (Vec::new(), Vec::new());
        let objects = self.facets_of(kind);
        let back = found.facets_of(kind);
        for (name, facets) in &objects {
            let Some(others) = back.get(name) else {
                continue;
            };
            let without = self.needed_by(kind, name, absent);
            for (facet, (was, is)) in self.facets.iter().zip(facets.iter().zip(others)) {
                let hidden = [was, is].contains(&&HIDDEN);
                if was == is || hidden || facet == DEFINITION && !same_major {
                    continue;
                }
                let what = words(kind, facet);
                let of_role = match facet.as_str() {
                    OWNER => unknown_roles.contains(was),
                    PRIVILEGES => !unknown_roles.is_empty(),
                    _ => false,
                };
                if let Some(extension) = without {
                    not_proven.push(format!(
                        "{kind} {name}: {what} not proven without extension {extension}"
                    ));
                } else if of_role {
                    not_proven.push(format!(
                        "{kind} {name}: {what} not proven, because roles of the source are not on this server"
                    ));
                } else if facet == OWNER && !many {
                    differences.push(format!("{kind} {name}: its owner is {is}, not {was}"));
                } else {
                    differences.push(format!("{kind} {name}: {what} not as in the source"));
                }
            }
        }
        keep(&mut compared.differences, kind, differences);
        keep(&mut compared.not_proven, kind, not_proven);
    }

    /// The facets of each object of a kind; of all together where they are many.
    fn facets_of(&self, kind: &str) -> BTreeMap<&str, Vec<&str>> {
        let Some(names) = self.kinds.get(kind) else {
            return BTreeMap::new();
        };
        let split = |facets| str::splitn(facets, self.facets.len(), ' ').collect();
        let lines = names.facets.iter().map(String::as_str).map(split);
        if names.sha256.is_some() {
            return std::iter::once("(all of them)").zip(lines).collect();
        }
        let names = names.names.iter().map(String::as_str);
        names.zip(lines).collect()
    }

    fn roles_missing_in<'a>(&'a self, found: &Self) -> BTreeSet<&'a str> {
        let roles = |census: &'a Self| census.kinds.get("role").map(|roles| &roles.names);
        let Some(there) = found.kinds.get("role") else {
            return BTreeSet::new();
        };
        roles(self)
            .into_iter()
            .flatten()
            .filter(|role| !there.names.contains(*role))
            .map(String::as_str)
            .collect()
    }
}

/// What a facet of a kind is called, with the verb that belongs to it.
fn words(kind: &str, facet: &str) -> &'static str {
    match (kind, facet) {
        ("table", "properties") => "columns or properties are",
        ("table", "settings") => "row level security is",
        ("table", DEFINITION) => "defaults, generated columns or partition bounds are",
        ("materialized view", "settings") => "whether it is populated is",
        ("function", "properties") => "body, arguments or attributes are",
        ("function", "settings") => "SECURITY DEFINER, LEAKPROOF or its settings are",
        ("trigger" | "rule" | "event trigger", "settings") => "whether it is enabled is",
        ("role", "properties") => "attributes are",
        ("large objects", "settings") => "owners are",
        ("policy", "properties") => "command or roles are",
        ("policy", DEFINITION) => "expression is",
        (_, "properties") => "properties are",
        (_, "settings") => "settings are",
        (_, PRIVILEGES) => "privileges are",
        (_, OWNER) => "owner is",
        (_, "comment") => "comment is",
        _ => "definition is",
    }
}

fn keep(list: &mut Vec<String>, kind: &str, mut words: Vec<String>) {
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    list.append(&mut words);
    if more > 0 {
        list.push(format!("{more} more differences of kind {kind}"));
    }
}
