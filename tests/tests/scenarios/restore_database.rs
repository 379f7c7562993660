//! Databases come back whole and as they were, or what was there stays; nothing is ever lost.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use tests::backupd::{Backupd, Outcome};
use tests::server::{ADMIN, Options, PASSWORD, PgServer};
use tests::set;
use tests::stack::Stack;

const RESTORE: [&str; 3] = ["restore", "--yes", "--only"];

fn differs(what: &str, before: &str, after: &str) {
    if before == after {
        return;
    }
    let pairs = before.lines().zip(after.lines());
    let first: Vec<_> = pairs.filter(|(a, b)| a != b).take(3).collect();
    panic!(
        "{what} differs ({} lines, {} lines): {first:#?}",
        before.lines().count(),
        after.lines().count()
    );
}

/// The stack's settings, aimed at another server.
fn env_of(stack: &Stack, server: &PgServer) -> Vec<(String, String)> {
    let (from, to) = (stack.server.port().to_string(), server.port().to_string());
    stack
        .env()
        .into_iter()
        .map(|(name, value)| (name, value.replace(&from, &to)))
        .collect()
}

fn restore(stack: &Stack, only: &str, more: &[&str]) -> Outcome {
    stack
        .backupd(RESTORE.iter().chain(&[only]).chain(more))
        .run()
}

fn assert_done(outcome: &Outcome) {
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[test]
fn both_databases_come_back_byte_for_byte_and_the_old_ones_are_kept() {
    for settings in [
        &[][..],
        &[("BACKUP_DUMP_FORMAT", "custom")],
        &[("BACKUP_COMPRESSION", "zstd")],
    ] {
        let stack = Stack::new();
        stack
            .backupd(["run"])
            .envs(settings.iter().copied())
            .succeed();
        let set = stack
            .only_set()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let told = |name: &str| stack.server.told(name);
        let before = (
            told("postgres"),
            told("keycloak"),
            stack.server.told_roles(),
        );
        stack.server.psql(
            "postgres",
            "DROP SCHEMA auth CASCADE; DELETE FROM public.posts; ALTER DATABASE postgres RESET ALL",
        );
        stack.server.psql(
            "postgres",
            "REVOKE ALL ON DATABASE postgres FROM dashboard_user; CREATE TABLE made_since (x int)",
        );
        stack
            .server
            .psql("keycloak", "UPDATE realm SET enabled = false");
        let ruined = told("postgres");
        let outcome = restore(&stack, "supabase,keycloak", &["--jobs", "2"]);
        assert_done(&outcome);
        differs("supabase", &before.0, &told("postgres"));
        differs("keycloak", &before.1, &told("keycloak"));
        differs("roles", &before.2, &stack.server.told_roles());
        let aside = format!("postgres_before_{set}");
        assert!(
            outcome
                .stdout
                .contains(&format!("DROP DATABASE \"{aside}\" WITH (FORCE)")),
            "{outcome}"
        );
        assert!(
            outcome
                .stdout
                .contains("Keycloak's schema is of version 26.4.2"),
            "{outcome}"
        );
        differs(
            "the old one",
            &ruined,
            &told(&aside)
                .replace(
                    &format!("ALTER DATABASE \"{aside}\" SET \"backupd.kept\" TO '{aside}';\n"),
                    "",
                )
                .replace(&format!("\"{aside}\""), "postgres")
                .replace(&aside, "postgres"),
        );

        // A second time: the name is taken, the next one is used; and without keeping.
        assert_done(&restore(&stack, "supabase", &[]));
        assert_done(&restore(&stack, "supabase", &["--drop-old"]));
        let kept = [
            format!("keycloak_before_{set}"),
            aside.clone(),
            format!("{aside}_2"),
        ];
        let mut wanted: Vec<String> = kept
            .into_iter()
            .chain(["keycloak".to_owned(), "postgres".to_owned()])
            .collect();
        wanted.sort();
        assert_eq!(stack.server.databases(), wanted);
        differs("supabase again", &before.0, &told("postgres"));
    }
}

#[test]
fn a_new_machine_gets_roles_databases_and_settings() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let fresh = PgServer::bare();
    let outcome = Backupd::new(["restore", "--yes", "--roles", "--only", "supabase,keycloak"])
        .envs(env_of(&stack, &fresh))
        .run();
    // Keycloak's own role is not there to connect by; Supabase's superuser is, on the same server.
    assert_done(&outcome);
    assert!(
        outcome
            .stdout
            .contains("roles that were missing were created"),
        "{outcome}"
    );
    differs(
        "supabase",
        &stack.server.told("postgres"),
        &fresh.told("postgres"),
    );
    differs(
        "keycloak",
        &stack.server.told("keycloak"),
        &fresh.told("keycloak"),
    );
    differs("roles", &stack.server.told_roles(), &fresh.told_roles());
}

#[test]
fn a_fresh_stack_keeps_its_passwords_unless_told_otherwise() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let fresh = PgServer::bare();
    // What a fresh Supabase brings: roles with passwords of its own, schemas auth and storage with tables and rows.
    fresh.psql(
        "postgres",
        "CREATE ROLE authenticator LOGIN PASSWORD 'of the new stack'; CREATE ROLE anon; CREATE ROLE postgres LOGIN CREATEDB CREATEROLE;
         ALTER DATABASE postgres OWNER TO postgres; CREATE SCHEMA auth; CREATE TABLE auth.schema_migrations (version text PRIMARY KEY);
         INSERT INTO auth.schema_migrations VALUES ('20171026211738'); CREATE SCHEMA storage; CREATE TABLE storage.objects (id uuid)",
    );
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'authenticator'";
    let of_its_own = fresh.psql("postgres", password);
    let call = |more: &[&str]| {
        Backupd::new(RESTORE.iter().chain(&["supabase"]).chain(more))
            .envs(env_of(&stack, &fresh))
            .succeed()
    };
    call(&[]);
    differs(
        "supabase",
        &stack.server.told("postgres"),
        &fresh.told("postgres"),
    );
    assert_eq!(fresh.psql("postgres", password), of_its_own);
    call(&["--roles"]);
    assert_eq!(
        fresh.psql("postgres", password),
        stack.server.psql("postgres", password)
    );
    // Keycloak's role is not in Supabase's roles file alone: pg_dumpall tells every role of the server.
    differs("roles", &stack.server.told_roles(), &fresh.told_roles());
}

#[test]
fn beside_touches_nothing_else_and_one_table_comes_alone() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let before = stack.server.told("postgres");
    let hashes = stack.server.table_hashes("postgres");
    assert_done(&restore(&stack, "supabase", &["--into", "look here"]));
    differs("the original", &before, &stack.server.told("postgres"));
    assert_eq!(stack.server.table_hashes("look here"), hashes);
    // The server writes such names in its own way in its list of sessions.
    assert_done(&restore(
        &stack,
        "keycloak",
        &["--into", "a \"quoted\" näme %_"],
    ));
    let long = restore(&stack, "keycloak", &["--into", &"x".repeat(64)]);
    assert_eq!(long.code, Some(2), "{long}");
    assert!(long.stderr.contains("63 bytes at most"), "{long}");
    let again = restore(&stack, "supabase", &["--into", "look here"]);
    assert_eq!(again.code, Some(1), "{again}");
    assert!(
        again
            .stderr
            .contains("there is a database look here already"),
        "{again}"
    );

    for (table, into) in [
        ("public.posts", "one"),
        ("public.measurements", "parts"),
        ("public.Quoted Table", "quoted"),
    ] {
        let outcome = stack
            .backupd(["restore", "--yes", "--table", table, "--into", into])
            .succeed();
        let mut wanted = 0;
        for (name, held) in stack
            .server
            .table_hashes(into)
            .iter()
            .filter(|(_, held)| held.kind == "r")
        {
            let of_table = name.replace('"', "") == table
                || (into == "parts" && name.replace('"', "").starts_with(table));
            if of_table {
                assert_eq!(held, &hashes[name], "{name}");
                wanted += held.rows;
            } else {
                assert_eq!(held.rows, 0, "{name}");
            }
        }
        assert!(
            wanted > 0 && outcome.stdout.contains(&format!("{wanted} rows in")),
            "{outcome}"
        );
    }
    let outcome = stack
        .backupd([
            "restore",
            "--yes",
            "--table",
            "public.post",
            "--into",
            "none",
        ])
        .run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains("near to it are public.posts"),
        "{outcome}"
    );
}

#[test]
fn sessions_are_named_and_ended_only_by_force() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let before = stack.server.told("postgres");
    let mut session = stack.server.tool("psql", "postgres");
    session
        .env("PGAPPNAME", "realtime")
        .args(["-c", "SELECT pg_sleep(600)"]);
    let mut session = session.spawn().unwrap();
    stack.server.wait_until(
        "template1",
        "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'realtime')",
    );
    let refused = restore(&stack, "supabase", &[]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused
            .stderr
            .contains("realtime as supabase_admin from 127.0.0.1"),
        "{refused}"
    );
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
    let plan = stack
        .backupd(["restore", "--dry-run", "--only", "supabase"])
        .succeed();
    for words in [
        "realtime as supabase_admin",
        "is moved aside: renamed to postgres_before_",
        "it was never restored here",
    ] {
        assert!(plan.stdout.contains(words), "{words}: {plan}");
    }
    assert_done(&restore(&stack, "supabase", &["--force"]));
    assert!(!session.wait().unwrap().success());
    differs("supabase", &before, &stack.server.told("postgres"));
}

#[test]
fn whatever_fails_leaves_the_present_database() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let file = stack.only_set().join("supabase_db.sql.gz");
    let before = stack.server.told("postgres");
    let refuse = |words: &[&str]| {
        let outcome = restore(&stack, "supabase", &[]);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        for words in words {
            assert!(outcome.stderr.contains(words), "{words}: {outcome}");
        }
        assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
        differs("supabase", &before, &stack.server.told("postgres"));
    };
    let whole = String::from_utf8(set::unzipped(&file)).unwrap();
    // A bad statement in the middle.
    set::replace(
        &file,
        whole.replacen("CREATE TABLE public.posts", "CREATE TABEL public.posts", 1),
    );
    refuse(&[
        "syntax error",
        "CREATE TABEL public.posts",
        "postgres is as it was before",
    ]);
    // A row too few.
    let short = {
        let from = whole.find("COPY public.posts (").unwrap();
        let row = from + whole[from..].find('\n').unwrap() + 1;
        let end = row + whole[row..].find('\n').unwrap() + 1;
        format!("{}{}", &whole[..row], &whole[end..])
    };
    set::replace(&file, short);
    refuse(&[
        "public.posts has",
        "rows, not",
        "what came back is not what was dumped",
    ]);
    set::replace(&file, &whole);
    // A role that may not.
    let outcome = stack
        .backupd(["restore", "--yes", "--only", "supabase"])
        .env(
            "DATABASE_URL",
            stack
                .server
                .url_as("postgres", tests::server::PASSWORD, "postgres"),
        )
        .run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("role postgres may not restore postgres")
            && outcome.stderr.contains("connect as supabase_admin"),
        "{outcome}"
    );
    // A file that is not the set's.
    fs::write(
        &file,
        vec![b'x'; usize::try_from(fs::metadata(&file).unwrap().len()).unwrap()],
    )
    .unwrap();
    let outcome = restore(&stack, "supabase", &[]);
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(outcome.stderr.contains("nothing was touched"), "{outcome}");
    // Nobody to ask.
    let outcome = stack.backupd(["restore", "--only", "keycloak"]).run();
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("say --yes"), "{outcome}");
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
}

/// One table of another owner, as in the source: it comes back as it was, and is told.
#[test]
fn a_keycloak_table_of_another_owner_comes_back_as_it_was() {
    let stack = Stack::new();
    stack.server.psql(
        "keycloak",
        "CREATE ROLE other NOLOGIN; GRANT other TO keycloak; ALTER TABLE realm OWNER TO other",
    );
    stack.backupd(["run"]).succeed();
    let before = stack.server.told("keycloak");
    let outcome = restore(&stack, "keycloak", &[]);
    assert_done(&outcome);
    assert!(
        outcome
            .stdout
            .contains("tables do not belong to keycloak (KC_DB_USERNAME), as in the source: public.realm of other"),
        "{outcome}"
    );
    differs("keycloak", &before, &stack.server.told("keycloak"));
}

#[test]
fn a_half_restored_database_is_not_backed_up() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "ALTER DATABASE postgres SET backupd.restoring TO '20261120T020000Z'",
    );
    let outcome = stack.backupd(["run"]).run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("half restored from 20261120T020000Z"),
        "{outcome}"
    );
    assert!(stack.sets().is_empty() && Path::new(&stack.backups).is_dir());
}

/// On a terminal of its own, with what is typed, behind what happens while the question stands there.
fn on_a_terminal(stack: &Stack, typed: &str, meanwhile: impl FnOnce()) -> (bool, String) {
    let call = format!(
        "{} restore latest --only supabase",
        tests::backupd::binary().display()
    );
    let mut command = tests::host::command("script");
    command.args(["-qec", &call, "/dev/null"]).envs(stack.env());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"to go on: ") && output.read(&mut byte).unwrap() > 0 {
        text.push(byte[0]);
    }
    meanwhile();
    input.write_all(format!("{typed}\n").as_bytes()).unwrap();
    output.read_to_end(&mut text).unwrap();
    let status = child.wait().unwrap();
    (
        status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// What was read for the plan is read again, behind however long somebody thought.
#[test]
fn a_file_that_changes_behind_the_plan_is_not_restored() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let dump = stack.only_set().join("supabase_db.sql.gz");
    let before = stack.server.table_hashes("postgres");
    let forge = || {
        let text = String::from_utf8(tests::set::unzipped(&dump)).unwrap();
        assert!(text.contains('@'));
        let forged = dump.with_extension("");
        fs::write(&forged, text.replacen('@', "%", 1)).unwrap();
        let zipped = tests::host::command("gzip").arg("-f").arg(&forged).status();
        assert!(zipped.unwrap().success());
    };
    let (done, text) = on_a_terminal(&stack, "postgres", forge);
    assert!(
        !done && text.contains("supabase_db.sql.gz is not what its manifest says"),
        "{text}"
    );
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
    assert_eq!(stack.server.table_hashes("postgres"), before);
}

#[test]
fn a_person_types_the_databases_name() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let (done, text) = on_a_terminal(&stack, "yes", || ());
    assert!(
        !done && text.contains("Type postgres to go on") && text.contains("nothing was touched"),
        "{text}"
    );
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
    let (done, text) = on_a_terminal(&stack, "postgres", || ());
    assert!(
        done && text.contains("the database before is kept as"),
        "{text}"
    );
    assert_eq!(stack.server.databases().len(), 3);
}

/// As docs/restore.md says for one table.
#[test]
fn rows_of_one_table_go_back_by_hand() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let before = stack.server.table_hashes("postgres");
    stack.server.psql(
        "postgres",
        "SET session_replication_role = replica; DELETE FROM public.posts",
    );
    stack
        .backupd([
            "restore",
            "latest",
            "--yes",
            "--table",
            "public.posts",
            "--into",
            "rescue",
        ])
        .succeed();
    let file = stack.server.root().join("posts.copy");
    let copy = |database: &str, way: &str| {
        let command = format!("\\copy public.posts {way} '{}'", file.display());
        let status = stack
            .server
            .tool("psql", database)
            .args(["-c", &command])
            .status();
        assert!(status.unwrap().success(), "{command}");
    };
    copy("rescue", "TO");
    copy("postgres", "FROM");
    stack.server.psql("postgres", "DROP DATABASE rescue");
    assert_eq!(stack.server.table_hashes("postgres"), before);
}

/// Nobody is disturbed while a database is loaded; for the exchange of names sessions are ended, and those that came meanwhile are named.
#[test]
fn clients_work_on_until_the_names_are_exchanged() {
    let stack = Stack::new();
    stack.server.psql("postgres", "CREATE TABLE public.bulk AS SELECT i, md5(i::text) AS text FROM generate_series(1, 600000) i");
    stack.backupd(["run"]).succeed();
    let url = stack.server.url("postgres");
    let mut running = stack.backupd(RESTORE.iter().chain(&["supabase"])).spawn();
    running.wait_until("the load", |_| {
        stack
            .server
            .databases()
            .iter()
            .any(|name| name.contains("_restoring_"))
    });
    let mut meta = tests::host::command(tests::host::bindir().join("psql"));
    meta.env("PGAPPNAME", "meta")
        .args([
            url.as_str(),
            "-qAtc",
            "INSERT INTO public.bulk VALUES (0, 'written meanwhile'); SELECT 'done'",
            "-c",
            "SELECT pg_sleep(60)",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let meta = meta.spawn().unwrap().wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&meta.stdout).contains("done"));
    assert!(!meta.status.success(), "ended for the exchange");
    let outcome = running.wait();
    assert_done(&outcome);
    assert!(
        outcome
            .stdout
            .contains("sessions that came while it was loaded were ended: meta as supabase_admin"),
        "{outcome}"
    );
    let written = "SELECT count(*) FROM public.bulk WHERE i = 0";
    assert_eq!(stack.server.psql("postgres", written), "0");
    let aside = stack
        .server
        .databases()
        .into_iter()
        .find(|name| name.contains("_before_"));
    assert_eq!(stack.server.psql(&aside.unwrap(), written), "1");
}

/// Realtime's slot: it belongs to the database before, and its name is taken until it is dropped.
#[test]
fn replication_slots_are_told_and_go_with_the_old_database() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let make = "SELECT pg_create_logical_replication_slot('realtime', 'test_decoding')";
    stack.server.psql("postgres", make);
    let outcome = restore(&stack, "supabase", &[]);
    assert_done(&outcome);
    assert!(
        outcome
            .stdout
            .contains("replication slots stay with the database before: realtime"),
        "{outcome}"
    );
    stack
        .server
        .psql("postgres", "SELECT pg_drop_replication_slot('realtime')");
    stack.server.psql("postgres", make);
    let outcome = restore(&stack, "supabase", &["--drop-old"]);
    assert_done(&outcome);
    assert!(outcome.stdout.contains("was dropped"), "{outcome}");
    assert_eq!(
        stack
            .server
            .psql("postgres", "SELECT count(*) FROM pg_replication_slots"),
        "0"
    );
}

/// Of a publisher that is not there.
const SUBSCRIPTION: &str =
    "CREATE SUBSCRIPTION of_elsewhere CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p
     WITH (connect = false, enabled = false, create_slot = false, slot_name = 'elsewhere')";

/// Nothing of a restore needs the publisher, and nothing of it touches the publisher's slot; a subscription is in no one's way.
#[test]
fn a_subscription_is_in_the_way_of_nothing() {
    let stack = Stack::new();
    stack.server.psql("postgres", SUBSCRIPTION);
    let before = stack.server.told("postgres");
    let slot = |database: &str| {
        stack.server.psql(
            database,
            "SELECT s.subslotname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()",
        )
    };
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "supabase")
        .succeed();

    // One that fails when the new database has its subscription already.
    let dump = stack.only_set().join("supabase_db.sql.gz");
    let whole = String::from_utf8(set::unzipped(&dump)).unwrap();
    let begin = whole.find("\nCREATE SUBSCRIPTION of_elsewhere").unwrap();
    let end = begin + whole[begin..].find(";\n").unwrap() + 1;
    let twice = [&whole[..end], &whole[begin..]].concat();
    set::replace(&dump, twice);
    let failed = restore(&stack, "supabase", &[]);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(
        failed.stderr.contains("\"of_elsewhere\" already exists"),
        "{failed}"
    );
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
    differs("supabase", &before, &stack.server.told("postgres"));
    let beside = restore(&stack, "supabase", &["--into", "copy"]);
    assert_eq!(beside.code, Some(1), "{beside}");
    assert!(
        beside
            .stderr
            .contains("\n  there is no database copy, as before"),
        "{beside}"
    );
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
    set::replace(&dump, &whole);

    // What one leaves that was killed there.
    let left = "postgres_restoring_20260101T000000Z";
    let sql = format!("CREATE DATABASE {left:?} TEMPLATE template0");
    stack.server.psql("template1", &sql);
    stack.server.psql(left, SUBSCRIPTION);
    let undone = stack
        .backupd(["restore", "--undo", "--only", "supabase"])
        .run();
    assert_done(&undone);
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);

    let kept_with = restore(&stack, "supabase", &[]);
    assert_done(&kept_with);
    differs("supabase", &before, &stack.server.told("postgres"));
    // What is printed drops it.
    let (_, lines) = kept_with.stdout.split_once("to drop it:\n").unwrap();
    let lines: Vec<&str> = lines
        .lines()
        .map_while(|line| line.strip_prefix("    "))
        .collect();
    let drop = lines.join("\n");
    assert!(
        drop.contains("DROP SUBSCRIPTION \"of_elsewhere\";"),
        "{drop}"
    );
    stack.server.psql("postgres", &drop);
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
    assert_eq!(slot("postgres"), "elsewhere");

    assert_done(&restore(&stack, "supabase", &[]));
    let kept = stack.server.databases().len();
    assert_done(&restore(&stack, "supabase", &["--drop-old"]));
    assert_eq!(stack.server.databases().len(), kept);
    assert_eq!(slot("postgres"), "elsewhere");
    differs("supabase", &before, &stack.server.told("postgres"));
}

/// One slot feeds one database: the one that is put back, or neither until a person says so.
#[test]
fn a_live_subscription_feeds_one_database_alone() {
    let publisher = PgServer::start_with(&Options {
        settings: &[("wal_level", "logical")],
        bare: true,
    });
    let stack = Stack::new();
    let table = "CREATE TABLE public.fed (i integer PRIMARY KEY)";
    publisher.psql("postgres", table);
    let publish = |i: u32| {
        publisher.psql("postgres", &format!("INSERT INTO public.fed VALUES ({i})"));
    };
    publisher.psql("postgres", "CREATE PUBLICATION p FOR TABLE public.fed");
    publish(1);
    stack.server.psql("postgres", table);
    stack.server.psql(
        "postgres",
        &format!(
            "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port={} user={ADMIN} password=''{PASSWORD}'' dbname=postgres'
             PUBLICATION p",
            publisher.port()
        ),
    );
    let fed = "(SELECT coalesce(string_agg(i::text, ',' ORDER BY i), '') FROM public.fed)";
    let wait = |rows: &str| {
        let reached = format!("{fed} = '{rows}'");
        stack.server.wait_until("postgres", &reached);
    };
    wait("1");
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "supabase")
        .succeed();
    publish(2);
    wait("1,2");

    // One that fails when the names are exchanged already.
    let dump = stack.only_set().join("supabase_db.sql.gz");
    let whole = String::from_utf8(set::unzipped(&dump)).unwrap();
    let begin = whole.find("\nCREATE EVENT TRIGGER").unwrap();
    let end = begin + whole[begin..].find(";\n").unwrap() + 1;
    set::replace(&dump, [&whole[..end], &whole[begin..]].concat());
    let failed = restore(&stack, "supabase", &[]);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(
        failed.stderr.contains("postgres is as it was before"),
        "{failed}"
    );
    assert!(!failed.stderr.contains("did not come back"), "{failed}");
    publish(3);
    wait("1,2,3");
    set::replace(&dump, &whole);

    let restored = restore(&stack, "supabase", &[]);
    assert_done(&restored);
    assert!(!restored.stdout.contains("did not come back"), "{restored}");
    publish(4);
    let databases = stack.server.databases();
    let aside = databases.iter().find(|name| name.contains("_before_"));
    let enabled = "SELECT subenabled FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = current_database()";
    for (database, rows) in [("postgres", "1"), (aside.unwrap(), "1,2,3")] {
        assert_eq!(stack.server.psql(database, enabled), "f", "{database}");
        let told = stack.server.psql(database, &format!("SELECT {fed}"));
        assert_eq!(told, rows, "{database}");
    }
    // As it says: what was sent to the one before is not sent again, what came since is.
    let (_, lines) = restored.stdout.split_once("publisher again: ").unwrap();
    let (lines, _) = lines.split_once(" Rows that").unwrap();
    stack.server.psql("postgres", lines);
    publish(5);
    wait("1,4,5");
}

/// The disaster recovery page's step: the new stack's passwords are others, that of the very role which restores among them.
#[test]
fn roles_get_their_passwords_back_the_restoring_ones_own_too() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let fresh = PgServer::bare();
    fresh.psql(
        "postgres",
        "CREATE ROLE authenticator LOGIN PASSWORD 'of the new stack'; CREATE ROLE keycloak LOGIN PASSWORD 'of the new stack';
         ALTER ROLE supabase_admin PASSWORD 'of the new stack'",
    );
    let url = fresh.url_as(ADMIN, "of the new stack", "postgres");
    let outcome = Backupd::new(["restore", "--yes", "--roles", "--only", "supabase,keycloak"])
        .envs(env_of(&stack, &fresh))
        .env("DATABASE_URL", url)
        .env("KC_DB_PASSWORD", "of the new stack")
        .run();
    assert_done(&outcome);
    assert!(
        !outcome.to_string().contains("as it was before"),
        "{outcome}"
    );
    // By the password of the source, which is the server's now.
    differs("roles", &stack.server.told_roles(), &fresh.told_roles());
    for database in ["postgres", "keycloak"] {
        differs(
            database,
            &stack.server.told(database),
            &fresh.told(database),
        );
    }
}

/// A template cannot be dropped as it is, and a limit of no connections holds for all but superusers.
#[test]
fn a_template_that_takes_no_connections_is_drilled_and_restored() {
    let stack = Stack::new();
    stack.server.psql(
        "template1",
        "ALTER DATABASE postgres WITH IS_TEMPLATE true CONNECTION LIMIT 0",
    );
    let before = stack.server.told("postgres");
    let databases = || {
        stack.server.psql(
            "template1",
            "SELECT datname, datistemplate, datconnlimit FROM pg_database ORDER BY 1",
        )
    };
    let there = databases();
    assert!(there.contains("postgres|t|0"), "{there}");
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "supabase")
        .succeed();
    let drilled = stack
        .backupd(["verify", "--drill"])
        .env("BACKUP_DRILL_URL", stack.server.url("postgres"))
        .succeed();
    assert!(drilled.stdout.contains("is PROVEN: "), "{drilled}");
    assert_eq!(databases(), there);
    assert_done(&restore(&stack, "supabase", &["--drop-old"]));
    assert_eq!(databases(), there);
    differs("supabase", &before, &stack.server.told("postgres"));
}

/// Keycloak's server does not answer; what was done for the other database is said all the same.
#[test]
fn an_undo_tells_of_each_database_and_of_what_another_restore_left() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let fresh = "\"rescue_restoring_20261120T020000Z\"";
    for statement in [
        format!("CREATE DATABASE {fresh}"),
        format!("ALTER DATABASE {fresh} SET backupd.restoring = '20261120T020000Z'"),
        format!("ALTER DATABASE {fresh} SET backupd.name = 'rescue'"),
    ] {
        stack.server.psql("template1", &statement);
    }
    let outcome = stack
        .backupd(["restore", "--undo"])
        .env("KC_DB_URL", "jdbc:postgresql://127.0.0.1:1/keycloak")
        .run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    for words in [
        "postgres: nothing was left by a restore that was cut off",
        "a restore into rescue is at work, or was cut off: `backupd restore --undo --only supabase --into rescue`",
    ] {
        assert!(
            outcome.stdout.contains(words),
            "{words} is not in {outcome}"
        );
    }
    assert!(
        outcome.stderr.contains("keycloak could not be looked at"),
        "{outcome}"
    );
    let there = || {
        let databases = stack.server.databases();
        databases.iter().any(|name| name.starts_with("rescue"))
    };
    assert!(there(), "it may be at work");
    let outcome = stack
        .backupd([
            "restore", "--undo", "--only", "supabase", "--into", "rescue",
        ])
        .succeed();
    assert!(outcome.stdout.contains("is gone"), "{outcome}");
    assert!(!there());
}
