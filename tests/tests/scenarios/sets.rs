//! A good set: what it holds, that it can be used without backupd, and that it says the truth of itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tests::by_hand;
use tests::host::command;
use tests::server::{KEYCLOAK_PASSWORD, PASSWORD, PgServer};
use tests::stack::{Stack, names};
use tests::tree;

fn artifact<'a>(manifest: &'a Value, file: &str) -> &'a Value {
    manifest["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|artifact| artifact["file"] == file)
        .unwrap_or_else(|| panic!("no {file} in {manifest}"))
}

fn rows(artifact: &Value) -> BTreeMap<String, u64> {
    artifact["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| {
            (
                table["table"].as_str().unwrap().to_owned(),
                table["rows"].as_u64().unwrap(),
            )
        })
        .collect()
}

/// Runs a shell pipeline as a person would; its words are the failure's.
fn shell(script: &str, envs: &[(&str, &str)], dir: &Path) {
    let output = command("bash")
        .args(["-o", "pipefail", "-ec", script])
        .envs(envs.iter().copied())
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_run_makes_a_good_set_that_tells_what_it_holds() {
    let stack = Stack::new();
    let outcome = stack.backupd(["run"]).succeed();
    assert!(
        outcome.stdout.contains("is good: every byte was read back"),
        "{outcome}"
    );

    let set = stack.only_set();
    assert_eq!(
        names(&set),
        [
            "SHA256SUMS",
            "census.json.gz",
            "keycloak_db.sql.gz",
            "keycloak_roles.sql.gz",
            "manifest.json",
            "storage_buckets.tar.gz",
            "supabase_db.sql.gz",
            "supabase_roles.sql.gz"
        ]
    );
    assert_eq!(
        stack.entries().len(),
        2,
        "the set and .backupd: {:?}",
        stack.entries()
    );
    for name in names(&set) {
        let mode = fs::metadata(set.join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(
        fs::metadata(&set).unwrap().permissions().mode() & 0o777,
        0o700
    );

    let manifest = stack.manifest(&set);
    assert_eq!(manifest["version"], 1);
    assert_eq!(manifest["status"], "succeeded");
    assert_eq!(manifest["trigger"], "manual");
    assert_eq!(manifest["set"], set.file_name().unwrap().to_str().unwrap());
    let steps: Vec<&str> = manifest["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        steps,
        [
            "preflight",
            "supabase",
            "keycloak",
            "storage",
            "manifest",
            "verify"
        ]
    );

    let supabase = artifact(&manifest, "supabase_db.sql.gz");
    assert_eq!(rows(supabase), stack.server.table_rows("postgres"));
    assert_eq!(supabase["source"]["user"], "supabase_admin");
    assert_eq!(supabase["source"]["port"], stack.server.port());
    let keycloak = artifact(&manifest, "keycloak_db.sql.gz");
    assert_eq!(rows(keycloak), stack.server.table_rows("keycloak"));
    assert!(
        manifest["keycloak"]["schema_version"]
            .as_str()
            .unwrap()
            .starts_with("26.")
    );
    assert_eq!(
        artifact(&manifest, "supabase_roles.sql.gz")["passwords_included"],
        true
    );
    assert_eq!(
        artifact(&manifest, "keycloak_roles.sql.gz")["passwords_included"],
        false
    );
    let files = tree::snapshot(&stack.storage);
    let regular = files
        .values()
        .filter(|node| matches!(node.kind, tree::Kind::File { .. }))
        .count();
    assert_eq!(manifest["storage"]["files"], regular);

    let listed = stack.backupd(["list", "--json"]).succeed().json();
    assert_eq!(listed[0]["good"], true);
    assert_eq!(listed[0]["set"], manifest["set"]);
    assert!(listed[0]["bytes"].as_u64().unwrap() > 0 && listed[0]["duration_ms"].is_u64());
    let mut shown = manifest.clone();
    for artifact in shown["artifacts"].as_array_mut().unwrap() {
        // Supabase's jwt_secret is a setting of its database.
        artifact.as_object_mut().unwrap().remove("database");
    }
    assert_ne!(shown, manifest);
    assert_eq!(stack.backupd(["show", "--json"]).succeed().json(), shown);
    stack.backupd(["verify"]).succeed();
    let text = fs::read_to_string(set.join("manifest.json")).unwrap();
    holds_no_secret(&text);
    holds_no_secret(&outcome.to_string());
}

fn holds_no_secret(text: &str) {
    for secret in [PASSWORD, KEYCLOAK_PASSWORD, "p%40ss", "keycloak%3Ap"] {
        assert!(!text.contains(secret), "{secret} leaked");
    }
}

#[test]
fn keycloaks_version_is_the_newest_migration_of_the_schema_that_settings_name() {
    let stack = Stack::new();
    stack.server.psql(
        "keycloak",
        "CREATE SCHEMA \"k'c\"; CREATE TABLE \"k'c\".migration_model (id text, version text, update_time bigint);
         INSERT INTO \"k'c\".migration_model VALUES ('a', '27.4.0', 2), ('b', '9.0.1', 1);
         GRANT USAGE ON SCHEMA \"k'c\" TO keycloak; GRANT SELECT ON \"k'c\".migration_model TO keycloak",
    );
    stack.backupd(["run"]).env("KC_DB_SCHEMA", "k'c").succeed();
    let manifest = stack.manifest(&stack.only_set());
    assert_eq!(manifest["keycloak"]["schema_version"], "27.4.0");
}

#[test]
fn readmes_lines_restore_everything_by_hand() {
    let stack = Stack::new();
    stack.server.psql(
        "template1",
        "CREATE ROLE \"it's a
\\! touch /tmp/never; \"\"role\" CREATEDB VALID UNTIL '2030-01-01' PASSWORD 'x';
         COMMENT ON ROLE \"it's a
\\! touch /tmp/never; \"\"role\" IS E'a\\n\\\\! false\\n''; -- ';
         ALTER ROLE authenticator SET search_path = 'a, b', \"C d\", '';
         ALTER ROLE anon IN DATABASE keycloak SET app.text = E'it''s\\n\\\\connect x\\n-- CREATE DATABASE y; \\\\';
         ALTER DATABASE keycloak SET default_transaction_read_only = on; ALTER DATABASE keycloak CONNECTION LIMIT 40;
         REVOKE CONNECT ON DATABASE keycloak FROM PUBLIC; GRANT CONNECT ON DATABASE keycloak TO keycloak, anon WITH GRANT OPTION;
         COMMENT ON DATABASE keycloak IS E'one\\ntwo';
         GRANT service_role TO anon WITH ADMIN OPTION",
    );
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    let target = PgServer::bare();
    let files = by_hand::restore(&set, &target);
    assert_eq!(target.told_roles(), stack.server.told_roles());
    for database in ["postgres", "keycloak"] {
        assert_eq!(
            target.table_hashes(database),
            stack.server.table_hashes(database)
        );
        let [before, after] =
            [&stack.server, &target].map(|server| by_hand::in_one_order(&server.told(database)));
        let differs: Vec<_> = before
            .lines()
            .zip(after.lines())
            .filter(|(before, after)| before != after)
            .take(3)
            .collect();
        assert!(before == after, "{database}: {differs:#?}");
    }
    let differences = tree::differences(&tree::snapshot(&stack.storage), &tree::snapshot(&files));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn every_format_and_compression_makes_a_set_that_verifies() {
    let stack = Stack::new();
    let expected = stack.server.table_rows("postgres");
    for (format, compression, file) in [
        ("plain", "zstd", "supabase_db.sql.zst"),
        ("custom", "gzip", "supabase_db.dump"),
    ] {
        let run = stack
            .backupd(["run", "--json"])
            .env("BACKUP_DUMP_FORMAT", format)
            .env("BACKUP_COMPRESSION", compression)
            .succeed();
        let manifest = run.json();
        assert_eq!(
            rows(artifact(&manifest, file)),
            expected,
            "{format} {compression}"
        );
        stack
            .backupd(["verify", manifest["set"].as_str().unwrap()])
            .succeed();
    }
    let set = stack.sets().pop().unwrap();
    shell("pg_restore --list supabase_db.dump >/dev/null", &[], &set);
}

#[test]
fn extra_databases_and_paths_are_part_of_the_set() {
    let stack = Stack::new();
    let root = stack.server.root();
    fs::create_dir(root.join("db-config")).unwrap();
    fs::write(root.join("db-config/pgsodium_root.key"), "k").unwrap();
    fs::write(root.join("env"), "JWT_SECRET=x").unwrap();
    let paths = format!(
        "vault={},dotenv={}",
        root.join("db-config").display(),
        root.join("env").display()
    );
    let database = format!("kc2={}", stack.server.url("keycloak"));
    stack
        .backupd(["run"])
        .env("BACKUP_EXTRA_PATHS", paths)
        .env("BACKUP_EXTRA_DATABASES", database)
        .succeed();
    let set = stack.only_set();
    for file in [
        "extra_vault.tar.gz",
        "extra_dotenv.tar.gz",
        "kc2_db.sql.gz",
        "kc2_roles.sql.gz",
    ] {
        assert!(set.join(file).is_file(), "{file} in {:?}", names(&set));
    }
    shell(
        "tar -xzOf extra_vault.tar.gz pgsodium_root.key | grep -qx k",
        &[],
        &set,
    );
    shell(
        "tar -xzOf extra_dotenv.tar.gz env | grep -q JWT_SECRET",
        &[],
        &set,
    );
}

#[test]
fn a_good_set_stays_good_beside_foreign_names() {
    let stack = Stack::new();
    let foreign = stack.backups.join("photos");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("cat.jpg"), "meow").unwrap();
    fs::write(stack.backups.join("notes.txt"), "mine").unwrap();
    fs::create_dir(stack.backups.join("20200101T000000Z")).unwrap();
    fs::create_dir(stack.backups.join(".20200102T000000Z.partial")).unwrap();
    stack.backupd(["run"]).succeed();
    assert!(foreign.join("cat.jpg").is_file() && stack.backups.join("notes.txt").is_file());
    assert!(
        stack.backups.join("20200101T000000Z").is_dir(),
        "nobody knows what it is"
    );
    assert!(
        !stack.backups.join(".20200102T000000Z.partial").exists(),
        "left by a killed run"
    );
    let listed = stack.backupd(["list", "--json"]).succeed().json();
    assert_eq!(listed[0]["good"], false);
    assert_eq!(listed[1]["good"], true);
}
