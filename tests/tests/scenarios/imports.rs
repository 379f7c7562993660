//! The import graph of the workspace is the one that docs/architecture.md draws.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// `backupd ─▶ engine ─▶ policy ─▶ catalog ─▶ stream`, `engine ─▶ postgres ─▶ stream`, `engine ─▶ archive ─▶ stream`: each crate may
/// import what lies behind its arrows, and `stream` imports none of ours.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    (
        "backupd",
        &[
            "engine", "archive", "policy", "catalog", "postgres", "stream",
        ],
    ),
    (
        "engine",
        &["archive", "policy", "catalog", "postgres", "stream"],
    ),
    ("archive", &["stream"]),
    ("policy", &["catalog", "stream"]),
    ("catalog", &["stream"]),
    ("postgres", &["stream"]),
    ("stream", &[]),
    ("tests", &[]),
];

/// Without these arrows the drawing would be of another house.
const MUST_IMPORT: &[(&str, &str)] = &[
    ("backupd", "engine"),
    ("engine", "archive"),
    ("engine", "policy"),
    ("policy", "catalog"),
    ("engine", "postgres"),
    ("archive", "stream"),
    ("catalog", "stream"),
    ("postgres", "stream"),
];

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
