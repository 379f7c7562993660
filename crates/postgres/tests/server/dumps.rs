//! Dumps and roles: what is kept comes back, and what cannot be kept is said.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use postgres::dsn::Dsn;
use postgres::dump::{DumpError, DumpFormat, Dumped, dump};
use postgres::restore::{custom_inventory, custom_list};
use postgres::roles::dump_roles;
use postgres::server::{Facts, Server};
use tokio_util::sync::CancellationToken;

use crate::private::{PASSWORD, PrivateServer, server};
use crate::{GZIP, decoded, names, request, tools};

async fn facts_of(dsn: &Dsn) -> Facts {
    let server = Server::connect(dsn).await.unwrap();
    Facts::ask(&server).await.unwrap()
}

/// Names, values and objects that a dump must bring over whole.
const SCHEMA: [&str; 3] = [
    r#"CREATE SCHEMA auth; CREATE SCHEMA "My ""Schema";
    CREATE TABLE auth.users (id int PRIMARY KEY, name text);
    INSERT INTO auth.users SELECT i, 'it''s $$ ' || E'\\.\n\t' || i FROM generate_series(1, 1000) i;
    CREATE TABLE "My ""Schema"."tä.ble (x) FROM stdin;" ("a""b" text, "new
line" bytea);
    INSERT INTO "My ""Schema"."tä.ble (x) FROM stdin;" VALUES ('\.', '\x00ff0a');
    CREATE TABLE public.none (); INSERT INTO public.none DEFAULT VALUES; INSERT INTO public.none DEFAULT VALUES;
    CREATE TABLE public.empty (id int);
    CREATE TABLE public.parts (id int, made int GENERATED ALWAYS AS (id * 2) STORED) PARTITION BY RANGE (id);
    CREATE TABLE public.part_1 PARTITION OF public.parts FOR VALUES FROM (0) TO (10);
    INSERT INTO public.parts VALUES (1), (2), (3);
    COMMENT ON TABLE public.empty IS 'COPY public.fake (id) FROM stdin;
1
\.
';"#,
    r"CREATE FUNCTION public.f() RETURNS void LANGUAGE plpgsql AS $_$
begin
  execute $$
COPY public.fake (id) FROM stdin;
1
\.
$$;
end $_$;
    CREATE FUNCTION public.g(integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC; SELECT $1 - (-1); SELECT $1; END;",
    "SELECT lo_from_bytea(0, '\\x2d2d0a5c2e0a')",
];

async fn sample(server: &PrivateServer, name: &str) {
    server
        .sql(
            "postgres",
            &[&format!("CREATE DATABASE {name} TEMPLATE template0")],
        )
        .await;
    server.sql(name, &SCHEMA).await;
}

#[tokio::test]
async fn both_formats_tell_the_same_rows_and_plain_loads_whole() {
    let (server, tools) = (server(), tools().await);
    sample(&server, "whole").await;
    let dsn = server.dsn("whole");
    let dir = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let plain = request(&tools, &dsn, dir.path(), DumpFormat::Plain, GZIP);
    let Dumped { written, content } = dump(plain, &cancel).await.unwrap();
    let content = content.unwrap();
    let told: Vec<(String, u64)> = content
        .tables
        .iter()
        .map(|table| (table.table.clone(), table.rows))
        .collect();
    let expected = [
        ("\"My \"\"Schema\".\"tä.ble (x) FROM stdin;\"", 1),
        ("auth.users", 1000),
        ("public.\"none\"", 2),
        ("public.empty", 0),
        ("public.part_1", 3),
    ];
    assert_eq!(told, expected.map(|(table, rows)| (table.to_owned(), rows)));
    let text = decoded(dir.path());
    assert_eq!(written.raw_bytes, text.len() as u64);

    server
        .sql("postgres", &["CREATE DATABASE again TEMPLATE template0"])
        .await;
    let sql = dir.path().join("sql");
    fs::write(&sql, &text).unwrap();
    assert_eq!(server.psql("again", &sql), "");
    let again = server.dsn("again");
    let twice = tempfile::tempdir().unwrap();
    let second = dump(
        request(&tools, &again, twice.path(), DumpFormat::Plain, GZIP),
        &cancel,
    )
    .await
    .unwrap();
    assert_eq!(second.content.as_ref(), Some(&content));

    let custom = tempfile::tempdir().unwrap();
    let dumped = dump(
        request(&tools, &dsn, custom.path(), DumpFormat::Custom, GZIP),
        &cancel,
    )
    .await
    .unwrap();
    assert_eq!(dumped.content, None);
    let file = custom.path().join("artifact");
    assert!(custom_list(&tools, &file, &cancel).await.unwrap() > 10);
    assert_eq!(
        custom_inventory(&tools, &file, &cancel).await.unwrap(),
        content
    );
    File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(dumped.written.bytes - 100)
        .unwrap();
    custom_inventory(&tools, &file, &cancel).await.unwrap_err();
}

#[tokio::test]
async fn a_roles_file_loads_without_an_error_where_nothing_is_and_where_all_is() {
    const SETTINGS: &str = "SELECT format('%s %s', coalesce(r.rolname, '-'), s.setconfig) FROM pg_db_role_setting s
        JOIN pg_database d ON d.oid = s.setdatabase AND d.datname = 'the db=\"x' LEFT JOIN pg_roles r ON r.oid = s.setrole ORDER BY 1";
    const OWNER: &str = "SELECT format('%s %s %s', pg_get_userbyid(datdba), ARRAY(SELECT unnest(datacl)::text ORDER BY 1), shobj_description(oid, 'pg_database'))
        FROM pg_database WHERE datname = 'the db=\"x'";
    let (server, tools) = (server(), tools().await);
    let create = "CREATE DATABASE \"the db=\"\"x\" TEMPLATE template0";
    server.sql("postgres", &["CREATE ROLE \"db owner\" LOGIN PASSWORD 'x'; CREATE ROLE api NOLOGIN; GRANT api TO \"db owner\";
        ALTER ROLE api SET statement_timeout = '3s'", create, "
        ALTER DATABASE \"the db=\"\"x\" OWNER TO \"db owner\";
        ALTER DATABASE \"the db=\"\"x\" SET \"app.settings.jwt_secret\" TO 'it''s
\\connect postgres
CREATE DATABASE trap;
';
        ALTER DATABASE \"the db=\"\"x\" SET search_path TO auth, \"$user\", public;
        ALTER ROLE api IN DATABASE \"the db=\"\"x\" SET search_path TO auth, public;
        GRANT CONNECT ON DATABASE \"the db=\"\"x\" TO api; REVOKE TEMPORARY ON DATABASE \"the db=\"\"x\" FROM PUBLIC;
        COMMENT ON DATABASE \"the db=\"\"x\" IS 'it''s mine'"]).await;
    let dsn = server.dsn("the%20db%3D%22x");
    let facts = facts_of(&dsn).await;
    let before = (
        server.ask("postgres", SETTINGS).await,
        server.ask("postgres", OWNER).await,
    );
    assert!(
        before.0.contains("jwt_secret") && before.0.contains("api {") && before.1.contains("mine"),
        "{before:?}"
    );

    let dir = tempfile::tempdir().unwrap();
    let dumped = dump_roles(
        request(&tools, &dsn, dir.path(), DumpFormat::Plain, GZIP),
        &facts,
        &CancellationToken::new(),
    )
    .await
    .unwrap();
    assert!(dumped.passwords_included);
    assert_eq!(names(dir.path()), ["artifact"], "nothing temporary is left");
    let text = decoded(dir.path());
    assert!(
        text.contains("SCRAM-SHA-256$") && text.contains("CREATE DATABASE "),
        "{text}"
    );
    assert!(!text.contains(PASSWORD));
    assert!(text.ends_with("-- PostgreSQL database cluster dump complete\n--\n"));
    let sql = dir.path().join("sql");
    fs::write(&sql, &text).unwrap();

    server
        .sql(
            "postgres",
            &[
                "DROP DATABASE \"the db=\"\"x\"",
                "DROP ROLE \"db owner\", api",
            ],
        )
        .await;
    for what in ["nothing is there", "all is there"] {
        assert_eq!(server.psql("postgres", &sql), "", "{what}");
        let after = (
            server.ask("postgres", SETTINGS).await,
            server.ask("postgres", OWNER).await,
        );
        assert_eq!(after, before, "{what}");
    }
    server
        .sql(
            "postgres",
            &[
                "DROP DATABASE \"the db=\"\"x\"",
                "CREATE DATABASE \"the db=\"\"x\" TEMPLATE template0 LC_COLLATE 'POSIX' LC_CTYPE 'C'",
            ],
        )
        .await;
    let complaint = server.psql("postgres", &sql);
    assert!(
        complaint.contains("of another encoding or locale"),
        "{complaint}"
    );
}

#[tokio::test]
async fn what_keeps_a_role_from_a_whole_dump_is_found_before_and_fails_the_dump() {
    let (server, tools) = (server(), tools().await);
    sample(&server, "guarded").await;
    server
        .sql(
            "guarded",
            &[
                "CREATE ROLE weak LOGIN PASSWORD 'w3ak-pass'; GRANT pg_read_all_data TO weak;
        CREATE TABLE auth.secret (id int); ALTER TABLE auth.secret ENABLE ROW LEVEL SECURITY;
        CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
        CREATE USER MAPPING FOR supabase_admin SERVER s OPTIONS (password 'far')",
            ],
        )
        .await;
    let dsn = server.dsn_of("weak:w3ak-pass", "guarded");
    let facts = facts_of(&dsn).await;
    assert_eq!(
        (
            facts.superuser,
            facts.rls_tables,
            facts.unreadable_large_objects,
            facts.hidden_user_mappings,
            facts.unreadable_total
        ),
        (false, 1, 1, 1, 0)
    );
    assert_eq!(facts.obstacles(tools.version.major).len(), 3);
    server
        .sql("guarded", &["REVOKE pg_read_all_data FROM weak"])
        .await;
    let facts = facts_of(&dsn).await;
    // pg_read_all_data lets its members read pg_authid, too.
    assert!(!facts.can_read_passwords);
    assert_eq!(
        facts.unreadable[0],
        "\"My \"\"Schema\".\"tä.ble (x) FROM stdin;\""
    );
    assert!(
        facts.obstacles(tools.version.major)[0]
            .text
            .contains("supabase_admin")
    );

    let dir = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let error = dump(
        request(&tools, &dsn, dir.path(), DumpFormat::Plain, GZIP),
        &cancel,
    )
    .await
    .unwrap_err();
    assert_eq!(error.exit_code(), Some(1));
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert!(names(dir.path()).is_empty(), "no broken file is left");

    let roles = dump_roles(
        request(&tools, &dsn, dir.path(), DumpFormat::Plain, GZIP),
        &facts,
        &cancel,
    )
    .await
    .unwrap();
    assert!(!roles.passwords_included);
    let text = decoded(dir.path());
    assert!(
        text.contains("CREATE ROLE \"weak\"")
            && text.contains("WITHOUT passwords")
            && !text.contains("SCRAM")
    );

    let admin = server.dsn("guarded");
    let facts = facts_of(&admin).await;
    assert!(facts.obstacles(tools.version.major).is_empty() && facts.warnings().is_empty());
    assert_eq!(
        (facts.large_objects, facts.tables, facts.superusers),
        (1, 7, vec!["supabase_admin".to_owned()])
    );
}

#[tokio::test]
async fn a_cancelled_dump_leaves_nothing() {
    let (server, tools) = (server(), tools().await);
    let dsn = server.dsn("postgres");
    let dir = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = dump(
        request(&tools, &dsn, dir.path(), DumpFormat::Plain, GZIP),
        &cancel,
    )
    .await
    .unwrap_err();
    assert!(matches!(error, DumpError::Child(_)), "{error}");
    // The writer's thread ends after the program whose output it reads.
    let began = Instant::now();
    while !names(dir.path()).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
