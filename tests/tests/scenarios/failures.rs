//! What fails, and what is left then: loud, named, and harmless to what was there before.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use tests::backupd::{Backupd, Outcome};
use tests::host::command;
use tests::skipped::is_root_for;
use tests::stack::{Stack, names};

fn step(manifest: &Value, name: &str) -> Value {
    manifest["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["name"] == name)
        .unwrap_or_else(|| panic!("no step {name}: {manifest}"))
        .clone()
}

/// Exit 1, a set marked failed, the step failed with these words; `list` shows it as not good.
fn failed_set(stack: &Stack, outcome: &Outcome, failed: &str, words: &str) -> Value {
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let manifest = stack.manifest(&stack.only_set());
    assert_eq!(manifest["status"], "failed");
    let step = step(&manifest, failed);
    assert_eq!(step["status"], "failed");
    let error = step["error"].as_str().unwrap();
    assert!(error.contains(words), "{error}");
    assert_eq!(
        stack.backupd(["list", "--json"]).succeed().json()[0]["good"],
        false
    );
    manifest
}

fn nothing_made(stack: &Stack, outcome: &Outcome, code: i32, words: &str) {
    assert_eq!(outcome.code, Some(code), "{outcome}");
    assert!(
        outcome.stderr.contains(words),
        "{words} is not in {outcome}"
    );
    let left: Vec<String> = stack
        .entries()
        .into_iter()
        .filter(|name| name != ".backupd")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn each_missing_setting_is_named_and_nothing_is_made() {
    let stack = Stack::new();
    for name in [
        "DATABASE_URL",
        "KC_DB_URL",
        "KC_DB_USERNAME",
        "KC_DB_PASSWORD",
        "SUPABASE_STORAGE_PATH",
    ] {
        let outcome = stack.backupd(["run"]).without(name).run();
        nothing_made(&stack, &outcome, 2, &format!("{name} is missing"));
        assert_eq!(stack.backupd(["check"]).without(name).run().code, Some(2));
    }
    let outcome = Backupd::new(["run"]).env("BACKUP_RETENTION_DAY", "7").run();
    for part in [
        "DATABASE_URL is missing",
        "KC_DB_URL is missing",
        "SUPABASE_STORAGE_PATH is missing",
        "did you mean BACKUP_RETENTION_DAYS",
    ] {
        assert!(outcome.stderr.contains(part), "{outcome}");
    }
}

#[test]
fn an_unreachable_or_refusing_supabase_server_stops_the_run_before_anything_is_made() {
    let stack = Stack::new();
    let wrong = stack.server.url_as("supabase_admin", "wrong", "postgres");
    let outcome = stack.backupd(["run"]).env("DATABASE_URL", wrong).run();
    nothing_made(&stack, &outcome, 1, "password");
    let outcome = stack
        .backupd(["run"])
        .env("DATABASE_URL", stack.server.url("nowhere"))
        .run();
    nothing_made(&stack, &outcome, 1, "nowhere");
    let weak = stack
        .server
        .url_as("authenticator", tests::server::PASSWORD, "postgres");
    let outcome = stack.backupd(["run"]).env("DATABASE_URL", weak).run();
    nothing_made(&stack, &outcome, 1, "supabase_admin");
    stack.server.stop();
    let outcome = stack.backupd(["run"]).run();
    nothing_made(&stack, &outcome, 1, "127.0.0.1");
    // Health goes by what history knows.
    let history = fs::read_to_string(stack.backups.join(".backupd/history.jsonl")).unwrap();
    assert_eq!(history.matches("\"run_refused\"").count(), 4, "{history}");
}

#[test]
fn a_missing_backup_directory_is_no_reason_to_make_one() {
    let stack = Stack::new();
    let lost = stack.server.root().join("lost");
    let outcome = stack.backupd(["run"]).env("BACKUP_DIR", &lost).run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains("does not exist") && !lost.exists(),
        "{outcome}"
    );
}

#[test]
fn tools_older_than_the_server_or_missing_stop_the_run() {
    let stack = Stack::new();
    let dir = stack.tools("exit 1");
    let script = fs::read_to_string(format!("{dir}/pg_dump")).unwrap();
    fs::write(
        format!("{dir}/pg_dump"),
        script.replace(
            "exec $REAL/pg_dump --version",
            "echo 'pg_dump (PostgreSQL) 9.6.1'; exit 0",
        ),
    )
    .unwrap();
    for name in ["pg_dumpall", "pg_restore", "psql"] {
        fs::remove_file(format!("{dir}/{name}")).unwrap();
        fs::write(
            format!("{dir}/{name}"),
            format!("#!/bin/sh\necho '{name} (PostgreSQL) 9.6.1'\n"),
        )
        .unwrap();
        assert!(
            command("chmod")
                .arg("+x")
                .arg(format!("{dir}/{name}"))
                .status()
                .unwrap()
                .success()
        );
    }
    let outcome = stack.backupd(["run"]).env("BACKUP_PG_BINDIR", &dir).run();
    nothing_made(&stack, &outcome, 1, "newer than the client programs");
    let outcome = stack
        .backupd(["run"])
        .env("BACKUP_PG_BINDIR", "/nonexistent")
        .run();
    nothing_made(&stack, &outcome, 1, "/nonexistent");
}

#[test]
fn supabase_dump_failure_skips_the_other_data_steps() {
    let stack = Stack::new();
    let dir = stack.tools(
        "case $PGDATABASE in postgres) echo 'half a dump'; echo 'pg_dump: error: boom' >&2; exit 1;; esac\nexec $REAL/pg_dump \"$@\"",
    );
    let outcome = stack.backupd(["run"]).env("BACKUP_PG_BINDIR", dir).run();
    let manifest = failed_set(&stack, &outcome, "supabase", "boom");
    assert_eq!(step(&manifest, "supabase")["exit_code"], 1);
    for skipped in ["keycloak", "storage"] {
        assert_eq!(step(&manifest, skipped)["status"], "skipped");
    }
    assert_eq!(
        names(&stack.only_set()),
        ["SHA256SUMS", "manifest.json"],
        "no broken file is kept"
    );
}

#[test]
fn a_dump_that_exits_with_0_but_is_cut_off_is_no_dump() {
    let stack = Stack::new();
    let dir = stack.tools("$REAL/pg_dump \"$@\" | head -c 20000; exit 0");
    let outcome = stack.backupd(["run"]).env("BACKUP_PG_BINDIR", dir).run();
    failed_set(&stack, &outcome, "supabase", "not complete");
}

#[test]
fn keycloak_dump_failure_keeps_supabase_and_storage_and_fails_the_run() {
    let stack = Stack::new();
    let dir =
        stack.tools("case $PGDATABASE in keycloak) kill -9 $$;; esac\nexec $REAL/pg_dump \"$@\"");
    let outcome = stack.backupd(["run"]).env("BACKUP_PG_BINDIR", dir).run();
    failed_set(&stack, &outcome, "keycloak", "signal 9");
    let left = names(&stack.only_set());
    for kept in [
        "supabase_db.sql.gz",
        "supabase_roles.sql.gz",
        "storage_buckets.tar.gz",
    ] {
        assert!(left.contains(&kept.to_owned()), "{kept} in {left:?}");
    }
    stack
        .backupd([
            "verify",
            &stack.only_set().file_name().unwrap().to_string_lossy(),
        ])
        .succeed();
}

#[test]
fn an_unreachable_keycloak_fails_its_step_alone() {
    let stack = Stack::new();
    let outcome = stack.backupd(["run"]).env("KC_DB_PASSWORD", "wrong").run();
    failed_set(&stack, &outcome, "keycloak", "password");
    assert!(stack.only_set().join("storage_buckets.tar.gz").is_file());
}

#[test]
fn a_missing_or_empty_or_foreign_storage_root_fails_its_step_by_name() {
    for (name, make) in [
        ("gone", None),
        ("void", Some("")),
        ("minio", Some(".minio.sys")),
    ] {
        let stack = Stack::new();
        let root = stack.server.root().join(name);
        if let Some(below) = make {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        let outcome = stack
            .backupd(["run"])
            .env("SUPABASE_STORAGE_PATH", &root)
            .run();
        failed_set(&stack, &outcome, "storage", root.to_str().unwrap());
        assert!(
            stack.only_set().join("keycloak_db.sql.gz").is_file(),
            "the dumps stay"
        );
    }
}

/// Facts tell a volume that is not mounted from one that nobody has used: the database knows.
#[test]
fn an_empty_storage_root_is_as_it_should_be_where_there_are_no_objects() {
    let stack = Stack::new();
    let root = stack.server.root().join("void");
    fs::create_dir(&root).unwrap();
    let call = |arguments: &[&str]| stack.backupd(arguments).env("SUPABASE_STORAGE_PATH", &root);
    let wrong = call(&["check"]).run();
    assert_eq!(wrong.code, Some(1), "{wrong}");
    assert!(
        wrong.stdout.contains("storage.objects has objects"),
        "{wrong}"
    );
    stack.server.psql(
        "postgres",
        "SET session_replication_role = replica; DELETE FROM storage.objects",
    );
    for turn in 0..2 {
        let check = call(&["check"]).succeed();
        assert!(check.stdout.contains("nobody has uploaded"), "{check}");
        let run = call(&["run"]).run();
        assert_eq!(run.code, Some(0), "{turn}: {run}");
    }
    let set = stack.sets().pop().unwrap();
    assert_eq!(stack.manifest(&set)["storage"]["files"], 0);
    stack.backupd(["verify"]).succeed();
    // It comes back as empty as it was.
    fs::write(root.join("later"), "x").unwrap();
    call(&["restore", "--only", "storage", "--yes"]).succeed();
    assert!(names(&root).is_empty(), "{:?}", names(&root));
    // Extra paths have no database to ask.
    let extra = format!("keys={}", root.display());
    let failed = stack
        .backupd(["run"])
        .env("BACKUP_EXTRA_PATHS", extra)
        .run();
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(failed.stderr.contains("is the volume mounted"), "{failed}");
}

#[test]
fn unreadable_storage_files_are_told_by_check_and_fail_the_step_by_name() {
    let stack = Stack::new();
    let chmod = |mode: &str, path: &std::path::Path| {
        let changed = command("chmod").args(["-R", mode]).arg(path).status();
        assert!(changed.unwrap().success());
    };
    let secret = stack.storage.join("stub/stub/unreadable");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "x").unwrap();
    // Root reads everything: as root, backupd is another user's.
    let root = rustix::process::geteuid().is_root();
    if root {
        chmod("a+rX", &stack.storage);
        chmod("755", stack.server.root());
        let given = command("chown")
            .args(["-R", "nobody"])
            .arg(&stack.backups)
            .status();
        assert!(given.unwrap().success());
    }
    chmod("000", &secret.join("file"));
    let binary = stack.server.root().join("backupd");
    fs::copy(tests::backupd::binary(), &binary).unwrap();
    for argument in ["check", "run"] {
        let mut call = command(if root {
            std::path::Path::new("setpriv")
        } else {
            &binary
        });
        if root {
            call.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
                .arg(&binary);
        }
        let output = call.arg(argument).envs(stack.env()).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{argument}: {said}");
        assert!(said.contains("1 path cannot be read"), "{argument}: {said}");
        assert!(
            said.contains("stub/stub/unreadable/file"),
            "{argument}: {said}"
        );
    }
}

#[test]
fn a_server_that_stops_mid_dump_fails_the_run() {
    let stack = Stack::new();
    // The first bytes of the dump are out; the rest waits until the server is gone.
    let mark = stack.server.root().join("dumping");
    let go = stack.server.root().join("go");
    let script = format!(
        "case $PGDATABASE in postgres) touch {}; while [ ! -e {} ]; do sleep 0.02; done;; esac\nexec $REAL/pg_dump \"$@\"",
        mark.display(),
        go.display()
    );
    let dir = stack.tools(&script);
    let mut running = stack.backupd(["run"]).env("BACKUP_PG_BINDIR", dir).spawn();
    running.wait_until("the dump", |_| mark.exists());
    stack.server.crash();
    fs::write(&go, "").unwrap();
    failed_set(&stack, &running.wait(), "supabase", "pg_dump failed");
}

#[test]
fn a_dump_that_is_killed_or_stuck_fails_its_step() {
    let stack = Stack::new();
    let dir = stack.tools(
        "case $PGDATABASE in postgres) $REAL/pg_dump \"$@\" | head -c 5000; sleep 600;; esac\nexec $REAL/pg_dump \"$@\"",
    );
    let outcome = stack
        .backupd(["run"])
        .env("BACKUP_PG_BINDIR", dir)
        .env("BACKUP_STEP_TIMEOUT", "2s")
        .run();
    failed_set(&stack, &outcome, "supabase", "BACKUP_STEP_TIMEOUT");
}

#[test]
fn a_signal_ends_the_run_its_children_and_its_set() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let stack = Stack::new();
        let mark = stack.server.root().join("pid");
        let script = format!(
            "case $PGDATABASE in postgres) echo $$ > {}; sleep 600 & wait;; esac",
            mark.display()
        );
        let dir = stack.tools(&script);
        let mut running = stack.backupd(["run"]).env("BACKUP_PG_BINDIR", dir).spawn();
        running.wait_until("the dump", |_| {
            fs::read_to_string(&mark).is_ok_and(|text| !text.is_empty())
        });
        running.signal(signal);
        let outcome = running.wait();
        nothing_made(&stack, &outcome, code, "interrupted");
        let pid = fs::read_to_string(&mark).unwrap();
        assert!(
            !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists(),
            "pg_dump still runs"
        );
    }
}

#[test]
fn a_second_run_is_refused_while_the_first_is_at_work() {
    let stack = Stack::new();
    let (mark, hold) = (
        stack.server.root().join("dumping"),
        stack.server.root().join("hold"),
    );
    fs::write(&hold, "").unwrap();
    let mut first = stack
        .backupd(["run"])
        .env("BACKUP_PG_BINDIR", stack.held_tools())
        .spawn();
    first.wait_until("the dump", |_| mark.exists());
    for arguments in [["run"].as_slice(), ["prune"].as_slice()] {
        let second = stack.backupd(arguments).run();
        assert_eq!(second.code, Some(3), "{second}");
        assert!(second.stderr.contains("a backup run, process"), "{second}");
    }
    fs::remove_file(hold).unwrap();
    assert_eq!(first.wait().code, Some(0));
}

/// Exit code 3 is for a lock that is held, and for nothing else.
#[test]
fn a_lock_that_cannot_be_opened_is_no_other_run() {
    let stack = Stack::new();
    fs::create_dir_all(stack.backups.join(".backupd/lock")).unwrap();
    for arguments in [["run"].as_slice(), &["prune"], &["accept", "--all"]] {
        let outcome = stack.backupd(arguments).run();
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains("lock"), "{outcome}");
    }
}

#[test]
fn a_full_disk_is_named_and_harms_no_older_set() {
    if !is_root_for("mounting a small file system") {
        return;
    }
    let stack = Stack::new();
    // Random bytes do not shrink: the disk fills mid-dump.
    stack.server.psql(
        "postgres",
        "CREATE TABLE public.noise AS SELECT extensions.gen_random_bytes(1024) AS b FROM generate_series(1, 98304)",
    );
    let mounted = Mount::tmpfs(&stack.backups, "size=98m");
    let outcome = stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "keycloak,storage")
        .run();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let older = stack.only_set();
    // A sample of the rows tells that they will not fit.
    let refused = stack.backupd(["run"]).run();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("--ignore-space"), "{refused}");
    let outcome = stack.backupd(["run", "--ignore-space"]).run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains("No space left on device"),
        "{outcome}"
    );
    let listed = stack.backupd(["list", "--json"]).succeed().json();
    let good: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|set| set["good"] == true)
        .collect();
    assert_eq!(good.len(), 1, "{listed}");
    stack
        .backupd(["verify", &older.file_name().unwrap().to_string_lossy()])
        .succeed();
    drop(mounted);
}

/// A small file system for as long as it lives.
struct Mount<'a>(&'a std::path::Path);

impl<'a> Mount<'a> {
    fn tmpfs(at: &'a std::path::Path, options: &str) -> Self {
        let status = command("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .status()
            .unwrap();
        assert!(status.success());
        Self(at)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = command("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_killed_run_never_leaves_a_set_that_looks_good_and_is_not() {
    killed_runs(12);
}

#[test]
#[ignore = "a soak: runs killed at many more moments"]
fn any_killed_run_never_leaves_a_set_that_looks_good_and_is_not() {
    killed_runs(200);
}

fn killed_runs(kills: usize) {
    let stack = Stack::new();
    let began = std::time::Instant::now();
    stack.backupd(["run"]).succeed();
    let mut whole = began.elapsed();
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let (mut cut_off, mut tried) = (0, 0);
    while cut_off < kills {
        assert!(tried < 10 * kills, "only {cut_off} runs were cut off");
        tried += 1;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let moment = whole / 1000 * u32::try_from(state % 1000).unwrap();
        let running = stack.backupd(["run"]).spawn();
        std::thread::sleep(moment);
        running.signal(Signal::KILL);
        if running.wait().signal == Some(9) {
            cut_off += 1;
        } else {
            // It had ended before: a run is shorter than was thought.
            whole = whole.min(moment);
        }
    }
    let listed = stack.backupd(["list", "--json"]).succeed().json();
    for set in listed.as_array().unwrap() {
        assert_eq!(set["good"], true, "a killed run leaves no set: {set}");
        stack
            .backupd(["verify", set["set"].as_str().unwrap()])
            .succeed();
    }
    // What was killed leaves no child behind, and the next run clears up.
    tests::host::wait_for("pg_dump's sessions to end", || {
        stack.server.psql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump'",
        ) == "0"
    });
    stack.backupd(["run"]).succeed();
    assert!(
        stack
            .entries()
            .iter()
            .all(|name| !name.ends_with(".partial")),
        "{:?}",
        stack.entries()
    );
}
