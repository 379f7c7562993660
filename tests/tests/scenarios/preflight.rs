//! What `check` and `run` say ahead: databases that are in no set, and what a dump or a restore would meet.

use std::fs;

use serde_json::Value;
use tests::pooler::Pooler;
use tests::server::Options;
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

/// Warnings but for that of who may restore, which `restorable.rs` looks at.
fn warnings(stack: &Stack, settings: &[(&str, &str)], subject: &str) -> Vec<String> {
    let mut said = said(stack, settings, subject);
    said.retain(|line| {
        line.starts_with("warning: ") && !line.contains("nobody could restore them")
    });
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
    for (own, marks) in [
        (
            "postgres_before_20261120T020000Z_2",
            &[("kept", "postgres_before_20261120T020000Z_2")][..],
        ),
        (
            "postgres_restoring_20261120T020000Z",
            &[("restoring", "20261120T020000Z"), ("name", "postgres")],
        ),
        ("backupd_drill_0123456789ab_supabase_20261120T020000Z", &[]),
    ] {
        make(&stack, own);
        for (mark, value) in marks {
            let mark = format!("ALTER DATABASE \"{own}\" SET backupd.{mark} = '{value}'");
            stack.server.psql("template1", &mark);
        }
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
    assert_eq!(found.len(), 2, "{found:?}");
    let unusual = "in no set, not by BACKUP_DATABASES=all either: closed (takes no connections: ALTER DATABASE … ALLOW_CONNECTIONS true), \
                   pattern (a template: name it in BACKUP_EXTRA_DATABASES)";
    assert!(found[0].contains(unusual), "{found:?}");
    assert!(
        found[1].starts_with("warning: databases of this server are in no set: Größe 2, _supabase; BACKUP_DATABASES=all"),
        "{found:?}"
    );
    assert_eq!(warnings(&stack, &settings, "keycloak"), [""; 0]);
    let none = [("BACKUP_DATABASES", "none")];
    assert_eq!(warnings(&stack, &none, "supabase"), [""; 0]);
    let one = [("BACKUP_DATABASES", "Größe 2")];
    let left = warnings(&stack, &one, "supabase");
    assert!(
        left.len() == 2 && left[1].contains("a database of this server is in no set: _supabase;"),
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
fn a_database_is_kept_aside_by_what_a_restore_marked_and_not_by_its_name() {
    let stack = Stack::new();
    let planted = "x_before_20260101T000000Z";
    make(&stack, planted);
    stack.backupd(["run"]).succeed();
    let set = stack.sets().pop().unwrap();
    let set = set.file_name().unwrap().to_str().unwrap();
    stack
        .backupd(["restore", "--only", "supabase", "--yes", "--force"])
        .succeed();
    let aside = format!("postgres_before_{set}");
    assert!(stack.server.databases().contains(&aside));
    let left = |wanted: &str| {
        let found = warnings(&stack, &[], "supabase");
        let text = format!("in no set: {wanted};");
        assert!(found.len() == 1 && found[0].contains(&text), "{found:?}");
    };
    left(planted);
    // Whoever takes it into use under another name has an ordinary database, of which nothing of the mark is dumped.
    stack.server.psql(
        "template1",
        &format!("ALTER DATABASE \"{aside}\" RENAME TO rescued"),
    );
    left(&format!("rescued, {planted}"));
    stack
        .backupd(["run"])
        .env("BACKUP_DATABASES", "rescued")
        .succeed();
    let made = stack.sets().pop().unwrap();
    assert!(!stack.manifest(&made).to_string().contains("backupd.kept"));
    // What a restore is at work on, or was killed at, is no less in no set for having its name.
    let halves = format!(
        "ALTER DATABASE \"{planted}\" SET backupd.restoring = '{set}';
         ALTER DATABASE \"{planted}\" SET backupd.name = '{planted}'"
    );
    for half in halves.split(';') {
        stack.server.psql("template1", half);
    }
    left(&format!("rescued, {planted}"));
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
        "DROP DATABASE postgres; CREATE DATABASE postgres",
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

/// What real databases hold, and no dump of which loads without care.
const AHEAD: &str = r"
SET check_function_bodies = off;
CREATE SCHEMA app;
CREATE TABLE app.orders (id int PRIMARY KEY);
INSERT INTO app.orders VALUES (1);
CREATE TABLE app.twice AS SELECT 1 AS x UNION ALL SELECT 1;

CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE app.remote (line text) SERVER files OPTIONS (program 'echo a');
CREATE VIEW app.between AS SELECT line FROM app.remote;
CREATE MATERIALIZED VIEW app.filled AS SELECT line FROM app.between;
CREATE MATERIALIZED VIEW app.second AS SELECT line FROM app.filled;
CREATE MATERIALIZED VIEW app.empty AS SELECT line FROM app.remote WITH NO DATA;

SET search_path = app;
CREATE FUNCTION app.has_order(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT EXISTS (SELECT FROM orders WHERE id = $1)';
CREATE FUNCTION app.counts(int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN (SELECT count(*) FROM Orders); END';
CREATE FUNCTION app.careful(int) RETURNS bool LANGUAGE sql IMMUTABLE SET search_path = app AS 'SELECT EXISTS (SELECT FROM orders WHERE id = $1)';
CREATE FUNCTION app.recent(timestamptz) RETURNS bool LANGUAGE sql STABLE AS 'SELECT $1 > now()';
CREATE FUNCTION app.year(date) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT extract(year FROM $1)::int';
CREATE TABLE app.day (day date CHECK (app.year(day) > 2000));
CREATE TABLE app.line (id int CONSTRAINT known CHECK (app.has_order(id)), other int CONSTRAINT own CHECK (app.careful(other)),
  total bigint GENERATED ALWAYS AS (app.counts(id)) STORED);
CREATE TABLE app.event (at timestamptz CONSTRAINT soon CHECK (app.recent(at)));
CREATE INDEX by_order ON app.line (app.counts(id));
INSERT INTO app.line VALUES (1, 1);
INSERT INTO app.event VALUES ('2999-01-01');
CREATE MATERIALIZED VIEW app.asked AS SELECT app.has_order(1);
RESET search_path;

CREATE TABLESPACE fast LOCATION '';
CREATE TABLE app.quick (x int) TABLESPACE fast;
CREATE SUBSCRIPTION feed CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false);
CREATE ROLE former SUPERUSER;
CREATE FUNCTION app.audit() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION app.audit();
ALTER EVENT TRIGGER audit OWNER TO former;
ALTER ROLE former NOSUPERUSER;
BEGIN; INSERT INTO app.orders VALUES (2); PREPARE TRANSACTION 'payment 17';
";

#[test]
fn what_a_restore_will_meet_is_named_ahead() {
    let stack = Stack::with(&Options {
        settings: &[
            ("max_prepared_transactions", "5"),
            ("allow_in_place_tablespaces", "on"),
        ],
        ..Options::default()
    });
    stack.server.psql("postgres", AHEAD);
    let failed = stack.server.try_psql(
        "postgres",
        "CREATE UNIQUE INDEX CONCURRENTLY twice_x ON app.twice (x)",
    );
    assert!(
        failed
            .unwrap_err()
            .contains("could not create unique index")
    );

    let found = said(&stack, &[], "supabase");
    let expected = [
        "warning: prepared transactions would be in the way of a restore, which can neither rename nor drop the database: 'payment 17' (role supabase_admin, since 20",
        "warning: pg_dump leaves out indexes that are not valid, so no restore brings them back: app.twice_x;",
        "warning: materialized views are filled from foreign tables, and a load that does not reach their servers fails: app.filled (app.remote of server files)",
        "warning: functions that a load calls name tables without their schema, and do not find them, because a load's search_path is empty: \
         column total of app.line calls app.counts(integer), which names orders, \
         constraint known of app.line calls app.has_order(integer), which names orders, \
         index app.by_order calls app.counts(integer), which names orders, \
         materialized view app.asked calls app.has_order(integer), which names orders;",
        "warning: CHECK constraints call functions that may judge a row otherwise when it is loaded than when it was written: \
         constraint known of app.line calls app.has_order(integer), which reads tables, \
         constraint own of app.line calls app.careful(integer), which reads tables, \
         constraint soon of app.event calls app.recent(timestamp with time zone), which is not IMMUTABLE",
        "warning: tables or indexes lie in tablespaces, which a server to restore to must have by the same name: fast",
        "passed: PostgreSQL 15",
        "passed: event triggers belong to roles that are no superusers, to whom ALTER EVENT TRIGGER … OWNER TO is refused: audit (former);",
        "passed: subscriptions come back disabled, so that a copy takes nothing from their publishers: feed;",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, beginning) in found.iter().zip(expected) {
        assert!(line.starts_with(beginning), "{line}\nis not\n{beginning}");
    }

    // What it says is what a load meets.
    let dump = stack.server.tool("pg_dump", "postgres").output().unwrap();
    let file = stack.server.root().join("dump.sql");
    fs::write(&file, &dump.stdout).unwrap();
    stack.server.psql("template1", "CREATE DATABASE loaded");
    let mut psql = stack.server.tool("psql", "loaded");
    let load = psql.args(["-X", "-q", "-f"]).arg(&file).output().unwrap();
    let errors = String::from_utf8(load.stderr).unwrap();
    for words in [
        "relation \"orders\" does not exist",
        "permission denied to change owner of event trigger \"audit\"",
    ] {
        assert!(errors.contains(words), "{words} is not in {errors}");
    }
    let index = "SELECT pg_catalog.to_regclass('app.twice_x') IS NULL";
    assert_eq!(stack.server.psql("loaded", index), "t");
}

#[test]
fn a_lock_table_that_is_too_small_is_said_with_the_numbers_before_a_dump_fails_by_it() {
    let stack = Stack::with(&Options {
        settings: &[
            ("max_locks_per_transaction", "10"),
            ("max_connections", "25"),
            ("max_prepared_transactions", "5"),
        ],
        ..Options::default()
    });
    assert_eq!(warnings(&stack, &[], "supabase"), [""; 0]);
    stack.server.psql(
        "postgres",
        "CREATE SCHEMA many;
         DO $$ BEGIN FOR i IN 1..3000 LOOP EXECUTE format('CREATE TABLE many.t%s (x int)', i);
           IF i % 20 = 0 THEN COMMIT; END IF; END LOOP; END $$",
    );
    let found = warnings(&stack, &[], "supabase");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("warning: a dump locks 30"),
        "{found:?}"
    );
    for part in [
        "made for 300 locks (max_locks_per_transaction 10 × 30 connections and prepared transactions)",
        "set max_locks_per_transaction = 128 and restart the server",
    ] {
        assert!(found[0].contains(part), "{found:?}");
    }
    let run = stack.backupd(["run"]).run();
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.stderr.contains("out of shared memory"), "{run}");
}

#[test]
fn tables_of_another_owner_in_keycloaks_database_are_a_note_and_refuse_nothing() {
    let stack = Stack::new();
    assert_eq!(warnings(&stack, &[], "keycloak"), [""; 0]);
    stack.server.psql(
        "keycloak",
        "ALTER TABLE public.client OWNER TO supabase_admin; GRANT SELECT ON public.client TO keycloak",
    );
    let found = warnings(&stack, &[], "keycloak");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("role keycloak is not the owner of all of Keycloak's tables")
            && found[0].contains(": public.client (supabase_admin);"),
        "{found:?}"
    );
    let run = stack.backupd(["run"]).succeed();
    assert!(
        run.stderr.contains("public.client (supabase_admin)"),
        "{run}"
    );
}

/// A drill there loads onto the stack's own server, and proves nothing of another.
#[test]
fn a_server_for_drills_that_is_backed_up_itself_is_warned_of() {
    let stack = Stack::new();
    let words = "BACKUP_DRILL_URL is a server that is backed up itself";
    let own = [("BACKUP_DRILL_URL", stack.server.url("postgres"))];
    let checked = stack.backupd(["check"]).envs(own.clone()).succeed();
    assert!(checked.stdout.contains(words), "{checked}");
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "keycloak")
        .succeed();
    let drilled = stack.backupd(["verify", "--drill"]).envs(own).succeed();
    assert!(drilled.stderr.contains(words), "{drilled}");
    let other = tests::server::PgServer::bare();
    let apart = [("BACKUP_DRILL_URL", other.url("postgres"))];
    let checked = stack.backupd(["check"]).envs(apart.clone()).succeed();
    assert!(!checked.stdout.contains(words), "{checked}");
    let drilled = stack.backupd(["verify", "--drill"]).envs(apart).succeed();
    assert!(!drilled.stderr.contains(words), "{drilled}");
}

/// Through one, `pg_dump` may meet a session that it did not set up.
#[test]
fn a_transaction_pooler_is_known_on_any_port() {
    let stack = Stack::new();
    let Some(pooler) = Pooler::before(&stack.server) else {
        return;
    };
    let direct = stack.server.url("postgres");
    let through = direct.replace(
        &format!(":{}/", stack.server.port()),
        &format!(":{}/", pooler.port()),
    );
    let of_poolers = |url: &str| {
        let outcome = stack
            .backupd(["check", "--json"])
            .env("DATABASE_URL", format!("{url}?sslmode=disable"))
            .run();
        let mut said = lines(&outcome.json(), "supabase");
        said.retain(|line| line.contains("transaction pooler"));
        said
    };
    assert_eq!(of_poolers(&direct), Vec::<String>::new());
    for _ in 0..3 {
        assert_eq!(of_poolers(&through).len(), 1);
    }
}
