//! What would make a restore fail is said before anything is touched, all of it at once.

use std::fs;

use tests::server::Options;
use tests::set;
use tests::stack::Stack;

/// The sample's tree has a link that leads out.
#[test]
fn a_link_that_leads_out_is_told_at_the_run_and_refused_before_a_database_is_restored() {
    let stack = Stack::new();
    let run = stack.backupd(["run"]).succeed();
    let words = "a symbolic link leads out of the tree, which a restore refuses unless told --allow-outside-links: \
                 stub/stub/documents/dangling -> ";
    assert!(run.to_string().contains(words), "{run}");
    stack
        .server
        .psql("postgres", "CREATE TABLE public.made_since (x integer)");
    let refused = stack.backupd(["restore", "--yes"]).run();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused.stderr.contains("say --allow-outside-links"),
        "{refused}"
    );
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
    let there = "SELECT count(*) FROM pg_class WHERE relname = 'made_since'";
    assert_eq!(stack.server.psql("postgres", there), "1");

    // One that is no longer what was made.
    let archive = stack.only_set().join("storage_buckets.tar.gz");
    let whole = fs::read(&archive).unwrap();
    let mut flipped = whole.clone();
    flipped[4] ^= 1; // The time in the header, which no reader looks at.
    fs::write(&archive, flipped).unwrap();
    let damaged = stack
        .backupd(["restore", "--yes", "--allow-outside-links"])
        .run();
    assert_eq!(damaged.code, Some(4), "{damaged}");
    assert!(
        damaged.stderr.contains("its digest is another"),
        "{damaged}"
    );
    assert_eq!(stack.server.psql("postgres", there), "1");
    fs::write(&archive, whole).unwrap();
    let done = stack
        .backupd(["restore", "--yes", "--allow-outside-links"])
        .succeed();
    assert_eq!(stack.server.psql("postgres", there), "0", "{done}");
}

#[test]
fn a_plan_tells_of_everything_that_is_in_the_way() {
    let settings = [("max_prepared_transactions", "5")];
    let stack = Stack::with(&Options {
        settings: &settings,
        ..Options::default()
    });
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    set::change_census(&set, |held| {
        let names = &mut held["supabase"]["kinds"]["extension"]["names"];
        names.as_array_mut().unwrap().push("pg_nowhere".into());
    });
    for (database, table) in [("postgres", "public.posts"), ("keycloak", "realm")] {
        let hold = format!(
            "BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE; PREPARE TRANSACTION 'of {database}'"
        );
        stack.server.psql(database, &hold);
    }
    let all = [
        "is a symbolic link that leads out",
        "does not have what the source has: extension pg_nowhere",
        "postgres is held by prepared transactions (of postgres)",
        "keycloak is held by prepared transactions (of keycloak)",
    ];
    let plan = stack.backupd(["restore", "--dry-run"]).run();
    assert_eq!(plan.code, Some(1), "{plan}");
    for words in all {
        assert!(plan.to_string().contains(words), "{words}: {plan}");
    }
    assert!(plan.stdout.contains("is moved aside"), "{plan}");
    // And nothing of the first database is restored where the second cannot be.
    stack
        .server
        .psql("postgres", "ROLLBACK PREPARED 'of postgres'");
    let refused = stack
        .backupd([
            "restore",
            "--yes",
            "--keep-going",
            "--only",
            "supabase,keycloak",
        ])
        .run();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused.stderr.contains(all[3]) && refused.stderr.contains("nothing was touched"),
        "{refused}"
    );
    assert!(!refused.stderr.contains("pg_nowhere"), "{refused}");
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
    stack
        .server
        .psql("keycloak", "ROLLBACK PREPARED 'of keycloak'");

    stack.server.stop();
    fs::write(stack.server.data().join("standby.signal"), "").unwrap();
    stack.server.start_again();
    let plan = stack
        .backupd(["restore", "--dry-run", "--only", "supabase,keycloak"])
        .run();
    assert_eq!(plan.code, Some(1), "{plan}");
    let standby = "is a standby, to which nothing can be restored: name the primary";
    assert!(plan.stdout.contains(standby), "{plan}");
}

#[test]
fn a_copy_takes_no_name_of_postgresqls_own() {
    let stack = Stack::new();
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "keycloak")
        .succeed();
    for name in ["", "postgres", "template0", "template1"] {
        let refused = stack
            .backupd(["restore", "--yes", "--only", "keycloak", "--into", name])
            .run();
        assert_eq!(refused.code, Some(2), "{refused}");
        assert!(
            refused.stderr.contains("say a name that no database has"),
            "{refused}"
        );
        assert!(!refused.stderr.contains("DROP DATABASE"), "{refused}");
    }
}

/// With a lost connection there is nothing to keep going with.
#[test]
fn keep_going_is_advised_where_it_helps_alone() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "CREATE TABLE public.bulk AS SELECT i, md5(i::text) AS text FROM generate_series(1, 600000) i",
    );
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "supabase")
        .succeed();
    let mut running = stack
        .backupd(["restore", "--yes", "--only", "supabase"])
        .spawn();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname LIKE '%\\_restoring\\_%' AND query LIKE 'COPY %'";
    running.wait_until("rows that are loaded", |_| {
        stack.server.psql("template1", end) != "0"
    });
    let lost = running.wait();
    assert_eq!(lost.code, Some(1), "{lost}");
    assert!(
        lost.stderr.contains("the dump could not be loaded: "),
        "{lost}"
    );
    assert!(!lost.stderr.contains("--keep-going"), "{lost}");
}

/// `pg_dump` does not say that a database has none, and a new database has one.
#[test]
fn a_database_without_schema_public_gets_none() {
    let stack = Stack::new();
    stack.server.psql("template1", "CREATE DATABASE shop");
    stack.server.psql(
        "shop",
        "DROP SCHEMA public; CREATE SCHEMA goods; CREATE TABLE goods.sold AS SELECT 1 AS i",
    );
    let before = stack.server.told("shop");
    let backupd = |arguments: &[&str]| {
        stack
            .backupd(arguments)
            .env("BACKUP_SOURCES", "keycloak")
            .env(
                "BACKUP_EXTRA_DATABASES",
                format!("shop={}", stack.server.url("shop")),
            )
    };
    backupd(&["run"]).succeed();
    let drilled = backupd(&["verify", "--drill"]).succeed();
    assert!(drilled.stdout.contains("is PROVEN: "), "{drilled}");
    backupd(&["restore", "--yes", "--only", "shop"]).succeed();
    assert_eq!(stack.server.told("shop"), before);
    let schemas = "SELECT string_agg(nspname, ',' ORDER BY 1) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'";
    assert_eq!(stack.server.psql("shop", schemas), "goods");
}
