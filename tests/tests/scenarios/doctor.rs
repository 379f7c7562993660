//! `backupd doctor`: says yes of a whole stack, no of a broken one with the reason, and the line that it shows repairs it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use chrono::Duration;
use serde_json::Value;
use tests::backupd::{Backupd, binary};
use tests::host::{bindir, command};
use tests::server::{KEYCLOAK_PASSWORD, Options, PASSWORD, PgServer};
use tests::set::{change_census, older};
use tests::stack::Stack;

/// An operator in a shell that has the stack's settings.
struct Operator {
    env: BTreeMap<String, String>,
}

impl Operator {
    fn of(stack: &Stack) -> Self {
        Self {
            env: stack.env().into_iter().collect(),
        }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    fn backupd<const N: usize>(&self, arguments: [&str; N]) -> Backupd {
        Backupd::new(arguments).envs(&self.env)
    }

    fn asks(&self) -> Value {
        let told = self.backupd(["doctor", "--for", "host", "--json"]).run();
        let (code, told) = (told.code, told.json());
        assert_eq!(code, Some(i32::from(told["restorable"] != true)), "{told}");
        told
    }

    /// Types the lines into one shell, which then asks again. `password` is typed where one is asked for.
    fn pastes(&self, lines: &[String], password: &str) -> Value {
        let own = binary().parent().unwrap();
        let path = format!(
            "{}:{}:/usr/sbin:/usr/bin:/sbin:/bin",
            own.display(),
            bindir().display()
        );
        let script = format!(
            "{{\n{}\n}} >&2\nbackupd doctor --for host --json",
            lines.join("\n")
        );
        let mut shell = command("bash");
        shell
            .args(["-c", &script])
            .env("PATH", path)
            .env("PGPASSWORD", PASSWORD)
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut typed = shell.stdin.take().unwrap();
        // A shell that asks for nothing may have ended.
        let _ = typed.write_all(format!("{password}\n").as_bytes());
        drop(typed);
        let output = shell.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {script}\n{said}"))
    }
}

/// The findings with this fault.
fn of<'a>(told: &'a Value, fault: &str) -> Option<&'a Value> {
    let mut findings = told["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["fault"] == fault)
}

fn lines(told: &Value, fault: &str) -> Vec<String> {
    let finding = of(told, fault).unwrap_or_else(|| panic!("no {fault}: {told:#}"));
    let meaning = finding["meaning"].as_str().unwrap();
    assert!(meaning.ends_with('.'), "{meaning}");
    let lines = finding["lines"].as_array().unwrap().iter();
    lines
        .map(|line| line.as_str().unwrap().to_owned())
        .collect()
}

/// The fault makes it a no; what is shown, pasted, makes it a yes.
fn no_until_pasted(operator: &Operator, fault: &str, shown: &str, password: &str) {
    let told = operator.asks();
    assert_eq!(told["restorable"], false, "{fault}: {told:#}");
    let why = told["because"].to_string();
    let finding = of(&told, fault).unwrap_or_else(|| panic!("no {fault}: {told:#}"));
    assert_eq!(finding["stops_restore"], true, "{finding:#}");
    assert!(why.contains(finding["subject"].as_str().unwrap()), "{why}");
    let lines = lines(&told, fault);
    assert!(lines.join("\n").contains(shown), "{lines:#?}");
    let told = operator.pastes(&lines, password);
    assert_eq!(told["restorable"], true, "{fault}: {lines:#?}\n{told:#}");
    assert!(of(&told, fault).is_none(), "{told:#}");
}

/// It stops no restore; pasted, it is gone.
fn warned_until_pasted(operator: &Operator, fault: &str, shown: &str) {
    let told = operator.asks();
    let lines = lines(&told, fault);
    assert!(lines.join("\n").contains(shown), "{lines:#?}");
    assert_eq!(told["restorable"], true, "{fault}: {told:#}");
    let told = operator.pastes(&lines, PASSWORD);
    assert!(of(&told, fault).is_none(), "{fault}: {lines:#?}\n{told:#}");
}

/// Every file and directory with what would tell that it was changed.
fn state(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        all.push(format!(
            "{} {} {} {} {}",
            path.display(),
            meta.ino(),
            meta.mtime_nsec(),
            meta.ctime_nsec(),
            meta.len()
        ));
        if meta.is_dir() {
            all.extend(state(&path));
        }
    }
    all.sort();
    all
}

#[test]
fn of_a_whole_stack_it_says_yes_and_changes_nothing() {
    let stack = Stack::new();
    let operator = Operator::of(&stack);
    stack.backupd(["run"]).succeed();
    let before = (state(&stack.backups), state(&stack.storage));
    let databases = || {
        let oids = "SELECT string_agg(datname || oid, ',' ORDER BY oid) FROM pg_database";
        stack.server.psql("postgres", oids)
    };
    let there = databases();
    let told = operator.backupd(["doctor", "--for", "compose"]).succeed();
    let last: Vec<&str> = told.stdout.lines().rev().take(3).collect();
    assert_eq!(
        last[0], "you could restore this stack right now: yes",
        "{told}"
    );
    assert_eq!(
        last[1],
        "to restore the newest good set: docker compose run --rm restore latest"
    );
    assert_eq!(last[2], "the next run could make a good set: yes");
    let told = operator.asks();
    assert_eq!(told["restorable"], true);
    assert_eq!(told["runnable"], true);
    assert_eq!(told["at"], "host");
    assert_eq!(told["because"], serde_json::json!([]));
    let set = stack.only_set();
    assert_eq!(told["set"], set.file_name().unwrap().to_str().unwrap());
    for finding in told["findings"].as_array().unwrap() {
        for name in [
            "subject",
            "outcome",
            "text",
            "fault",
            "meaning",
            "lines",
            "stops_run",
            "stops_restore",
        ] {
            assert!(finding.get(name).is_some(), "{name}: {finding:#}");
        }
        assert_ne!(finding["outcome"], "failed", "{finding:#}");
    }
    assert_eq!((state(&stack.backups), state(&stack.storage)), before);
    assert_eq!(databases(), there);
}

#[test]
fn an_operator_who_pastes_what_is_shown_comes_from_nothing_to_yes() {
    let stack = Stack::new();
    fs::remove_dir(&stack.backups).unwrap();
    let operator = Operator::of(&stack);
    let told = operator.asks();
    let told = operator.pastes(&lines(&told, "no_directory"), "");
    assert_eq!(told["restorable"], false, "{told:#}");
    assert!(of(&told, "no_directory").is_none(), "{told:#}");
    no_until_pasted(&operator, "no_set", "backupd run", "");

    // A set without one of the sources is no set of the stack.
    fs::remove_dir_all(stack.only_set()).unwrap();
    let without = [("BACKUP_SOURCES", "supabase,storage")];
    stack.backupd(["run"]).envs(without).succeed();
    no_until_pasted(&operator, "not_in_set", "backupd run", "");

    // Of the future, all of them.
    for set in stack.sets() {
        older(&set, -Duration::days(30_000));
        fs::remove_dir_all(set).unwrap();
    }
    let told = operator.asks();
    assert!(
        told["because"].to_string().contains("dated in the future"),
        "{told:#}"
    );
    let told = operator.pastes(&lines(&told, "future_sets"), "");
    assert_eq!(told["restorable"], true, "{told:#}");
}

#[test]
fn damage_of_the_newest_set_is_a_no_until_there_is_another() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let dump = stack.only_set().join("storage_buckets.tar.gz");
    let mut bytes = fs::read(&dump).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&dump, bytes).unwrap();
    no_until_pasted(&Operator::of(&stack), "damaged", "backupd verify 20", "");
}

#[test]
fn who_may_restore_keycloak_is_asked_and_named_with_any_password() {
    let (stack, keycloak) = (Stack::new(), PgServer::start());
    let url = format!("jdbc:postgresql://127.0.0.1:{}/keycloak", keycloak.port());
    let operator = Operator::of(&stack).with("KC_DB_URL", url);
    operator.backupd(["run"]).succeed();
    no_until_pasted(&operator, "may_not_restore", "read -rsp", PASSWORD);
    // The roles that settings name, with another password.
    let wrong = stack.server.url_as("supabase_admin", "wrong", "postgres");
    let operator = Operator::of(&stack).with("DATABASE_URL", wrong);
    no_until_pasted(&operator, "role_rejected", "export DATABASE_URL=", PASSWORD);
    let operator = Operator::of(&stack).with("KC_DB_PASSWORD", "wrong");
    let told = operator.asks();
    assert_eq!(told["runnable"], false, "{told:#}");
    let told = operator.pastes(&lines(&told, "role_rejected"), KEYCLOAK_PASSWORD);
    assert_eq!(told["runnable"], true, "{told:#}");
}

#[test]
fn what_is_in_the_way_on_the_server_is_repaired_by_psql() {
    let settings = [("max_prepared_transactions", "2")];
    let stack = Stack::with(&Options {
        settings: &settings,
        ..Options::default()
    });
    stack.backupd(["run"]).succeed();
    let operator = Operator::of(&stack);
    stack.server.psql(
        "postgres",
        "BEGIN; SELECT pg_catalog.pg_current_xact_id(); PREPARE TRANSACTION 'it''s $(half) \"done\"'",
    );
    no_until_pasted(&operator, "prepared_transactions", "ROLLBACK PREPARED", "");
    stack.server.psql(
        "postgres",
        "ALTER DATABASE keycloak ALLOW_CONNECTIONS false",
    );
    no_until_pasted(&operator, "closed", "ALLOW_CONNECTIONS true", "");
    stack.server.psql(
        "postgres",
        "CREATE INDEX \"odd 'index'\" ON auth.users (id);
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'auth.\"odd ''index''\"'::regclass",
    );
    warned_until_pasted(&operator, "invalid_indexes", "REINDEX INDEX");
    stack.server.psql("template1", "CREATE DATABASE _supabase");
    warned_until_pasted(&operator, "in_no_set", "export BACKUP_DATABASES=all");
}

#[test]
fn files_settings_and_ports_are_repaired_in_the_shell() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let gone = stack.server.root().join("not mounted/here/storage");
    let operator = Operator::of(&stack).with("SUPABASE_STORAGE_PATH", gone.to_str().unwrap());
    no_until_pasted(&operator, "no_parent", "mkdir -p '", "");

    // A restore that was killed while it unpacked.
    let remains = stack.storage.join(".backupd-restoring-20261120T020000Z");
    fs::create_dir(&remains).unwrap();
    // By which a restore knows its own.
    fs::set_permissions(&remains, fs::Permissions::from_mode(0o1700)).unwrap();
    let operator = Operator::of(&stack);
    warned_until_pasted(
        &operator,
        "tree_half_restored",
        "backupd restore --undo --only storage",
    );
    assert!(!remains.exists());

    let operator = Operator::of(&stack).with("BACKUP_RETENTON_DAYS", "3");
    let told = operator.asks();
    assert_eq!(told["runnable"], false, "{told:#}");
    warned_until_pasted(&operator, "settings", "export BACKUP_RETENTION_DAYS=");

    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = port.local_addr().unwrap();
    // Nobody reads what comes; the next port may be another's, too, and is not asked.
    let operator = Operator::of(&stack).with("BACKUP_HTTP_ADDR", addr.to_string());
    let told = operator.asks();
    let shown = lines(&told, "port_taken").join("\n");
    assert!(
        shown.contains("export BACKUP_HTTP_ADDR=127.0.0.1:"),
        "{shown}"
    );
    assert!(of(&told, "no_daemon").is_some(), "{told:#}");
}

#[test]
fn an_extension_that_the_server_lacks_is_a_no_with_its_package() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    change_census(&set, |held| {
        let names = &mut held["supabase"]["kinds"]["extension"]["names"];
        names.as_array_mut().unwrap().push("absent_one".into());
    });
    let told = Operator::of(&stack).asks();
    assert!(
        told["because"]
            .to_string()
            .contains("the server does not have what the source has: extension absent_one"),
        "{told:#}"
    );
    let shown = lines(&told, "no_extension").join("\n");
    assert!(
        shown.contains("apt-get install -y postgresql-15-absent-one"),
        "{shown}"
    );
}

#[test]
fn a_half_restored_database_stops_runs_and_is_put_back_by_the_line() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    // As a restore that was killed behind the exchange of names leaves it.
    stack.server.psql(
        "template1",
        "CREATE DATABASE \"keycloak_before_20261120T020000Z\" TEMPLATE keycloak;
         ALTER DATABASE \"keycloak_before_20261120T020000Z\" OWNER TO keycloak;
         ALTER DATABASE keycloak OWNER TO supabase_admin;
         GRANT ALL ON DATABASE keycloak TO keycloak;
         ALTER DATABASE keycloak SET backupd.restoring TO '20261120T020000Z';
         ALTER DATABASE keycloak SET backupd.name TO 'keycloak';
         ALTER DATABASE keycloak SET backupd.aside TO 'keycloak_before_20261120T020000Z'",
    );
    let operator = Operator::of(&stack);
    let told = operator.asks();
    assert_eq!(told["runnable"], false, "{told:#}");
    warned_until_pasted(
        &operator,
        "half_restored",
        "backupd restore --undo --only keycloak",
    );
    let told = operator.asks();
    assert_eq!(told["runnable"], true, "{told:#}");
}

/// Every remedy in Compose is of the service's own names.
#[test]
fn in_compose_the_lines_are_of_the_compose_file() {
    let (stack, keycloak) = (Stack::new(), PgServer::start());
    let url = format!("jdbc:postgresql://127.0.0.1:{}/keycloak", keycloak.port());
    let operator = Operator::of(&stack).with("KC_DB_URL", url);
    operator.backupd(["run"]).succeed();
    let told = operator.backupd(["doctor", "--for", "compose"]).run();
    assert_eq!(told.code, Some(1), "{told}");
    for line in [
        "FAILED  keycloak: backups are made, and nobody could restore them: role keycloak may not restore keycloak",
        "> secrets/restore_urls",
        "grep -q '^BACKUP_RESTORE_URLS_FILE=' backup.env || echo 'BACKUP_RESTORE_URLS_FILE=/run/secrets/restore_urls' >> backup.env",
        " && docker compose up -d --force-recreate backup",
        "when it is repaired, ask again: docker compose run --rm --entrypoint backupd restore doctor",
        "you could restore this stack right now: no, because keycloak: backups are made",
    ] {
        assert!(told.stdout.contains(line), "{line}: {told}");
    }
}
