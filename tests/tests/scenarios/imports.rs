//! The import graph of the workspace is the one that docs/architecture.md draws, and no files of a crate import each other in a circle.

mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};
use modules::Modules;

/// `backupd ─▶ engine ─▶ policy ─▶ catalog ─▶ stream`, `engine ─▶ postgres ─▶ stream`, `engine ─▶ archive ─▶ stream`: each crate may import
/// what lies behind its arrows, and `stream` imports none of ours.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    (
        "backupd",
        &[
            "engine", "policy", "archive", "catalog", "postgres", "stream",
        ],
    ),
    (
        "engine",
        &["policy", "archive", "catalog", "postgres", "stream"],
    ),
    ("policy", &["catalog", "stream"]),
    ("archive", &["stream"]),
    ("catalog", &["stream"]),
    ("postgres", &["stream"]),
    ("stream", &[]),
    ("tests", &[]),
];

/// Without these arrows the drawing would be of another house.
const MUST_IMPORT: &[(&str, &str)] = &[
    ("backupd", "engine"),
    ("engine", "policy"),
    ("policy", "catalog"),
    ("engine", "archive"),
    ("engine", "postgres"),
    ("archive", "stream"),
    ("catalog", "stream"),
    ("postgres", "stream"),
];

/// Crates whose files import one way only.
const WITHOUT_CIRCLES: &[&str] = &[
    "archive", "backupd", "catalog", "engine", "policy", "postgres", "stream",
];

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates"));
    for name in WITHOUT_CIRCLES {
        let modules = Modules::read(&crates.join(name).join("src"));
        let circles = modules.circles();
        assert!(circles.is_empty(), "{name}:\n{}", circles.join("\n"));
    }
}

#[test]
fn circles_are_found_wherever_a_name_is_used_and_a_parents_face_is_none() {
    let circles = |files: &[(&str, &str)]| {
        let owned = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Modules::of(owned).circles()
    };
    let lib = ("lib.rs", "mod a; mod b; pub use a::one;");
    let b = ("b.rs", "use crate::a::one; pub struct Two;");
    for a in [
        "use crate::b::Two;",
        "pub fn one() -> crate::b::Two {}",
        "use super::b; pub fn one() { b::Two; }",
        "use super::b; pub fn one() { format!(\"{}\", [b::Two]); }",
        "pub use super::b::Two; pub fn one() -> Two {}",
        "use super::b; pub fn one() { assert!(matches!(1, b::Two)); }",
    ] {
        let found = circles(&[lib, ("a.rs", a), b]);
        assert_eq!(found, ["a.rs -> b.rs: Two", "b.rs -> a.rs: one"], "{a}");
    }
    // A name that is passed on is where it is defined.
    let passed = ("b.rs", "use crate::one; pub struct Two;");
    assert_eq!(
        circles(&[lib, ("a.rs", "use crate::b::Two;"), passed]).len(),
        2
    );
    for a in [
        "pub fn one() {} #[cfg(test)] mod tests { use crate::b::Two; }",
        "/// [`crate::b::Two`]\npub fn one() { b::Two; }",
    ] {
        assert_eq!(circles(&[lib, ("a.rs", a), b]), [""; 0], "{a}");
    }
    let child = ("a/child.rs", "use super::Parent; pub struct Child;");
    let face = "mod child; pub use child::Child; pub struct Parent;";
    assert_eq!(circles(&[lib, ("a.rs", face), child]), [""; 0]);
    let uses = "mod child; pub use child::Child; pub struct Parent(Child);";
    assert_eq!(circles(&[lib, ("a.rs", uses), child]).len(), 2);
}

#[test]
fn crates_import_one_way_only() {
    let graph = import_graph();
    for (name, imports) in &graph {
        let (_, allowed) = MAY_IMPORT
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("crate {name} is not in docs/architecture.md"));
        for import in imports {
            assert!(
                allowed.contains(&import.as_str()),
                "{name} must not import {import}"
            );
        }
    }
    for (from, to) in MUST_IMPORT {
        assert!(graph[*from].contains(*to), "{from} should import {to}");
    }
}

/// Imports among our own crates, by crate; build and dev dependencies count too, since they are imports of a reader.
fn import_graph() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let ours: BTreeSet<String> = metadata
        .packages
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    let imports = |package: &cargo_metadata::Package| {
        let names = package.dependencies.iter().filter(|dependency| {
            matches!(
                dependency.kind,
                DependencyKind::Normal | DependencyKind::Build | DependencyKind::Development
            )
        });
        names
            .map(|dependency| dependency.name.clone())
            .filter(|name| ours.contains(name))
            .collect()
    };
    metadata
        .packages
        .iter()
        .map(|package| (package.name.to_string(), imports(package)))
        .collect()
}
