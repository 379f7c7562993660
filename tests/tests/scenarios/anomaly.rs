//! Something happened to the source: another server behind the address, rows that are gone. What is kept, what is said, what goes on.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::Duration;
use serde_json::Value;
use tests::backupd::{Backupd, Outcome};
use tests::daemon::Daemon;
use tests::fault::{Action, Fault};
use tests::host::wait_for;
use tests::server::{KEYCLOAK_PASSWORD, KEYCLOAK_USER, PgServer};
use tests::set::older;
use tests::stack::{Stack, manifest, sets};

/// A new machine: empty databases, an almost empty Storage, and the sets of the old one.
struct NewMachine {
    server: PgServer,
    settings: Vec<(String, String)>,
}

impl NewMachine {
    fn of(stack: &Stack) -> Self {
        let server = PgServer::bare();
        server.psql(
            "postgres",
            &format!("CREATE ROLE {KEYCLOAK_USER} LOGIN PASSWORD '{KEYCLOAK_PASSWORD}'"),
        );
        server.psql(
            "postgres",
            &format!("CREATE DATABASE keycloak OWNER {KEYCLOAK_USER}"),
        );
        let storage = server.root().join("storage");
        fs::create_dir_all(storage.join("stub/stub")).unwrap();
        fs::write(storage.join("stub/stub/new"), "x").unwrap();
        let mut settings = stack.env();
        for (name, value) in [
            ("DATABASE_URL", server.url("postgres")),
            (
                "KC_DB_URL",
                format!("jdbc:postgresql://127.0.0.1:{}/keycloak", server.port()),
            ),
            ("SUPABASE_STORAGE_PATH", storage.display().to_string()),
        ] {
            settings.retain(|(known, _)| known != name);
            settings.push((name.to_owned(), value));
        }
        Self { server, settings }
    }

    fn backupd(&self, arguments: &[&str]) -> Backupd {
        Backupd::new(arguments).envs(self.settings.clone())
    }

    fn daemon(&self, stack: &Stack, more: &[(&str, &str)]) -> Daemon {
        let settings: Vec<(&str, &str)> = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(more.iter().copied())
            .collect();
        Daemon::start(stack, &settings)
    }
}

fn id(set: &Path) -> String {
    set.file_name().unwrap().to_str().unwrap().to_owned()
}

fn kinds(set: &Path) -> Vec<String> {
    let found = manifest(set)["anomalies"].clone();
    let found = found.as_array().cloned().unwrap_or_default();
    found
        .iter()
        .map(|anomaly| anomaly["kind"].as_str().unwrap().to_owned())
        .collect()
}

/// An ended run of exit code 4, which kept a good set.
fn odd(outcome: &Outcome) {
    assert_eq!(outcome.code, Some(4), "{outcome}");
    for words in [
        "is good: every byte was read back",
        "ANOMALY:",
        "backupd accept",
    ] {
        assert!(outcome.stdout.contains(words), "{words}: {outcome}");
    }
    assert!(outcome.stderr.contains("anomaly:"), "{outcome}");
}

/// As strict as retention can be.
const STRICT: [(&str, &str); 2] = [("BACKUP_RETENTION_DAYS", "0"), ("BACKUP_KEEP_LAST", "1")];
/// A run is due at once, and again.
const EACH_SECOND: (&str, &str) = ("BACKUP_SCHEDULE", "* * * * * *");

/// The worst day, with the daemon started too early.
#[test]
fn a_daemon_on_a_new_machine_waits_and_no_run_there_costs_a_set() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let last = stack.only_set();
    for days in [1, 9, 40] {
        older(&last, Duration::days(days));
    }
    let before = stack.sets();
    let machine = NewMachine::of(&stack);
    it_waits(&stack, &machine);
    assert_eq!(stack.sets(), before, "no run was made");

    // Somebody wants it: a good set, an anomaly, and nothing is removed.
    let off = [("BACKUP_SCHEDULE", "off"), ("BACKUP_CATCH_UP", "false")];
    let daemon = machine.daemon(&stack, &[STRICT, off].concat());
    odd(&daemon.backupd(["trigger"]).run());
    let made = stack.sets().pop().unwrap();
    assert_eq!(stack.sets().len(), before.len() + 1);
    let found = kinds(&made);
    let others = found.iter().filter(|kind| *kind == "another_source");
    assert_eq!(others.count(), 3, "both databases and the tree: {found:?}");
    assert!(found.contains(&"source_fell".to_owned()), "{found:?}");
    it_is_told(&daemon, &made, &last);
    drop(daemon);

    // `latest` is the old machine's, and says so; pruning removes nothing.
    let shown = machine.backupd(&["show", "latest"]).succeed();
    let of_then = format!("set {}", id(&last));
    assert!(shown.stdout.contains(&of_then), "{shown}");
    let newer = format!("the newer set {}", id(&made));
    assert!(shown.stderr.contains(&newer), "{shown}");
    let pruned = machine.backupd(&["prune"]).envs(STRICT).succeed();
    let held = format!("older than the open anomaly of {}", id(&made));
    assert!(pruned.stdout.contains(&held), "{pruned}");
    // Again the same little: still an anomaly.
    odd(&machine.backupd(&["run"]).envs(STRICT).run());
    assert_eq!(stack.sets().len(), before.len() + 2);
    // A restart waits no more: somebody began here.
    let daemon = machine.daemon(&stack, &[STRICT[0], STRICT[1], EACH_SECOND]);
    wait_for("a run by itself", || stack.sets().len() > before.len() + 2);
    assert!(!daemon.running.stderr().contains("are of another source"));
    daemon.running.signal(rustix::process::Signal::TERM);
    daemon.wait();
    assert!(before.iter().all(|set| set.exists()));

    it_is_accepted(&stack, &machine, &made);
    let normal = machine.backupd(&["run"]).envs(STRICT).succeed();
    assert!(normal.stdout.contains("retention removed"), "{normal}");
    // There will be no other set of the old server: that stays whatever anybody accepts.
    assert_eq!(
        before.iter().filter(|set| set.exists()).collect::<Vec<_>>(),
        [&last]
    );
    let pruned = machine.backupd(&["prune"]).envs(STRICT).succeed();
    assert!(
        pruned.stdout.contains("the last of supabase on server"),
        "{pruned}"
    );
}

/// As the page of the worst day says, with the daemon too early: what is accepted behind a restore takes no good set's place.
#[test]
fn sets_of_an_empty_machine_count_for_nothing_behind_a_restore() {
    let stack = Stack::new();
    let alone = ("BACKUP_SOURCES", "supabase");
    let first = stack.backupd(["run"]).env(alone.0, alone.1);
    first.succeed();
    let last = stack.only_set();
    let old = older(&last, Duration::days(9));
    let machine = NewMachine::of(&stack);
    let there = |arguments: &[&str]| {
        let call = machine.backupd(arguments).env(alone.0, alone.1);
        call.env("BACKUP_KEEP_LAST", "2")
            .env("BACKUP_RETENTION_DAYS", "0")
    };
    odd(&there(&["run"]).run());
    odd(&there(&["run"]).run());
    let empty: Vec<_> = stack.sets().split_off(2);
    there(&["restore", "--yes", "--force"]).succeed();
    let accepted = there(&["accept", "--all"]).succeed();
    assert_eq!(
        accepted
            .stdout
            .matches("a restore followed it, so it counts for nothing")
            .count(),
        2,
        "{accepted}"
    );
    let shown = there(&["show"]).succeed();
    assert!(shown.stdout.contains(&id(&last)), "{shown}");
    let listed = there(&["list"]).succeed();
    assert_eq!(
        listed
            .stdout
            .matches("what was odd about it is over")
            .count(),
        2,
        "{listed}"
    );
    let shrunk = machine
        .server
        .psql("postgres", "TRUNCATE public.events CASCADE");
    assert_eq!(shrunk, "");
    // It is compared with the old machine's set, not with the empty ones.
    odd(&there(&["run"]).run());
    there(&["accept", "--all"]).succeed();
    there(&["prune"]).succeed();
    assert!(last.exists() && !old.exists());
    assert!(
        empty.iter().all(|set| set.exists()),
        "they may still be of use to whoever looks into it"
    );
}

/// A Storage of some files, alone in a directory: a set of it, and one of what was left when most of them were gone.
struct Shrunk {
    dir: tempfile::TempDir,
    sets: Vec<String>,
}

impl Shrunk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut shrunk = Self {
            dir,
            sets: Vec::new(),
        };
        fs::create_dir_all(shrunk.file(0).parent().unwrap()).unwrap();
        fs::create_dir(shrunk.backups()).unwrap();
        for number in 0..20 {
            fs::write(shrunk.file(number), "x").unwrap();
        }
        shrunk.backupd(&["run"]).succeed();
        for number in 5..20 {
            fs::remove_file(shrunk.file(number)).unwrap();
        }
        odd(&shrunk.backupd(&["run"]).run());
        shrunk.sets = sets(&shrunk.backups()).iter().map(|set| id(set)).collect();
        shrunk
    }

    fn file(&self, number: u32) -> PathBuf {
        self.dir.path().join(format!("storage/b/{number}"))
    }

    fn backups(&self) -> PathBuf {
        self.dir.path().join("backups")
    }

    fn backupd(&self, arguments: &[&str]) -> Backupd {
        Backupd::new(arguments)
            .env("BACKUP_SOURCES", "storage")
            .env("SUPABASE_STORAGE_PATH", self.dir.path().join("storage"))
            .env("BACKUP_DIR", self.backups())
    }

    /// A restore of the first set that is killed at such a call below a directory; the file of the call, where there is one.
    fn killed(&self, kinds: &str, nth: usize, below: &Path) -> Option<String> {
        let fault = Fault::new(kinds, Action::Kill, nth, &[below], self.dir.path());
        let restore = self.backupd(&["restore", &self.sets[0], "--yes"]);
        let outcome = fault.around(restore).run();
        let hit = fault.report().hit?;
        assert_eq!(outcome.code, Some(137), "{outcome}");
        Some(hit)
    }

    fn is_whole(&self) -> bool {
        self.file(19).exists()
    }

    /// Accepts the odd set. Whether that counts for nothing.
    fn accept(&self) -> bool {
        let accepted = self.backupd(&["accept", "--all", "--json"]).succeed();
        let set = &accepted.json()["accepted"][0];
        assert_eq!(set["set"], *self.sets[1], "{accepted}");
        set["mended"].as_bool().unwrap()
    }

    fn is_good(&self) -> bool {
        let listed = self.backupd(&["list", "--json"]).succeed().json();
        listed[1]["good"].as_bool().unwrap()
    }
}

/// Who restores what is odd wants it so.
#[test]
fn a_restore_of_what_is_odd_ends_no_anomaly() {
    let shrunk = Shrunk::new();
    let restore = |set: &str| shrunk.backupd(&["restore", set, "--yes"]).succeed();
    restore(&shrunk.sets[1]);
    assert!(!shrunk.is_whole());
    assert!(!shrunk.accept() && shrunk.is_good());
    let latest = shrunk.backupd(&["show", "--json"]).succeed();
    assert_eq!(latest.json()["set"], *shrunk.sets[1], "{latest}");
    // What was there before it is another matter.
    let shrunk = Shrunk::new();
    shrunk
        .backupd(&["restore", &shrunk.sets[0], "--yes"])
        .succeed();
    assert!(shrunk.is_whole());
    assert!(shrunk.accept() && !shrunk.is_good());
}

/// Its end was never told: what lies there tells whether it was one.
#[test]
fn a_restore_that_is_killed_at_any_word_of_its_own_ends_what_it_brought_back() {
    let mut whole = 0;
    for nth in 1.. {
        let shrunk = Shrunk::new();
        let private = shrunk.backups().join(".backupd");
        let Some(hit) = shrunk.killed("write", nth, &private) else {
            break;
        };
        whole += usize::from(shrunk.is_whole());
        assert_eq!(shrunk.accept(), shrunk.is_whole(), "{hit}");
        // Nothing is left that says otherwise.
        shrunk.backupd(&["restore", "--undo"]).succeed();
        assert_eq!(shrunk.is_good(), !shrunk.is_whole(), "{hit}");
    }
    assert!(whole >= 2, "the history, and what is accepted");
}

#[test]
fn a_database_that_was_back_when_its_restore_was_killed_is_back() {
    let stack = Stack::new();
    let alone = |arguments: &[&str]| {
        let call = Backupd::new(arguments).envs(stack.env());
        call.env("BACKUP_SOURCES", "supabase")
    };
    alone(&["run"]).succeed();
    let truncate = "TRUNCATE public.events CASCADE";
    stack.server.psql("postgres", truncate);
    odd(&alone(&["run"]).run());
    let whole = id(&stack.sets()[0]);
    let history = stack.backups.join(".backupd/history.jsonl");
    let killed = |nth: usize| {
        let fault = Fault::new("write", Action::Kill, nth, &[&history], stack.server.root());
        let restore = alone(&["restore", &whole, "--yes", "--force"]);
        let outcome = fault.around(restore).run();
        assert_eq!(outcome.code, Some(137), "{outcome}");
        stack
            .server
            .psql("postgres", "SELECT count(*) > 0 FROM public.events")
    };
    // Before names change, and behind it.
    assert_eq!([1, 2].map(killed), ["f", "t"]);
    alone(&["restore", "--undo"]).succeed();
    let accepted = alone(&["accept", "--all", "--json"]).succeed().json();
    assert_eq!(accepted["accepted"][0]["mended"], true, "{accepted}");
}

/// It was accepted too early: what an undo puts back ended nothing.
#[test]
fn a_restore_that_is_undone_ends_no_anomaly() {
    // The next restore looks as well.
    for again in ["--undo", "--yes"] {
        let shrunk = Shrunk::new();
        let hit = shrunk.killed("rename", 1, shrunk.dir.path()).unwrap();
        assert!(hit.contains("backupd-restoring"), "{hit}");
        assert!(!shrunk.is_whole());
        assert!(shrunk.accept() && !shrunk.is_good());
        let odd = &shrunk.sets[1];
        shrunk.backupd(&["restore", odd, again]).succeed();
        assert!(!shrunk.is_whole() && shrunk.is_good(), "{again}");
    }
    // Before it is accepted.
    let shrunk = Shrunk::new();
    shrunk.killed("rename", 1, shrunk.dir.path()).unwrap();
    shrunk.backupd(&["restore", "--undo"]).succeed();
    assert!(!shrunk.accept() && shrunk.is_good());
    // All of it had its place but for a name: that is no undoing.
    let shrunk = Shrunk::new();
    shrunk.killed("rename", 3, shrunk.dir.path()).unwrap();
    assert!(shrunk.is_whole());
    shrunk.backupd(&["restore", "--undo"]).succeed();
    assert!(shrunk.is_whole());
    assert!(shrunk.accept() && !shrunk.is_good());
}

fn it_waits(stack: &Stack, machine: &NewMachine) {
    let daemon = machine.daemon(stack, &[STRICT[0], STRICT[1], EACH_SECOND]);
    wait_for("the daemon to wait", || {
        daemon.running.stderr().contains("are of another source")
    });
    let status = daemon.status();
    assert_eq!(status["health"], "unhealthy", "{status:#}");
    let reasons = status["reasons"].to_string();
    for words in [
        "of another source",
        "backupd restore",
        "backupd trigger",
        "accept --all",
    ] {
        assert!(reasons.contains(words), "{words}: {reasons}");
    }
    assert!(status["waiting"]["supabase"]["is"]["system"].is_string());
    let (code, metrics) = daemon.get("/metrics");
    assert!(code == 200 && metrics.contains("\nbackupd_waiting_for_a_person 1"));
    assert_eq!(daemon.get("/health").0, 503);
}

fn it_is_told(daemon: &Daemon, made: &Path, last: &Path) {
    let status = daemon.status();
    assert_eq!(status["health"], "unhealthy");
    assert_eq!(status["last_run"]["result"], "anomaly");
    assert_eq!(status["last_good"]["set"], id(last));
    assert_eq!(status["anomalies"][0]["set"], id(made));
    assert_eq!(status["waiting"], serde_json::json!({}));
    let said = daemon.backupd(["status"]).succeed().stdout;
    assert!(said.contains("ANOMALY"), "{said}");
    let metrics = daemon.get("/metrics").1;
    for line in [
        "backupd_open_anomalies 1",
        "backupd_runs_total{result=\"anomaly\"} 1",
        "backupd_last_run_success 0",
        "backupd_healthy 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    let page = daemon.get("/").1;
    assert!(
        page.contains("Unhealthy") && page.contains("anomaly: "),
        "{page}"
    );
}

/// One at a time, or all.
fn it_is_accepted(stack: &Stack, machine: &NewMachine, made: &Path) {
    let some = machine.backupd(&["accept", &id(made)]).succeed();
    assert!(
        some.stdout.contains("accepted: ") && some.stdout.contains("still open: "),
        "{some}"
    );
    let again = machine.backupd(&["accept", &id(made)]).run();
    assert_eq!(again.code, Some(1), "{again}");
    assert!(again.stderr.contains("is accepted already"), "{again}");
    let all = machine.backupd(&["accept", "--all", "--json"]).succeed();
    let all = all.json();
    assert_eq!(all["still_open"], serde_json::json!([]), "{all:#}");
    assert!(!all["accepted"].as_array().unwrap().is_empty());
    machine.backupd(&["verify", &id(made)]).succeed();
    let history = fs::read_to_string(stack.backups.join(".backupd/history.jsonl")).unwrap();
    assert_eq!(history.matches("\"accepted\"").count(), 2, "{history}");
}

#[test]
fn what_was_restored_on_a_new_machine_is_no_stranger() {
    let stack = Stack::new();
    let alone = ("BACKUP_SOURCES", "supabase");
    let call = |arguments: &[&str]| stack.backupd(arguments).env(alone.0, alone.1);
    call(&["run"]).succeed();
    let machine = NewMachine::of(&stack);
    let there = |arguments: &[&str]| machine.backupd(arguments).env(alone.0, alone.1);
    there(&["restore", "--yes", "--force"]).succeed();
    let daemon = machine.daemon(&stack, &[alone]);
    wait_for("health", || daemon.get("/health").0 == 200);
    there(&["run"]).succeed();
    let made = stack.sets().pop().unwrap();
    assert_eq!(kinds(&made), Vec::<String>::new());
    let identity = |set: &Path| manifest(set)["artifacts"][0]["identity"]["system"].clone();
    assert_ne!(identity(&made), identity(&stack.sets()[0]));
    assert_eq!(
        machine
            .server
            .psql("postgres", "SELECT count(*) > 1000 FROM public.events"),
        "t"
    );
}

#[test]
fn a_source_that_is_accepted_is_what_the_daemon_goes_on_with() {
    let stack = Stack::new();
    let alone = ("BACKUP_SOURCES", "supabase");
    let first = stack.backupd(["run"]).env(alone.0, alone.1).succeed();
    assert!(!first.stdout.contains("ANOMALY"), "{first}");
    let machine = NewMachine::of(&stack);
    let daemon = machine.daemon(&stack, &[alone, ("BACKUP_SCHEDULE", "* * * * * *")]);
    wait_for("the daemon to wait", || {
        !daemon.status()["waiting"]["supabase"].is_null()
    });
    assert_eq!(stack.sets().len(), 1);
    wait_for("accept to have its turn", || {
        let accepted = daemon.backupd(["accept", "--all"]).run();
        assert!(matches!(accepted.code, Some(0 | 3)), "{accepted}");
        accepted.stdout.contains("accepted: supabase as it is now")
    });
    wait_for("a run by itself", || stack.sets().len() > 1);
    let found = kinds(&stack.sets()[1]);
    assert!(
        !found.is_empty() && !found.contains(&"another_source".to_owned()),
        "the server is known, and what is gone is told: {found:?}"
    );
}

#[test]
fn rows_that_are_gone_are_told_and_a_restore_in_place_is_no_other_source() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let first = stack.only_set();
    let identity: Value = manifest(&first)["artifacts"][0]["identity"].clone();
    let asked = stack.server.psql(
        "postgres",
        "SELECT system_identifier, oid FROM pg_control_system(), pg_database WHERE datname = 'postgres'",
    );
    let told = format!(
        "{}|{}",
        identity["system"].as_str().unwrap(),
        identity["database"]
    );
    assert_eq!(told, asked);
    stack
        .server
        .psql("postgres", "TRUNCATE public.events, auth.sessions CASCADE");
    let ended = stack.backupd(["run"]).run();
    odd(&ended);
    assert!(
        ended
            .stdout
            .contains("supabase: public.events has 0 rows where"),
        "{ended}"
    );
    assert!(!ended.stdout.contains("auth.sessions has"), "{ended}");
    let small = stack.sets().pop().unwrap();
    let listed = stack.backupd(["list"]).succeed().stdout;
    assert!(
        listed.contains("ANOMALY: supabase: public.events"),
        "{listed}"
    );
    let json = stack.backupd(["list", "--json"]).succeed().json();
    assert_eq!(
        (&json[1]["good"], &json[1]["anomaly"]),
        (&true.into(), &true.into())
    );

    // `latest` is the whole one; the database comes back in place, with another oid.
    let restored = stack
        .backupd(["restore", "--yes", "--only", "supabase"])
        .succeed();
    assert!(restored.stdout.contains(&id(&first)), "{restored}");
    assert!(restored.stderr.contains("latest is"), "{restored}");
    let again = stack.backupd(["run"]).succeed();
    assert!(
        again
            .stderr
            .contains("was dropped and made anew on the same server"),
        "{again}"
    );
    let whole = stack.sets().pop().unwrap();
    assert_eq!(kinds(&whole), Vec::<String>::new());
    let shown = stack.backupd(["show"]).succeed();
    assert!(
        shown.stdout.contains(&id(&whole)) && !shown.stderr.contains("latest is"),
        "{shown}"
    );
    // The old anomaly stays open, and holds what is older, until somebody says so.
    let far = older(&first, Duration::days(99));
    stack.backupd(["prune"]).succeed();
    assert!(far.exists() && small.exists());
    stack.backupd(["accept", "--all"]).succeed();
    stack.backupd(["prune"]).succeed();
    assert!(!far.exists() && small.exists());
    // It was mended by a restore: the same again is an anomaly again.
    stack
        .server
        .psql("postgres", "TRUNCATE public.events CASCADE");
    odd(&stack.backupd(["run"]).run());
}

/// The clock was set back, and a set of before that somebody accepted had the same id.
#[test]
fn what_was_accepted_is_a_set_and_not_its_name() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let form = "%Y%m%dT%H%M%SZ";
    let first = chrono::NaiveDateTime::parse_from_str(&id(&stack.only_set()), form).unwrap();
    let later = (1..900).map(|second| first + Duration::seconds(second));
    let ids: Vec<String> = later.map(|id| id.format(form).to_string()).collect();
    let accepted = serde_json::json!({ "sets": ids });
    let path = stack.backups.join(".backupd/accepted.json");
    fs::write(path, accepted.to_string()).unwrap();
    stack
        .server
        .psql("postgres", "TRUNCATE public.events CASCADE");
    odd(&stack.backupd(["run"]).run());
    let listed = stack.backupd(["list", "--json"]).succeed().json();
    assert_eq!(listed[1]["anomaly"], true, "{listed}");
}

#[test]
fn what_is_to_be_ignored_is_and_wrong_names_are_refused() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    stack
        .server
        .psql("postgres", "TRUNCATE public.events CASCADE");
    let named = |ignore: &str| stack.backupd(["run"]).env("BACKUP_ANOMALY_IGNORE", ignore);
    odd(&named("keycloak:public.events").run());
    named("auth.x, supabase:public.ev*").succeed();
    stack
        .backupd(["run"])
        .env("BACKUP_ANOMALY_DROP_PERCENT", "100")
        .succeed();
    let wrong = named("events")
        .env("BACKUP_ANOMALY_DROP_PERCENT", "0")
        .run();
    assert_eq!(wrong.code, Some(2), "{wrong}");
    for words in [
        "BACKUP_ANOMALY_IGNORE=events is no list of tables: `events` names no table: write schema.table",
        "BACKUP_ANOMALY_DROP_PERCENT=0 is not a whole number from 1 to 100",
    ] {
        assert!(wrong.stderr.contains(words), "{words}: {wrong}");
    }
    let nothing = stack.backupd(["accept", &id(&stack.sets()[0])]).run();
    assert_eq!(nothing.code, Some(1), "{nothing}");
    assert!(nothing.stderr.contains("has no anomaly"), "{nothing}");
    assert_eq!(stack.backupd(["accept"]).run().code, Some(2));
}
