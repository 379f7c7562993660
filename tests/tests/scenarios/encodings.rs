//! Databases in other encodings than UTF-8, and owners who set other ones for their sessions: dumps, roles and comparisons are in an
//! encoding of ours all the same.

use tests::set;
use tests::stack::{Stack, manifest};

/// psql's own encoding is the database's.
fn ask(stack: &Stack, database: &str, sql: &str) -> String {
    let sql = format!("SET client_encoding = 'UTF8'; {sql}");
    stack.server.psql(database, &sql)
}

fn make(stack: &Stack, name: &str, encoding: &str) {
    stack.server.psql(
        "template1",
        &format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        ),
    );
}

/// A database in LATIN1. The role has a name from a database in UTF-8, which one in LATIN1 takes for other letters.
fn make_latin(stack: &Stack) {
    make(stack, "latin", "LATIN1");
    stack.server.psql(
        "postgres",
        "SET client_encoding = 'UTF8'; CREATE ROLE \"Latin Röle\"",
    );
    let sql = "CREATE TABLE public.\"umlaut-ü\" (\"größe\" text PRIMARY KEY, \"Ã¶\" int);
         INSERT INTO public.\"umlaut-ü\" VALUES ('é', 1), ('Ã¼', 2), ('plain', 3);
         COMMENT ON TABLE public.\"umlaut-ü\" IS 'für später';
         ALTER TABLE public.\"umlaut-ü\" OWNER TO \"Latin RÃ¶le\";
         CREATE FUNCTION public.gruss() RETURNS text LANGUAGE sql AS 'SELECT ''grüß''::text'";
    ask(stack, "latin", sql);
}

/// What is in it, and who owns it.
fn told_of_latin(stack: &Stack) -> String {
    ask(
        stack,
        "latin",
        "SELECT string_agg(\"größe\" || \"Ã¶\", ',' ORDER BY \"Ã¶\") FROM public.\"umlaut-ü\";
         SELECT obj_description('public.\"umlaut-ü\"'::regclass), public.gruss(), pg_get_userbyid(relowner), pg_encoding_to_char(encoding)
         FROM pg_class, pg_database WHERE relname = 'umlaut-ü' AND datname = 'latin';
         SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname LIKE 'Latin%'",
    )
}

/// What is not in Supabase's database stands in it alone.
fn restore(stack: &Stack, label: &str) {
    stack
        .backupd(["restore", "latest", "--only", label, "--yes", "--drop-old"])
        .succeed();
}

#[test]
fn databases_of_any_encoding_are_proven_and_come_back() {
    let stack = Stack::new();
    make_latin(&stack);
    make(&stack, "upper", "UTF8");
    ask(
        &stack,
        "upper",
        "CREATE TABLE public.\"straße\" (t text); INSERT INTO public.\"straße\" VALUES ('日本');
         ALTER DATABASE upper SET client_encoding = 'LATIN1'; ALTER ROLE supabase_admin SET client_encoding = 'LATIN1'",
    );
    make(&stack, "bytes", "SQL_ASCII");
    ask(
        &stack,
        "bytes",
        "CREATE TABLE public.\"naïve\" (t text);
         INSERT INTO public.\"naïve\" VALUES ('ü'), (convert_from('\\xe9ff'::bytea, 'SQL_ASCII'))",
    );
    let before = told_of_latin(&stack);
    assert!(
        before.starts_with("é1,Ã¼2,plain3\nfür später|grüß|Latin RÃ¶le|LATIN1\n"),
        "{before}"
    );
    stack
        .backupd(["run"])
        .env("BACKUP_DATABASES", "latin,upper,bytes")
        .succeed();
    let dump = |label: &str| {
        let file = stack.only_set().join(format!("{label}_db.sql.gz"));
        set::unzipped(&file)
    };
    let text = String::from_utf8(dump("latin")).unwrap();
    assert!(text.contains("SET client_encoding = 'UTF8'") && text.contains("umlaut-ü"));
    let drilled = stack.backupd(["verify", "--drill", "--json"]).succeed();
    assert_eq!(drilled.json()["verdict"], "proven", "{drilled}");

    for (database, change) in [
        (
            "latin",
            "UPDATE public.\"umlaut-ü\" SET \"größe\" = 'other' WHERE \"Ã¶\" = 1",
        ),
        ("upper", "DROP TABLE public.\"straße\""),
        ("bytes", "DROP TABLE public.\"naïve\""),
    ] {
        ask(&stack, database, change);
        restore(&stack, database);
    }
    assert_eq!(told_of_latin(&stack), before);
    assert_eq!(
        ask(&stack, "upper", "SELECT t FROM public.\"straße\""),
        "日本"
    );
    let bytes =
        "SELECT string_agg(encode(convert_to(t, 'SQL_ASCII'), 'hex'), ',') FROM public.\"naïve\"";
    assert_eq!(ask(&stack, "bytes", bytes), "c3bc,e9ff");
    // One table of such a database is found by its name.
    let saved = [
        "restore",
        "latest",
        "--only",
        "latin",
        "--table",
        "public.\"umlaut-ü\"",
        "--into",
        "saved",
        "--yes",
    ];
    stack.backupd(saved).succeed();
    assert_eq!(
        ask(&stack, "saved", "SELECT count(*) FROM public.\"umlaut-ü\""),
        "3"
    );
}

/// As 0.1.0 dumped it: in the database's own encoding, with a list of tables that was not decoded.
#[test]
fn a_dump_in_latin1_is_proven_and_comes_back() {
    let stack = Stack::new();
    make_latin(&stack);
    let before = told_of_latin(&stack);
    let tools = stack.tools(
        "case $PGDATABASE in latin) exec $REAL/pg_dump \"$@\" --encoding=LATIN1;; esac\nexec $REAL/pg_dump \"$@\"",
    );
    stack
        .backupd(["run"])
        .env("BACKUP_DATABASES", "latin")
        .env("BACKUP_PG_BINDIR", tools)
        .succeed();
    let set = stack.only_set();
    let dump = set::unzipped(&set.join("latin_db.sql.gz"));
    assert!(String::from_utf8(dump).is_err());
    assert!(manifest(&set).to_string().contains("umlaut-\u{fffd}"));
    let drilled = stack.backupd(["verify", "--drill", "--json"]).succeed();
    assert_eq!(drilled.json()["verdict"], "proven", "{drilled}");
    ask(&stack, "latin", "DROP TABLE public.\"umlaut-ü\"");
    restore(&stack, "latin");
    assert_eq!(told_of_latin(&stack), before);
}

#[test]
fn what_a_restore_cannot_bring_of_sql_ascii_is_named_by_check_and_run() {
    let stack = Stack::new();
    make(&stack, "bytes", "SQL_ASCII");
    let settings = [("BACKUP_DATABASES", "bytes")];
    ask(&stack, "bytes", "CREATE TABLE public.\"naïve\" ()");
    let fine = stack.backupd(["check"]).envs(settings).run();
    assert!(!fine.stdout.contains("SQL_ASCII"), "{fine}");
    ask(
        &stack,
        "bytes",
        "DO $$BEGIN EXECUTE 'CREATE TABLE public.\"caf' || convert_from('\\xe9'::bytea, 'SQL_ASCII') || '\" (id int)';
         EXECUTE 'COMMENT ON TABLE public.\"naïve\" IS ''' || convert_from('\\xe8'::bytea, 'SQL_ASCII') || ''''; END$$",
    );
    let words = "comment on \"public.\\\"na\\xc3\\xafve\\\"\", relation \"caf\\xe9\"";
    let found = stack.backupd(["check"]).envs(settings).run();
    assert!(
        found.stdout.contains(words) && found.stdout.contains("rename"),
        "{found}"
    );
    let run = stack.backupd(["run"]).envs(settings).succeed();
    assert!(run.stderr.contains(words), "{run}");
}
