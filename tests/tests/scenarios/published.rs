//! What is said of a load that fails names the table, the constraint and the line, and holds no row: it is logged, kept, and shown on the
//! status port.

use std::fs;
use std::path::Path;

use tests::daemon::Daemon;
use tests::host::wait_for;
use tests::stack::Stack;

/// In every row that fails.
const SECRET: &str = "2a10SECRETofArow";

/// Tables whose rows no server takes again, each for a reason of its own: a CHECK, a value that is none, a function that raises.
const TABLES: &str = "
CREATE FUNCTION public.fine(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION public.raised(v text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
CREATE TABLE public.a_checked (hash text CONSTRAINT is_fine CHECK (public.fine(hash)));
CREATE TABLE public.b_read (hash text CHECK (public.raised(hash)));
CREATE TABLE public.c_raised (hash text CHECK (public.raised(hash)));
CREATE TABLE public.d_coded (hash text CHECK (public.raised(hash)));
INSERT INTO public.a_checked VALUES ('first'), ('2a10SECRETofArow');
INSERT INTO public.b_read VALUES ('2a10SECRETofArow');
INSERT INTO public.c_raised VALUES ('raise 2a10SECRETofArow');
INSERT INTO public.d_coded VALUES ('code 2a10SECRETofArow');
CREATE OR REPLACE FUNCTION public.fine(text) RETURNS boolean LANGUAGE sql AS $$SELECT $1 NOT LIKE '%SECRET%'$$;
CREATE OR REPLACE FUNCTION public.raised(v text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
  IF v LIKE 'raise%' THEN RAISE EXCEPTION 'it is %', v USING HINT = v, DETAIL = v; END IF;
  IF v LIKE 'code%' THEN RAISE EXCEPTION 'it is %', v USING ERRCODE = 'check_violation'; END IF;
  RETURN v::int > 0; END$$;";

/// Every file below a directory, as text.
fn texts(directory: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &texts(&path);
        } else {
            all += &String::from_utf8_lossy(&fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn no_row_is_told_by_a_drill_or_a_restore_that_fails() {
    let stack = Stack::new();
    stack.server.psql("postgres", TABLES);
    let daemon = Daemon::start(
        &stack,
        &[
            ("BACKUP_DRILL", "always"),
            ("BACKUP_DRILL_SCHEDULE", "off"),
            ("BACKUP_SCHEDULE", "off"),
        ],
    );
    daemon.backupd(["trigger"]).succeed();
    wait_for("a drill", || !daemon.status()["last_drill"].is_null());
    let kept = texts(&stack.backups.join(".backupd"));
    for words in [
        "violates check constraint \\\"is_fine\\\" (SQLSTATE 23514, table public.a_checked, constraint is_fine, line 2)",
        "invalid input syntax for type integer: \\\"…\\\" (SQLSTATE 22P02, line 1)",
        "a function raised an error, whose words are in the server's log (SQLSTATE P0001, line 1)",
        "a function raised an error, whose words are in the server's log (SQLSTATE 23514, line 1)",
    ] {
        assert!(kept.contains(words), "{words}: {kept}");
    }
    let told = [
        kept,
        daemon.running.stderr(),
        daemon.get("/health").1,
        daemon.get("/").1,
        daemon.status().to_string(),
    ];
    let restored = stack
        .backupd(["restore", "--yes", "--only", "supabase", "--keep-going"])
        .run();
    assert_eq!(restored.code, Some(4), "{restored}");
    for text in told.iter().chain([&restored.stdout, &restored.stderr]) {
        assert!(!text.contains(SECRET), "{text}");
    }
}
