//! What a dump holds that cannot be loaded, must not be run as superuser, or stands in a restore's way.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::backupd::Outcome;
use tests::server::{Options, PgServer};
use tests::set;
use tests::stack::Stack;

fn restore(stack: &Stack, more: &[&str]) -> Outcome {
    stack
        .backupd(
            ["restore", "--yes", "--only", "supabase"]
                .iter()
                .chain(more),
        )
        .run()
}

/// A CHECK that reads a table whose rows come later: no order of a dump's tables loads it.
#[test]
fn keep_going_loads_the_rest_and_lists_what_failed() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "CREATE TABLE public.z_parent (id int PRIMARY KEY); INSERT INTO public.z_parent VALUES (1), (2);
         CREATE FUNCTION public.has_parent(int) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.z_parent WHERE id = $1)';
         CREATE TABLE public.a_child (parent int CHECK (public.has_parent(parent)));
         INSERT INTO public.a_child VALUES (1), (2)",
    );
    stack.backupd(["run"]).succeed();
    let before = stack.server.told("postgres");
    let drilled = stack.backupd(["verify", "--drill", "--json"]).run();
    assert_eq!(drilled.json()["verdict"], "failed", "{drilled}");
    let refused = restore(&stack, &[]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused.stderr.contains("a_child")
            && refused.stderr.contains("postgres is as it was before"),
        "{refused}"
    );
    assert!(stack.server.told("postgres") == before);
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);

    let gone_on = restore(&stack, &["--keep-going", "--drop-old"]);
    assert_eq!(gone_on.code, Some(4), "{gone_on}");
    for words in [
        "NOT EVERYTHING IS BACK",
        "violates check constraint \"a_child_parent_check\"",
        "COPY \"public\".\"a_child\" (parent)",
        "the database before is kept as postgres_before_",
    ] {
        assert!(gone_on.stdout.contains(words), "{words}: {gone_on}");
    }
    let rows = |table: &str| {
        stack
            .server
            .psql("postgres", &format!("SELECT count(*) FROM {table}"))
    };
    assert_eq!(
        (rows("public.a_child"), rows("public.z_parent")),
        ("0".to_owned(), "2".to_owned())
    );
    assert_eq!(rows("public.posts"), "1000");
}

/// A superuser's COPY would run it as superuser: it says no to that, and tries to become one.
#[test]
fn users_code_in_checks_runs_as_the_tables_owner() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "CREATE ROLE plain LOGIN PASSWORD 'x'; GRANT CREATE ON SCHEMA public TO plain; SET ROLE plain;
         CREATE FUNCTION public.ordinary() RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
           BEGIN
             EXECUTE 'RESET ROLE'; EXECUTE 'ALTER ROLE plain SUPERUSER'; RETURN false;
           EXCEPTION WHEN OTHERS THEN NULL;
           END;
           BEGIN
             EXECUTE 'SET SESSION AUTHORIZATION DEFAULT'; EXECUTE 'ALTER ROLE plain SUPERUSER'; RETURN false;
           EXCEPTION WHEN OTHERS THEN NULL;
           END;
           RETURN NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user);
         END $$;
         CREATE DOMAIN public.watched AS text CHECK (public.ordinary() AND length(VALUE) < 50);
         CREATE TABLE public.checked (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word public.watched, words public.watched[],
           twice text GENERATED ALWAYS AS ('double') STORED, CHECK (public.ordinary()));
         CREATE TABLE public.parted (id int, CHECK (public.ordinary())) PARTITION BY RANGE (id);
         CREATE TABLE public.parted_1 PARTITION OF public.parted FOR VALUES FROM (0) TO (10)",
    );
    // In a session that is no superuser's from its beginning.
    let mut session = stack.server.tool("psql", "postgres");
    session.env("PGUSER", "plain").env("PGPASSWORD", "x").args([
        "-c",
        "INSERT INTO public.checked (word, words) VALUES ('a\\b', '{x,NULL}'), (E'tab\\there', NULL), (NULL, '{}')",
        "-c",
        "INSERT INTO public.parted VALUES (1), (2)",
    ]);
    assert!(session.status().unwrap().success());
    stack.backupd(["run"]).succeed();
    let before = (stack.server.told("postgres"), stack.server.told_roles());
    let drilled = stack.backupd(["verify", "--drill", "--json"]).run();
    assert_eq!(drilled.json()["verdict"], "proven", "{drilled}");
    let outcome = restore(&stack, &[]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(stack.server.told("postgres") == before.0);
    assert!(stack.server.told_roles() == before.1);
    let into = restore(&stack, &["--into", "beside"]);
    assert_eq!(into.code, Some(0), "{into}");
    assert_eq!(
        stack.server.psql(
            "postgres",
            "SELECT rolsuper FROM pg_roles WHERE rolname = 'plain'"
        ),
        "f"
    );
}

/// Nothing ends them but whoever prepared them.
#[test]
fn a_prepared_transaction_is_named_before_anything_is_made() {
    let settings = [("max_prepared_transactions", "5")];
    let stack = Stack::with(&Options {
        settings: &settings,
        ..Options::default()
    });
    stack.backupd(["run"]).succeed();
    stack.server.psql(
        "postgres",
        "BEGIN; LOCK TABLE public.posts IN ACCESS SHARE MODE; PREPARE TRANSACTION 'of the shop'",
    );
    let refused = restore(&stack, &["--force"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused
            .stderr
            .contains("held by prepared transactions (of the shop)")
            && refused.stderr.contains("ROLLBACK PREPARED"),
        "{refused}"
    );
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
    stack
        .server
        .psql("postgres", "ROLLBACK PREPARED 'of the shop'");
    assert_eq!(restore(&stack, &[]).code, Some(0));
}

/// Ctrl-C at the question is an answer.
#[test]
fn ctrl_c_at_the_prompt_ends_it() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let call = format!(
        "exec {} restore latest --only supabase",
        tests::backupd::binary().display()
    );
    let mut command = tests::host::command("script");
    command
        .args(["-qefc", &call, "/dev/null"])
        .envs(stack.env());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its end would be an answer.
    let _terminal = child.stdin.take();
    // The process that asks is the child of `script`'s shell; it is looked for by its own arguments and directory.
    let script = child.id().to_string();
    let asking = || {
        let found = tests::host::command("pgrep")
            .args(["-P", &script])
            .output()
            .unwrap();
        String::from_utf8_lossy(&found.stdout)
            .lines()
            .find_map(|line| line.trim().parse::<i32>().ok())
    };
    tests::host::wait_for("the question", || {
        asking().is_some_and(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|text| text.contains("restore"))
        })
    });
    let mut said = Vec::new();
    let mut screen = child.stdout.take().unwrap();
    while !String::from_utf8_lossy(&said).contains(" to go on: ") {
        let mut bytes = [0; 4096];
        let count = screen.read(&mut bytes).unwrap();
        assert!(count > 0, "it ended: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&bytes[..count]);
    }
    let began = Instant::now();
    kill_process(Pid::from_raw(asking().unwrap()).unwrap(), Signal::INT).unwrap();
    screen.read_to_end(&mut said).unwrap();
    child.wait().unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let text = String::from_utf8_lossy(&said);
    assert!(
        text.contains("not confirmed (interrupted): nothing was touched"),
        "{text}"
    );
    assert_eq!(stack.server.databases(), ["keycloak", "postgres"]);
}

/// Roles are made before anything else, and are not taken away again: it is said which. Those that were there are as they were.
#[test]
fn a_restore_that_fails_says_which_roles_stay() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let file = stack.only_set().join("supabase_db.sql.gz");
    let whole = String::from_utf8(set::unzipped(&file)).unwrap();
    set::replace(
        &file,
        whole.replacen("CREATE TABLE public.posts", "CREATE TABEL public.posts", 1),
    );
    for more in [&[][..], &["--roles"]] {
        let fresh = PgServer::bare();
        fresh.psql(
            "template1",
            "CREATE ROLE authenticator LOGIN PASSWORD 'of the new stack'; CREATE ROLE anon NOINHERIT",
        );
        let roles = "SELECT rolname FROM pg_authid WHERE oid >= 16384 ORDER BY rolname";
        let kept = "SELECT a::text FROM pg_authid a WHERE rolname IN ('anon', 'authenticator', 'supabase_admin') ORDER BY rolname";
        let (before, as_they_were) = (
            fresh.psql("template1", roles),
            fresh.psql("template1", kept),
        );
        let call = || {
            let (from, to) = (stack.server.port().to_string(), fresh.port().to_string());
            let env = stack.env().into_iter();
            let env = env.map(|(name, value)| (name, value.replace(&from, &to)));
            stack
                .backupd(
                    ["restore", "--yes", "--only", "supabase"]
                        .iter()
                        .chain(more),
                )
                .envs(env)
                .run()
        };
        let failed = call();
        assert_eq!(failed.code, Some(1), "{failed}");
        let there = fresh.psql("template1", roles);
        let made: Vec<&str> = there
            .lines()
            .filter(|role| !before.lines().any(|before| before == *role))
            .collect();
        assert!(made.len() > 5, "{made:?}");
        let said = failed
            .stderr
            .split_once("roles that were missing were created, and stay: ");
        let (_, said) = said.unwrap_or_else(|| panic!("{failed}"));
        let mut named: Vec<&str> = said.lines().next().unwrap().split(", ").collect();
        named.sort_unstable();
        assert_eq!(named, made, "{failed}");
        assert!(!failed.stderr.contains("nothing was touched"), "{failed}");
        assert_eq!(fresh.psql("template1", kept), as_they_were, "{failed}");
        // Now that they are there, none is made, and none is named.
        let again = call();
        assert_eq!(again.code, Some(1), "{again}");
        assert!(!again.stderr.contains("roles that were missing"), "{again}");
        assert_eq!(fresh.psql("template1", roles), there);
    }
}
