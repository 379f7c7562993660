//! Retention, verification and the commands on finished sets.

use std::fs::{self, File};
use std::path::Path;

use chrono::Duration;
use serde_json::Value;
use tests::backupd::Backupd;
use tests::campaign::Campaign;
use tests::daemon::Daemon;
use tests::fault::{Action, EIO, Fault};
use tests::host::command;
use tests::set::older;
use tests::stack::{Stack, names};

#[test]
fn sets_older_than_seven_days_go_and_younger_ones_stay() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    let young = older(&set, Duration::days(6));
    let old = older(&set, Duration::days(8));
    let ancient = older(&set, Duration::days(400));
    stack
        .backupd(["verify", &old.file_name().unwrap().to_string_lossy()])
        .succeed();

    let dry = stack.backupd(["prune", "--dry-run"]).succeed();
    assert_eq!(dry.stdout.matches("would go").count(), 2, "{dry}");
    assert!(
        old.exists() && ancient.exists(),
        "a dry run removes nothing"
    );

    let outcome = stack.backupd(["run"]).succeed();
    assert!(outcome.stdout.contains("removed 2 older"), "{outcome}");
    assert!(!old.exists() && !ancient.exists() && young.exists() && set.exists());
    let history = fs::read_to_string(stack.backups.join(".backupd/history.jsonl")).unwrap();
    assert!(history.contains("set_removed"));
}

#[test]
fn a_set_from_the_future_is_told_and_takes_the_place_of_no_other() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let first = stack.only_set();
    let future = older(&first, -Duration::days(400));
    let run = stack.backupd(["run"]).env("BACKUP_KEEP_LAST", "1");
    let outcome = run.env("BACKUP_RETENTION_DAYS", "0").succeed();
    assert!(outcome.stdout.contains("removed 1 older"), "{outcome}");
    let sets = stack.sets();
    assert!(!first.exists() && sets.len() == 2 && sets[1] == future);
    let name = |set: &Path| set.file_name().unwrap().to_str().unwrap().to_owned();
    let listed = stack.backupd(["list"]).succeed().stdout;
    let line = |set: &Path| {
        let found = listed.lines().find(|line| line.contains(&name(set)));
        found.unwrap().to_owned()
    };
    assert!(line(&future).contains("from the future"), "{listed}");
    assert!(!line(&sets[0]).contains("from the future"), "{listed}");
    let latest = stack.backupd(["show", "latest"]).succeed();
    assert!(latest.stdout.contains(&name(&sets[0])), "{latest}");
    // With the newest gone, no other takes its place.
    fs::remove_dir_all(&sets[0]).unwrap();
    let none = stack.backupd(["show", "latest"]).run();
    assert_eq!(none.code, Some(1), "{none}");
    assert!(none.stderr.contains("dated in the future"), "{none}");
    stack.backupd(["show", &name(&future)]).succeed();
}

#[test]
fn a_manifest_that_is_a_pipe_a_device_or_endless_hangs_nothing() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    let path = set.join("manifest.json");
    let manifest = fs::read(&path).unwrap();
    let plants = [
        ("mkfifo manifest.json", "is no regular file"),
        ("ln -s /dev/zero manifest.json", "is no regular file"),
        ("truncate -s 10G manifest.json", "has more than"),
    ];
    for (plant, words) in plants {
        fs::remove_file(&path).unwrap();
        let planted = command("sh").args(["-c", plant]).current_dir(&set).status();
        assert!(planted.unwrap().success());
        let listed = stack.backupd(["list"]).succeed();
        assert!(listed.stdout.contains(words), "{plant}: {listed}");
        let verified = stack.backupd(["verify", "2"]).run();
        assert_eq!(verified.code, Some(4), "{plant}: {verified}");
        assert!(verified.stdout.contains(words), "{plant}: {verified}");
    }
    // Names in it are no ways out of the set.
    fs::remove_file(&path).unwrap();
    let text = String::from_utf8(manifest).unwrap();
    fs::write(&path, text.replace("\"supabase_db", "\"../supabase_db")).unwrap();
    let verified = stack.backupd(["verify", "2"]).run();
    assert_eq!(verified.code, Some(4), "{verified}");
    assert!(
        verified.stdout.contains("is no plain file name"),
        "{verified}"
    );
}

/// History says what became of the set, and of no run.
#[test]
fn a_removal_that_was_cut_off_is_no_interrupted_run() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let id = "20200102T000000Z";
    fs::create_dir(stack.backups.join(format!(".{id}.removed"))).unwrap();
    stack.backupd(["run"]).succeed();
    let history = fs::read_to_string(stack.backups.join(".backupd/history.jsonl")).unwrap();
    let told = history.lines().filter(|line| line.contains(id));
    let told: Vec<&str> = told.collect();
    assert!(
        told.len() == 1 && told[0].contains("\"set_removed\""),
        "{history}"
    );
    assert!(!history.contains("run_refused"), "{history}");
}

#[test]
fn a_failed_run_removes_nothing() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let old = older(&stack.only_set(), Duration::days(30));
    assert_eq!(
        stack
            .backupd(["run"])
            .env("KC_DB_PASSWORD", "wrong")
            .run()
            .code,
        Some(1)
    );
    assert!(old.exists());
}

#[test]
fn the_newest_good_set_outlives_every_policy() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    let first = older(&set, Duration::days(100));
    older(&set, Duration::days(200));
    fs::remove_dir_all(&set).unwrap();
    Backupd::new(["prune"])
        .env("BACKUP_DIR", &stack.backups)
        .env("BACKUP_RETENTION_DAYS", "1")
        .succeed();
    assert_eq!(stack.sets(), [first]);
    let wrong = Backupd::new(["prune"])
        .env("BACKUP_DIR", &stack.backups)
        .env("BACKUP_KEEP_DAYLI", "1")
        .run();
    assert_eq!(
        wrong.code,
        Some(2),
        "a misspelt rule must not remove sets: {wrong}"
    );
}

#[test]
fn any_damage_to_a_set_is_found_and_named() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    let id = set.file_name().unwrap().to_str().unwrap().to_owned();
    let verify = || {
        let outcome = Backupd::new(["verify", &id, "--json"])
            .env("BACKUP_DIR", &stack.backups)
            .run();
        let report: Value = outcome.json();
        let files: Vec<String> = report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|problem| problem["file"].as_str().unwrap().to_owned())
            .collect();
        (outcome.code, files)
    };
    assert_eq!(verify(), (Some(0), vec![]));
    for name in names(&set) {
        let path = set.join(&name);
        let original = fs::read(&path).unwrap();
        let places = [
            0,
            original.len() / 3,
            original.len() / 2,
            original.len() - 1,
        ];
        for at in places {
            let mut flipped = original.clone();
            flipped[at] ^= 0x04;
            fs::write(&path, &flipped).unwrap();
            let (code, files) = verify();
            assert_eq!(code, Some(4), "{name} byte {at}");
            let named = files.contains(&name)
                || (name == "SHA256SUMS" && files.contains(&"manifest.json".to_owned()));
            assert!(named, "{name} byte {at}: {files:?}");
        }
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(original.len() as u64 - 1)
            .unwrap();
        assert_eq!(verify().0, Some(4), "{name} cut");
        fs::remove_file(&path).unwrap();
        let (code, files) = verify();
        assert!(
            code == Some(4) && files.contains(&name),
            "{name} removed: {files:?}"
        );
        fs::write(&path, &original).unwrap();
    }
    fs::write(set.join("extra"), "x").unwrap();
    assert_eq!(verify(), (Some(4), vec!["extra".to_owned()]));
    let listed = Backupd::new(["list", "--json"])
        .env("BACKUP_DIR", &stack.backups)
        .succeed()
        .json();
    assert_eq!(
        listed[0]["good"], false,
        "what verify found damaged is not good"
    );
    fs::remove_file(set.join("extra")).unwrap();
    assert_eq!(verify(), (Some(0), vec![]));
    let listed = Backupd::new(["list", "--json"])
        .env("BACKUP_DIR", &stack.backups)
        .succeed()
        .json();
    assert_eq!(listed[0]["good"], true);
}

#[test]
fn a_truncation_with_matching_checksums_is_still_found() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    // Somebody rewrote digests and sizes after losing the end of the dump.
    let script = "gunzip -c supabase_db.sql.gz | head -n -30 | gzip > t && mv t supabase_db.sql.gz";
    assert!(
        command("sh")
            .args(["-c", script])
            .current_dir(&set)
            .status()
            .unwrap()
            .success()
    );
    let file = set.join("supabase_db.sql.gz");
    let mut manifest = stack.manifest(&set);
    let raw = command("sh")
        .args(["-c", "gunzip -c supabase_db.sql.gz | wc -c"])
        .current_dir(&set)
        .output()
        .unwrap();
    let raw: u64 = String::from_utf8(raw.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    for artifact in manifest["artifacts"].as_array_mut().unwrap() {
        if artifact["file"] == "supabase_db.sql.gz" {
            artifact["sha256"] = tests::tree::sha256(&file).into();
            artifact["bytes"] = fs::metadata(&file).unwrap().len().into();
            artifact["raw_bytes"] = raw.into();
        }
    }
    fs::write(
        set.join("manifest.json"),
        serde_json::to_vec_pretty(&manifest).unwrap(),
    )
    .unwrap();
    assert!(
        command("sh")
            .args(["-c", "sha256sum *.gz manifest.json > SHA256SUMS"])
            .current_dir(&set)
            .status()
            .unwrap()
            .success()
    );
    let outcome = stack
        .backupd(["verify", set.file_name().unwrap().to_str().unwrap()])
        .run();
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(outcome.stdout.contains("cut off"), "{outcome}");
}

#[test]
fn finished_sets_can_be_looked_at_with_nothing_but_their_directory() {
    let stack = Stack::new();
    let empty = Backupd::new(["show", "latest"])
        .env("BACKUP_DIR", &stack.backups)
        .run();
    assert_eq!(empty.code, Some(1));
    assert!(empty.stderr.contains("no backup sets"), "{empty}");
    stack.backupd(["run"]).succeed();
    for arguments in [
        ["list"].as_slice(),
        &["show"],
        &["verify", "latest"],
        &["prune", "--dry-run"],
    ] {
        Backupd::new(arguments)
            .env("BACKUP_DIR", &stack.backups)
            .succeed();
    }
    let lost = Backupd::new(["list"])
        .env("BACKUP_DIR", "/no/such/directory")
        .run();
    assert!(
        lost.code == Some(1) && lost.stderr.contains("BACKUP_DIR /no/such/directory"),
        "{lost}"
    );
    let odd = Backupd::new(["show", "../etc"])
        .env("BACKUP_DIR", &stack.backups)
        .run();
    assert_eq!(odd.code, Some(2), "{odd}");
}

#[test]
fn check_tells_everything_and_changes_nothing() {
    let stack = Stack::new();
    let outcome = stack.backupd(["check"]).succeed();
    for part in [
        "tools",
        "supabase",
        "keycloak",
        "storage",
        "free space",
        "superuser",
    ] {
        assert!(outcome.stdout.contains(part), "{part}: {outcome}");
    }
    assert_eq!(stack.entries(), Vec::<String>::new());
    let broken = stack
        .backupd(["check", "--json"])
        .env("KC_DB_PASSWORD", "wrong")
        .env("SUPABASE_STORAGE_PATH", "/no/such/storage")
        .run();
    assert_eq!(broken.code, Some(1), "{broken}");
    let failed: Vec<String> = broken
        .json()
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["outcome"] == "failed")
        .map(|check| check["subject"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(failed, ["keycloak", "storage"]);
}

/// Whether each set is good, oldest first.
fn good(stack: &Stack) -> Vec<bool> {
    let listed = stack.backupd(["list", "--json"]).succeed().json();
    let sets = listed.as_array().unwrap().iter();
    sets.map(|set| set["good"].as_bool().unwrap()).collect()
}

/// One error of the disk at each call that opens, reads, lists or looks at the set: of its bytes nothing is known, and it is as good as before.
#[test]
fn an_error_of_the_disk_condemns_no_set() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    let mut campaign = Campaign::default();
    for kind in ["open", "read", "list", "stat"] {
        for nth in 1.. {
            let fault = Fault::new(kind, Action::Error(EIO), nth, &[&set], stack.server.root());
            let outcome = fault.around(stack.backupd(["verify", "--json"])).run();
            let Some(hit) = fault.report().hit else {
                break;
            };
            let end = match (outcome.code, good(&stack) == [true]) {
                (Some(0), true) => Ok("read whole all the same"),
                (Some(1), true) => Ok("told"),
                _ => Err(format!("{kind} {nth}, {hit}: {outcome}")),
            };
            campaign.count(&format!("verify, EIO at {kind}"), end);
        }
    }
    assert!(campaign.end() > 20);
}

/// It may be good, so it stays, and so does every older one: until somebody types the line that is told.
#[test]
fn a_set_that_cannot_be_looked_at_is_told_with_the_line_that_moves_it_aside() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    let (lost, old) = (
        older(&set, Duration::days(10)),
        older(&set, Duration::days(20)),
    );
    let bad_sector = |call: Backupd| {
        let on = Action::ErrorsOn(EIO);
        Fault::new("open", on, 1, &[&lost], stack.server.root()).around(call)
    };
    let off = [
        ("BACKUP_SCHEDULE", "off"),
        ("BACKUP_CATCH_UP", "false"),
        ("BACKUP_DRILL_SCHEDULE", "off"),
    ];
    let daemon = Daemon::start_by(&stack, &off, |call| bad_sector(call).spawn());
    assert_eq!(daemon.get("/health").0, 503);
    let said = daemon.backupd(["status"]).succeed();
    assert!(said.stdout.contains("could not be looked at"), "{said}");
    let doctor = |at: &[&str]| {
        let asked = [&["doctor", "--json"], at].concat();
        let told = bad_sector(stack.backupd(&asked)).run().json();
        let findings = told["findings"].as_array().unwrap();
        let found = findings.iter().find(|one| one["fault"] == "unread_set");
        found.unwrap()["lines"][0].as_str().unwrap().to_owned()
    };
    // Where backupd runs, in a container or not, is where the line is for.
    assert_eq!(said.stdout.split('`').nth(1), Some(doctor(&[]).as_str()));
    let name = lost.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        doctor(&["--for", "compose"]),
        format!(
            "docker compose run --rm --entrypoint mv restore /backups/{name} /backups/{name}.unread"
        )
    );
    let line = doctor(&["--for", "host"]);
    let line = line.trim_start_matches("sudo ");
    assert!(line.starts_with("mv "), "{line}");
    let pruned = bad_sector(stack.backupd(["prune"])).run();
    assert_eq!(pruned.code, Some(1), "{pruned}");
    assert!(lost.exists() && old.exists());

    let typed = command("sh").args(["-c", line]).status();
    assert!(typed.unwrap().success(), "{line}");
    stack.backupd(["prune"]).succeed();
    assert!(!lost.exists() && !old.exists() && set.exists());
    assert_eq!(
        names(&lost.with_extension("unread")).len(),
        names(&set).len()
    );
    // Soon told, as what other processes did.
    daemon.wait_until_healthy();
}

/// Without its program nothing is known of a dump in custom format; a byte that differs is known.
#[test]
fn what_is_not_read_is_not_damaged_and_the_last_set_with_all_its_files_stays() {
    let stack = Stack::new();
    stack
        .backupd(["run"])
        .env("BACKUP_DUMP_FORMAT", "custom")
        .succeed();
    let set = stack.only_set();
    let tools = stack.tools("exec $REAL/pg_dump \"$@\"");
    let program = Path::new(&tools).join("pg_restore");
    fs::remove_file(&program).unwrap();
    std::os::unix::fs::symlink("/bin/false", &program).unwrap();
    let outcome = stack
        .backupd(["verify"])
        .env("BACKUP_PG_BINDIR", &tools)
        .run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stdout.contains("COULD NOT BE READ"), "{outcome}");
    assert_eq!(good(&stack), [true]);

    let old = older(&set, Duration::days(400));
    fs::remove_dir_all(&set).unwrap();
    let dump = old.join("supabase_db.dump");
    let mut bytes = fs::read(&dump).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&dump, bytes).unwrap();
    let outcome = stack
        .backupd(["verify", &old.file_name().unwrap().to_string_lossy()])
        .run();
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(outcome.stdout.contains("is DAMAGED"), "{outcome}");
    assert_eq!(good(&stack), [false]);
    stack.backupd(["prune"]).succeed();
    assert!(old.exists(), "it is all there is");
}

/// What tells what databases held is of use to a drill: without it a set is not good, and all that was backed up is there.
#[test]
fn a_set_without_its_census_is_kept_and_comes_back() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    let census = set.join("census.json.gz");
    let kept = fs::read(&census).unwrap();
    fs::remove_file(&census).unwrap();
    let id = set.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(good(&stack), [false]);
    let verified = stack.backupd(["verify", &id]).run();
    assert_eq!(verified.code, Some(4), "{verified}");
    assert!(
        verified.stdout.contains("census.json.gz: missing"),
        "{verified}"
    );
    let older = older(&set, Duration::days(400));
    fs::remove_dir_all(&set).unwrap();
    stack.backupd(["prune"]).succeed();
    assert!(older.exists(), "the last set with all its data");
    let id = older.file_name().unwrap().to_str().unwrap();
    let arguments = [
        "restore", id, "--yes", "--only", "supabase", "--into", "copy",
    ];
    let restored = stack.backupd(arguments).succeed();
    assert!(restored.stdout.contains("goes on without"), "{restored}");
    assert_eq!(
        stack.server.table_hashes("copy"),
        stack.server.table_hashes("postgres")
    );
    // Nothing was kept against it.
    fs::write(older.join("census.json.gz"), kept).unwrap();
    assert_eq!(good(&stack), [true]);
}
