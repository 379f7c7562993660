//! Words and JSON are the same everywhere: singular and plural, times in the schedule's zone, numbers for machines and units for people.

use serde_json::Value;
use tests::daemon::Daemon;
use tests::stack::Stack;

#[test]
fn what_a_daemon_tells_people_and_machines() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let zone = ("BACKUP_TIMEZONE", "Asia/Tokyo");
    let daemon = Daemon::start(&stack, &[zone, ("BACKUP_DRILL_SCHEDULE", "off")]);
    let status = daemon.backupd(["status"]).succeed().stdout;
    assert!(status.contains("1 set, 1 of them good"), "{status}");
    assert!(status.contains(" 02:00:00 JST (schedule)"), "{status}");
    assert_eq!(daemon.status()["timezone"], "Asia/Tokyo");
    let log = daemon.running.stderr();
    assert!(log.contains(" 02:00:00 JST"), "{log}");
    let health = daemon.backupd(["health", "--json"]).succeed().json();
    assert_eq!(health["health"], "healthy");
    assert!(health["reasons"][0].is_string(), "{health}");
}

#[test]
fn logs_have_numbers_in_json_and_units_in_text() {
    let stack = Stack::new();
    let run = stack.backupd(["run"]).succeed();
    let ended = run
        .stderr
        .lines()
        .find(|line| line.contains("run finished"));
    let ended = ended.unwrap();
    assert!(
        ended.contains(" size=") && ended.contains("iB took="),
        "{ended}"
    );
    assert!(!ended.contains("duration_ms"), "{ended}");
    let run = stack
        .backupd(["run"])
        .env("BACKUP_LOG_FORMAT", "json")
        .succeed();
    let records = run.stderr.lines();
    let records: Vec<Value> = records
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = |message: &str| {
        records
            .iter()
            .find(|record| record["message"] == message)
            .unwrap()
    };
    let ended = told("run finished");
    assert!(ended["bytes"].as_u64().unwrap() > 100_000, "{ended}");
    assert!(ended["duration_ms"].is_u64(), "{ended}");
    assert!(told("step succeeded")["duration_ms"].is_u64());

    let pruned = stack.backupd(["prune", "--dry-run", "--json"]).succeed();
    let pruned = pruned.json();
    let decision = &pruned["decisions"][0];
    let oldest = stack.sets().remove(0);
    assert_eq!(
        decision["set"],
        oldest.file_name().unwrap().to_str().unwrap()
    );
    assert!(decision.get("id").is_none(), "{decision}");
}

#[test]
fn a_plan_is_no_part_of_an_error() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let asked = stack.backupd(["restore", "--only", "keycloak"]).run();
    assert_eq!(asked.code, Some(2), "{asked}");
    let mut lines = asked.stderr.lines();
    assert!(lines.next().unwrap().starts_with("keycloak of "), "{asked}");
    let error = "error: there is no terminal to ask on: say --yes to go on; nothing was touched";
    assert_eq!(lines.next_back(), Some(error), "{asked}");
}
