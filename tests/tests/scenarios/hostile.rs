//! A database that holds everything which trips a backup comes back as it was, by every way there is; and what a hostile user plants
//! in one bears nothing.

use std::collections::BTreeSet;
use std::process::Stdio;

use tests::backupd::Outcome;
use tests::by_hand;
use tests::hostile::{self, Extension, Plants, SETTINGS_THAT_BREAK_CLIENTS, load};
use tests::server::{ADMIN, Options, PgServer};
use tests::stack::Stack;

fn same(what: &str, before: &str, after: &str) {
    if before == after {
        return;
    }
    let [was, is] = [before, after].map(|text| text.lines().collect::<BTreeSet<_>>());
    let (missing, new) = (was.difference(&is), is.difference(&was));
    panic!(
        "{what} differs ({} lines, {} lines)\nfirst: {:#?}\nmissing: {:#?}\nnew: {:#?}",
        before.lines().count(),
        after.lines().count(),
        before
            .lines()
            .zip(after.lines())
            .find(|(was, is)| was != is),
        missing.take(8).collect::<Vec<_>>(),
        new.take(8).collect::<Vec<_>>()
    );
}

/// The fixture in the stack's own database, and what it is there.
fn hostile_stack(tables: u32) -> (Extension, Stack, String) {
    let extension = Extension::install();
    let stack = Stack::with(&Options {
        settings: &[("max_locks_per_transaction", "64")],
        ..Options::default()
    });
    load(&stack.server, "postgres", tables);
    let told = hostile::told(&stack.server, "postgres");
    (extension, stack, told)
}

fn verdict(outcome: &Outcome) -> String {
    outcome.json()["verdict"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// A fixture that PostgreSQL's own tools do not bring back would say nothing about ours.
#[test]
fn pg_dump_and_psql_bring_the_fixture_back() {
    let _extension = Extension::install();
    let (source, target) = (PgServer::start(), PgServer::bare());
    load(&source, "postgres", 10);
    let pipe = |mut from: std::process::Command, to: &str, stop: &str| {
        let mut from = from.stdout(Stdio::piped()).spawn().unwrap();
        let loaded = target
            .tool("psql", to)
            .args(["-Xq", "-v", stop])
            .stdin(from.stdout.take().unwrap())
            .stdout(Stdio::null())
            .output()
            .unwrap();
        assert!(from.wait().unwrap().success());
        String::from_utf8_lossy(&loaded.stderr).into_owned()
    };
    let mut roles = source.tool("pg_dumpall", "template1");
    roles.args(["--roles-only", "--database=template1"]);
    pipe(roles, "template1", "ON_ERROR_STOP=0");
    same("roles", &source.told_roles(), &target.told_roles());
    let mut dump = source.tool("pg_dump", "postgres");
    dump.args(["--create", "--clean"]);
    let errors = pipe(dump, "template1", "ON_ERROR_STOP=0");
    // A2: the one thing that no server takes, and the audit (A5) that nothing but an absent event trigger stops.
    let errors: Vec<_> = errors
        .lines()
        .filter(|line| line.contains("ERROR"))
        .collect();
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(
        errors
            .iter()
            .all(|line| line.contains("permission denied to change owner of event trigger")),
        "{errors:#?}"
    );
    let (before, after) = (
        hostile::held(&source, "postgres"),
        hostile::held(&target, "postgres"),
    );
    let different: Vec<_> = before
        .iter()
        .filter(|(name, held)| after.get(*name) != Some(held))
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(
        different.iter().all(|name| name.starts_with("audit.")),
        "{different:?}"
    );
    assert!(before.len() > 100, "{}", before.len());
}

#[test]
fn it_comes_back_by_every_way() {
    let (_extension, stack, before) = hostile_stack(10);
    let roles = stack.server.told_roles();
    stack.backupd(["check"]).succeed();
    stack.backupd(["run"]).succeed();
    stack.backupd(["verify"]).succeed();
    let drilled = stack.backupd(["verify", "--drill", "--json"]).run();
    assert_eq!(verdict(&drilled), "proven", "{drilled}");
    stack
        .backupd(["restore", "--yes", "--only", "supabase", "--into", "beside"])
        .succeed();
    let beside =
        hostile::told(&stack.server, "beside").replace("DATABASE beside", "DATABASE postgres");
    same("the copy's content", &content(&before), &content(&beside));
    assert_eq!(
        hostile::held(&stack.server, "postgres"),
        hostile::held(&stack.server, "beside")
    );
    stack
        .backupd(["restore", "--yes", "--only", "supabase", "--drop-old"])
        .succeed();
    same(
        "the database",
        &before,
        &hostile::told(&stack.server, "postgres"),
    );
    same("the roles", &roles, &stack.server.told_roles());
    assert_eq!(stack.server.databases(), ["beside", "keycloak", "postgres"]);
    comes_back_by_hand(&stack, &before);
}

/// README's lines, on another server. One thing they cannot do, as docs/restore.md says: keep an event trigger still that fires always.
fn comes_back_by_hand(stack: &Stack, before: &str) {
    let target = PgServer::bare();
    by_hand::restore(&stack.only_set(), &target);
    same(
        "by hand, the roles",
        &stack.server.told_roles(),
        &target.told_roles(),
    );
    let position =
        |line: &&str| line.starts_with("SELECT pg_catalog.setval('audit.ddl_always_n_seq'");
    let before = by_hand::in_one_order(before);
    let after = by_hand::in_one_order(&hostile::told(&target, "postgres"));
    let known: BTreeSet<&str> = before.lines().collect();
    let (fired, after): (Vec<&str>, Vec<&str>) = after
        .lines()
        .filter(|line| !position(line))
        .partition(|line| line.contains("\tREFRESH MATERIALIZED VIEW\t") && !known.contains(line));
    assert_eq!(
        fired.len(),
        3,
        "one for each view that is refreshed: {fired:?}"
    );
    let before: Vec<&str> = before.lines().filter(|line| !position(line)).collect();
    same(
        "by hand, the database",
        &before.join("\n"),
        &after.join("\n"),
    );
    let [before, after] = [&stack.server, &target].map(|server| {
        let mut held = hostile::held(server, "postgres");
        held.retain(|name, _| !name.starts_with("audit.ddl_always"));
        held
    });
    assert_eq!(before, after);
}

/// All behind the lines about the database itself, which a copy beside has of its own.
fn content(told: &str) -> String {
    let begin = told
        .find("\n-- Name: ")
        .and_then(|_| told.find("CREATE SCHEMA"))
        .unwrap();
    told[begin..].to_owned()
}

#[test]
fn three_thousand_tables_are_proven_and_restored() {
    let (_extension, stack, before) = hostile_stack(3000);
    stack.backupd(["run"]).succeed();
    let drilled = stack.backupd(["verify", "--drill", "--json"]).run();
    assert_eq!(verdict(&drilled), "proven", "{drilled}");
    stack
        .backupd(["restore", "--yes", "--only", "supabase", "--drop-old"])
        .succeed();
    same(
        "the database",
        &before,
        &hostile::told(&stack.server, "postgres"),
    );
}

/// The extension with the best known table of rows that are its own, and rows that are the user's.
#[test]
fn postgis_comes_back_with_its_own_reference_systems() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "CREATE EXTENSION postgis SCHEMA extensions;
         SET search_path = public, extensions;
         INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid, srtext, proj4text)
           VALUES (990001, 'own', 1, 'GEOGCS[\"own\"]', '+proj=longlat'), (990002, 'own', 2, NULL, '+proj=merc');
         CREATE TABLE places (id integer PRIMARY KEY, at geometry(Point, 4326), area geography(Polygon, 4326), own geometry(Point, 990001));
         INSERT INTO places SELECT i, ST_SetSRID(ST_MakePoint(i, i / 2.0), 4326), ST_GeogFromText('POLYGON((0 0,1 0,1 1,0 0))'),
           ST_SetSRID(ST_MakePoint(i, 1), 990001) FROM generate_series(1, 50) i;
         CREATE INDEX ON places USING gist (at);
         CREATE MATERIALIZED VIEW far AS SELECT id, ST_Transform(at, 3857) AS at FROM places;
         CREATE VIEW near AS SELECT id FROM places WHERE ST_DWithin(at, ST_SetSRID(ST_MakePoint(0, 0), 4326), 3)",
    );
    let (before, held) = (
        stack.server.told("postgres"),
        stack.server.table_hashes("postgres"),
    );
    let systems =
        "SELECT count(*), count(*) FILTER (WHERE srid > 990000) FROM extensions.spatial_ref_sys";
    let counted = stack.server.psql("postgres", systems);
    assert!(counted.ends_with("|2"), "{counted}");
    stack.backupd(["run"]).succeed();
    let drilled = stack.backupd(["verify", "--drill", "--json"]).run();
    assert_eq!(verdict(&drilled), "proven", "{drilled}");
    stack
        .backupd(["restore", "--yes", "--only", "supabase", "--into", "beside"])
        .succeed();
    assert_eq!(held, stack.server.table_hashes("beside"));
    assert_eq!(counted, stack.server.psql("beside", systems));
    stack
        .backupd(["restore", "--yes", "--only", "supabase", "--drop-old"])
        .succeed();
    same("the database", &before, &stack.server.told("postgres"));
    assert_eq!(counted, stack.server.psql("postgres", systems));
}

#[test]
fn settings_that_break_clients_break_nothing_of_ours() {
    // A role of its own, which may do nothing, would hide what the others do.
    let (roles, others): (Vec<&str>, Vec<&str>) = SETTINGS_THAT_BREAK_CLIENTS
        .into_iter()
        .partition(|setting| setting.starts_with("role "));
    for settings in [roles, others] {
        let stack = Stack::new();
        let before = stack.server.table_hashes("postgres");
        let all = |server: &PgServer, action: &dyn Fn(&str) -> String| {
            for setting in &settings {
                let sql = format!("ALTER DATABASE postgres {}", action(setting));
                server.psql("template1", &sql);
            }
        };
        all(&stack.server, &|setting| format!("SET {setting}"));
        let kept =
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
            WHERE d.datname = 'postgres' AND s.setrole = 0";
        let set = stack.server.psql("template1", kept);
        stack.backupd(["check"]).succeed();
        stack.backupd(["run"]).succeed();
        let drilled = stack.backupd(["verify", "--drill", "--json"]).run();
        assert_eq!(verdict(&drilled), "proven", "{settings:?}: {drilled}");
        let target = PgServer::bare();
        by_hand::restore(&stack.only_set(), &target);
        assert_eq!(target.psql("template1", kept), set);
        stack
            .backupd(["restore", "--yes", "--only", "supabase", "--drop-old"])
            .succeed();
        assert_eq!(stack.server.psql("template1", kept), set);
        for (server, how) in [(&stack.server, "restored"), (&target, "by hand")] {
            all(server, &|setting| {
                format!("RESET {}", setting.split(' ').next().unwrap())
            });
            assert_eq!(
                before,
                server.table_hashes("postgres"),
                "{settings:?}, {how}"
            );
        }
    }
}

#[test]
fn plants_bear_nothing_while_sets_are_made_and_proven() {
    let stack = Stack::new();
    let plants = Plants::set(&stack.server, "postgres");
    let nothing = |after: &str| {
        let fruit = plants.fruit(&stack.server);
        assert!(fruit.is_empty(), "after {after}: {fruit:#?}");
    };
    nothing("planting");
    for command in [
        &["check"][..],
        &["run"],
        &["verify"],
        &["verify", "--drill"],
    ] {
        let outcome = stack.backupd(command).run();
        nothing(&format!("{command:?}, {outcome}"));
        assert!(
            matches!(outcome.code, Some(0 | 4)),
            "{command:?}: {outcome}"
        );
    }
}

/// With the planter's role and without it, where what it owned would be a superuser's.
#[test]
fn plants_bear_nothing_on_a_named_server() {
    let stack = Stack::new();
    let plants = Plants::set(&stack.server, "postgres");
    stack.backupd(["run"]).succeed();
    for role in ["", "CREATE ROLE planter LOGIN"] {
        let named = PgServer::bare();
        named.psql("template1", role);
        let before = named.told_roles();
        let outcome = stack
            .backupd(["verify", "--drill"])
            .env("BACKUP_DRILL_URL", named.url("postgres"))
            .run();
        let fruit = plants.fruit(&named);
        assert!(fruit.is_empty(), "`{role}`: {fruit:#?}; {outcome}");
        assert!(matches!(outcome.code, Some(0 | 4)), "{outcome}");
        same("roles of the named server", &before, &named.told_roles());
        assert_eq!(named.databases(), ["postgres"], "{outcome}");
        let fruit = plants.fruit(&stack.server);
        assert!(fruit.is_empty(), "{fruit:#?}");
    }
}

/// An event trigger whose function is a plain role's, and tables of pg_cron, which no drill creates: what stands in for them is dropped
/// behind the event triggers.
#[test]
fn an_event_trigger_does_not_fire_on_a_named_server() {
    let stack = Stack::with(&Options {
        settings: &[
            ("shared_preload_libraries", "pg_cron"),
            ("cron.database_name", "postgres"),
            ("cron.host", ""),
        ],
        ..Options::default()
    });
    stack.server.psql(
        "postgres",
        "CREATE EXTENSION pg_cron; SELECT cron.schedule('job', '0 0 1 1 *', 'SELECT 1');
         CREATE ROLE planter LOGIN;
         CREATE FUNCTION public.dropped() RETURNS event_trigger LANGUAGE plpgsql AS $$
           BEGIN EXECUTE 'ALTER ROLE planter SUPERUSER'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;
         ALTER FUNCTION public.dropped() OWNER TO planter;
         CREATE EVENT TRIGGER dropped ON sql_drop EXECUTE FUNCTION public.dropped();
         ALTER EVENT TRIGGER dropped ENABLE ALWAYS",
    );
    stack.backupd(["run"]).succeed();
    let named = PgServer::bare();
    named.psql("template1", "CREATE ROLE planter LOGIN");
    let outcome = stack
        .backupd(["verify", "--drill", "--json"])
        .env("BACKUP_DRILL_URL", named.url("postgres"))
        .run();
    let superusers = "SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolsuper";
    assert_eq!(named.psql("template1", superusers), ADMIN, "{outcome}");
    let told = outcome.json();
    let database = &told["databases"][0];
    // Its tables stood there, and were proven; and the event trigger is as it was.
    assert!(
        database["not_proven"]
            .to_string()
            .contains("extension pg_cron"),
        "{outcome}"
    );
    assert_eq!(database["digests"], database["tables"], "{outcome}");
    assert_eq!(
        database["differences"].as_array().map(Vec::len),
        Some(0),
        "{outcome}"
    );
}

#[test]
fn plants_bear_nothing_in_a_restore() {
    let stack = Stack::new();
    let plants = Plants::set(&stack.server, "postgres");
    let before = stack.server.told("postgres");
    stack.backupd(["run"]).succeed();
    for more in [
        &["--into", "beside"][..],
        &["--drop-old"],
        &["--roles", "--drop-old"],
    ] {
        let restore = ["restore", "--yes", "--only", "supabase"];
        let outcome = stack.backupd(restore.iter().chain(more)).run();
        let fruit = plants.fruit(&stack.server);
        assert!(fruit.is_empty(), "{more:?}: {fruit:#?}; {outcome}");
        assert_eq!(outcome.code, Some(0), "{more:?}: {outcome}");
    }
    same("the database", &before, &stack.server.told("postgres"));
}

/// The plants are worth something: a superuser who reads what was planted makes the planter one.
#[test]
fn plants_bear_where_a_superuser_steps_on_them() {
    let server = PgServer::start();
    let plants = Plants::set(&server, "postgres");
    server.psql(
        "postgres",
        "SELECT count(*) FROM pg_class WHERE relname = 'pg_class'",
    );
    let fruit = plants.fruit(&server);
    assert!(
        fruit.iter().any(|fruit| fruit == "superuser: planter"),
        "{fruit:#?}"
    );
    assert!(
        fruit.iter().any(|fruit| fruit.contains("/program: ")),
        "{fruit:#?}"
    );
}
