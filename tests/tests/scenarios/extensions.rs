//! Extensions come back as they were: what they let go, what seals their rows, and what event triggers added to them and altered, as a real
//! Supabase has it in Vault, pg_graphql and pg_net.

use serde_json::Value;
use tests::backupd::Outcome;
use tests::hostile::Extension;
use tests::server::{Options, PgServer};
use tests::stack::Stack;

/// Event triggers that change an extension while it is created, and its use: the first acts within the extension's script, so that what it
/// makes is a member and what it gives is the extension's own.
const SETUP: &str = "
CREATE SCHEMA sealed;
CREATE SCHEMA sealed_public;
CREATE FUNCTION public.add_to_sealed() RETURNS event_trigger LANGUAGE plpgsql AS $f$
BEGIN
  IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity LIKE 'sealed.ask(%') THEN
    CREATE FUNCTION sealed_public.ask(question text DEFAULT 'nothing') RETURNS text LANGUAGE sql AS $$ SELECT sealed.ask(question) $$;
    GRANT USAGE ON SCHEMA sealed_public TO anon;
    GRANT USAGE ON SCHEMA sealed_public TO postgres WITH GRANT OPTION;
  END IF;
END $f$;
CREATE EVENT TRIGGER add_to_sealed ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION public.add_to_sealed();
CREATE FUNCTION public.alter_sealed() RETURNS event_trigger LANGUAGE plpgsql AS $f$
BEGIN
  IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'backupd_test_sealed') THEN
    ALTER FUNCTION sealed.ask(text) SECURITY DEFINER;
    ALTER FUNCTION sealed.ask(text) SET search_path = sealed, pg_temp;
    GRANT EXECUTE ON FUNCTION sealed.ask(text) TO anon;
  END IF;
END $f$;
CREATE EVENT TRIGGER alter_sealed ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION public.alter_sealed();
CREATE EXTENSION backupd_test_sealed WITH SCHEMA sealed;
REVOKE ALL ON FUNCTION sealed_public.ask(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sealed_public.ask(text) TO anon;
GRANT SELECT ON sealed.opened TO anon;
INSERT INTO sealed.secrets VALUES (1, 'first'), (2, 'second');
CREATE TABLE public.notes (id integer PRIMARY KEY, secret text);
COMMENT ON TABLE public.notes IS 'sealed';
INSERT INTO public.notes VALUES (3, 'third');";

fn with_sealed() -> Stack {
    let stack = Stack::new();
    stack.server.psql("postgres", SETUP);
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "supabase")
        .succeed();
    stack
}

/// The extension and what is around it, and that it is of use to a role.
fn state(stack: &Stack, database: &str) -> String {
    stack.server.psql(
        database,
        "SELECT * FROM sealed.secrets UNION ALL SELECT * FROM public.notes ORDER BY id;
         SELECT pg_describe_object(classid, objid, 0) FROM pg_depend WHERE deptype = 'e' AND refobjid =
           (SELECT oid FROM pg_extension WHERE extname = 'backupd_test_sealed') ORDER BY 1;
         SELECT p.oid::regprocedure, prosecdef, proconfig, proowner::regrole, prosrc, (SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(proacl) x)
           FROM pg_proc p WHERE pronamespace::regnamespace::text LIKE 'sealed%' ORDER BY p.oid::regprocedure::text;
         SELECT nspname, x::text FROM pg_namespace, unnest(nspacl) x WHERE nspname LIKE 'sealed%' ORDER BY 1, 2;
         SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgname = 'seal' ORDER BY 1;
         SET ROLE anon; SELECT * FROM sealed.opened ORDER BY id; SELECT sealed_public.ask()",
    )
}

fn drill(stack: &Stack, set: &str) -> (Outcome, Value) {
    let outcome = stack
        .backupd(["verify", "--drill", "--json", set])
        .env("BACKUP_SOURCES", "supabase")
        .run();
    let told = outcome.json();
    (outcome, told["databases"][0].clone())
}

#[test]
fn what_was_added_altered_and_sealed_is_as_it_was() {
    let extension = Extension::install_sealed();
    let stack = with_sealed();
    let before = state(&stack, "postgres");
    assert!(
        before.starts_with("1|sealed tsrif\n2|sealed dnoces\n3|sealed driht\n"),
        "{before}"
    );
    let first = stack.only_set();
    let first = first.file_name().unwrap().to_str().unwrap();
    assert!(
        before.ends_with("1|first\n2|second\nasked nothing"),
        "{before}"
    );
    let restore = |more: &[&str]| {
        let command = ["restore", "--yes", "--only", "supabase"];
        stack.backupd(command.iter().chain(more)).succeed()
    };
    let restored = restore(&[]);
    assert_eq!(state(&stack, "postgres"), before);
    assert!(
        restored.stdout.contains(
            "extension backupd_test_sealed got back the functions and the privileges on its schemas"
        ),
        "{restored}"
    );
    restore(&["--into", "copy"]);
    assert_eq!(state(&stack, "copy"), before);
    // A set of what came back is the same once more.
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "supabase")
        .succeed();
    restore(&["--drop-old"]);
    assert_eq!(state(&stack, "postgres"), before);
    let (outcome, told) = drill(&stack, "latest");
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(told["not_proven"], Value::Array(Vec::new()), "{outcome}");

    // What belongs to an extension that the scratch server lacks is not the set's fault.
    drop(extension);
    let (outcome, told) = drill(&stack, first);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(outcome.json()["verdict"], "proven", "{outcome}");
    let not_proven = told["not_proven"].to_string();
    for what in [
        "extension backupd_test_sealed",
        "FUNCTION sealed.ask(text)",
        "FUNCTION sealed_public.ask(question text)",
        "view sealed.opened",
    ] {
        assert!(not_proven.contains(what), "{what}: {told:#}");
    }
}

/// Tables that rest on an extension whose functions work only where the server loaded its library as it started.
const ON_PRELOADED: &str = "
CREATE SCHEMA pgsodium;
CREATE EXTENSION pgsodium WITH SCHEMA pgsodium;
INSERT INTO pgsodium.key SELECT i, 'key ' || i, pgsodium.derive(i) FROM generate_series(1, 5) i;
CREATE SCHEMA sealed;
CREATE DOMAIN sealed.derived AS text CHECK (VALUE IS NULL OR pgsodium.derive(1) IS NOT NULL);
CREATE TABLE sealed.checked (id bigint PRIMARY KEY, own text, CONSTRAINT derived CHECK (own = pgsodium.derive(id)));
CREATE TABLE sealed.generated (id bigint, own text GENERATED ALWAYS AS (pgsodium.derive(id)) STORED);
CREATE TABLE sealed.domained (id bigint, own sealed.derived);
CREATE TABLE sealed.indexed (id bigint);
CREATE INDEX indexed_derived ON sealed.indexed (pgsodium.derive(id));
CREATE TABLE sealed.defaulted (id bigint, own text DEFAULT pgsodium.derive(7));
CREATE TABLE sealed.keyed (id bigint REFERENCES pgsodium.key (id));
CREATE TABLE sealed.parts (id bigint) PARTITION BY LIST ((pgsodium.derive(id)));
CREATE TABLE sealed.part PARTITION OF sealed.parts DEFAULT;
INSERT INTO sealed.checked SELECT i, pgsodium.derive(i) FROM generate_series(1, 9) i;
INSERT INTO sealed.generated SELECT generate_series(1, 9);
INSERT INTO sealed.domained SELECT i, 'x' FROM generate_series(1, 9) i;
INSERT INTO sealed.indexed SELECT generate_series(1, 9);
INSERT INTO sealed.defaulted SELECT generate_series(1, 9);
INSERT INTO sealed.keyed SELECT generate_series(1, 5);
INSERT INTO sealed.parts SELECT generate_series(1, 9);
CREATE VIEW sealed.derived_view AS SELECT id, pgsodium.derive(id) FROM sealed.indexed;
CREATE MATERIALIZED VIEW sealed.filled AS SELECT id, pgsodium.derive(id) AS own FROM sealed.indexed;
ALTER TABLE sealed.indexed ENABLE ROW LEVEL SECURITY;
CREATE POLICY derived ON sealed.indexed USING (pgsodium.derive(id) IS NOT NULL);
CREATE TABLE sealed.plain (id bigint); INSERT INTO sealed.plain VALUES (1)";

/// A scratch server loads no libraries as it starts: that is not the set's fault, whose rows are proven all the same.
#[test]
fn what_needs_a_library_from_the_servers_start_is_no_false_alarm() {
    let _extension = Extension::install_preloaded();
    let preloaded = [("shared_preload_libraries", "pgsodium")];
    let stack = Stack::with(&Options {
        settings: &preloaded,
        ..Options::default()
    });
    stack.server.psql("postgres", ON_PRELOADED);
    let before = stack.server.told("postgres");
    stack.backupd(["run"]).succeed();
    let named = |settings| {
        PgServer::start_with(&Options {
            settings,
            bare: true,
        })
    };
    let (without, with) = (named(&[]), named(&preloaded));
    let drill = |url: Option<String>| {
        let call = stack.backupd(["verify", "--drill", "--json"]);
        let outcome = match url {
            Some(url) => call.env("BACKUP_DRILL_URL", url).run(),
            None => call.run(),
        };
        let told = outcome.json();
        assert_eq!(told["verdict"], "proven", "{outcome}");
        let database = told["databases"][0].clone();
        assert_eq!(
            database["differences"],
            Value::Array(Vec::new()),
            "{outcome}"
        );
        // Each table's rows, those of tables that could not be made among them.
        assert_eq!(database["digests"], database["tables"], "{outcome}");
        database["not_proven"].to_string()
    };
    for not_proven in [drill(None), drill(Some(without.url("postgres")))] {
        for what in [
            "extension pgsodium",
            "table sealed.checked",
            "table sealed.generated",
            "index sealed.indexed_derived",
        ] {
            assert!(not_proven.contains(what), "{what}: {not_proven}");
        }
        assert!(!not_proven.contains("sealed.plain"), "{not_proven}");
    }
    let not_proven = drill(Some(with.url("postgres")));
    assert!(!not_proven.contains("pgsodium"), "{not_proven}");
    stack
        .backupd(["restore", "--yes", "--only", "supabase", "--drop-old"])
        .succeed();
    assert!(before == stack.server.told("postgres"));
}
