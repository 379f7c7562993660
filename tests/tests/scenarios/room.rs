//! Room: what a set is estimated to need, what is freed for it, and what a full disk does.

use std::fs;
use std::path::Path;

use chrono::Duration;
use tests::backupd::{Backupd, Outcome};
use tests::fault::{Action, Fault};
use tests::host::command;
use tests::set::older;
use tests::stack::{Stack, names, sets};

const MIB: u64 = 1024 * 1024;

/// A small file system for as long as it lives.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// None where nothing can be mounted, which is said.
    fn tmpfs(at: &'a Path, bytes: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting a small file system needs root");
            return None;
        }
        let status = command("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(at)
            .status()
            .unwrap();
        assert!(status.success());
        Some(Self(at))
    }

    /// Leaves so many bytes free.
    fn fill(&self, free: u64) {
        let stat = rustix::fs::statvfs(self.0).unwrap();
        let there = stat.f_bavail * stat.f_frsize;
        let ballast = vec![0_u8; usize::try_from(there - free).unwrap()];
        fs::write(self.0.join("ballast"), ballast).unwrap();
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = command("umount").arg("-l").arg(self.0).status();
    }
}

/// A tree of one file that does not shrink, and a directory for its sets.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("storage/b")).unwrap();
        fs::create_dir(dir.path().join("backups")).unwrap();
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let noise: Vec<u8> = (0..bytes)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        fs::write(dir.path().join("storage/b/noise"), noise).unwrap();
        Self { dir }
    }

    fn backups(&self) -> std::path::PathBuf {
        self.dir.path().join("backups")
    }

    fn backupd(&self, arguments: &[&str]) -> Backupd {
        Backupd::new(arguments)
            .env("BACKUP_SOURCES", "storage")
            .env("SUPABASE_STORAGE_PATH", self.dir.path().join("storage"))
            .env("BACKUP_DIR", self.backups())
            .env("BACKUP_RETENTION_DAYS", "7")
            .env("BACKUP_MIN_FREE", "0")
    }
}

/// Bytes in `about 4.5 MiB needed`.
fn needed(check: &Outcome) -> f64 {
    let text = check.json();
    let checks = text.as_array().unwrap().iter();
    let text = checks
        .filter(|check| check["subject"] == "free space")
        .map(|check| check["text"].as_str().unwrap().to_owned())
        .next()
        .unwrap();
    let words: Vec<&str> = text.split(' ').collect();
    let at = words
        .iter()
        .position(|word| word.starts_with("needed"))
        .unwrap();
    let unit = match words[at - 1] {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        other => panic!("{other}: {text}"),
    };
    words[at - 2].parse::<f64>().unwrap() * unit
}

#[test]
fn a_small_stack_asks_for_little_before_its_first_set_and_after_it() {
    let stack = Stack::new();
    let first = needed(&stack.backupd(["check", "--json"]).run());
    stack.backupd(["run"]).succeed();
    let artifacts = stack.manifest(&stack.only_set())["artifacts"].clone();
    let artifacts = artifacts.as_array().unwrap().iter();
    let set: u64 = artifacts.map(|one| one["bytes"].as_u64().unwrap()).sum();
    #[allow(clippy::cast_precision_loss, reason = "some megabytes")]
    let set = set as f64;
    let next = needed(&stack.backupd(["check", "--json"]).run());
    // The size of its databases is mostly catalogs: half of it would be ten times as much. 2.3 MiB were told to need 11.3.
    assert!(
        first > set && first < 4.0 * set + 4.0 * 1024.0 * 1024.0,
        "{first} for {set}"
    );
    assert!(
        next > set && next < 1.3 * set + 1.1 * 1024.0 * 1024.0,
        "{next} for {set}"
    );
}

#[test]
fn short_room_is_made_by_what_retention_lets_go_and_by_nothing_else() {
    let place = Place::new(3 * 1024 * 1024);
    let backups = place.backups();
    let Some(mount) = Mount::tmpfs(&backups, 24 * MIB) else {
        return;
    };
    place.backupd(&["run"]).succeed();
    let newest = sets(&backups).remove(0);
    let day = |days| older(&newest, Duration::days(days));
    let (kept, old, oldest) = (day(3), day(20), day(30));
    // As much as a set needs is free when both old ones are gone, and not before.
    mount.fill(MIB);
    let check = place.backupd(&["check"]).succeed();
    assert!(
        check.stdout.contains("the next run first removes"),
        "{check}"
    );
    let run = place.backupd(&["run"]).succeed();
    assert!(!old.exists() && !oldest.exists(), "{run}");
    assert!(kept.exists() && newest.exists(), "{run}");
    let history = fs::read_to_string(backups.join(".backupd/history.jsonl")).unwrap();
    assert_eq!(history.matches("set_removed").count(), 2, "{history}");
    // What the policy keeps makes no room, and nothing is removed where that would not be enough.
    let old = day(40);
    fs::remove_file(backups.join("ballast")).unwrap();
    mount.fill(MIB / 2);
    fs::remove_file(old.join("storage_buckets.tar.gz")).unwrap();
    let refused = place.backupd(&["run"]).run();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("--ignore-space"), "{refused}");
    assert!(
        kept.exists() && newest.exists() && old.exists(),
        "{refused}"
    );
}

#[test]
fn a_disk_without_a_free_byte_is_freed_by_retention() {
    let place = Place::new(2 * 1024 * 1024);
    let backups = place.backups();
    let Some(mount) = Mount::tmpfs(&backups, 16 * MIB) else {
        return;
    };
    place.backupd(&["run"]).succeed();
    let newest = sets(&backups).remove(0);
    let old = [20, 21].map(|days| older(&newest, Duration::days(days)));
    mount.fill(0);
    let run = place.backupd(&["run"]).succeed();
    assert!(old.iter().all(|set| !set.exists()), "{run}");
    assert_eq!(sets(&backups).len(), 2, "{run}");
    let history = fs::read_to_string(backups.join(".backupd/history.jsonl")).unwrap();
    assert_eq!(history.matches("set_removed").count(), 2, "{history}");
}

/// A run was killed on it, and so was a removal: what they left is no reason to wait for room.
#[test]
fn a_disk_that_was_full_when_a_run_was_killed_is_freed_all_the_same() {
    let place = Place::new(2 * 1024 * 1024);
    let backups = place.backups();
    let Some(mount) = Mount::tmpfs(&backups, 16 * MIB) else {
        return;
    };
    place.backupd(&["run"]).succeed();
    let newest = sets(&backups).remove(0);
    let old = [20, 21].map(|days| older(&newest, Duration::days(days)));
    for left in [".20200101T000000Z.partial", ".20200102T000000Z.removed"] {
        fs::create_dir(backups.join(left)).unwrap();
    }
    // The next line needs another page.
    let history = backups.join(".backupd/history.jsonl");
    let mut text = fs::read(&history).unwrap();
    let end = text.len().next_multiple_of(4096) - 1;
    text.resize(end, b' ');
    text.push(b'\n');
    fs::write(&history, text).unwrap();
    mount.fill(0);
    let run = place.backupd(&["run"]).succeed();
    assert!(old.iter().all(|set| !set.exists()), "{run}");
    assert_eq!(sets(&backups).len(), 2, "{run}");
    fs::remove_file(backups.join("ballast")).unwrap();
    place.backupd(&["run"]).succeed();
    let left = names(&backups);
    assert!(left.iter().all(|name| !name.starts_with(".2")), "{left:?}");
    let history = fs::read_to_string(history).unwrap();
    assert_eq!(history.matches("set_removed").count(), 3, "{history}");
    assert_eq!(history.matches("run_refused").count(), 1, "{history}");
}

#[test]
fn nothing_is_freed_behind_an_open_anomaly() {
    let place = Place::new(2 * 1024 * 1024);
    let backups = place.backups();
    let Some(mount) = Mount::tmpfs(&backups, 16 * MIB) else {
        return;
    };
    place.backupd(&["run"]).succeed();
    let newest = sets(&backups).remove(0);
    let old = [20, 21].map(|days| older(&newest, Duration::days(days)));
    let mut manifest = tests::stack::manifest(&newest);
    manifest["anomalies"] = serde_json::json!([{"kind": "not_compared", "why": "a test"}]);
    tests::set::rewrite(&newest, &manifest);
    mount.fill(MIB);
    let run = place.backupd(&["run"]).run();
    assert_eq!(run.code, Some(1), "{run}");
    assert!(old.iter().all(|set| set.exists()), "{run}");
}

#[test]
fn what_must_remain_is_a_setting_and_can_be_overruled() {
    let place = Place::new(1000);
    let call = |arguments: &[&str]| place.backupd(arguments).env("BACKUP_MIN_FREE", "99.9%");
    let refused = call(&["run"]).run();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused.stderr.contains("to remain (BACKUP_MIN_FREE)"),
        "{refused}"
    );
    assert!(sets(&place.backups()).is_empty());
    let made = call(&["run", "--ignore-space"]).succeed();
    assert!(made.stderr.contains("gone on with all the same"), "{made}");
    place.backupd(&["run"]).succeed();
    let wrong = place.backupd(&["run"]).env("BACKUP_MIN_FREE", "much").run();
    assert_eq!(wrong.code, Some(2), "{wrong}");
    assert!(
        wrong.stderr.contains("BACKUP_MIN_FREE=much is no size"),
        "{wrong}"
    );
}

#[test]
fn a_disk_that_fills_up_under_a_run_fails_its_step_and_leaves_the_others() {
    let place = Place::new(3 * 1024 * 1024);
    let backups = place.backups();
    let Some(mount) = Mount::tmpfs(&backups, 16 * MIB) else {
        return;
    };
    place.backupd(&["run"]).succeed();
    let older = sets(&backups).remove(0);
    mount.fill(MIB);
    let failed = place.backupd(&["run", "--ignore-space"]).run();
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(
        failed.stderr.contains("No space left on device"),
        "{failed}"
    );
    let kept = sets(&backups).pop().unwrap();
    assert_eq!(
        names(&kept),
        ["SHA256SUMS", "manifest.json"],
        "no half file is kept"
    );
    place
        .backupd(&["verify", older.file_name().unwrap().to_str().unwrap()])
        .succeed();
}

/// A preflight that walked it, too, would open each file twice.
#[test]
fn a_run_walks_a_tree_once() {
    const FILES: usize = 300;
    let place = Place::new(1000);
    let storage = place.dir.path().join("storage");
    for number in 0..FILES {
        fs::write(storage.join(format!("b/{number}")), "x").unwrap();
    }
    let opens = || {
        let fault = Fault::new("open,stat", Action::Kill, 0, &[&storage], place.dir.path());
        let run = fault.around(place.backupd(&["run"])).run();
        assert_eq!(run.code, Some(0), "{run}");
        fault.report().calls
    };
    let (first, next) = (opens(), opens());
    // A first set looks at sizes, and opens and looks at some files: 64 of them.
    assert!(first <= next + FILES + 2 * 64 + 50, "{first}, then {next}");
    place.backupd(&["run"]).succeed();
    let fault = Fault::new("open", Action::Kill, 0, &[&storage], place.dir.path());
    let run = fault.around(place.backupd(&["run"])).run();
    assert_eq!(run.code, Some(0), "{run}");
    let calls = fault.report().calls;
    assert!(calls < FILES + FILES / 2, "{calls} opens of {FILES} files");
}
