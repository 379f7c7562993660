//! What a restore needs is asked while the sun shines: by `check`, and in one plan that names every obstacle.

use tests::server::{Options, PgServer};
use tests::stack::Stack;

/// Keycloak on a server of its own, where its role is no superuser.
fn keycloak_apart(keycloak: &PgServer) -> (String, String) {
    let url = format!("jdbc:postgresql://127.0.0.1:{}/keycloak", keycloak.port());
    ("KC_DB_URL".to_owned(), url)
}

#[test]
fn check_says_of_each_database_that_nobody_could_restore_it() {
    let (stack, keycloak) = (Stack::new(), PgServer::start());
    let checked = stack.backupd(["check"]).succeed();
    assert!(!checked.stdout.contains("could restore"), "{checked}");
    let apart = stack.backupd(["check"]).envs([keycloak_apart(&keycloak)]);
    let checked = apart.clone().succeed();
    let said = "warning  keycloak          backups are made, and nobody could restore them: role keycloak may not restore keycloak, which \
                takes a superuser: connect as supabase_admin (BACKUP_RESTORE_URLS)";
    assert!(checked.stdout.contains(said), "{checked}");
    let named = format!("keycloak={}", keycloak.url("postgres"));
    let checked = apart.env("BACKUP_RESTORE_URLS", named).succeed();
    assert!(!checked.stdout.contains("could restore"), "{checked}");
}

#[test]
fn a_plan_names_every_obstacle_and_ends_with_1() {
    let settings = [("max_prepared_transactions", "2")];
    let stack = Stack::with(&Options {
        settings: &settings,
        ..Options::default()
    });
    let keycloak = PgServer::start();
    stack.backupd(["run"]).succeed();
    stack
        .backupd(["restore", "--dry-run", "--allow-outside-links"])
        .succeed();
    stack.server.psql(
        "postgres",
        "BEGIN; SELECT pg_catalog.pg_current_xact_id(); PREPARE TRANSACTION 'it''s half'",
    );
    let planned = stack
        .backupd(["restore", "--dry-run"])
        .envs([keycloak_apart(&keycloak)])
        .env("SUPABASE_STORAGE_PATH", "/proc/nowhere/storage")
        .run();
    assert_eq!(planned.code, Some(1), "{planned}");
    for said in [
        "into postgres://supabase_admin@",
        "  in the way: postgres is held by prepared transactions (it's half): commit or roll them back",
        "  in the way: role keycloak may not restore keycloak",
        "  in the way: /proc/nowhere/storage has no parent: make /proc/nowhere first",
    ] {
        assert!(planned.stdout.contains(said), "{said}: {planned}");
    }
}
