//! Real directories: what is found, what is removed, and what is never touched.

use super::*;
use crate::artifact::{Artifact, Content};
use crate::compression::Compression;
use crate::history::Happening;
use crate::manifest::{RunStatus, StepRecord, StepStatus};
use crate::name::PlainName;

fn moment(text: &str) -> DateTime<Utc> {
    text.parse::<SetId>().unwrap().time()
}

fn make(catalog: &Catalog, at: &str, status: RunStatus) -> SetId {
    let partial = catalog.begin(moment(at)).unwrap();
    fs::write(partial.dir.join("a.gz"), b"12345").unwrap();
    let mut manifest = Manifest::begin(partial.id, "manual", partial.id.time());
    manifest.status = status;
    manifest.steps.push(StepRecord {
        name: "verify".to_owned(),
        status: StepStatus::Succeeded,
        started_at: partial.id.time(),
        duration_ms: 1,
        exit_code: None,
        error: None,
        notes: vec![],
    });
    manifest.artifacts.push(Artifact {
        file: PlainName::try_from("a.gz".to_owned()).unwrap(),
        content: Content::Database(Box::default()),
        label: "supabase".to_owned(),
        identity: None,
        tool: None,
        format: "plain".to_owned(),
        compression: Compression::Gzip,
        bytes: 5,
        raw_bytes: 5,
        sha256: String::new(),
    });
    manifest.write(&partial.dir).unwrap();
    manifest.write_sums(&partial.dir).unwrap();
    catalog.seal(&partial, &manifest).unwrap();
    partial.id
}

fn ids(catalog: &Catalog) -> Vec<String> {
    catalog
        .list()
        .unwrap()
        .iter()
        .map(|entry| entry.id.to_string())
        .collect()
}

#[test]
fn sets_are_found_by_latest_and_by_their_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    assert!(matches!(
        catalog.find(&Selector::Latest, moment("20261120T030000Z")),
        Err(FindError::NoSets { .. })
    ));
    make(&catalog, "20261119T020000Z", RunStatus::Failed);
    assert!(matches!(
        catalog.find(&Selector::Latest, moment("20261120T030000Z")),
        Err(FindError::NoGoodSet { .. })
    ));
    make(&catalog, "20261118T020000Z", RunStatus::Succeeded);
    make(&catalog, "20261120T020000Z", RunStatus::Failed);
    let find = |text: &str| catalog.find(&text.parse().unwrap(), moment("20261120T030000Z"));
    let id = |text: &str| find(text).unwrap().entry.id.to_string();
    assert_eq!(id("latest"), "20261118T020000Z");
    assert_eq!(id("20261120"), "20261120T020000Z");
    assert!(
        find("202611")
            .unwrap_err()
            .to_string()
            .contains("20261119T020000Z")
    );
    assert!(matches!(find("2025"), Err(FindError::NoMatch { .. })));
}

#[test]
fn two_sets_in_one_second_and_a_clock_set_back_overwrite_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    for _ in 0..3 {
        make(&catalog, "20261120T020000Z", RunStatus::Succeeded);
    }
    // A little, which the next run makes up for; and a lot.
    make(&catalog, "20261120T015959Z", RunStatus::Succeeded);
    make(&catalog, "20261120T010000Z", RunStatus::Succeeded);
    make(&catalog, "20261120T010000Z", RunStatus::Succeeded);
    assert_eq!(
        ids(&catalog),
        [
            "20261120T010000Z",
            "20261120T010001Z",
            "20261120T020000Z",
            "20261120T020001Z",
            "20261120T020002Z",
            "20261120T020003Z"
        ]
    );
}

#[test]
fn a_set_from_the_future_is_never_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let find = |text: &str, now: &str| {
        let found = catalog.find(&text.parse().unwrap(), moment(now));
        found
            .map(|found| found.entry.id.to_string())
            .map_err(|error| error.to_string())
    };
    make(&catalog, "20300101T000000Z", RunStatus::Succeeded);
    let words = find("latest", "20261120T030000Z").unwrap_err();
    assert!(words.contains("all dated in the future") && words.contains("20261120T030000Z"));
    make(&catalog, "20261120T020000Z", RunStatus::Succeeded);
    for (now, latest) in [
        ("20261120T030000Z", "20261120T020000Z"),
        ("20261120T015500Z", "20261120T020000Z"),
        ("20300102T000000Z", "20300101T000000Z"),
    ] {
        assert_eq!(find("latest", now).unwrap(), latest, "at {now}");
    }
    assert!(find("latest", "20261120T015459Z").is_err());
    let by_name = find("2030", "20261120T030000Z");
    assert_eq!(by_name.unwrap(), "20300101T000000Z");
}

#[test]
fn latest_passes_over_open_anomalies_until_they_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let now = moment("20261125T000000Z");
    let latest = || {
        let found = catalog.find(&Selector::Latest, now);
        found.map(|found| (found.entry.id, found.passed_over))
    };
    let odd = |at: &str| {
        let set = make(&catalog, at, RunStatus::Succeeded);
        let path = catalog.path(set);
        let mut manifest = Manifest::read(&path).unwrap();
        manifest.anomalies.push(Anomaly::Unknown);
        manifest.write(&path).unwrap();
        set
    };
    let first = odd("20261119T020000Z");
    assert!(matches!(latest(), Err(FindError::OnlyOdd { sets: 1, .. })));
    let plain = make(&catalog, "20261120T020000Z", RunStatus::Succeeded);
    let second = odd("20261121T020000Z");
    make(&catalog, "20261122T020000Z", RunStatus::Failed);
    assert_eq!(latest().unwrap(), (plain, vec![second]));
    let accept = |set| {
        Accepted::update(dir.path(), |accepted| {
            accepted.sets.insert(set);
        })
        .unwrap();
    };
    accept(first);
    assert_eq!(latest().unwrap(), (plain, vec![second]));
    accept(second);
    assert_eq!(latest().unwrap(), (second, vec![]));
    catalog.unname(second).unwrap().unwrap();
    catalog.clear(second).unwrap();
    let left = Accepted::read(dir.path()).unwrap().sets;
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [first]);
    // What cannot be read has accepted nothing.
    fs::write(layout::accepted(dir.path()), "[").unwrap();
    assert!(catalog.list().unwrap()[0].has_open_anomaly());
}

#[test]
fn a_set_is_not_good_when_a_file_is_gone_or_cut_or_was_found_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let set = make(&catalog, "20261120T020000Z", RunStatus::Succeeded);
    let why = || catalog.list().unwrap().remove(0).why_not_good;
    assert_eq!(why(), None);
    let history = History::open(dir.path()).unwrap();
    let verified = |whole| Happening::SetVerified {
        set,
        whole,
        problems: vec!["a.gz: SHA-256".to_owned()],
    };
    history.append(set.time(), &verified(false)).unwrap();
    assert!(why().unwrap().contains("found damaged"));
    history.append(set.time(), &verified(true)).unwrap();
    assert_eq!(why(), None);
    let path = catalog.path(set);
    fs::write(path.join("a.gz"), b"1234").unwrap();
    assert!(why().unwrap().contains("size"));
    fs::remove_file(path.join("a.gz")).unwrap();
    assert!(why().unwrap().contains("a.gz"));
    fs::write(path.join("manifest.json"), b"{").unwrap();
    assert!(why().unwrap().contains("damaged"));
}

#[test]
fn a_renamed_set_is_not_taken_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let set = make(&catalog, "20261120T020000Z", RunStatus::Succeeded);
    durable::rename(&catalog.path(set), &dir.path().join("20261121T020000Z")).unwrap();
    let entry = catalog.list().unwrap().remove(0);
    assert!(!entry.good && entry.why_not_good.unwrap().contains("20261120T020000Z"));
}

#[test]
fn sweeping_takes_only_what_a_run_left() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let root = dir.path();
    let kept = make(&catalog, "20261120T020000Z", RunStatus::Succeeded);
    let foreign = [
        "photos",
        ".cache.partial",
        "20261120",
        ".20261120T020000Z.partially",
        ".20261120T020000Z",
        "x.removed",
    ];
    for name in foreign {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::write(
        root.join(".20261101T000000Z.partial"),
        b"a file of this name is not ours",
    )
    .unwrap();
    std::os::unix::fs::symlink(root.join("photos"), root.join(".20261102T000000Z.partial"))
        .unwrap();
    fs::create_dir(root.join(".20261103T000000Z.partial")).unwrap();
    fs::write(
        root.join(".20261103T000000Z.partial/.a.gz.partial"),
        b"half",
    )
    .unwrap();
    fs::create_dir(root.join(".20261104T000000Z.removed")).unwrap();
    let left = catalog.leftovers().unwrap();
    assert_eq!(
        left.names,
        [".20261103T000000Z.partial", ".20261104T000000Z.removed"]
    );
    for partial in left.partial {
        catalog.discard(partial).unwrap();
    }
    for removed in left.removed {
        catalog.clear(removed).unwrap();
    }
    for name in foreign {
        assert!(root.join(name).is_dir(), "{name}");
    }
    assert!(root.join(".20261101T000000Z.partial").is_file());
    assert_eq!(catalog.list().unwrap().len(), 1);
    catalog.unname(kept).unwrap().unwrap();
    assert!(!catalog.has(kept));
    catalog.clear(kept).unwrap();
    assert_eq!(catalog.list().unwrap().len(), 0);
}

#[test]
fn a_sealed_set_holds_its_files_alone() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let partial = catalog.begin(moment("20261120T020000Z")).unwrap();
    let manifest = Manifest::begin(partial.id, "manual", partial.id.time());
    manifest.write(&partial.dir).unwrap();
    manifest.write_sums(&partial.dir).unwrap();
    fs::write(partial.dir.join(".a.gz.partial"), b"half").unwrap();
    fs::create_dir_all(partial.dir.join(".reconcile-x/y")).unwrap();
    catalog.seal(&partial, &manifest).unwrap();
    let names = fs::read_dir(catalog.path(partial.id)).unwrap().count();
    assert_eq!(names, 2);
}

#[test]
fn a_missing_backup_directory_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("lost-mount");
    assert!(Catalog::open(&root).is_err());
    assert!(!root.exists());
}

#[test]
fn what_is_remembered_is_as_long_as_the_file_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let ids =
        ["20261118T020000Z", "20261119T020000Z"].map(|at| make(&catalog, at, RunStatus::Succeeded));
    for id in ids {
        let mut manifest = Manifest::read(&catalog.path(id)).unwrap();
        let dump = manifest.artifacts[0].dump_mut().unwrap();
        dump.tables = Some(vec![]);
        dump.properties = Some(serde_json::Value::Null);
        manifest.write(&catalog.path(id)).unwrap();
    }
    let mut remembered = Remembered::default();
    let mut look = |shown| catalog.look(&mut remembered, shown).unwrap();
    let arc = |entry: &Entry| entry.manifest.as_ref().unwrap().clone();
    let first = look(1);
    let tables = |entry: &Entry| entry.manifest().unwrap().artifacts[0].tables().is_some();
    assert_eq!([tables(&first[0]), tables(&first[1])], [false, true]);
    assert!(
        first[1].manifest().unwrap().artifacts[0]
            .dump()
            .unwrap()
            .properties
            .is_none()
    );
    let second = look(1);
    assert!(Arc::ptr_eq(&arc(&first[0]), &arc(&second[0])), "read again");
    assert!(Arc::ptr_eq(&arc(&first[1]), &arc(&second[1])), "read again");
    // No longer one of the newest; and another one's turn again.
    assert!(!tables(&look(0)[1]));
    assert!(tables(&look(2)[0]));
    let mut manifest = Manifest::read(&catalog.path(ids[0])).unwrap();
    manifest.trigger = "schedule".to_owned();
    manifest.write(&catalog.path(ids[0])).unwrap();
    assert_eq!(look(1)[0].manifest().unwrap().trigger, "schedule");
    fs::write(catalog.path(ids[1]).join("manifest.json"), b"{").unwrap();
    assert!(!look(1)[1].good);
    fs::remove_file(catalog.path(ids[0]).join("a.gz")).unwrap();
    assert_eq!(
        look(1)[0].why_not_good.as_deref(),
        Some("a.gz: No such file or directory (os error 2)")
    );
    fs::remove_dir_all(catalog.path(ids[0])).unwrap();
    assert_eq!(look(1).len(), 1);
}
