//! `restore --json`: one value at the end, of a restore, a plan and an undo alike, as docs/restore.md has it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tests::backupd::{Backupd, Outcome};
use tests::fault::{Action, Fault};
use tests::server::Options;
use tests::stack::Stack;

fn restore(stack: &Stack, arguments: &[&str]) -> Backupd {
    let words = [&["restore", "--json"][..], arguments].concat();
    Backupd::new(words).envs(stack.env())
}

/// The one value on its standard output, with the fields that it always has.
fn told(outcome: &Outcome, dry_run: bool, undo: bool) -> Value {
    let told = outcome.json();
    assert_eq!(keys(&told), set(&["set", "dry_run", "undo", "sources"]));
    assert_eq!(
        (&told["dry_run"], &told["undo"]),
        (&dry_run.into(), &undo.into()),
        "{outcome}"
    );
    for source in told["sources"].as_array().unwrap() {
        assert!(source["source"].is_string() && source["into"].is_string());
        assert!(source["obstacles"].is_array(), "{source}");
    }
    told
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Each source's label and status.
fn statuses(told: &Value) -> Vec<(&str, &str)> {
    let sources = told["sources"].as_array().unwrap().iter();
    let pairs = sources.map(|one| (one["source"].as_str(), one["status"].as_str()));
    pairs
        .map(|(source, status)| (source.unwrap(), status.unwrap()))
        .collect()
}

fn id(stack: &Stack) -> Value {
    let set = stack.only_set();
    set.file_name().unwrap().to_str().unwrap().into()
}

#[test]
fn plans_and_restores_are_told_as_one_value_each() {
    let stack = Stack::with(&Options {
        settings: &[("max_prepared_transactions", "2")],
        ..Options::default()
    });
    stack.backupd(["run"]).succeed();
    let allowed = "--allow-outside-links";

    let outcome = restore(&stack, &["--dry-run", allowed]).succeed();
    let plan = told(&outcome, true, false);
    assert_eq!(plan["set"], id(&stack));
    let planned = [
        ("storage", "planned"),
        ("supabase", "planned"),
        ("keycloak", "planned"),
    ];
    assert_eq!(statuses(&plan), planned);
    for source in plan["sources"].as_array().unwrap() {
        let fields = ["source", "into", "status", "plan", "obstacles", "error"];
        assert_eq!(keys(source), set(&fields));
        assert_eq!(source["obstacles"], json!([]));
        assert_eq!(source["error"], Value::Null);
    }
    let [storage, supabase] = [0, 1].map(|at| &plan["sources"][at]);
    assert_eq!(storage["into"], stack.storage.display().to_string());
    assert!(storage["plan"]["files"].as_u64().unwrap() > 10, "{storage}");
    assert_eq!(supabase["into"], "postgres");
    assert!(
        supabase["plan"]["rows"].as_u64().unwrap() > 100,
        "{supabase}"
    );

    // What is in the way is there whole, and so is the plan.
    stack.server.psql(
        "postgres",
        "BEGIN; SELECT pg_catalog.pg_current_xact_id(); PREPARE TRANSACTION 'one of ours'",
    );
    let outcome = restore(&stack, &["--dry-run"]).run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let plan = told(&outcome, true, false);
    let blocked = [
        ("storage", "blocked"),
        ("supabase", "blocked"),
        ("keycloak", "planned"),
    ];
    assert_eq!(statuses(&plan), blocked);
    let (storage, supabase) = (&plan["sources"][0], &plan["sources"][1]);
    let error = storage["error"].as_str().unwrap();
    assert!(error.contains("link"), "{storage}");
    assert!(storage["plan"]["files"].is_u64(), "{storage}");
    let obstacle = &supabase["obstacles"][0];
    assert!(obstacle["text"].as_str().unwrap().contains("one of ours"));
    let found = stack.backupd(["check", "--json"]).run().json();
    assert_eq!(keys(obstacle), keys(&found[0]), "as check tells findings");

    // The same without --dry-run: nothing was begun but what is told.
    let outcome = restore(&stack, &["--yes", "--only", "supabase"]).run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let failed = told(&outcome, false, false);
    assert_eq!(statuses(&failed), [("supabase", "failed")]);
    let source = &failed["sources"][0];
    let fields = ["source", "into", "status", "obstacles", "error"];
    assert_eq!(keys(source), set(&fields));
    assert!(source["error"].as_str().unwrap().contains("one of ours"));
    stack
        .server
        .psql("postgres", "ROLLBACK PREPARED 'one of ours'");

    let outcome = restore(&stack, &["--yes", allowed]).succeed();
    let done = told(&outcome, false, false);
    let restored = [
        ("supabase", "restored"),
        ("keycloak", "restored"),
        ("storage", "restored"),
    ];
    assert_eq!(statuses(&done), restored);
    for source in done["sources"].as_array().unwrap() {
        let fields = ["source", "into", "status", "obstacles", "restored", "error"];
        assert_eq!(keys(source), set(&fields));
        assert_eq!(source["error"], Value::Null);
    }
    let (supabase, storage) = (&done["sources"][0], &done["sources"][2]);
    let aside = format!("postgres_before_{}", id(&stack).as_str().unwrap());
    assert_eq!(supabase["restored"]["aside"], aside, "{supabase}");
    let drop = supabase["restored"]["drop"].as_str().unwrap();
    assert!(drop.contains(&aside), "{supabase}");
    assert_eq!(supabase["restored"]["faults"], json!([]), "{supabase}");
    let kept = storage["restored"]["kept_as"].as_str().unwrap();
    assert!(fs::metadata(kept).unwrap().is_dir(), "{storage}");
}

#[test]
fn an_undo_is_told_as_one_value() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let outcome = restore(&stack, &["--undo"]).succeed();
    let nothing = told(&outcome, false, true);
    let undone = [
        ("storage", "undone"),
        ("supabase", "undone"),
        ("keycloak", "undone"),
    ];
    assert_eq!(statuses(&nothing), undone);
    for source in nothing["sources"].as_array().unwrap() {
        let fields = ["source", "into", "status", "obstacles", "undone", "error"];
        assert_eq!(keys(source), set(&fields));
        let lines = source["undone"].as_array().unwrap();
        assert!(lines[0].as_str().unwrap().contains("nothing was left"));
    }
    let root = stack.server.root();
    let fault = Fault::new("rename", Action::Kill, 1, &[root], root);
    let killed = restore(
        &stack,
        &["--yes", "--only", "storage", "--allow-outside-links"],
    );
    let killed = fault.around(killed).run();
    assert_eq!(killed.code, Some(137), "{killed}");
    assert_eq!(killed.stdout, "");
    let outcome = restore(&stack, &["--undo", "--only", "storage"]).succeed();
    let undone = told(&outcome, false, true);
    assert_eq!(statuses(&undone), [("storage", "undone")]);
    let line = undone["sources"][0]["undone"][0].as_str().unwrap();
    assert!(line.contains("was not touched"), "{line}");
}
