//! The daemon, as its user sees it: it starts, makes sets, answers, complains, and ends.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::backupd::Backupd;
use tests::daemon::Daemon;
use tests::host::wait_for;
use tests::skipped::is_root_for;
use tests::stack::{Stack, names};

/// Files that hold Supabase's dump, and tell that it has begun; see `Stack::held_tools`.
struct Hold {
    tools: String,
    gate: PathBuf,
    dumping: PathBuf,
}

impl Hold {
    fn new(stack: &Stack) -> Self {
        let hold = stack.server.root().join("hold");
        fs::write(&hold, "").unwrap();
        Self {
            tools: stack.held_tools(),
            gate: hold,
            dumping: stack.server.root().join("dumping"),
        }
    }

    fn wait(&self) {
        wait_for("the dump to begin", || self.dumping.exists());
        fs::remove_file(&self.dumping).unwrap();
    }

    fn release(&self) {
        fs::remove_file(&self.gate).unwrap();
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test takes a directory away, as a lost mount does"
)]
fn move_dir(from: &std::path::Path, to: &std::path::Path) {
    fs::rename(from, to).unwrap();
}

#[test]
fn a_new_installation_makes_its_first_set_at_once_and_is_healthy_from_then_on() {
    let stack = Stack::new();
    let hold = Hold::new(&stack);
    let daemon = Daemon::start(&stack, &[("BACKUP_PG_BINDIR", &hold.tools)]);
    hold.wait();
    // No set yet: nothing to be healthy about, and nothing to complain of.
    let (status, body) = daemon.get("/health");
    assert_eq!(status, 503);
    assert!(body.contains("\"health\": \"starting\""), "{body}");
    let early = daemon.backupd(["health"]).run();
    assert_eq!(
        (early.code, early.stdout.contains("starting")),
        (Some(1), true),
        "{early}"
    );
    // Compose's healthcheck: no verdict before there is something to say.
    let mut patient = daemon.backupd(["health", "--wait"]).spawn();
    assert_eq!(daemon.backupd(["health"]).run().code, Some(1));
    assert!(!patient.has_ended(), "--wait waits");
    hold.release();
    let patient = patient.wait();
    assert_eq!(
        (patient.code, patient.stdout.contains("healthy: ")),
        (Some(0), true),
        "{patient}"
    );
    let set = stack.only_set();
    assert_eq!(stack.manifest(&set)["trigger"], "catch-up");

    // The next one is due at 02:00, and a restart changes nothing: neither health nor history, and no run is begun.
    let status = daemon.status();
    assert_eq!(status["health"], "healthy", "{status:#}");
    assert_eq!(status["next_run"]["reason"], "schedule");
    assert!(
        status["next_run"]["at"]
            .as_str()
            .unwrap()
            .ends_with("T02:00:00Z"),
        "{status:#}"
    );
    let log = daemon.running.stderr();
    let coming: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("coming runs"))
        .collect();
    assert_eq!(coming.len(), 1, "{log}");
    assert_eq!(coming[0].matches(" 02:00:00 UTC").count(), 3, "{log}");
    assert!(!coming[0].contains("within_seconds"), "{log}");
    daemon.running.signal(Signal::TERM);
    assert_eq!(daemon.wait().code, Some(0));
    let again = Daemon::start(&stack, &[]);
    assert_eq!(again.get("/health").0, 200);
    assert_eq!(again.status()["last_run"]["trigger"], "catch-up");
    assert_eq!(stack.sets().len(), 1);
}

#[test]
fn trigger_shows_progress_and_exits_with_the_runs_result() {
    let stack = Stack::new();
    let daemon = Daemon::start(&stack, &[("BACKUP_CATCH_UP", "false")]);
    let made = daemon.backupd(["trigger"]).succeed();
    assert!(
        made.stdout.contains("good: every byte was read back"),
        "{made}"
    );
    for step in ["preflight", "supabase", "keycloak", "storage", "verify"] {
        assert!(
            made.stderr.contains(&format!("step=\"{step}\"")),
            "{step}: {made}"
        );
    }
    assert_eq!(daemon.get("/health").0, 200, "as soon as trigger has ended");
    let json = daemon.backupd(["trigger", "--json"]).succeed().json();
    assert_eq!(json["status"], "succeeded");
    assert_eq!(json["trigger"], "trigger");
    let status = daemon.backupd(["status"]).succeed();
    for words in [
        "healthy: the newest good set is",
        "idle",
        "succeeded (trigger)",
        "2 sets, 2 of them good",
        "never",
    ] {
        assert!(status.stdout.contains(words), "{words}: {status}");
    }

    // A step that fails: the set is marked failed, trigger says so, health complains, and the next good run makes up.
    let storage = stack.storage.with_extension("away");
    move_dir(&stack.storage, &storage);
    let failed = daemon.backupd(["trigger"]).run();
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(
        failed.stdout.contains("FAILED: this set does not count"),
        "{failed}"
    );
    let health = daemon.backupd(["health"]).run();
    assert_eq!(health.code, Some(1));
    assert!(
        health.stdout.contains("the last run failed: storage"),
        "{health}"
    );
    move_dir(&storage, &stack.storage);
    daemon.backupd(["trigger"]).succeed();
    daemon.backupd(["health"]).succeed();
}

#[test]
fn a_server_that_is_away_is_tried_again_by_itself() {
    let stack = Stack::new();
    let daemon = Daemon::start(&stack, &[("BACKUP_CATCH_UP", "false")]);
    daemon.backupd(["trigger"]).succeed();
    stack.server.stop();
    let failed = daemon.backupd(["trigger"]).run();
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(failed.stderr.contains("cannot be reached"), "{failed}");
    assert_eq!(daemon.get("/health").0, 503);
    wait_for("a retry to be planned", || {
        daemon.status()["next_run"]["reason"] == "retry"
    });
    assert_eq!(stack.sets().len(), 1, "nothing was made");
    stack.server.start_again();
    // The first retry comes after 30 s.
    daemon.wait_until_healthy();
    assert_eq!(daemon.status()["last_run"]["trigger"], "retry");
}

#[test]
fn never_two_runs_at_once_across_processes() {
    let stack = Stack::new();
    let hold = Hold::new(&stack);
    let daemon = Daemon::start(
        &stack,
        &[
            ("BACKUP_CATCH_UP", "false"),
            ("BACKUP_PG_BINDIR", &hold.tools),
        ],
    );
    let id = daemon.backupd(["trigger", "--no-wait"]).succeed();
    hold.wait();
    let status = daemon.backupd(["status"]).succeed();
    assert!(
        status.stdout.contains("(trigger) at work since"),
        "{status}"
    );
    for command in [["trigger"], ["run"], ["prune"]] {
        let refused = daemon.backupd(command).run();
        assert_eq!(refused.code, Some(3), "{command:?}: {refused}");
        assert!(
            refused.stderr.contains("a backup run, process"),
            "{refused}"
        );
    }
    // Those that wait come one after the other.
    let mut waiting: Vec<_> = [["trigger", "--wait"], ["run", "--wait"]]
        .map(|command| daemon.backupd(command).spawn())
        .into();
    for running in &mut waiting {
        running.wait_until("its turn", |running| {
            running.stderr().contains("waiting for another to end")
        });
    }
    hold.release();
    for running in waiting {
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(0), "{outcome}");
    }
    let sets = stack.sets();
    assert_eq!(sets.len(), 3);
    assert_eq!(
        sets[0].file_name().unwrap().to_str().unwrap(),
        id.stdout.trim(),
        "the id that was told"
    );
}

#[test]
fn a_caller_that_goes_away_leaves_the_run_going() {
    let stack = Stack::new();
    let hold = Hold::new(&stack);
    let daemon = Daemon::start(
        &stack,
        &[
            ("BACKUP_CATCH_UP", "false"),
            ("BACKUP_PG_BINDIR", &hold.tools),
        ],
    );
    let caller = daemon.backupd(["trigger"]).spawn();
    hold.wait();
    caller.signal(Signal::INT);
    let outcome = caller.wait();
    assert_eq!(outcome.code, Some(130), "{outcome}");
    assert!(outcome.stderr.contains("the run goes on"), "{outcome}");
    hold.release();
    wait_for("the set", || stack.sets().len() == 1);
    wait_for("health", || daemon.get("/health").0 == 200);
}

#[test]
fn sigterm_ends_a_run_in_order_and_the_next_start_makes_up_for_it() {
    let stack = Stack::new();
    let hold = Hold::new(&stack);
    let more = [("BACKUP_PG_BINDIR", hold.tools.as_str())];
    let daemon = Daemon::start(&stack, &more);
    hold.wait();
    hold.release();
    daemon.wait_until_healthy();
    fs::remove_file(&hold.dumping).ok();
    fs::write(&hold.gate, "").unwrap();
    let caller = daemon.backupd(["trigger"]).spawn();
    hold.wait();
    let began = Instant::now();
    daemon.running.signal(Signal::TERM);
    let ended = daemon.wait();
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "took {:?}",
        began.elapsed()
    );
    assert_eq!(ended.code, Some(0), "{ended}");
    let told = caller.wait();
    assert_eq!(told.code, Some(130), "{told}");
    assert!(told.stderr.contains("interrupted"), "{told}");
    assert_eq!(
        stack.entries().len(),
        2,
        "one set and .backupd: {:?}",
        stack.entries()
    );

    // Killed this time: nobody could clean up.
    let daemon = Daemon::start(&stack, &more);
    hold.wait();
    daemon.running.signal(Signal::KILL);
    daemon.wait();
    assert_eq!(stack.entries().len(), 3, "{:?}", stack.entries());
    hold.release();
    let daemon = Daemon::start(&stack, &more);
    assert!(
        daemon
            .running
            .stderr()
            .contains("removed what a killed run left behind")
    );
    wait_for("the set that makes up for it", || stack.sets().len() == 2);
    daemon.wait_until_healthy();
    assert_eq!(stack.entries().len(), 3, "{:?}", stack.entries());
    let manifest = stack.manifest(&stack.sets()[1]);
    assert_eq!(
        (&manifest["trigger"], &manifest["status"]),
        (&"catch-up".into(), &"succeeded".into())
    );
}

#[test]
fn sigterm_does_not_wait_for_a_server_that_hangs() {
    let stack = Stack::new();
    // It takes connections and never says a word.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u:p@{}/postgres", deaf.local_addr().unwrap());
    let daemon = Daemon::start(&stack, &[("DATABASE_URL", &url)]);
    deaf.accept().unwrap();
    let began = Instant::now();
    daemon.running.signal(Signal::TERM);
    assert_eq!(daemon.wait().code, Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "took {:?}, as long as the server's time to answer",
        began.elapsed()
    );
}

#[test]
fn idle_connections_keep_no_healthcheck_out() {
    let stack = Stack::new();
    let daemon = Daemon::start(&stack, &[]);
    daemon.wait_until_healthy();
    let mut idle: Vec<_> = (0..16).map(|_| daemon.connect()).collect();
    // Each that is closed is opened again, as who means harm would.
    for _ in 0..8 {
        let health = daemon.backupd(["health"]).run();
        assert_eq!(health.code, Some(0), "{health}");
        idle.push(daemon.connect());
    }
    drop(idle);
}

#[test]
fn a_page_on_the_internet_does_not_read_the_status_by_a_name_of_its_own() {
    let stack = Stack::new();
    let daemon = Daemon::start(
        &stack,
        &[("BACKUP_HTTP_HOSTS", "status.example.org, other.example.org")],
    );
    for path in ["/", "/health", "/metrics"] {
        let asked =
            |host: &str| daemon.say(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        for host in ["rebound.example:8484", "127.0.0.1.rebound.example"] {
            let answer = asked(host);
            assert!(answer.starts_with("HTTP/1.1 421 "), "{host}: {answer}");
            assert!(
                answer.contains("BACKUP_HTTP_HOSTS") && !answer.contains("supabase"),
                "{answer}"
            );
        }
        for host in [
            "127.0.0.1",
            "localhost:8484",
            "[::1]",
            "backup:8484",
            "status.example.org",
        ] {
            let answer = asked(host);
            assert!(!answer.starts_with("HTTP/1.1 421 "), "{host}: {answer}");
        }
    }
}

#[test]
fn wrong_settings_stop_the_start_with_the_field_named() {
    let stack = Stack::new();
    let outcome = stack
        .backupd(["serve"])
        .env("BACKUP_SCHEDULE", "0 25 * * *")
        .env("BACKUP_TIMEZONE", "Europe/Berlim")
        .env("BACKUP_CATCH_UP", "perhaps")
        .env("BACKUP_HTTP_ADDR", "localhost")
        .env("BACKUP_JITTER", "2d")
        .env("BACKUP_MAX_AGE_HOURS", "0")
        .run();
    assert_eq!(outcome.code, Some(2), "{outcome}");
    for words in [
        "BACKUP_SCHEDULE=0 25 * * *: its field hour, `25`, is wrong: use 0-23",
        "BACKUP_TIMEZONE=Europe/Berlim is no time zone",
        "did you mean Europe/Berlin?",
        "BACKUP_CATCH_UP=perhaps is unknown: use true or false",
        "BACKUP_HTTP_ADDR=localhost is no address",
        "BACKUP_MAX_AGE_HOURS=0",
    ] {
        assert!(outcome.stderr.contains(words), "{words}: {outcome}");
    }
    let jitter = stack.backupd(["serve"]).env("BACKUP_JITTER", "2d").run();
    assert!(
        jitter
            .stderr
            .contains("BACKUP_JITTER=172800 s is as long as"),
        "{jitter}"
    );
    assert!(stack.entries().is_empty(), "nothing was created");
}

#[test]
fn what_comes_in_over_the_port_disturbs_no_backup() {
    let stack = Stack::new();
    let hold = Hold::new(&stack);
    let daemon = Daemon::start(&stack, &[("BACKUP_PG_BINDIR", &hold.tools)]);
    hold.wait();
    // Slow clients that hold their connections, more than there are slots.
    let mut slow: Vec<_> = (0..40).map(|_| daemon.connect()).collect();
    for connection in &mut slow {
        let _ = connection.write_all(b"GET /health HT");
    }
    for garbage in [
        "\0\u{1}\u{2}\r\n\r\n",
        "GET",
        "POST / HTTP/9.9\r\n\r\n",
        &"A".repeat(100_000),
    ] {
        daemon.say(garbage);
    }
    drop(slow);
    wait_for("an answer", || daemon.get("/health").0 != 0);
    // Only looking is possible.
    for (request, status) in [
        ("POST /health", "405"),
        ("DELETE /", "405"),
        ("POST /trigger", "404"),
        ("GET /../../etc/passwd", "404"),
    ] {
        let answer = daemon.say(&format!(
            "{request} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
        ));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
    }
    hold.release();
    daemon.wait_until_healthy();
    assert_eq!(stack.sets().len(), 1);
}

/// A disk may sleep while nothing happens: a look reads names, and writes nothing.
#[test]
fn while_nothing_happens_nothing_is_written() {
    let stack = Stack::new();
    let daemon = Daemon::start(&stack, &[]);
    daemon.wait_until_healthy();
    // Of each name's directory the time of its last change tells, too.
    let state = || {
        let mut state = Vec::new();
        for dir in [stack.backups.clone(), stack.backups.join(".backupd")] {
            for path in names(&dir)
                .iter()
                .map(|name| dir.join(name))
                .chain([dir.clone()])
            {
                let meta = path.symlink_metadata().unwrap();
                state.push((path, meta.ctime(), meta.ctime_nsec(), meta.len()));
            }
        }
        state
    };
    let before = state();
    for _ in 0..3 {
        // Each makes the daemon look anew.
        assert_eq!(daemon.status()["health"], "healthy");
    }
    assert_eq!(state(), before);
}

#[test]
fn metrics_and_page_tell_what_lies_on_disk() {
    let stack = Stack::new();
    let daemon = Daemon::start(&stack, &[]);
    daemon.wait_until_healthy();
    daemon.backupd(["trigger"]).succeed();
    let (status, metrics) = daemon.get("/metrics");
    assert_eq!(status, 200);
    let manifest = stack.manifest(&stack.sets()[1]);
    let rows: u64 = manifest["artifacts"][0]["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["rows"].as_u64().unwrap())
        .sum();
    for line in [
        "backupd_healthy 1".to_owned(),
        "backupd_good_sets 2".to_owned(),
        "backupd_last_run_success 1".to_owned(),
        "backupd_runs_total{result=\"succeeded\"} 2".to_owned(),
        "backupd_runs_total{result=\"failed\"} 0".to_owned(),
        "backupd_step_success{step=\"storage\"} 1".to_owned(),
        format!("backupd_rows{{source=\"supabase\"}} {rows}"),
        format!(
            "backupd_artifact_bytes{{file=\"supabase_db.sql.gz\",source=\"supabase\"}} {}",
            manifest["artifacts"][0]["bytes"]
        ),
        format!(
            "backupd_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        ),
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is not in\n{metrics}"
        );
    }
    for name in [
        "last_success_timestamp_seconds",
        "last_good_age_seconds",
        "last_run_duration_seconds",
        "free_bytes",
        "step_duration_seconds",
        "next_run_timestamp_seconds",
    ] {
        assert!(
            metrics.contains(&format!("\nbackupd_{name}")),
            "{name}: {metrics}"
        );
    }

    let (status, page) = daemon.get("/");
    assert_eq!(status, 200);
    let set = stack.sets()[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    for words in [
        "<h1>Healthy</h1>",
        &set,
        "<svg",
        "public.events rows",
        "The next good run removes nothing",
    ] {
        assert!(page.contains(words), "{words} is not in\n{page}");
    }
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    for secret in [tests::server::KEYCLOAK_PASSWORD, tests::server::PASSWORD] {
        assert!(!page.contains(secret) && !metrics.contains(secret));
    }
    let log = daemon.running.stderr();
    assert!(!log.contains(tests::server::PASSWORD), "{log}");
}

#[test]
fn a_backup_directory_that_is_lost_is_told_and_comes_back() {
    let stack = Stack::new();
    let daemon = Daemon::start(&stack, &[]);
    daemon.wait_until_healthy();
    let away = stack.backups.with_extension("away");
    move_dir(&stack.backups, &away);
    // `status` looks anew.
    let status = daemon.status();
    assert_eq!(status["health"], "unhealthy", "{status:#}");
    assert!(
        status["reasons"][0]
            .as_str()
            .unwrap()
            .contains("does not exist"),
        "{status:#}"
    );
    move_dir(&away, &stack.backups);
    assert_eq!(daemon.status()["health"], "healthy");
}

#[test]
fn commands_say_when_no_daemon_answers() {
    let stack = Stack::new();
    let socket = stack.server.root().join("none.sock");
    for (command, words) in [
        ("trigger", "no daemon answers at"),
        ("status", "no daemon answers at"),
        ("health", "gives no answer"),
    ] {
        let outcome = stack
            .backupd([command])
            .env("BACKUP_CONTROL_SOCKET", &socket)
            .env("BACKUP_HTTP_ADDR", "127.0.0.1:9")
            .run();
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains(words), "{outcome}");
        assert!(outcome.stderr.contains("backupd serve"), "{outcome}");
    }
}

#[test]
fn the_socket_is_its_owners_alone_and_a_dead_daemons_is_replaced() {
    let stack = Stack::new();
    let more = [("BACKUP_CATCH_UP", "false"), ("BACKUP_SCHEDULE", "off")];
    let daemon = Daemon::start(&stack, &more);
    let permissions = fs::metadata(&daemon.socket).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);
    let second = daemon
        .backupd(["serve"])
        .env("BACKUP_HTTP_ADDR", "127.0.0.1:0")
        .run();
    assert_eq!(second.code, Some(1), "{second}");
    assert!(
        second.stderr.contains("another backupd answers there"),
        "{second}"
    );
    let taken = daemon.backupd(["serve"]).run();
    assert!(
        taken.stderr.contains("BACKUP_HTTP_ADDR=127.0.0.1:"),
        "{taken}"
    );

    let log = |daemon: &Daemon| daemon.running.stderr();
    daemon.running.signal(Signal::HUP);
    wait_for("an answer to SIGHUP", || {
        log(&daemon).contains("SIGHUP: nothing is reloaded")
    });
    assert_eq!(daemon.status()["next_run"], serde_json::Value::Null);
    daemon.running.signal(Signal::KILL);
    daemon.wait();
    let again = Daemon::start(&stack, &more);
    assert_eq!(again.status()["schedule"], serde_json::Value::Null);
}

#[test]
fn a_scheduled_run_begins_at_its_moment() {
    let stack = Stack::new();
    let daemon = Daemon::start(
        &stack,
        &[
            ("BACKUP_SCHEDULE", "*/2 * * * * *"),
            ("BACKUP_CATCH_UP", "false"),
        ],
    );
    wait_for("two sets by schedule", || stack.sets().len() >= 2);
    daemon.running.signal(Signal::TERM);
    daemon.wait();
    for set in stack.sets() {
        assert_eq!(stack.manifest(&set)["trigger"], "schedule");
    }
}

/// As process 1 of a process namespace, as in a container.
#[test]
fn as_process_1_it_reaps_orphans_and_its_own_children_too() {
    if !is_root_for("making a process namespace") {
        return;
    }
    let stack = Stack::new();
    let daemon = Daemon::start_by(&stack, &[], |serve| {
        Backupd::under(
            "unshare",
            ["--pid", "--fork", "--kill-child", "--mount-proc"],
            serve,
        )
        .spawn()
    });
    daemon.wait_until_healthy();
    let init = child_of(daemon.running.pid());
    // An orphan: its parent, in the namespace, ends before it.
    let made = tests::host::command("nsenter")
        .args([
            "--pid",
            "--mount",
            "-t",
            &init.to_string(),
            "sh",
            "-c",
            "sleep 0.3 & sleep 0.1",
        ])
        .status()
        .unwrap();
    assert!(made.success());
    wait_for("the orphan to be reaped", || children_of(init).is_empty());
    daemon.backupd(["trigger"]).succeed();
    assert!(children_of(init).is_empty());
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn child_of(pid: u32) -> u32 {
    let children = children_of(pid);
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}
