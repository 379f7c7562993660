//! A disk that hangs, and calls that signals cut off.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::daemon::Daemon;
use tests::fault::{Action, EINTR, EIO, Fault};
use tests::set::older;
use tests::shelf::Shelf;
use tests::stack::{Stack, names};
use tests::world::{Place, What, World};

/// A run is stuck at a call on the backup directory, others wait for it, and the daemon's looks at the directory are stuck beside them.
#[test]
fn the_daemon_answers_and_ends_while_runs_hang_at_the_disk() {
    let stack = Stack::new();
    let private = stack.backups.join(".backupd");
    let kinds = "open,remove,rename,sync";
    let fault = Fault::new(kinds, Action::Hold, 0, &[&private], stack.server.root());
    let daemon = Daemon::start_by(&stack, &[("BACKUP_SOURCES", "storage")], |call| {
        fault.around(call).spawn()
    });
    daemon.wait_until_healthy();
    let answers = || {
        let began = Instant::now();
        let (status, body) = daemon.get("/health");
        assert!(began.elapsed() < Duration::from_secs(5), "{status} {body}");
        (status, body)
    };
    fault.hold(true);
    let mut runs = [(); 3].map(|()| daemon.backupd(["trigger", "--wait"]).spawn());
    fault.wait_for_a_held_call();
    for _ in 0..20 {
        assert_eq!(answers().0, 200);
    }
    for run in &mut runs {
        assert!(!run.has_ended());
    }
    fault.hold(false);
    for run in runs {
        let done = run.wait();
        assert_eq!(done.code, Some(0), "{done}");
    }
    assert_eq!(stack.sets().len(), 4);
    // And it ends, whatever hangs.
    fault.hold(true);
    let waiting = daemon.backupd(["trigger"]).spawn();
    fault.wait_for_a_held_call();
    let began = Instant::now();
    daemon.running.signal_group(Signal::TERM);
    let ended = daemon.wait();
    assert!(began.elapsed() < Duration::from_secs(60), "{ended}");
    drop(waiting);
    fault.hold(false);
}

/// `syncfs` and its like are asked again.
#[test]
fn a_flush_that_a_signal_cuts_off_is_asked_for_again() {
    let shelf = Shelf::new(None, false);
    let (backups, storage) = (shelf.backups(), shelf.storage());
    for nth in 1.. {
        shelf.reset();
        let call = shelf.backupd(&["run"]);
        let directories: &[&std::path::Path] = &[&backups, &storage];
        let (outcome, report) = shelf.faulty(call, "sync", Action::Error(EINTR), nth, directories);
        let Some(hit) = report.hit else {
            assert!(nth > 5, "only {nth}");
            break;
        };
        assert_eq!(outcome.code, Some(0), "{hit}: {outcome}");
    }
    let world = World::new(Place::Plain, What::Tree);
    for nth in 1.. {
        world.reset();
        let (outcome, report) = world.faulty(world.restore(), "sync", Action::Error(EINTR), nth);
        let Some(hit) = report.hit else {
            assert!(nth > 2, "only {nth}");
            break;
        };
        assert_eq!(outcome.code, Some(0), "{hit}: {outcome}");
    }
}

/// The set is good, and the run is not: exit code 1, and a line of history.
#[test]
fn a_run_whose_retention_fails_has_failed_and_its_set_is_good() {
    let shelf = Shelf::new(None, false);
    let goes = shelf.fate[1].iter().next_back().unwrap().clone();
    shelf.reset();
    let set = shelf.backups().join(&goes);
    let call = shelf.backupd(&["run", "--json"]);
    let (outcome, report) = shelf.faulty(call, "rename", Action::ErrorsOn(5), 1, &[&set]);
    assert!(report.hit.is_some(), "{outcome}");
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let told = outcome.json();
    assert_eq!(told["status"], "succeeded", "{outcome}");
    let error = told["error"].as_str().unwrap();
    assert!(
        error.contains("is good, and retention failed") && error.contains(&goes),
        "{outcome}"
    );
    let found = shelf.look().unwrap();
    assert!(found.new.values().all(|good| *good), "{outcome}");
    assert!(names(&shelf.backups()).contains(&goes));
    let history = shelf.history().unwrap();
    let last = history.last().unwrap();
    assert_eq!(last["event"], "retention_failed", "{last}");
    let next = shelf.backupd(&["run"]).succeed();
    assert!(next.stdout.contains("is good"), "{next}");
}

/// Its set is as young as any, and somebody has to look all the same: sets pile up.
#[test]
fn a_run_whose_retention_failed_is_unhealthy_until_one_goes_well() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let old = older(&stack.only_set(), chrono::Duration::days(30));
    let id = |set: &std::path::Path| set.file_name().unwrap().to_str().unwrap().to_owned();
    let (scratch, error) = (stack.server.root(), Action::ErrorsOn(EIO));
    let fault = Fault::new("rename", error, 1, &[&old], scratch);
    let failed = fault.around(stack.backupd(["run"])).run();
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(failed.stdout.contains("is good"), "{failed}");
    let newest = id(&stack.sets().pop().unwrap());
    let words = format!(
        "the last run failed: set {newest} is good, and retention failed: {}",
        id(&old)
    );

    let daemon = Daemon::start(&stack, &[("BACKUP_DRILL_SCHEDULE", "off")]);
    let health = daemon.backupd(["health"]).run();
    assert_eq!(health.code, Some(1), "{health}");
    assert!(
        format!("{}{}", health.stdout, health.stderr).contains(&words),
        "{health}"
    );
    let json = daemon.backupd(["health", "--json"]).run();
    assert_eq!(json.code, Some(1), "{json}");
    let (status, body) = daemon.get("/health");
    assert_eq!(status, 503, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    for answer in [json.json(), body] {
        assert_eq!(answer["health"], "unhealthy", "{answer}");
        let reasons = answer["reasons"].as_array().unwrap();
        assert_eq!(reasons.len(), 1, "{answer}");
        assert!(reasons[0].as_str().unwrap().starts_with(&words), "{answer}");
        assert_eq!(answer["last_run"]["result"], "failed", "{answer}");
        assert_eq!(answer["last_run"]["set"], *newest, "{answer}");
        assert_eq!(answer["last_good"]["set"], *newest, "{answer}");
    }
    daemon.backupd(["trigger"]).succeed();
    assert!(!old.exists());
    daemon.backupd(["health"]).succeed();
    assert_eq!(daemon.get("/health").0, 200);
}
