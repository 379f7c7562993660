//! The judgement by table.

mod years;

use chrono::TimeDelta;

use super::*;
use catalog::accepted::Accepted;
use catalog::anomaly::Anomaly;
use catalog::artifact::{Archive, Artifact, Content, Kind, LargeObjects, TableRows, Tree};
use catalog::compression::Compression;
use catalog::identity::Identity;
use catalog::manifest::Manifest;
use catalog::set::SetId;

const HALF: Settings = Settings {
    drop_percent: Settings::DROP_PERCENT,
    ignore: Vec::new(),
};
/// Tables with their rows.
type Rows = &'static [(&'static str, u64)];
/// Bytes of a row here.
const ROW: u64 = 100;

fn day(number: i64) -> SetId {
    let first: SetId = "20260101T020000Z".parse().unwrap();
    SetId::at(first.time() + TimeDelta::days(number))
}

fn artifact(kind: Kind, label: &str, raw_bytes: u64, bytes: u64) -> Artifact {
    let json = serde_json::json!({
        "file": format!("{label}.gz"), "kind": kind, "label": label, "format": "plain", "compression": "gzip",
        "bytes": bytes, "raw_bytes": raw_bytes, "sha256": "",
    });
    serde_json::from_value(json).unwrap()
}

fn server(system: u64) -> Identity {
    Identity::Server {
        system: system.to_string(),
        database: 5,
    }
}

fn database(system: u64, tables: &[(&str, u64)]) -> Artifact {
    let rows: u64 = tables.iter().map(|(_, rows)| rows).sum();
    let mut artifact = artifact(Kind::Database, "supabase", rows * ROW, rows * ROW / 5);
    artifact.identity = Some(server(system));
    let tables = tables.iter().map(|(table, rows)| TableRows {
        table: (*table).to_owned(),
        rows: *rows,
        bytes: Some(rows * ROW),
        digest: None,
    });
    artifact.dump_mut().unwrap().tables = Some(tables.collect());
    artifact
}

fn tree(kind: Kind, label: &str, files: u64, bytes: u64) -> Artifact {
    let archive = Archive {
        path: None,
        tree: Some(Tree {
            files,
            directories: 1,
            symlinks: 0,
            hard_links: 0,
            bytes,
            attributes: None,
        }),
    };
    Artifact {
        content: match kind {
            Kind::Files => Content::Files(archive),
            _ => Content::Storage(archive),
        },
        ..artifact(kind, label, bytes, bytes)
    }
}

fn set(number: i64, artifacts: Vec<Artifact>) -> Manifest {
    let mut manifest = Manifest::begin(day(number), "schedule", day(number).time());
    manifest.artifacts = artifacts;
    manifest
}

fn of(manifest: &Manifest) -> Vitals {
    Vitals::of(manifest, &HALF)
}

/// What is found in the second, after the first.
fn beside(was: Vec<Artifact>, is: Vec<Artifact>) -> Vec<Anomaly> {
    judge(
        &[of(&set(0, was))],
        &of(&set(1, is)),
        &Known::default(),
        &HALF,
    )
}

fn tables(was: &[(&str, u64)], is: &[(&str, u64)]) -> Vec<String> {
    let found = beside(vec![database(1, was)], vec![database(1, is)]);
    found
        .iter()
        .map(|anomaly| match anomaly {
            Anomaly::SourceFell { of, was, is, .. } => format!("{of:?} {was} {is}"),
            Anomaly::TableFell {
                table, of, was, is, ..
            } => format!("{table} {of:?} {was} {is}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn falls_are_found_by_table_and_as_a_whole_and_small_ones_are_none() {
    let none: [&str; 0] = [];
    assert_eq!(
        tables(
            &[("a.big", 5000), ("a.small", 200)],
            &[("a.big", 2500), ("a.small", 200)]
        ),
        none,
        "half is not more than half"
    );
    assert_eq!(
        tables(
            &[("a.big", 5000), ("a.small", 200)],
            &[("a.big", 2499), ("a.small", 200)]
        ),
        ["a.big Rows 5000 2499"],
        "the rest lives on, so it is this table alone"
    );
    assert_eq!(
        tables(
            &[("a.big", 5000), ("a.small", 200)],
            &[("a.big", 0), ("a.small", 0)]
        ),
        ["Rows 200 0", "a.big Rows 5000 0"],
        "all is gone"
    );
    assert_eq!(
        tables(&[("a.big", 5000)], &[("a.big", 9)]),
        ["Rows 5000 9", "a.big Rows 5000 9"],
        "this table is all there is"
    );
    assert_eq!(
        tables(
            &[("a.small", 999), ("a.b", 999)],
            &[("a.small", 0), ("a.b", 999)]
        ),
        none,
        "below the floor of a table, and half of the whole"
    );
    assert_eq!(tables(&[("a.tiny", 99)], &[]), none, "a trial");
    let many: Vec<(String, u64)> = (0..20)
        .map(|n| (format!("a.{}", "t".repeat(n + 1)), 5))
        .collect();
    let many: Vec<(&str, u64)> = many
        .iter()
        .map(|(name, rows)| (name.as_str(), *rows))
        .collect();
    assert_eq!(tables(&many, &many[..9]), ["Rows 100 45", "Tables 20 9"]);
}

#[test]
fn a_table_that_lost_its_content_and_kept_its_rows_is_found() {
    let was = database(1, &[("a.docs", 50_000), ("a.users", 50_000)]);
    let mut is = was.clone();
    is.dump_mut().unwrap().tables.as_mut().unwrap()[0].bytes = Some(50_000 * 5);
    let found = beside(vec![was], vec![is]);
    assert!(
        matches!(found.as_slice(), [Anomaly::TableFell { of: Quantity::Bytes, table, .. }] if table == "a.docs"),
        "{found:?}"
    );
}

#[test]
fn renamed_and_partitioned_tables_and_what_services_empty_raise_nothing() {
    const REST: (&str, u64) = ("a.rest", 100_000);
    let none: [&str; 0] = [];
    let cases: [(Rows, Rows); 5] = [
        (&[REST, ("a.orders", 5000)], &[REST, ("a.orders_old", 5100)]),
        (
            &[REST, ("a.e_p2026_01_01", 5000), ("a.e_p2026_01_02", 4000)],
            &[REST, ("a.e_p2026_01_02", 5500), ("a.e_p2026_01_03", 1)],
        ),
        (
            &[
                REST,
                ("auth.sessions", 90_000),
                ("realtime.messages_2026_01_01", 9000),
            ],
            &[REST, ("auth.sessions", 0)],
        ),
        (&[REST, ("cron.job_run_details", 900_000)], &[REST]),
        (&[REST], &[REST, ("a.new", 5_000_000)]),
    ];
    for (was, is) in cases {
        assert_eq!(tables(was, is), none, "{was:?}");
    }
    // One new table stands for one that is gone, and only for one of its size.
    assert_eq!(
        tables(
            &[REST, ("a.x", 5000), ("a.y", 5000)],
            &[REST, ("a.z", 5000)]
        )
        .len(),
        1
    );
    assert_eq!(
        tables(&[REST, ("a.x", 5000)], &[REST, ("a.z", 50_000)]),
        ["a.x Rows 5000 0"]
    );
}

#[test]
fn what_is_named_to_be_ignored_is_not_looked_at() {
    let settings = Settings {
        ignore: vec!["shop.*".parse().unwrap(), "cache:*".parse().unwrap()],
        ..HALF
    };
    let was = set(
        0,
        vec![
            database(1, &[("shop.carts", 90_000), ("a.rest", 500)]),
            tree(Kind::Files, "cache", 900, 90 * MIB),
        ],
    );
    let is = set(
        1,
        vec![
            database(2, &[("a.rest", 500)]),
            tree(Kind::Files, "cache", 1, 1),
        ],
    );
    let judged = |settings: &Settings| {
        let before = [Vitals::of(&was, settings)];
        judge(
            &before,
            &Vitals::of(&is, settings),
            &Known::default(),
            settings,
        )
    };
    let found = judged(&settings);
    assert!(
        matches!(found.as_slice(), [Anomaly::AnotherSource { source, .. }] if source == "supabase"),
        "{found:?}"
    );
    assert!(judged(&HALF).len() > 3);
}

#[test]
fn trees_are_judged_by_files_and_bytes_and_objects() {
    let storage = |files, bytes| vec![tree(Kind::Storage, "storage", files, bytes)];
    assert_eq!(beside(storage(100, 90 * MIB), storage(50, 45 * MIB)), []);
    assert_eq!(
        beside(storage(100, 90 * MIB), storage(49, 90 * MIB)).len(),
        1
    );
    assert_eq!(
        beside(storage(100, 90 * MIB), storage(100, 40 * MIB)).len(),
        1
    );
    assert_eq!(beside(storage(9, 1000), storage(1, 10)), [], "a trial");
    let mut was = set(0, storage(100, 90 * MIB));
    let mut is = set(1, storage(100, 90 * MIB));
    let objects = |objects: u64| {
        serde_json::from_value(serde_json::json!({
            "files": 100, "bytes": 1, "changed": [],
            "reconcile": catalog::storage::Reconcile { objects, ..Default::default() },
        }))
        .unwrap()
    };
    was.storage = objects(100);
    is.storage = objects(10);
    let found = judge(&[of(&was)], &of(&is), &Known::default(), &HALF);
    assert!(
        matches!(
            found.as_slice(),
            [Anomaly::SourceFell {
                of: Quantity::Objects,
                was: 100,
                is: 10,
                ..
            }]
        ),
        "{found:?}"
    );
}

#[test]
fn ciphertext_is_found_and_added_pictures_are_not_taken_for_it() {
    let file = |raw: u64, bytes: u64| vec![artifact(Kind::Files, "docs", raw * MIB, bytes * MIB)];
    let is_found = |was, is| !beside(was, is).is_empty();
    assert!(is_found(file(100, 20), file(100, 100)), "as ciphertext");
    assert!(is_found(file(100, 20), file(130, 98)), "as base64");
    assert!(!is_found(file(100, 20), file(1100, 1020)), "pictures came");
    assert!(!is_found(file(100, 20), file(60, 12)), "text went");
    assert!(
        !is_found(file(100, 10), file(20, 9)),
        "only what compresses well went"
    );
    assert!(!is_found(file(100, 100), file(100, 100)), "it never did");
    let mut other = file(100, 100);
    other[0].compression = Compression::Zstd;
    assert!(!is_found(file(100, 20), other), "another compression");
}

#[test]
fn large_objects_count() {
    let held = |count, bytes| {
        let mut artifact = database(1, &[("a.users", 500)]);
        artifact.dump_mut().unwrap().large_objects = Some(LargeObjects {
            count,
            bytes,
            digest: String::new(),
        });
        artifact
    };
    let found = beside(vec![held(100, 50 * MIB)], vec![held(3, MIB)]);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn another_server_is_found_and_a_database_made_anew_is_not_one() {
    let rows = [("a.users", 5000)];
    let was = vec![database(1, &rows)];
    let found = beside(was.clone(), vec![database(2, &rows)]);
    assert!(matches!(found.as_slice(), [Anomaly::AnotherSource { .. }]));
    let mut anew = database(1, &rows);
    anew.identity = Some(Identity::Server {
        system: "1".to_owned(),
        database: 16_400,
    });
    assert_eq!(beside(was.clone(), vec![anew.clone()]), []);
    assert_eq!(
        made_anew(&[of(&set(0, was.clone()))], &of(&set(1, vec![anew]))),
        [("supabase".to_owned(), day(0))]
    );
    // Sets of earlier versions, and servers that do not tell, are not compared.
    let mut silent = database(2, &rows);
    silent.identity = None;
    assert_eq!(beside(vec![silent.clone()], vec![database(2, &rows)]), []);
    assert_eq!(beside(was.clone(), vec![silent]), []);
    // What a restore or a person made known is known.
    let mut accepted = Accepted::default();
    accepted.know("supabase", server(2));
    let known = Known {
        accepted,
        restored: Vec::new(),
    };
    let new = of(&set(1, vec![database(2, &rows)]));
    assert_eq!(judge(&[of(&set(0, was))], &new, &known, &HALF), []);
}

#[test]
fn the_baseline_is_the_newest_set_that_holds_the_source() {
    let rows = [("a.users", 5000)];
    let none = [("a.users", 10)];
    let history = [
        of(&set(0, vec![database(1, &none)])),
        of(&set(1, vec![database(1, &rows)])),
        of(&set(2, vec![tree(Kind::Storage, "storage", 100, MIB)])),
    ];
    let found = judge(
        &history,
        &of(&set(3, vec![database(1, &none)])),
        &Known::default(),
        &HALF,
    );
    assert!(!found.is_empty(), "it fell from the set of day 1");
    let found = judge(&[], &history[0], &Known::default(), &HALF);
    assert_eq!(found, [], "a first set has nothing beside it");
}

#[test]
fn anomalies_survive_their_manifest_and_unknown_ones_are_read() {
    let found = beside(
        vec![database(1, &[("a.users", 5000)])],
        vec![database(2, &[])],
    );
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Anomaly>>(&text).unwrap(), found);
    let newer = r#"{"kind":"smells","source":"supabase","how":[1]}"#;
    assert_eq!(
        serde_json::from_str::<Anomaly>(newer).unwrap(),
        Anomaly::Unknown
    );
}
