//! Restores that are cut off at any moment, by whatever: the database before is in place, or one printed command away.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;
use tests::host::command;
use tests::server::Options;
use tests::skipped::is_root_for;
use tests::stack::Stack;

fn same(before: &str, after: &str) {
    let different = before.lines().zip(after.lines()).find(|(a, b)| a != b);
    assert!(
        before == after,
        "{} and {} lines, the first different: {different:?}",
        before.len(),
        after.len()
    );
}

fn databases(stack: &Stack) -> Vec<String> {
    stack.server.databases()
}

#[test]
fn a_restore_killed_at_any_moment_loses_nothing() {
    killed_restores(13);
}

#[test]
#[ignore = "a soak: restores killed at many more moments"]
fn any_restore_killed_at_any_moment_loses_nothing() {
    killed_restores(208);
}

/// A number without the factor 7, so that each part of a restore has its kill.
fn killed_restores(kills: u32) {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    stack.server.psql(
        "postgres",
        "CREATE TABLE since_then AS SELECT 'only here' AS word",
    );
    let restore = || stack.backupd(["restore", "--yes", "--only", "supabase", "--drop-old"]);
    // Measured where the database is the dumped one; the present one is made anew for every kill.
    let began = Instant::now();
    stack
        .backupd(["restore", "--yes", "--only", "supabase"])
        .succeed();
    let whole = began.elapsed();
    let aside = databases(&stack)
        .into_iter()
        .find(|name| name.contains("_before_"))
        .unwrap();
    let present = "DROP DATABASE IF EXISTS postgres WITH (FORCE)";
    let again = format!("CREATE DATABASE postgres TEMPLATE {aside:?} OWNER postgres");
    let mut ends = [0, 0, 0];
    for kill in 0..kills {
        stack.server.psql("template1", present);
        stack.server.psql("template1", &again);
        let mut running = restore().spawn();
        // Every part of it alike, and a little past its end; scattered within each part.
        let scattered = f64::from(kill * 7 % kills) / f64::from(kills);
        std::thread::sleep(whole.mul_f64(scattered * 1.05));
        if !running.has_ended() {
            running.signal(Signal::KILL);
        }
        drop(running);
        // The server goes on with the last statement of a client that is gone.
        stack.server.wait_until("template1", "NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'backupd restore%')");
        let is_old = || {
            stack
                .server
                .try_psql("postgres", "SELECT word FROM since_then")
                .is_ok_and(|word| word == "only here")
        };
        let left: Vec<String> = databases(&stack)
            .into_iter()
            .filter(|name| *name != aside)
            .collect();
        let marked = "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%backupd.restoring%'";
        let half = stack.server.psql("template1", marked) != "0"
            || left.iter().any(|name| name.contains("_restoring_"));
        if half {
            // A run does not take it for whole, and the command that every message names puts the old one back.
            let undone = stack
                .backupd(["restore", "--undo", "--only", "supabase"])
                .succeed();
            assert!(undone.stdout.contains("postgres"), "kill {kill}: {undone}");
            assert!(is_old(), "kill {kill}: {left:?}: {undone}");
            assert_eq!(stack.server.psql("template1", marked), "0", "kill {kill}");
            ends[1] += 1;
        } else if is_old() {
            ends[0] += 1;
        } else {
            // It was complete; the old one may not have been dropped yet.
            assert!(
                stack
                    .server
                    .psql("postgres", "SELECT count(*) > 0 FROM auth.users")
                    == "t",
                "kill {kill}: {left:?}"
            );
            ends[2] += 1;
        }
        for name in databases(&stack) {
            let ours = name == "postgres" || name == "keycloak" || name == aside;
            if !ours {
                assert!(name.starts_with("postgres_before_"), "kill {kill}: {name}");
                stack
                    .server
                    .psql("template1", &format!("DROP DATABASE {name:?} WITH (FORCE)"));
            }
        }
    }
    println!(
        "{kills} kills in {whole:?}: {} before anything, {} put back by the command, {} after its end",
        ends[0], ends[1], ends[2]
    );
    assert!(
        ends[1] > kills / 4,
        "the kills missed the restore: {ends:?}"
    );
}

#[test]
fn a_signal_puts_the_old_one_back() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let before = stack.server.told("postgres");
    // Before anything, and where the new one is half there.
    let begun =
        "EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'backupd restore%')";
    let half = "EXISTS (SELECT FROM pg_database WHERE datname LIKE '%\\_restoring\\_%')";
    let loading = format!(
        "{half} AND EXISTS (SELECT FROM pg_stat_activity WHERE datname LIKE '%\\_restoring\\_%' AND query LIKE 'COPY%')"
    );
    for moment in [begun, half, &loading] {
        let mut running = stack
            .backupd(["restore", "--yes", "--only", "supabase"])
            .spawn();
        running.wait_until(moment, |_| {
            stack.server.psql("template1", &format!("SELECT {moment}")) == "t"
        });
        running.signal(Signal::TERM);
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(143), "{outcome}");
        assert!(outcome.stderr.contains("is as it was before"), "{outcome}");
        assert!(
            !databases(&stack)
                .iter()
                .any(|name| name.contains("restoring")),
            "{outcome}"
        );
        same(&before, &stack.server.told("postgres"));
    }
}

#[test]
fn a_server_that_goes_away_loses_nothing() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    // A crash empties unlogged tables.
    stack
        .server
        .psql("postgres", "ALTER TABLE scratch_pad SET LOGGED");
    let before = stack.server.told("postgres");
    let mut running = stack
        .backupd(["restore", "--yes", "--only", "supabase"])
        .spawn();
    running.wait_until("the load", |_| {
        databases(&stack)
            .iter()
            .any(|name| name.contains("_restoring_"))
    });
    stack.server.crash();
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("Nothing is lost"), "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("backupd restore --undo --only supabase"),
        "{outcome}"
    );
    stack.server.start_again();
    stack
        .backupd(["restore", "--undo", "--only", "supabase"])
        .succeed();
    same(&before, &stack.server.told("postgres"));
    assert_eq!(databases(&stack), ["keycloak", "postgres"]);
    // The next restore would have done so by itself.
    stack
        .backupd(["restore", "--yes", "--only", "supabase", "--drop-old"])
        .succeed();
}

#[test]
fn a_full_disk_puts_the_old_one_back() {
    if !is_root_for("mounting a small file system") {
        return;
    }
    let stack = Stack::new();
    stack.server.psql("postgres", "CREATE TABLE bulk AS SELECT repeat(md5(i::text), 200) AS x FROM generate_series(1, 20000) i");
    stack
        .server
        .psql("postgres", "ALTER TABLE bulk ALTER x SET STORAGE EXTERNAL");
    stack.backupd(["run"]).succeed();
    let before = stack
        .server
        .psql("postgres", "SELECT count(*), sum(length(x)) FROM bulk");
    // New databases are made in the default tablespace of template1's: a small file system of their own.
    let small = stack.server.root().join("small");
    fs::create_dir(&small).unwrap();
    let mount = |arguments: &[&str]| {
        assert!(
            command(arguments[0])
                .args(&arguments[1..])
                .arg(&small)
                .status()
                .unwrap()
                .success()
        );
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs"]);
    assert!(
        command("chown")
            .args(["--reference", stack.server.data().to_str().unwrap()])
            .arg(&small)
            .status()
            .unwrap()
            .success()
    );
    let outcome = full_disk(&stack, &small);
    let after = stack
        .server
        .try_psql("postgres", "SELECT count(*), sum(length(x)) FROM bulk");
    let left =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    let left = stack.server.try_psql("template1", left);
    stack.server.stop();
    mount(&["umount"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains("No space left on device")
            && outcome.stderr.contains("is as it was before"),
        "{outcome}"
    );
    assert_eq!(
        (after.unwrap(), left.unwrap()),
        (before, "keycloak postgres".to_owned())
    );
}

/// What the manifest says of the database puts the new one into the small tablespace.
fn full_disk(stack: &Stack, small: &Path) -> tests::backupd::Outcome {
    stack.server.psql(
        "postgres",
        &format!("CREATE TABLESPACE small LOCATION '{}'", small.display()),
    );
    let set = stack.only_set();
    let mut manifest = tests::stack::manifest(&set);
    manifest["artifacts"][0]["database"]["tablespace"] = "small".into();
    tests::set::rewrite(&set, &manifest);
    let mut running = stack
        .backupd(["restore", "--yes", "--only", "supabase"])
        .spawn();
    running.wait_until("the load", |_| {
        databases(stack)
            .iter()
            .any(|name| name.contains("_restoring_"))
    });
    // The server wrote the empty database with holes; without a checkpoint it would meet the full disk in every other session as well.
    stack.server.psql("template1", "CHECKPOINT");
    running.wait()
}

/// pg_cron, as Supabase has it: its launcher sits in `postgres`, and comes back within a second.
#[test]
fn real_pg_cron_is_restored_left_out_or_kept_still() {
    let settings = [
        ("shared_preload_libraries", "pg_cron"),
        ("cron.database_name", "postgres"),
        ("cron.host", ""),
    ];
    let stack = Stack::with(&Options {
        settings: &settings,
        ..Options::default()
    });
    stack.server.psql(
        "postgres",
        "CREATE EXTENSION pg_cron; SELECT cron.schedule('nightly', '0 3 * * *', 'VACUUM'), cron.schedule('often', '* * * * *', 'SELECT 1')",
    );
    stack.backupd(["run"]).succeed();
    let told = stack.server.told("postgres");
    let jobs = "SELECT string_agg(jobname || ' ' || schedule || ' ' || command, ', ' ORDER BY jobname) FROM cron.job";
    let before = stack.server.psql("postgres", jobs);
    stack
        .server
        .psql("postgres", "SELECT cron.unschedule('nightly')");
    let launcher = "EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_cron launcher')";
    stack.server.wait_until("postgres", launcher);
    let plan = stack
        .backupd(["restore", "--dry-run", "--only", "supabase"])
        .succeed();
    assert!(
        plan.stdout.contains("pg_cron launcher (background worker)"),
        "{plan}"
    );
    // A worker is no reason to say --force.
    let outcome = stack
        .backupd(["restore", "--yes", "--only", "supabase"])
        .succeed();
    assert_eq!(stack.server.psql("postgres", jobs), before, "{outcome}");
    same(&told, &stack.server.told("postgres"));
    // That of the version at hand ends for good when it is ended, which must be said; newer ones come back.
    if !outcome
        .stdout
        .contains("pg_cron launcher (background worker) did not come back by itself")
    {
        stack.server.wait_until("template1", launcher);
    }
    stack.server.stop();
    stack.server.start_again();
    stack.server.wait_until("template1", launcher);
    let beside = stack
        .backupd(["restore", "--yes", "--only", "supabase", "--into", "copy"])
        .succeed();
    assert!(
        beside.stdout.contains("pg_cron and its jobs were left out"),
        "{beside}"
    );
    assert_eq!(
        stack.server.psql(
            "copy",
            "SELECT count(*) FROM pg_extension WHERE extname = 'pg_cron'"
        ),
        "0"
    );
    let users = "SELECT count(*) FROM auth.users";
    assert_eq!(
        stack.server.psql("copy", users),
        stack.server.psql("postgres", users)
    );
}
