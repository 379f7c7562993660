//! What `check` and `run` say ahead: databases that are in no set, and what a dump or a restore would meet.

#![allow(
    clippy::unwrap_used,
    reason = "a scenario that cannot go on is a failed one"
)]

use std::fs;

use serde_json::Value;
use tests::stack::Stack;

/// What `check` says of a subject, as `outcome: text`.
fn said(stack: &Stack, settings: &[(&str, &str)], subject: &str) -> Vec<String> {
    let outcome = stack
        .backupd(["check", "--json"])
        .envs(settings.iter().copied())
        .succeed();
    lines(&outcome.json(), subject)
}

fn lines(checks: &Value, subject: &str) -> Vec<String> {
    let checks = checks.as_array().unwrap().iter();
    checks
        .filter(|check| check["subject"] == subject)
        .map(|check| {
            let text = |name: &str| check[name].as_str().unwrap();
            format!("{}: {}", text("outcome"), text("text"))
        })
        .collect()
}

fn warnings(stack: &Stack, settings: &[(&str, &str)], subject: &str) -> Vec<String> {
    let mut said = said(stack, settings, subject);
    said.retain(|line| line.starts_with("warning: "));
    said
}

fn labels(stack: &Stack) -> Vec<String> {
    let set = stack.sets().pop().unwrap();
    let manifest = stack.manifest(&set);
    let artifacts = manifest["artifacts"].as_array().unwrap().iter();
    artifacts
        .filter(|artifact| artifact["kind"] == "database")
        .map(|artifact| artifact["label"].as_str().unwrap().to_owned())
        .collect()
}

/// A database as Logflare's and Supavisor's in the stock stack, with something in it.
fn make(stack: &Stack, name: &str) {
    let quoted = format!("\"{name}\"");
    stack
        .server
        .psql("template1", &format!("CREATE DATABASE {quoted}"));
    stack.server.psql(
        name,
        "CREATE TABLE public.sources AS SELECT g AS id FROM generate_series(1, 7) g",
    );
}

#[test]
fn databases_that_are_in_no_set_are_named_by_check_and_run_and_nothing_else_is() {
    let stack = Stack::new();
    assert_eq!(warnings(&stack, &[], "supabase"), [""; 0]);
    make(&stack, "_supabase");
    make(&stack, "Größe 2");
    for own in [
        "postgres_before_20261120T020000Z_2",
        "postgres_restoring_20261120T020000Z",
        "backupd_drill_supabase_20261120T020000Z",
    ] {
        make(&stack, own);
    }
    stack.server.psql(
        "template1",
        "CREATE DATABASE closed ALLOW_CONNECTIONS false; CREATE DATABASE pattern IS_TEMPLATE true",
    );
    // The same server by another of its names.
    let keycloak = format!(
        "jdbc:postgresql://localhost:{}/keycloak",
        stack.server.port()
    );
    let settings = [("KC_DB_URL", keycloak.as_str())];
    let found = warnings(&stack, &settings, "supabase");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("warning: databases of this server are in no set: Größe 2, _supabase; BACKUP_DATABASES=all"),
        "{found:?}"
    );
    assert_eq!(warnings(&stack, &settings, "keycloak"), [""; 0]);
    let none = [("BACKUP_DATABASES", "none")];
    assert_eq!(warnings(&stack, &none, "supabase"), [""; 0]);
    let one = [("BACKUP_DATABASES", "Größe 2")];
    let left = warnings(&stack, &one, "supabase");
    assert!(
        left.len() == 1 && left[0].contains("a database of this server is in no set: _supabase;"),
        "{left:?}"
    );
    let run = stack.backupd(["run"]).succeed();
    assert!(
        run.stderr.contains("in no set: Größe 2, _supabase"),
        "{run}"
    );
    assert_eq!(labels(&stack), ["supabase", "keycloak"]);
}

#[test]
fn an_empty_maintenance_database_is_nobodys_data_and_a_used_one_is() {
    let stack = Stack::new();
    let only_keycloak = |stack: &Stack| {
        let settings = [("BACKUP_SOURCES", "keycloak")];
        warnings(stack, &settings, "keycloak")
    };
    // The role may look, and finds Supabase's tables.
    stack
        .server
        .psql("template1", "GRANT CONNECT ON DATABASE postgres TO PUBLIC");
    let found = only_keycloak(&stack);
    assert!(
        found.len() == 1 && found[0].contains("a database of this server is in no set: postgres; name what is wanted in BACKUP_EXTRA"),
        "{found:?}"
    );
    stack.server.psql(
        "template1",
        "ALTER DATABASE postgres RENAME TO \"postgres_before_20261120T020000Z\"; CREATE DATABASE postgres",
    );
    assert_eq!(only_keycloak(&stack), [""; 0]);
}

#[test]
fn every_database_of_the_server_is_dumped_checked_and_restored_by_its_label() {
    let stack = Stack::new();
    make(&stack, "_supabase");
    make(&stack, "Größe 2");
    let all = [("BACKUP_DATABASES", "all")];
    assert_eq!(warnings(&stack, &all, "supabase"), [""; 0]);
    assert!(said(&stack, &all, "_supabase")[0].contains("1 table,"));
    stack.backupd(["run"]).envs(all).succeed();
    let labels = labels(&stack);
    assert_eq!(labels[..2], ["supabase", "keycloak"]);
    assert_eq!(labels[3], "_supabase");
    let hashed = labels[2].strip_prefix("gr__e_2-").unwrap();
    assert_eq!(hashed.len(), 8, "{labels:?}");
    for file in ["_supabase_db.sql.gz", "_supabase_roles.sql.gz"] {
        assert!(stack.only_set().join(file).exists(), "{file}");
    }

    for name in ["_supabase", "Größe 2"] {
        let before = stack.server.table_hashes(name);
        stack
            .server
            .psql(name, "DELETE FROM public.sources WHERE id > 3");
        let label = if name == "_supabase" {
            name
        } else {
            &labels[2]
        };
        // On the worst day the setting may be gone: the set knows its databases.
        stack
            .backupd(["restore", "latest", "--only", label, "--yes"])
            .succeed();
        assert_eq!(stack.server.table_hashes(name), before);
    }

    // One that goes is told, and is no fault.
    stack.server.psql("template1", "DROP DATABASE _supabase");
    let gone = warnings(&stack, &all, "supabase");
    assert!(
        gone.len() == 1 && gone[0].ends_with("holds what this server no longer has: _supabase"),
        "{gone:?}"
    );
    stack.backupd(["run"]).envs(all).succeed();
}

#[test]
fn a_database_that_goes_while_the_run_is_at_work_is_said_and_a_named_one_that_is_missing_fails_its_step()
 {
    let stack = Stack::new();
    make(&stack, "passing");
    let hold = stack.server.root().join("hold");
    fs::write(&hold, "").unwrap();
    let mut run = stack
        .backupd(["run"])
        .env("BACKUP_DATABASES", "all")
        .env("BACKUP_PG_BINDIR", stack.held_tools())
        .spawn();
    let dumping = stack.server.root().join("dumping");
    run.wait_until("the first dump", |_| dumping.exists());
    stack.server.psql("template1", "DROP DATABASE passing");
    fs::remove_file(&hold).unwrap();
    let outcome = run.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("database passing was dropped or renamed while the run was at work"),
        "{outcome}"
    );
    assert_eq!(labels(&stack), ["supabase", "keycloak"]);

    let named = stack
        .backupd(["run"])
        .env("BACKUP_DATABASES", "passing")
        .run();
    assert_eq!(named.code, Some(1), "{named}");
    assert!(
        named.stderr.contains("database \"passing\" does not exist"),
        "{named}"
    );
    assert_eq!(labels(&stack), ["supabase", "keycloak"]);
}
