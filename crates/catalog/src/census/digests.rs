//! Digests of objects that are too many to be named.

use std::collections::BTreeMap;
use std::io::Write;

use stream::digest::Hashing;

/// Digits of a digest over all objects of a kind.
const DIGITS: usize = 16;

/// One line: of each facet a digest over all objects.
pub(super) fn of_many(objects: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let facets = objects.values().map(Vec::len).min().unwrap_or_default();
    let digest = |facet: usize| {
        let mut digest = sha256(
            objects
                .iter()
                .map(|(name, facets)| format!("{name} {}", facets[facet])),
        );
        digest.truncate(DIGITS);
        digest
    };
    let digests: Vec<String> = (0..facets).map(digest).collect();
    digests
        .first()
        .map(|_| digests.join(" "))
        .into_iter()
        .collect()
}

/// Of lines.
pub(super) fn sha256(lines: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let mut hashing = Hashing::new(std::io::sink());
    for line in lines {
        // A sink takes everything.
        let _ = writeln!(hashing, "{line}");
    }
    hashing.finish().2
}
