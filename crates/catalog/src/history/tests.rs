use super::*;
use crate::manifest::RunStatus;

#[test]
fn what_is_no_history_is_an_error_and_no_endless_wait() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(layout::private(dir.path())).unwrap();
    let history = History::open(dir.path()).unwrap();
    let words = || history.read().unwrap_err().to_string();
    std::os::unix::fs::symlink("/dev/zero", &history.path).unwrap();
    assert!(words().contains("is no regular file"), "{}", words());
    std::fs::remove_file(&history.path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &history.path, 0o600.into()).unwrap();
    assert!(words().contains("is no regular file"), "{}", words());
    std::fs::remove_file(&history.path).unwrap();
    let sparse = std::fs::File::create(&history.path).unwrap();
    sparse.set_len(10 << 30).unwrap();
    assert!(words().contains("has more than"), "{}", words());
}

#[test]
fn lines_come_back_and_torn_ones_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    assert!(History::open(dir.path()).is_err());
    std::fs::create_dir(layout::private(dir.path())).unwrap();
    let history = History::open(dir.path()).unwrap();
    assert_eq!(history.read().unwrap(), []);
    let set: SetId = "20261120T020000Z".parse().unwrap();
    let verified = |whole| Happening::SetVerified {
        set,
        whole,
        problems: if whole {
            vec![]
        } else {
            vec!["a: missing".to_owned()]
        },
    };
    let at = set.time();
    history.append(at, &verified(false)).unwrap();
    let found = || history.read().unwrap();
    assert_eq!(damaged(&found()), BTreeMap::from([(set, "a: missing")]));
    let text = std::fs::read_to_string(&history.path).unwrap();
    std::fs::write(&history.path, format!("{text}{{\"at\":\"2026")).unwrap();
    history.append(at, &verified(true)).unwrap();
    assert_eq!(history.read().unwrap().len(), 2);
    assert_eq!(damaged(&found()), BTreeMap::new());
}

#[test]
fn restores_are_told_by_the_set_before_them_whatever_the_clock_said() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(layout::private(dir.path())).unwrap();
    let history = History::open(dir.path()).unwrap();
    let set = |day: u32| -> SetId { format!("202611{day}T020000Z").parse().unwrap() };
    let ran = |day| Happening::RunFinished {
        set: Some(set(day)),
        status: RunStatus::Succeeded,
        trigger: "manual".to_owned(),
        duration_ms: 1,
        bytes: 1,
        error: None,
        anomalies: 0,
    };
    let told = |in_place: bool, error: Option<&str>| Happening::Restored {
        set: set(10),
        source: "supabase".to_owned(),
        into: "postgres".to_owned(),
        in_place,
        duration_ms: 1,
        error: error.map(str::to_owned),
    };
    let restored = |error| told(true, error);
    let at = set(30).time();
    for happening in [
        restored(None),
        ran(10),
        ran(11),
        restored(None),
        restored(Some("refused")),
        ran(12),
        // A look at a set, beside the database.
        told(false, None),
    ] {
        history.append(at, &happening).unwrap();
    }
    assert_eq!(history.restored().unwrap(), [restoration(10, 11)]);
}

fn restoration(from: u32, behind: u32) -> Restoration {
    let set = |day: u32| format!("202611{day}T020000Z").parse().unwrap();
    Restoration {
        source: "supabase".to_owned(),
        from: set(from),
        behind: set(behind),
    }
}

/// Whatever the last word of a restore was: killed before its end, failed, looked at later.
#[test]
fn a_restore_without_an_end_is_in_use_until_somebody_finds_otherwise() {
    let set = |day: u32| -> SetId { format!("202611{day}T020000Z").parse().unwrap() };
    let ran = Happening::RunFinished {
        set: Some(set(11)),
        status: RunStatus::Succeeded,
        trigger: "manual".to_owned(),
        duration_ms: 1,
        bytes: 1,
        error: None,
        anomalies: 0,
    };
    let begun = Happening::Restoring {
        set: set(10),
        source: "supabase".to_owned(),
        into: "postgres".to_owned(),
    };
    let ended = |error: Option<&str>| Happening::Restored {
        set: set(10),
        source: "supabase".to_owned(),
        into: "postgres".to_owned(),
        in_place: true,
        duration_ms: 1,
        error: error.map(str::to_owned),
    };
    let (well, failed) = (ended(None), ended(Some("lost")));
    let one = restoration(10, 11);
    // Lines behind the beginning, what a look at what was left finds, and whether it is in use then.
    for (lines, left, in_use) in [
        (vec![], None, true),
        (vec![], Some(true), true),
        (vec![], Some(false), false),
        (vec![well.clone()], None, true),
        // What is left is of another restore.
        (vec![well.clone()], Some(false), true),
        (vec![failed.clone()], None, false),
        (vec![failed.clone()], Some(false), false),
        (vec![failed.clone()], Some(true), true),
        (vec![failed, begun.clone(), well], Some(false), true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(layout::private(dir.path())).unwrap();
        let history = History::open(dir.path()).unwrap();
        for happening in [&ran, &begun].into_iter().chain(&lines) {
            history.append(set(12).time(), happening).unwrap();
        }
        let before = history.restored().unwrap();
        let settle = |into: &str| {
            let mut gone = Vec::new();
            let follow = |lost: &[Restoration], after: &[Restoration]| {
                assert!(lost.iter().all(|one| !after.contains(one)));
                gone.extend(lost.to_vec());
                Ok(())
            };
            history.settle(set(12).time(), "supabase", into, left, follow)?;
            Ok::<_, io::Error>(gone)
        };
        assert_eq!(settle("rescue").unwrap(), [], "of another database");
        assert_eq!(history.restored().unwrap(), before);
        // What could not be followed is found again.
        let refuse = |_: &[Restoration], _: &[Restoration]| Err(io::Error::other("no"));
        let _ = history.settle(set(12).time(), "supabase", "postgres", left, refuse);
        assert_eq!(history.restored().unwrap(), before, "{lines:?}");
        let lost = settle("postgres").unwrap();
        let after = history.restored().unwrap();
        assert_eq!(after, vec![one.clone(); usize::from(in_use)], "{lines:?}");
        assert_eq!(lost.is_empty(), after.len() >= before.len(), "{lines:?}");
        // It is looked at once.
        let text = || std::fs::read_to_string(&history.path).unwrap();
        let settled = text();
        settle("postgres").unwrap();
        assert_eq!(text(), settled, "{lines:?}");
    }
}

#[test]
fn a_long_history_is_shortened_and_tells_the_same() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(layout::private(dir.path())).unwrap();
    let history = History::open(dir.path()).unwrap();
    let set: SetId = "20261120T020000Z".parse().unwrap();
    let ran = Happening::RunFinished {
        set: Some(set),
        status: RunStatus::Succeeded,
        trigger: "manual".to_owned(),
        duration_ms: 1,
        bytes: 1,
        error: Some("x".repeat(200)),
        anomalies: 0,
    };
    history.append(set.time(), &ran).unwrap();
    history.shorten().unwrap();
    let line = std::fs::read_to_string(&history.path).unwrap();
    let put_away = history.path.with_file_name("history.1.jsonl");
    assert!(!put_away.exists(), "it was not long");
    std::fs::write(&history.path, line.repeat(10_000)).unwrap();
    history.shorten().unwrap();
    assert_eq!(
        std::fs::read_to_string(put_away).unwrap(),
        line.repeat(10_000)
    );
    let records = history.read().unwrap();
    assert_eq!(records.len(), LINES_KEPT + 1);
    assert_eq!(Runs::count(&records).succeeded, 10_000);
    history.append(set.time(), &ran).unwrap();
    assert_eq!(history.read().unwrap().len(), LINES_KEPT + 2);
}
