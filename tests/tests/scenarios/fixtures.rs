//! The fixtures themselves: a sample stack that is not what it claims would make every other test say nothing.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tests::host::command;
use tests::server::{KEYCLOAK_PASSWORD, KEYCLOAK_USER, PASSWORD, PgServer};
use tests::stack::Stack;
use tests::{storage, tree};

#[test]
fn servers_are_private_and_leave_nothing_behind() {
    let (one, two) = (PgServer::start(), PgServer::start());
    assert_ne!(one.port(), two.port());
    one.psql("postgres", "CREATE TABLE public.only_here ()");
    assert!(
        two.try_psql("postgres", "SELECT FROM public.only_here")
            .unwrap_err()
            .contains("does not exist")
    );
    one.stop();
    assert!(one.try_psql("postgres", "SELECT 1").is_err());
    one.start_again();
    assert_eq!(
        one.psql("postgres", "SELECT count(*) FROM public.only_here"),
        "0"
    );
    let root = one.root().to_owned();
    drop(one);
    assert!(!root.exists());
}

#[test]
fn the_server_looks_like_supabase() {
    let server = PgServer::start();
    let ask = |sql| server.psql("postgres", sql);
    assert_eq!(
        ask(
            "SELECT rolsuper, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = 'postgres'"
        ),
        "f|t|t"
    );
    assert_eq!(
        ask("SELECT rolsuper FROM pg_roles WHERE rolname = 'supabase_admin'"),
        "t"
    );
    assert_eq!(
        ask("SELECT current_setting('app.settings.jwt_secret') LIKE 'sample-%'"),
        "t"
    );
    assert_eq!(
        ask(
            "SELECT count(DISTINCT relowner) >= 6 FROM pg_class WHERE relkind = 'r' AND oid > 16384"
        ),
        "t"
    );
    let denied = server.try_psql("postgres", "SET ROLE postgres; SELECT * FROM vault.secrets");
    assert!(denied.unwrap_err().contains("permission denied"));
    // Passwords are asked for, and are the ones that the stack's settings carry.
    let login = |url: String| {
        command(tests::host::bindir().join("psql"))
            .args(["-XqAtc", "SELECT current_user", &url])
            .output()
            .unwrap()
    };
    let admitted = login(server.url_as(KEYCLOAK_USER, KEYCLOAK_PASSWORD, "keycloak"));
    assert_eq!(String::from_utf8_lossy(&admitted.stdout), "keycloak\n");
    assert!(
        login(server.url_as("authenticator", PASSWORD, "postgres"))
            .status
            .success()
    );
    assert!(
        !login(server.url_as("postgres", "wrong", "postgres"))
            .status
            .success()
    );
}

#[test]
fn a_dump_of_the_fixtures_loads_and_holds_the_same() {
    let source = PgServer::start();
    let target = PgServer::bare();
    for database in ["postgres", "keycloak"] {
        let roles = source
            .tool("pg_dumpall", "postgres")
            .args(["--roles-only", "-f"])
            .arg(target.root().join("roles.sql"))
            .status();
        assert!(roles.unwrap().success());
        // Without stopping: a role that is there already is no fault.
        let loaded = target
            .tool("psql", "template1")
            .args(["-Xq", "-f"])
            .arg(target.root().join("roles.sql"))
            .stderr(Stdio::null())
            .status();
        assert!(loaded.unwrap().success());
        let dump = target.root().join("dump.sql");
        assert!(
            source
                .tool("pg_dump", database)
                .arg("-f")
                .arg(&dump)
                .status()
                .unwrap()
                .success()
        );
        target.psql("template1", &format!("DROP DATABASE IF EXISTS {database};\nCREATE DATABASE {database} TEMPLATE template0;"));
        target.psql_file(database, &dump, &[]);
        let (before, after) = (source.table_hashes(database), target.table_hashes(database));
        assert_eq!(before, after);
        assert!(before.len() > 15, "{before:?}");
    }
    let rows = source.table_rows("postgres");
    assert_eq!(rows["public.zero_columns"], 7);
    assert_eq!(rows["public.empty_table"], 0);
    assert_eq!(rows["public.\"line\nbreak\""], 2);
    assert_eq!(rows["public.\"ünï.code\""], 3);
}

#[test]
fn a_changed_value_changes_the_hash_and_no_other() {
    let server = PgServer::start();
    let before = server.table_hashes("postgres");
    server.psql(
        "postgres",
        "UPDATE public.tricky_text SET value = value || ' ' WHERE id = 5",
    );
    let after = server.table_hashes("postgres");
    let changed: Vec<_> = before
        .keys()
        .filter(|name| before[*name] != after[*name])
        .collect();
    assert_eq!(changed, ["public.tricky_text"]);
}

#[test]
fn rows_of_storage_objects_match_the_files() {
    let stack = Stack::new();
    let sql = "SELECT concat_ws('/', 'stub/stub', bucket_id, name, version) || chr(9) || coalesce(metadata ->> 'size', '') || chr(9)
        || coalesce(trim('\"' FROM metadata ->> 'eTag'), '') || chr(9) || coalesce(metadata ->> 'mimetype', '') FROM storage.objects";
    let rows = stack.server.psql("postgres", sql);
    assert_eq!(rows.lines().count(), storage::objects().len());
    for row in rows.lines() {
        let [path, size, etag, mimetype] = row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let file = stack.storage.join(path);
        let bytes = fs::metadata(&file)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
            .len();
        if !size.is_empty() {
            assert_eq!(
                (bytes.to_string().as_str(), md5(&file).as_str()),
                (size, etag),
                "{path}"
            );
            assert_eq!(
                xattr::get(&file, "user.supabase.content-type")
                    .unwrap()
                    .unwrap(),
                mimetype.as_bytes()
            );
        }
    }
}

#[test]
fn the_storage_tree_is_the_same_each_time_and_differences_show() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    storage::build(&one);
    storage::build(&two);
    let before = tree::snapshot(&one);
    assert_eq!(
        tree::differences(&before, &tree::snapshot(&two)),
        Vec::<String>::new()
    );
    assert!(
        before
            .values()
            .any(|node| matches!(node.kind, tree::Kind::HardLink(_)))
    );
    let object = one.join(storage::objects()[0].path());
    xattr::remove(&object, "user.supabase.cache-control").unwrap();
    let differences = tree::differences(&before, &tree::snapshot(&one));
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].contains("portrait.png"));
}

/// By coreutils, so that the check does not share code with what it checks.
fn md5(path: &Path) -> String {
    let output = command("md5sum")
        .stdin(fs::File::open(path).unwrap())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()[..32].to_owned()
}
