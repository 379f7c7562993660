//! Words that ordinary roles write into rows, names and functions never become statements, and never act on a terminal; names that they
//! give to sessions and databases hold nothing up.

use std::process::Stdio;

use tests::backupd::Outcome;
use tests::server::{ADMIN, PgServer};
use tests::set;
use tests::stack::Stack;

const RESTORE: [&str; 4] = ["restore", "--yes", "--only", "supabase"];

/// A row that would end the function `zzz.f` if that swallowed it, make another, and hide the rest up to a table's name in quotes.
const SWALLOWED: &str = "
CREATE ROLE eve LOGIN PASSWORD 'e';
CREATE SCHEMA aaa AUTHORIZATION eve; CREATE SCHEMA zzz AUTHORIZATION eve;
SET ROLE eve;
CREATE TABLE aaa.t1 (a text);
INSERT INTO aaa.t1 VALUES ($r$garbage END; CREATE FUNCTION aaa.su(s text) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN EXECUTE s; RETURN 1; END'; SELECT $eveq$$r$);
CREATE TABLE aaa.\"u$eveq$; --\" (a text);
CREATE TABLE zzz.zz (a int);
CREATE FUNCTION zzz.f(zzz.zz) RETURNS int BEGIN ATOMIC SELECT 1 AS begin; END;";

fn restore(stack: &Stack, more: &[&str]) -> Outcome {
    stack.backupd(RESTORE.iter().chain(more)).run()
}

fn functions(server: &PgServer) -> String {
    let sql = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE oid >= 16384 AND prokind IN ('f', 'p') ORDER BY oid::regprocedure::text";
    server.psql("postgres", sql)
}

#[test]
fn rows_are_no_statements_whatever_a_function_is_named() {
    for format in ["plain", "custom"] {
        let stack = Stack::new();
        stack.server.psql("postgres", SWALLOWED);
        let before = (functions(&stack.server), stack.server.told("postgres"));
        stack
            .backupd(["run"])
            .env("BACKUP_DUMP_FORMAT", format)
            .succeed();
        let drilled = stack.backupd(["verify", "--drill", "--json"]).run();
        assert_eq!(drilled.json()["verdict"], "proven", "{drilled}");
        for more in [&["--drop-old"][..], &["--keep-going", "--drop-old"]] {
            let outcome = restore(&stack, more);
            assert_eq!(outcome.code, Some(0), "{outcome}");
            assert_eq!(functions(&stack.server), before.0);
            assert_eq!(stack.server.told("postgres"), before.1);
        }
    }
}

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
    fn one_of<'a>(&mut self, what: &[&'a str]) -> &'a str {
        what[self.below(what.len())]
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// What may stand without quotes wherever a name does, and what may in quotes.
    fn name(&mut self) -> &'static str {
        self.one_of(&[
            "begin",
            "atomic",
            "copy",
            "function",
            "x",
            "\"begin\"",
            "\"end\"",
            "\"case\"",
            "\"atomic\"",
            "\"END;\"",
            "\"o'd\"",
            "\"$$\"",
            "\"a\"\"b\"",
            "\"COPY\"",
            "\"--\"",
            "\"/*\"",
            "\"E\"",
            "\"(\"",
        ])
    }

    /// Behind AS reserved words stand without quotes, too.
    fn label(&mut self) -> &'static str {
        if self.below(2) == 0 {
            self.one_of(&["end", "case", "create", "as", "select"])
        } else {
            self.name()
        }
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 {
            let literals = [
                "'a'",
                "'; END;'",
                "E'\\\\\\';END'",
                "$q$'; END; $$ $q$",
                "'begin'",
                "E'\\nCOPY a FROM stdin;\\n-- Name: b\\n\\\\.\\n'",
                "'\"'",
                "U&'\\0041'",
                "'--'",
                "'/*'",
                "')'",
            ];
            return format!("{}::text", self.one_of(&literals));
        }
        let mut inner = || self.text(depth - 1);
        let (a, b, c) = (inner(), inner(), inner());
        match self.below(5) {
            0 => format!("CASE WHEN {a} = {b} THEN {c} ELSE {b} END"),
            1 => format!("CASE {a} WHEN {b} THEN {c} END"),
            2 => format!("(SELECT {a} AS {} LIMIT 1)", self.label()),
            3 => {
                let (table, column) = (self.name(), self.name());
                format!(
                    "(SELECT {table}.{column} FROM (SELECT {a}, {b}) AS {table} ({column}, other))"
                )
            }
            _ => format!("coalesce({a} || {b}, {c})"),
        }
    }

    fn function(&mut self, number: usize) -> String {
        let depth = self.below(4);
        let (last, label, parameter) = (self.text(depth), self.label(), self.name());
        match self.below(4) {
            0 => format!(
                "CREATE FUNCTION many.f{number}({parameter} int) RETURNS text RETURN {last};"
            ),
            1 => format!(
                "CREATE PROCEDURE many.p{number}() BEGIN ATOMIC INSERT INTO many.rows VALUES ({last}); END;"
            ),
            kind => {
                let mut body = String::new();
                for _ in 0..self.below(3) {
                    let (text, table, column) = (self.text(1), self.name(), self.name());
                    body.push_str(&format!(
                        "SELECT {text} AS {}, {table}.{column} FROM many.rows AS {table} ({column}) WHERE CASE WHEN true THEN {table}.{column} = 'x' END;",
                        self.label()
                    ));
                }
                let name = if kind == 2 {
                    format!("f{number}")
                } else {
                    format!("\"begin{number} atomic\"")
                };
                format!(
                    "CREATE FUNCTION many.{name}({parameter} int) RETURNS text BEGIN ATOMIC {body} SELECT {last} AS {label}; END;"
                )
            }
        }
    }
}

#[test]
fn functions_in_standard_sql_come_back_whatever_names_they_use() {
    let stack = Stack::new();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut script = "CREATE SCHEMA many; CREATE TABLE many.rows (a text); INSERT INTO many.rows VALUES ('END; END;');\n".to_owned();
    for number in 0..400 {
        script.push_str(&chance.function(number));
        script.push('\n');
    }
    let file = stack.server.root().join("many.sql");
    std::fs::write(&file, script).unwrap();
    stack.server.psql_file("postgres", &file, &[]);
    let before = functions(&stack.server);
    assert!(before.matches("BEGIN ATOMIC").count() > 200);
    for format in ["plain", "custom"] {
        stack
            .backupd(["run"])
            .env("BACKUP_DUMP_FORMAT", format)
            .succeed();
        let outcome = restore(&stack, &["--drop-old"]);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_eq!(functions(&stack.server), before);
    }
}

/// A server that reads strings in another way than the dump was taken apart would find two statements in one.
#[test]
fn a_statement_that_the_server_reads_as_several_is_refused() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let file = stack.only_set().join("supabase_db.sql.gz");
    let dump = String::from_utf8(set::unzipped(&file)).unwrap();
    let end = "--\n-- PostgreSQL database dump complete";
    let planted = "SET standard_conforming_strings = off;\nCOMMENT ON SCHEMA public IS '\\''; CREATE ROLE planted SUPERUSER; --';\n\n";
    set::replace(&file, dump.replace(end, &format!("{planted}{end}")));
    let outcome = restore(&stack, &["--keep-going"]);
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(outcome.stdout.contains("multiple commands"), "{outcome}");
    let made = "SELECT count(*) FROM pg_roles WHERE rolname = 'planted'";
    assert_eq!(stack.server.psql("template1", made), "0");
}

/// What runs on into headings and rows ends the load, with `--keep-going` too, and what was there stays.
#[test]
fn a_statement_without_an_end_ends_the_load() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let before = stack.server.told("postgres");
    let file = stack.only_set().join("supabase_db.sql.gz");
    let dump = String::from_utf8(set::unzipped(&file)).unwrap();
    let open = dump.find("CREATE TABLE public.posts (").unwrap();
    let close = open + dump[open..].find(");").unwrap();
    set::replace(&file, [&dump[..close], &dump[close + 2..]].concat());
    let outcome = restore(&stack, &["--keep-going"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("a statement runs into what follows it")
            && outcome.stderr.contains("CREATE TABLE public.posts ("),
        "{outcome}"
    );
    assert_eq!(stack.server.told("postgres"), before);
}

/// PostgreSQL writes the field without its quotes into a view's definition.
#[test]
fn a_field_of_extract_that_is_sql_is_not_dumped() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "CREATE ROLE eve; CREATE SCHEMA eve AUTHORIZATION eve; SET ROLE eve;
         CREATE VIEW eve.harmless AS SELECT extract(year FROM now()), extract('month' FROM now()) AS month;
         CREATE VIEW eve.v AS SELECT extract('year FROM now()); CREATE FUNCTION eve.su() RETURNS int SECURITY DEFINER LANGUAGE sql AS ''SELECT 1''; CREATE VIEW eve.w AS SELECT extract(year' FROM now())",
    );
    let outcome = stack.backupd(["run"]).run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.stderr.contains("eve.v") && !outcome.stderr.contains("eve.harmless"),
        "{outcome}"
    );
    stack.server.psql("postgres", "DROP VIEW eve.v");
    stack.backupd(["run"]).succeed();
}

#[test]
fn a_session_that_takes_our_name_is_ended() {
    let stack = Stack::new();
    stack
        .server
        .psql("template1", "CREATE ROLE eve LOGIN PASSWORD 'e'");
    stack.backupd(["run"]).succeed();
    let restoring = stack
        .backupd(RESTORE.iter().chain(&["--force", "--drop-old"]))
        .spawn();
    let name = format!("backupd restore {} postgres", restoring.pid());
    let mut session = stack
        .server
        .tool("psql", "postgres")
        .env("PGAPPNAME", &name)
        .args(["-Xqc", "SELECT pg_sleep(3600)"])
        .args(["-d", &stack.server.url_as("eve", "e", "postgres")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let outcome = restoring.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!session.wait().unwrap().success());
}

#[test]
fn words_of_a_database_do_not_act_on_a_terminal() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "CREATE TABLE public.\"t\u{1b}[2K\u{1b}[1A\nnote: all is well\u{202e}\" (a text CONSTRAINT \"c\u{9b}1A\rok\" CHECK (current_setting('app.x', true) IS NOT DISTINCT FROM 'y'));
         SET app.x = 'y'; INSERT INTO public.\"t\u{1b}[2K\u{1b}[1A\nnote: all is well\u{202e}\" VALUES ('a')",
    );
    stack.backupd(["run"]).succeed();
    for arguments in [
        &["verify", "--drill"][..],
        &["restore", "--yes", "--only", "supabase"],
        &[
            "restore",
            "--yes",
            "--only",
            "supabase",
            "--keep-going",
            "--drop-old",
        ],
    ] {
        let outcome = stack.backupd(arguments).run();
        assert_ne!(outcome.code, Some(0), "{outcome}");
        let told = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(told.contains("t?[2K?[1A"), "{outcome}");
        let acts = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!told.contains(acts), "{told:?}");
        assert!(
            !told.lines().any(|line| line.starts_with("note: all")),
            "{outcome}"
        );
    }
}

/// Who may make databases may give them our names and our marks.
#[test]
fn databases_that_others_name_as_ours_are_not_dropped() {
    let stack = Stack::new();
    stack.server.psql("template1", "CREATE ROLE maker CREATEDB");
    let names = [
        "postgres_restoring_20261120T020000Z",
        "postgres_restoring_20261120T020001Z",
    ];
    for name in names {
        stack.server.psql(
            "template1",
            &format!("CREATE DATABASE \"{name}\" OWNER maker"),
        );
    }
    stack.server.psql(
        "template1",
        &format!(
            "ALTER DATABASE \"{}\" SET backupd.restoring = '20261120T020001Z'",
            names[1]
        ),
    );
    stack
        .backupd(["restore", "--undo", "--only", "supabase"])
        .succeed();
    let there = stack.server.databases();
    assert!(
        names.iter().all(|name| there.contains(&(*name).to_owned())),
        "{there:?}"
    );
    // One that a superuser's restore began is.
    stack.server.psql(
        "template1",
        &format!("ALTER DATABASE \"{}\" OWNER TO {ADMIN}", names[0]),
    );
    stack
        .backupd(["restore", "--undo", "--only", "supabase"])
        .succeed();
    assert_eq!(stack.server.databases(), ["keycloak", "postgres", names[1]]);
}
