//! Somebody else's lock: a wait is told, ends with a signal at once, and after its limit the step fails with the name of who was in the way.
//! And nobody waits for a restore.

use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::server::{Options, PgServer};
use tests::stack::Stack;

/// A session of somebody else, in a transaction; it ends with the value.
struct Session(Child);

impl Session {
    /// Opens it as the application `migration`, and does something in its transaction.
    fn begin(server: &PgServer, statements: &str, until: &str) -> Self {
        let mut command = server.tool("psql", "postgres");
        command.env("PGAPPNAME", "migration").args(["-X", "-q"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let script = format!("BEGIN; {statements};\n");
        child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        let session = Self(child);
        server.wait_until("postgres", until);
        session
    }

    fn lock(server: &PgServer, table: &str) -> Self {
        let held = format!(
            "EXISTS (SELECT FROM pg_locks WHERE relation = '{table}'::regclass AND mode = 'AccessExclusiveLock' AND granted)"
        );
        Self::begin(
            server,
            &format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
            &held,
        )
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A table that pg_dump alone touches.
const ORDERS: &str = "CREATE TABLE public.orders AS SELECT 1 AS id";

#[test]
fn a_wait_for_a_lock_is_told_with_who_holds_it_and_the_run_goes_on_when_it_is_over() {
    let stack = Stack::new();
    stack.server.psql("postgres", ORDERS);
    let session = Session::lock(&stack.server, "public.orders");
    let began = Instant::now();
    let mut run = stack.backupd(["run"]).spawn();
    run.wait_until("the wait to be told", |run| {
        run.stderr().contains("waiting for a lock on public.orders")
    });
    assert!(began.elapsed() >= Duration::from_secs(5));
    let told = run.stderr();
    let line = told.lines().find(|line| line.contains("waiting")).unwrap();
    for part in [
        "blocked by session",
        "role supabase_admin",
        "application migration",
        "database postgres",
        "in a transaction since 20",
        "supabase",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains("LOCK TABLE"), "{line}");
    drop(session);
    let outcome = run.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[test]
fn a_signal_ends_a_run_that_waits_for_a_lock_at_once_and_leaves_no_session() {
    for table in ["storage.objects", "public.orders"] {
        let stack = Stack::new();
        stack.server.psql("postgres", ORDERS);
        let _session = Session::lock(&stack.server, table);
        let mut run = stack.backupd(["run"]).spawn();
        let waits = format!("waiting for a lock on {table}");
        run.wait_until("the wait to be told", |run| run.stderr().contains(&waits));
        let asked = Instant::now();
        run.signal(Signal::TERM);
        let outcome = run.wait();
        let took = asked.elapsed();
        assert_eq!(outcome.code, Some(143), "{outcome}");
        assert!(took < Duration::from_secs(3), "{took:?}: {outcome}");
        assert!(stack.sets().is_empty(), "{:?}", stack.entries());
        let left =
            "NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'backupd%')";
        stack.server.wait_until("template1", left);
    }
}

#[test]
fn a_lock_that_is_held_for_too_long_fails_the_step_by_the_name_of_its_holder() {
    for table in ["storage.objects", "public.orders"] {
        let stack = Stack::new();
        stack.server.psql("postgres", ORDERS);
        let _session = Session::lock(&stack.server, table);
        let outcome = stack
            .backupd(["run"])
            .env("BACKUP_LOCK_TIMEOUT", "6s")
            .run();
        assert_eq!(outcome.code, Some(1), "{outcome}");
        let words =
            format!("no lock on {table} within 6 s (BACKUP_LOCK_TIMEOUT), blocked by session");
        assert!(outcome.stderr.contains(&words), "{outcome}");
        assert!(
            outcome.stderr.contains("application migration"),
            "{outcome}"
        );
        assert!(stack.sets().is_empty() || stack.manifest(&stack.only_set())["status"] == "failed");
        let left =
            "NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'backupd%')";
        stack.server.wait_until("template1", left);
    }
}

#[test]
fn a_prepared_transaction_that_holds_the_lock_is_named() {
    let stack = Stack::with(&Options {
        settings: &[("max_prepared_transactions", "5")],
        ..Options::default()
    });
    stack.server.psql(
        "postgres",
        &format!("{ORDERS}; BEGIN; LOCK TABLE public.orders; PREPARE TRANSACTION 'payment 17'"),
    );
    let outcome = stack
        .backupd(["run"])
        .env("BACKUP_LOCK_TIMEOUT", "6s")
        .run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains(
            "no lock on public.orders within 6 s (BACKUP_LOCK_TIMEOUT), blocked by the prepared transaction 'payment 17'"
        ),
        "{outcome}"
    );
}

/// Somebody who makes a database copies `template1`, which nobody can while a session is in it.
#[test]
fn databases_can_be_made_while_a_restore_loads() {
    let stack = Stack::new();
    let hold = stack.server.root().join("hold");
    let sql = format!(
        "CREATE FUNCTION public.held() RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
           WHILE (pg_stat_file('{}', true)).size IS NOT NULL LOOP PERFORM pg_sleep(0.02); END LOOP;
           RETURN true;
         END $$;
         CREATE TABLE public.waits (i integer CHECK (public.held())); INSERT INTO public.waits VALUES (1)",
        hold.display()
    );
    stack.server.psql("postgres", &sql);
    stack.backupd(["run"]).succeed();
    fs::write(&hold, "").unwrap();
    let running = stack
        .backupd(["restore", "--yes", "--only", "supabase"])
        .spawn();
    stack.server.wait_until(
        "postgres",
        "EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'COPY %waits%' AND state = 'active')",
    );
    stack.server.psql("postgres", "CREATE DATABASE meanwhile");
    fs::remove_file(&hold).unwrap();
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
}
