//! What a role or a database carries does not reach backupd's own sessions: no operator of a stranger is run by them, and no setting is
//! in their way.

use tests::stack::Stack;

/// Types that backupd's questions compare.
const COMPARED: [(&str, &str); 8] = [
    ("oid", "oid"),
    ("oid", "regclass"),
    ("name", "name"),
    ("name", "text"),
    ("text", "text"),
    ("\"char\"", "\"char\""),
    ("integer", "integer"),
    ("boolean", "boolean"),
];

/// As the plain role `mallory`, who may create in `public`: operators of PostgreSQL's own names, on a function that makes its maker a
/// superuser when its caller is one, and that is slow.
fn plant(stack: &Stack) {
    let server = &stack.server;
    server.psql(
        "postgres",
        "CREATE ROLE mallory LOGIN PASSWORD 'm'; GRANT CREATE ON SCHEMA public TO mallory;
         ALTER DATABASE postgres SET search_path = public, pg_catalog;
         ALTER ROLE supabase_admin SET search_path = public, pg_catalog;",
    );
    let mut sql = String::from("SET ROLE mallory;");
    for (left, right) in COMPARED {
        sql += &format!(
            "CREATE FUNCTION public.same({left}, {right}) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN
               BEGIN ALTER ROLE mallory SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END;
               PERFORM pg_catalog.pg_sleep(1);
               RETURN $1 OPERATOR(pg_catalog.=) $2;
             END $$;
             CREATE OPERATOR public.= (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.same);"
        );
    }
    // The new settings hold from the next session on: this one is not taken in.
    server.psql("postgres", &format!("SET search_path = ''; {sql}"));
}

fn superusers(stack: &Stack) -> String {
    stack.server.psql(
        "template1",
        "SET search_path = ''; SELECT pg_catalog.string_agg(rolname, ' ' ORDER BY rolname) FROM pg_catalog.pg_roles WHERE rolsuper",
    )
}

#[test]
fn operators_of_a_stranger_are_run_by_no_session_of_ours() {
    let stack = Stack::new();
    let before = superusers(&stack);
    plant(&stack);
    for arguments in [
        &["check"][..],
        &["run"],
        &["verify", "--drill", "latest"],
        &["restore", "--yes", "--only", "supabase"],
        &["restore", "--yes", "--only", "supabase", "--into", "beside"],
        &["check"],
    ] {
        stack.backupd(arguments).succeed();
        assert_eq!(superusers(&stack), before, "{arguments:?}");
    }
    // The plant bites whoever is not careful.
    stack
        .server
        .psql("postgres", "SELECT 'a'::text = 'a'::text");
    assert!(superusers(&stack).contains("mallory"));
}

#[test]
fn settings_of_roles_and_databases_are_in_nobodys_way() {
    let stack = Stack::new();
    for database in ["postgres", "keycloak"] {
        stack.server.psql(
            "template1",
            &format!(
                "ALTER DATABASE {database} SET statement_timeout = '1ms'; ALTER DATABASE {database} SET lock_timeout = '1ms';
                 ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '1ms';
                 ALTER DATABASE {database} SET idle_session_timeout = '1s';
                 ALTER DATABASE {database} SET DateStyle = 'SQL, DMY'; ALTER DATABASE {database} SET TimeZone = 'Asia/Kathmandu';
                 ALTER DATABASE {database} SET quote_all_identifiers = on;
                 ALTER DATABASE {database} SET default_transaction_isolation = 'serializable';
                 ALTER ROLE supabase_admin IN DATABASE {database} SET role = 'anon';
                 ALTER ROLE supabase_admin IN DATABASE {database} SET default_transaction_read_only = on;
                 ALTER ROLE supabase_admin IN DATABASE {database} SET session_replication_role = 'replica';
                 ALTER ROLE keycloak IN DATABASE {database} SET default_transaction_read_only = on;"
            ),
        );
    }
    let settings = "SELECT datname, setrole::regrole, setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
        WHERE datname IN ('postgres', 'keycloak') ORDER BY datname, setrole::regrole::text";
    let before = stack.server.psql("template1", settings);
    for arguments in [
        &["check"][..],
        &["run"],
        &["verify", "--drill", "latest"],
        &["restore", "--yes", "--only", "supabase"],
        &["restore", "--yes", "--only", "keycloak"],
    ] {
        stack.backupd(arguments).succeed();
    }
    assert_eq!(stack.server.psql("template1", settings), before);
}
