//! A good set: what it holds, that it can be used without backupd, and that it says the truth of itself.

#![allow(
    clippy::unwrap_used,
    reason = "a scenario that cannot go on is a failed one"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
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
    assert_eq!(stack.backupd(["show", "--json"]).succeed().json(), manifest);
    stack.backupd(["verify"]).succeed();
    let secrets = [PASSWORD, KEYCLOAK_PASSWORD, "p%40ss", "keycloak%3Ap"];
    let text = fs::read_to_string(set.join("manifest.json")).unwrap();
    for secret in secrets {
        assert!(
            !text.contains(secret) && !outcome.to_string().contains(secret),
            "{secret} leaked"
        );
    }
}

#[test]
fn a_set_can_be_used_without_backupd() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    shell("sha256sum --check --strict --quiet SHA256SUMS", &[], &set);

    let target = PgServer::bare();
    let bin = tests::host::bindir();
    let psql = format!(
        "{}/psql -X -q -h 127.0.0.1 -U supabase_admin",
        bin.display()
    );
    let port = target.port().to_string();
    let envs = [("PGPASSWORD", PASSWORD), ("PGPORT", port.as_str())];
    // Roles that are there already complain, as they do for a person.
    shell(
        &format!("gunzip -c supabase_roles.sql.gz | {psql} -d postgres 2>/dev/null"),
        &envs,
        &set,
    );
    for (database, file) in [
        ("restored", "supabase_db.sql.gz"),
        ("keycloak", "keycloak_db.sql.gz"),
    ] {
        target.psql(
            "postgres",
            &format!("CREATE DATABASE {database} TEMPLATE template0"),
        );
        shell(
            &format!("gunzip -c {file} | {psql} -v ON_ERROR_STOP=1 -d {database} >/dev/null"),
            &envs,
            &set,
        );
    }
    assert_eq!(
        target.table_hashes("restored"),
        stack.server.table_hashes("postgres")
    );
    assert_eq!(
        target.table_hashes("keycloak"),
        stack.server.table_hashes("keycloak")
    );
    let settings = "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = 'postgres' ORDER BY 1";
    assert_eq!(
        target.psql("postgres", settings),
        stack.server.psql("postgres", settings)
    );
    let roles = "SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcanlogin, r.rolbypassrls, r.rolconfig, a.rolpassword,
        (SELECT string_agg(g.rolname, ',' ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)
        FROM pg_roles r JOIN pg_authid a ON a.oid = r.oid WHERE r.rolname !~ '^pg_' ORDER BY 1";
    assert_eq!(
        target.psql("postgres", roles),
        stack.server.psql("postgres", roles)
    );

    let copy = stack.server.root().join("copy");
    fs::create_dir(&copy).unwrap();
    let archive = set.join("storage_buckets.tar.gz");
    shell(
        &format!(
            "tar --xattrs --xattrs-include='*' -xpzf {}",
            archive.display()
        ),
        &[],
        &copy,
    );
    let differences = tree::differences(&tree::snapshot(&stack.storage), &tree::snapshot(&copy));
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
