//! Extensions come back as they were: what they let go, what seals their rows, and what event triggers added to them and altered, as a real
//! Supabase has it in Vault, pg_graphql and pg_net.

use serde_json::Value;
use tests::backupd::Outcome;
use tests::hostile::Extension;
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
        restored
            .stdout
            .contains("extension backupd_test_sealed got back what was added to it and altered"),
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
