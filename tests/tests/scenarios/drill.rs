//! A drill restores a set for proof: it says so when everything came back, and finds what did not.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use tests::backupd::Outcome;
use tests::daemon::Daemon;
use tests::server::{Options, PgServer};
use tests::set;
use tests::stack::{Stack, manifest, names};

fn drilled() -> Stack {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    stack
}

fn drill(stack: &Stack) -> Outcome {
    let set = stack.only_set();
    let set = set.file_name().unwrap().to_str().unwrap();
    stack.backupd(["verify", "--drill", "--json", set]).run()
}

/// Nothing of a drill stays but its report.
fn assert_swept(stack: &Stack) {
    let private = names(&stack.backups.join(".backupd"));
    assert!(!private.contains(&"scratch".to_owned()), "{private:?}");
    let servers = tests::host::command("pgrep")
        .args(["-f", &format!("{}/.backupd", stack.backups.display())])
        .output()
        .unwrap();
    assert!(
        servers.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&servers.stdout)
    );
}

fn report(stack: &Stack) -> Value {
    let set = stack
        .only_set()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let path = stack
        .backups
        .join(".backupd/drills")
        .join(format!("{set}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_whole_set_is_proven() {
    for settings in [&[][..], &[("BACKUP_DUMP_FORMAT", "custom")]] {
        let stack = Stack::new();
        stack
            .backupd(["run"])
            .envs(settings.iter().copied())
            .succeed();
        let outcome = drill(&stack);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let told = outcome.json();
        assert_eq!(told["verdict"], "proven", "{outcome}");
        assert_eq!(told, report(&stack));
        let supabase = &told["databases"][0];
        let rows: u64 = stack.server.table_rows("postgres").values().sum();
        assert_eq!(supabase["rows"], rows);
        assert!(supabase["objects"].as_u64().unwrap() > 200, "{supabase:#}");
        assert_eq!(supabase["answers"]["users of Supabase"], "50");
        assert_eq!(told["databases"][1]["answers"]["realms of Keycloak"], "2");
        assert!(
            told["server"].as_str().unwrap().contains("no network"),
            "{told:#}"
        );
        let people = stack.backupd(["verify", "--drill"]).succeed();
        assert!(people.stdout.contains("is PROVEN"), "{people}");
        assert_swept(&stack);
    }
}

#[test]
fn each_fault_in_a_dump_is_found() {
    let stack = drilled();
    let dump = stack.only_set().join("supabase_db.sql.gz");
    let roles = stack.only_set().join("supabase_roles.sql.gz");
    let whole = (
        fs::read(&dump).unwrap(),
        fs::read(&roles).unwrap(),
        fs::read(stack.only_set().join("manifest.json")).unwrap(),
    );
    let text = String::from_utf8(set::unzipped(&dump)).unwrap();
    let roles_text = String::from_utf8(set::unzipped(&roles)).unwrap();
    let without = |text: &str, from: &str, to: &str| {
        let begin = text.find(from).unwrap_or_else(|| panic!("{from}"));
        let end = begin + text[begin..].find(to).unwrap();
        format!("{}{}", &text[..begin], &text[end..])
    };
    let row = {
        let begin = text.find("COPY public.posts (").unwrap();
        let row = begin + text[begin..].find('\n').unwrap() + 1;
        let end = row + text[row..].find('\n').unwrap() + 1;
        format!("{}{}", &text[..row], &text[end..])
    };
    let policy = text.find("CREATE POLICY").unwrap();
    let policy_line = text[policy..].lines().next().unwrap().to_owned();
    let cases = [
        (&dump, row, "public.posts has 999 rows, not 1000"),
        (
            &dump,
            without(
                &text,
                "CREATE TABLE public.no_primary_key",
                "ALTER TABLE public.no_primary_key",
            ),
            "public.no_primary_key is missing",
        ),
        (
            &dump,
            text.replacen(&policy_line, "SELECT 1;", 1),
            "missing",
        ),
        (
            &dump,
            text.replace(
                "SELECT pg_catalog.setval('public.posts_id_seq', ",
                "SELECT pg_catalog.setval('public.posts_id_seq', 1 + 0 * ",
            ),
            "sequence public.posts_id_seq stands at",
        ),
        (
            &roles,
            roles_text.replace("\"dashboard_user\"", "\"somebody\""),
            "role \\\"dashboard_user\\\" does not exist",
        ),
    ];
    for (file, content, words) in cases {
        set::replace(file, content);
        let outcome = drill(&stack);
        assert_eq!(outcome.code, Some(4), "{words}: {outcome}");
        assert_eq!(outcome.json()["verdict"], "failed", "{outcome}");
        assert!(outcome.stdout.contains(words), "{words}: {outcome}");
        fs::write(&dump, &whole.0).unwrap();
        fs::write(&roles, &whole.1).unwrap();
        fs::write(stack.only_set().join("manifest.json"), &whole.2).unwrap();
        set::reseal(&stack.only_set());
    }
    assert_eq!(drill(&stack).code, Some(0));
    assert_swept(&stack);
}

#[test]
fn a_killed_drill_leaves_nothing_for_the_next() {
    let stack = drilled();
    let scratch = stack.backups.join(".backupd/scratch/data/postmaster.pid");
    let mut running = stack.backupd(["verify", "--drill"]).spawn();
    running.wait_until("the scratch server", |_| scratch.exists());
    let busy = stack.backupd(["verify", "--drill"]).run();
    assert_eq!(busy.code, Some(3), "{busy}");
    running.signal(Signal::KILL);
    drop(running);
    assert!(stack.backups.join(".backupd/scratch").exists());
    stack.backupd(["verify", "--drill"]).succeed();
    assert_swept(&stack);

    let mut running = stack.backupd(["verify", "--drill"]).spawn();
    running.wait_until("the scratch server", |_| scratch.exists());
    running.signal(Signal::TERM);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(143), "{outcome}");
    assert_swept(&stack);
}

#[test]
fn a_drill_that_takes_too_long_is_ended_and_told() {
    let stack = drilled();
    let outcome = stack
        .backupd(["verify", "--drill"])
        .env("BACKUP_STEP_TIMEOUT", "1s")
        .env("BACKUP_PG_BINDIR", slow_psql(&stack))
        .run();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome
            .stdout
            .contains("not done within 1 s (BACKUP_STEP_TIMEOUT)"),
        "{outcome}"
    );
    assert_swept(&stack);
}

/// PostgreSQL's programs, with a psql that never ends.
fn slow_psql(stack: &Stack) -> String {
    let dir = stack.server.root().join("slow");
    fs::create_dir(&dir).unwrap();
    for entry in fs::read_dir(tests::host::bindir()).unwrap() {
        let path = entry.unwrap().path();
        std::os::unix::fs::symlink(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    fs::remove_file(dir.join("psql")).unwrap();
    fs::write(dir.join("psql"), "#!/bin/sh\nexec sleep 600\n").unwrap();
    let status = tests::host::command("chmod")
        .arg("755")
        .arg(dir.join("psql"))
        .status();
    assert!(status.unwrap().success());
    dir.to_str().unwrap().to_owned()
}

#[test]
fn another_server_serves_and_keeps_nothing() {
    let stack = drilled();
    let before = stack.server.databases();
    let told = stack.server.told("postgres");
    // The stack's own.
    let outcome = stack
        .backupd(["verify", "--drill"])
        .env("BACKUP_DRILL_URL", stack.server.url("postgres"))
        .succeed();
    assert!(outcome.stdout.contains("is PROVEN"), "{outcome}");
    assert_eq!(stack.server.databases(), before);
    assert!(stack.server.told("postgres") == told);
    // One of its own.
    let other = PgServer::bare();
    let roles = other.told_roles();
    let outcome = stack
        .backupd(["verify", "--drill"])
        .env("BACKUP_DRILL_URL", other.url("postgres"))
        .succeed();
    // No role of the source is made there: what would need one is told.
    assert!(
        outcome
            .stdout
            .contains("is PROVEN but for what stands above")
            && outcome
                .stdout
                .contains("needs a role that the scratch server lacks"),
        "{outcome}"
    );
    assert_eq!(other.databases(), ["postgres"]);
    assert_eq!(other.told_roles(), roles);
    let wrong = stack
        .backupd(["verify", "--drill"])
        .env("BACKUP_DRILL_URL", "postgres://x@127.0.0.1:1/x")
        .run();
    assert_eq!(wrong.code, Some(1), "{wrong}");
    assert!(
        wrong.stdout.contains("BACKUP_DRILL_URL: ") && wrong.stdout.contains("cannot be reached"),
        "{wrong}"
    );
}

/// pg_cron is there, and stays still.
#[test]
fn jobs_do_not_run_in_a_drill() {
    let settings = [
        ("shared_preload_libraries", "pg_cron"),
        ("cron.database_name", "postgres"),
        ("cron.host", ""),
    ];
    let stack = Stack::with(&Options {
        settings: &settings,
        ..Options::default()
    });
    stack.server.psql(
        "postgres",
        "CREATE EXTENSION pg_cron; SELECT cron.schedule('job', '* * * * *', 'SELECT 1')",
    );
    stack.backupd(["run"]).succeed();
    let outcome = stack.backupd(["verify", "--drill", "--json"]).succeed();
    let told = outcome.json();
    assert_eq!(told["verdict"], "proven", "{outcome}");
    // Its rows are proven in tables that stand in for the extension's; the extension itself is not.
    let text = told["databases"][0]["not_proven"].to_string();
    assert!(text.contains("extension pg_cron: not proven"), "{outcome}");
    let supabase = &told["databases"][0];
    assert_eq!(supabase["digests"], supabase["tables"], "{outcome}");
    assert!(
        stack
            .backupd(["verify", "--drill"])
            .succeed()
            .stdout
            .contains("is PROVEN but for what stands above")
    );
}

/// What a server without the extension cannot have is told as such, and nothing else is.
#[test]
fn what_needs_an_absent_extension_is_not_proven() {
    let stack = drilled();
    let set = stack.only_set();
    // As if the source had had an extension that no server has here, and a table that rests on it.
    set::change_census(&set, |held| {
        let census = &mut held["supabase"];
        // Like a census of backupd 0.1.0, of names alone.
        census.as_object_mut().unwrap().remove("facets");
        for (kind, name) in [
            ("extension", "vector"),
            ("table", "public.embeddings"),
            ("index", "public.embeddings_key"),
        ] {
            let names = &mut census["kinds"][kind]["names"];
            names.as_array_mut().unwrap().push(name.into());
        }
        census["needs"]["vector"] =
            serde_json::json!(["table public.embeddings", "index public.embeddings_key"]);
    });
    set::census_into_manifest(&set);
    let mut told = manifest(&set);
    told["artifacts"][0]["tables"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({"table": "public.embeddings", "rows": 1}));
    let dump = set.join("supabase_db.sql.gz");
    let text = String::from_utf8(set::unzipped(&dump)).unwrap();
    let heading = |kind: &str, name: &str| {
        format!("--\n-- Name: {name}; Type: {kind}; Schema: public; Owner: postgres\n--\n\n")
    };
    let rows = "COPY public.embeddings (id, v) FROM stdin;\n1\tDROP TABLE auth.users;\n\\.\n\n";
    let table = "CREATE TABLE public.embeddings (id int, v extensions.vector);\n\n\
                 SECURITY LABEL FOR pgsodium ON TABLE auth.users IS 'label';\n\n";
    let first_rows = text.find("-- Data for Name:").unwrap() - 3;
    let text = format!(
        "{}{}{table}--\n-- Data for Name: embeddings; Type: TABLE DATA; Schema: public; Owner: postgres\n--\n\n{rows}{}",
        &text[..first_rows],
        heading("TABLE", "embeddings"),
        &text[first_rows..]
    );
    fs::write(set.join("manifest.json"), told.to_string()).unwrap();
    set::replace(&dump, text);
    let outcome = drill(&stack);
    let told = outcome.json();
    assert_eq!(told["verdict"], "proven", "{outcome}");
    let found = told["databases"][0]["not_proven"].to_string();
    for words in [
        "extension vector: not proven",
        "table public.embeddings: not proven",
        "index public.embeddings_key: not proven",
        "type \\\"extensions.vector\\\" does not exist",
        "needs a provider of security labels, which a private server does not load",
    ] {
        assert!(found.contains(words), "{words}: {outcome}");
    }
    // Its rows, which look like a statement, were not taken for one.
    assert_eq!(told["databases"][0]["answers"]["users of Supabase"], "50");
}

/// Repacks the storage archive with a change, and seals the set again.
fn repack(stack: &Stack, change: impl FnOnce(&std::path::Path)) {
    let set = stack.only_set();
    let archive = set.join("storage_buckets.tar.gz");
    let tree = stack.server.root().join("repacked");
    fs::create_dir(&tree).unwrap();
    let tar = |arguments: &[&str]| {
        let status = tests::host::command("tar")
            .args([
                "--xattrs",
                "--xattrs-include=*",
                "-C",
                tree.to_str().unwrap(),
            ])
            .args(arguments)
            .status();
        assert!(status.unwrap().success(), "{arguments:?}");
    };
    tar(&["-xzf", archive.to_str().unwrap()]);
    change(&tree);
    tar(&["--sparse", "-czf", archive.to_str().unwrap(), "."]);
    fs::remove_dir_all(&tree).unwrap();
    set::reseal(&set);
}

type Change<'a> = &'a dyn Fn(&std::path::Path);

#[test]
fn each_fault_in_the_archive_is_found() {
    let stack = drilled();
    let archive = stack.only_set().join("storage_buckets.tar.gz");
    let whole = fs::read(&archive).unwrap();
    let object = tests::storage::objects()
        .into_iter()
        .find(|object| object.md5.is_some() && object.bytes > 10)
        .unwrap();
    let name = format!("{}/{}", object.bucket, object.name);
    let truncate = |tree: &std::path::Path| {
        fs::write(tree.join(object.path()), &object.content()[1..]).unwrap();
    };
    let alter = |tree: &std::path::Path| {
        fs::write(tree.join(object.path()), vec![b'x'; object.bytes]).unwrap();
    };
    let remove = |tree: &std::path::Path| fs::remove_file(tree.join(object.path())).unwrap();
    let retype = |tree: &std::path::Path| {
        let name = "user.supabase.content-type";
        let status = tests::host::command("setfattr")
            .args(["-n", name, "-v", "text/html"])
            .arg(tree.join(object.path()))
            .status();
        assert!(status.unwrap().success());
    };
    let changes: [(Change, &str); 4] = [
        (&retype, "content types among them"),
        (&truncate, "has a file of another size"),
        (&alter, "has a file of another content"),
        (&remove, "has no file"),
    ];
    for (change, words) in changes {
        repack(&stack, change);
        let outcome = drill(&stack);
        assert_eq!(outcome.code, Some(4), "{words}: {outcome}");
        assert!(
            outcome.stdout.contains(&format!("object {name}: {words}"))
                || words.starts_with("content types") && outcome.stdout.contains(words),
            "{words}: {outcome}"
        );
        fs::write(&archive, &whole).unwrap();
    }
    set::reseal(&stack.only_set());
    assert_eq!(drill(&stack).code, Some(0));
}

#[test]
fn the_daemon_drills_by_schedule_and_after_runs_and_health_knows() {
    let stack = Stack::new();
    let daemon = Daemon::start(
        &stack,
        &[
            ("BACKUP_DRILL", "always"),
            ("BACKUP_DRILL_SCHEDULE", "off"),
            ("BACKUP_SCHEDULE", "off"),
        ],
    );
    daemon.backupd(["trigger"]).succeed();
    let proven = |at_least: usize| {
        let mut seen = Value::Null;
        tests::host::wait_for("a drill", || {
            let status = daemon.status();
            let proofs = fs::read_to_string(stack.backups.join(".backupd/history.jsonl"))
                .unwrap()
                .matches("\"event\":\"drilled\"")
                .count();
            seen = status;
            proofs >= at_least
                && !seen["drilling"].as_bool().unwrap()
                && !seen["last_drill"].is_null()
        });
        seen
    };
    let status = proven(1);
    assert_eq!(
        (&status["health"], &status["last_proof"]["verdict"]),
        (&"healthy".into(), &"proven".into()),
        "{status:#}"
    );
    let metrics = daemon.get("/metrics").1;
    assert!(
        metrics.contains("backupd_last_drill_success 1"),
        "{metrics}"
    );
    assert!(daemon.get("/").1.contains("Last proven"));

    // A set that cannot be proven makes it unhealthy, with the reason, and the next proof makes it well again.
    let dump = stack.only_set().join("supabase_db.sql.gz");
    let whole = fs::read(&dump).unwrap();
    let text = String::from_utf8(set::unzipped(&dump)).unwrap();
    let policy = text.find("CREATE POLICY own_profile").unwrap();
    let end = policy + text[policy..].find(";\n").unwrap() + 1;
    set::replace(&dump, format!("{}{}", &text[..policy], &text[end..]));
    daemon.backupd(["verify", "--drill"]).run();
    fs::write(&dump, whole).unwrap();
    set::reseal(&stack.only_set());
    tests::host::wait_for("the verdict", || {
        daemon
            .get("/health")
            .1
            .contains("policy public.profiles.own_profile: missing")
    });
    let status = daemon.status();
    assert_eq!(status["health"], "unhealthy", "{status:#}");
    assert!(
        daemon
            .backupd(["status"])
            .succeed()
            .stdout
            .contains("FAILED")
    );
    std::thread::sleep(std::time::Duration::from_secs(1));
    daemon.backupd(["trigger"]).succeed();
    assert_eq!(proven(3)["health"], "healthy");
    drop(daemon);

    // By schedule, every second here.
    let before = fs::read_to_string(stack.backups.join(".backupd/history.jsonl"))
        .unwrap()
        .matches("\"event\":\"drilled\"")
        .count();
    let daemon = Daemon::start(
        &stack,
        &[
            ("BACKUP_DRILL_SCHEDULE", "* * * * * *"),
            ("BACKUP_SCHEDULE", "off"),
        ],
    );
    tests::host::wait_for("a scheduled drill", || {
        fs::read_to_string(stack.backups.join(".backupd/history.jsonl"))
            .unwrap()
            .matches("\"event\":\"drilled\"")
            .count()
            > before
    });
    assert!(!daemon.status()["next_drill"].is_null());
}

/// A view of the Vault's name that the extension did not bring is a user's code: nobody selects from it as superuser.
#[test]
fn a_view_that_only_looks_like_the_vaults_is_left_alone() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "CREATE TABLE public.trap (x int);
         CREATE FUNCTION vault.spring() RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'sprung'; END$$;
         CREATE VIEW vault.decrypted_secrets AS SELECT id, vault.spring() AS decrypted_secret FROM vault.secrets",
    );
    stack.backupd(["run"]).succeed();
    let outcome = drill(&stack);
    let told = outcome.json();
    assert_eq!(told["verdict"], "proven", "{outcome}");
    assert!(
        told["databases"][0]["answers"]["Vault"].is_null(),
        "{outcome}"
    );
    assert!(!outcome.to_string().contains("sprung"), "{outcome}");
}

/// The id of the set that `latest` is.
fn latest(stack: &Stack) -> String {
    let shown = stack.backupd(["show", "--json"]).succeed();
    shown.json()["set"].as_str().unwrap().to_owned()
}

/// The next set's id is another only when the clock shows another second.
fn run_supabase(stack: &Stack) -> String {
    let before = stack.sets().len();
    let run = stack.backupd(["run"]).env("BACKUP_SOURCES", "supabase");
    run.succeed();
    assert_eq!(stack.sets().len(), before + 1);
    let set = stack.sets().pop().unwrap();
    set.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_set_without_databases_is_proven_by_reading_and_says_so() {
    let stack = Stack::new();
    let run = stack.backupd(["run"]).env("BACKUP_SOURCES", "storage");
    run.succeed();
    let set = stack.only_set();
    let name = set.file_name().unwrap().to_str().unwrap();
    let told = stack.backupd(["verify", "--drill"]).succeed().stdout;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines[0],
        format!("drill of {name}: it has no database to restore")
    );
    let last = lines.last().unwrap();
    let proven = format!("{name} is PROVEN: every file of it was read back (");
    assert!(last.starts_with(&proven), "{told}");
}

/// `verify` is not the only one who writes down what it found.
#[test]
fn a_set_that_a_drill_reads_as_damaged_is_not_the_latest() {
    let stack = Stack::new();
    let (older, newer) = (run_supabase(&stack), run_supabase(&stack));
    assert_eq!(latest(&stack), newer);
    let dump = stack.backups.join(&newer).join("supabase_db.sql.gz");
    let whole = fs::read(&dump).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&dump, damaged).unwrap();
    assert_eq!(latest(&stack), newer);
    let outcome = stack.backupd(["verify", "--drill", "--json", &newer]).run();
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(
        outcome.json()["read_back"][0]
            .as_str()
            .unwrap()
            .starts_with("supabase_db.sql.gz: "),
        "{outcome}"
    );
    assert_eq!(latest(&stack), older);
    // Read back whole, it is good again.
    fs::write(&dump, whole).unwrap();
    stack.backupd(["verify", &newer]).succeed();
    assert_eq!(latest(&stack), newer);
}

/// What retention removes meanwhile is no set that failed.
#[test]
fn a_set_that_is_removed_meanwhile_has_not_failed() {
    let stack = drilled();
    let scratch = stack.backups.join(".backupd/scratch/data/postmaster.pid");
    let mut running = stack.backupd(["verify", "--drill"]).spawn();
    running.wait_until("the scratch server", |_| scratch.exists());
    fs::remove_dir_all(stack.only_set()).unwrap();
    let outcome = running.wait();
    assert!(
        outcome
            .to_string()
            .contains("was removed while it was drilled"),
        "{outcome}"
    );
    let history = fs::read_to_string(stack.backups.join(".backupd/history.jsonl")).unwrap();
    assert!(!history.contains("\"event\":\"drilled\""), "{history}");
    let reports = stack.backups.join(".backupd/drills");
    assert!(!reports.exists() || names(&reports).is_empty());
    assert_swept(&stack);
}

/// Begins a drill on a named server and waits until it loads: a session that stands still while it logs in holds up who drops databases.
fn begun_on(stack: &Stack, named: &PgServer) -> tests::backupd::Running {
    let mut running = stack
        .backupd(["verify", "--drill"])
        .env("BACKUP_DRILL_URL", named.url("postgres"))
        .spawn();
    let loads = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'backupd_drill_%'
        AND (query LIKE 'CREATE %' OR query LIKE 'ALTER %' OR query LIKE 'COPY %' OR query LIKE 'GRANT %')";
    running.wait_until("the load", |_| named.psql("template1", loads) != "0");
    running
}

#[test]
fn two_backup_directories_share_a_scratch_server() {
    let stack = Stack::new();
    run_supabase(&stack);
    let other = stack.server.root().join("others");
    fs::create_dir(&other).unwrap();
    let of_other = |arguments: &[&str]| {
        stack
            .backupd(arguments)
            .env("BACKUP_DIR", &other)
            .env("BACKUP_SOURCES", "supabase")
    };
    of_other(&["run"]).succeed();
    let named = PgServer::bare();
    let running = begun_on(&stack, &named);
    running.signal(Signal::STOP);
    let databases = named.databases();
    of_other(&["verify", "--drill"])
        .env("BACKUP_DRILL_URL", named.url("postgres"))
        .succeed();
    assert_eq!(named.databases(), databases);
    running.signal(Signal::CONT);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(named.databases(), ["postgres"]);
}

#[test]
fn a_drill_that_is_ended_leaves_no_database_on_a_named_server() {
    let stack = Stack::new();
    run_supabase(&stack);
    let named = PgServer::bare();
    let roles = named.told_roles();
    let running = begun_on(&stack, &named);
    running.signal(Signal::TERM);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(143), "{outcome}");
    assert_eq!(named.databases(), ["postgres"], "{outcome}");
    // One that was killed leaves its own to the next.
    let running = begun_on(&stack, &named);
    running.signal(Signal::KILL);
    drop(running);
    assert!(named.databases().len() > 1);
    stack
        .backupd(["verify", "--drill"])
        .env("BACKUP_DRILL_URL", named.url("postgres"))
        .succeed();
    assert_eq!(named.databases(), ["postgres"]);
    assert_eq!(named.told_roles(), roles);
}
