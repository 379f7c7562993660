//! Words that a plain role can put into roles files and manifests stay words: nothing of them is run by a restore or a drill.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use tests::server::PgServer;
use tests::set;
use tests::stack::Stack;

/// What would end a comment, a string, a name, and make somebody a superuser.
const PLANT: &str = "public\n-- CREATE DATABASE x; CREATE USER planted SUPERUSER;\n\\connect postgres\nCREATE USER planted SUPERUSER;\n'; \
                     CREATE USER planted SUPERUSER; --\\' \"; CREATE USER planted SUPERUSER; --\n$$; CREATE USER planted SUPERUSER; $$";

fn quoted(text: &str, quote: &str) -> String {
    format!("{quote}{}{quote}", text.replace(quote, &quote.repeat(2)))
}

/// Everything that a role, a database or its owner may write in words of their own.
fn plant(server: &PgServer) {
    let (text, short) = (
        quoted(PLANT, "'"),
        "r\n'; \"\\; CREATE USER planted SUPERUSER",
    );
    let name = quoted(short, "\"");
    server.psql(
        "template1",
        &format!(
            "CREATE ROLE mallory LOGIN PASSWORD 'm'; CREATE ROLE {name}; GRANT {name} TO mallory;
             ALTER ROLE {name} SET app.x = {text};
             ALTER ROLE {name} IN DATABASE postgres SET search_path = {text}, public;
             COMMENT ON ROLE mallory IS {text}; COMMENT ON DATABASE postgres IS {text};
             ALTER DATABASE postgres SET app.x = {text};
             GRANT CONNECT ON DATABASE postgres TO {name}"
        ),
    );
    server.psql(
        "postgres",
        &format!("SET ROLE mallory; ALTER ROLE mallory SET search_path = {text}"),
    );
}

fn superusers(server: &PgServer) -> String {
    server.psql(
        "template1",
        "SELECT string_agg(quote_ident(rolname), ' ' ORDER BY rolname) FROM pg_roles WHERE rolsuper",
    )
}

/// The same lines; pg_dump tells settings of roles in no order of its own.
fn same(before: &str, after: &str) {
    let lines = |text: &str| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
    let (left, right) = (lines(before), lines(after));
    let differs: Vec<_> = left.symmetric_difference(&right).take(4).collect();
    assert!(differs.is_empty(), "{differs:#?}");
    assert_eq!(before.len(), after.len());
}

#[test]
fn words_of_roles_and_databases_are_never_run_and_come_back_byte_for_byte() {
    let stack = Stack::new();
    let before = superusers(&stack.server);
    plant(&stack.server);
    let (roles, database) = (stack.server.told_roles(), stack.server.told("postgres"));
    stack.backupd(["run"]).succeed();
    stack.backupd(["verify", "--drill", "latest"]).succeed();
    stack
        .backupd(["restore", "--yes", "--roles", "--only", "supabase"])
        .succeed();
    assert_eq!(superusers(&stack.server), before);
    assert_eq!(stack.server.told_roles(), roles);
    same(&database, &stack.server.told("postgres"));

    // A server without these roles.
    let fresh = PgServer::bare();
    let (from, to) = (stack.server.port().to_string(), fresh.port().to_string());
    let env = stack.env().into_iter();
    let env = env.map(|(name, value)| (name, value.replace(&from, &to)));
    stack
        .backupd(["restore", "--yes", "--roles", "--only", "supabase"])
        .envs(env)
        .succeed();
    assert_eq!(superusers(&fresh), before);
    assert_eq!(fresh.told_roles(), roles);
    same(&database, &fresh.told("postgres"));
}

/// As 0.1.0 wrote it: pg_dumpall's file, the database's properties behind it, its creation as a comment; nothing in the manifest.
#[test]
fn a_set_of_0_1_0_is_restored_and_its_words_are_not_run() {
    let stack = Stack::new();
    let before = superusers(&stack.server);
    plant(&stack.server);
    let (roles, database) = (stack.server.told_roles(), stack.server.told("postgres"));
    stack.backupd(["run"]).succeed();
    let entries = stack.only_set();
    let mut manifest = stack.manifest(&entries);
    for artifact in manifest["artifacts"].as_array_mut().unwrap() {
        artifact.as_object_mut().unwrap().remove("database");
    }
    set::rewrite(&entries, &manifest);
    let name = quoted("r\n'; \"\\; CREATE USER planted SUPERUSER", "\"");
    let text = format!("E{}", quoted(&PLANT.replace('\\', "\\\\"), "'"));
    let properties = format!(
        "-- CREATE DATABASE postgres WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8';\n\
         ALTER DATABASE postgres OWNER TO postgres;\nALTER DATABASE postgres SET \"app.x\" TO {text};\n\
         ALTER ROLE {name} IN DATABASE postgres SET search_path TO {text}, 'public';\n\
         GRANT CONNECT ON DATABASE postgres TO {name};\nCOMMENT ON DATABASE postgres IS {text};\n"
    );
    let file = entries.join("supabase_roles.sql.gz");
    set::replace(
        &file,
        format!("{roles}{properties}\n--\n-- PostgreSQL database cluster dump complete\n--\n"),
    );
    stack
        .backupd(["restore", "--yes", "--roles", "--only", "supabase"])
        .succeed();
    assert_eq!(superusers(&stack.server), before);
    assert_eq!(stack.server.told_roles(), roles);
    let settings = "SELECT setconfig::text FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database
        WHERE datname = 'postgres') AND setrole = (SELECT oid FROM pg_roles WHERE rolname LIKE 'r%planted%')";
    assert_eq!(
        stack.server.psql("template1", settings),
        stack.server.psql(
            "template1",
            &settings.replace(
                "'postgres'",
                "(SELECT datname FROM pg_database WHERE datname LIKE 'postgres_before_%')"
            )
        )
    );
    assert!(database.contains("app.x"));

    // A statement of another form is named, and nothing is touched.
    set::replace(
        &file,
        format!(
            "{roles}{properties}CREATE ROLE planted SUPERUSER;\n\n--\n-- PostgreSQL database cluster dump complete\n--\n"
        ),
    );
    let outcome = stack
        .backupd(["restore", "--yes", "--roles", "--only", "supabase"])
        .run();
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(
        outcome.stderr.contains("CREATE ROLE planted SUPERUSER"),
        "{outcome}"
    );
    assert_eq!(superusers(&stack.server), before);
}
