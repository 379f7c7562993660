//! Words that a plain role can put into roles files and manifests stay words: nothing of them is run by a restore or a drill. What it
//! gives the names of tables that backupd reads, is read and not run.

use std::collections::BTreeSet;
use std::fs;

use tests::hostile::Plants;
use tests::server::{ADMIN, PASSWORD, PgServer};
use tests::set;
use tests::stack::Stack;
use tests::storage;

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

/// What the role of [`Plants`] makes of `storage.objects`, as SQL of a superuser.
const AS_PLANTER: &str = "SET SESSION AUTHORIZATION planter";
const VIEW: &str = "CREATE VIEW storage.objects AS SELECT 'b'::text AS bucket_id, 'o'::text AS name, 'v1'::text AS version,
    '{}'::jsonb AS metadata WHERE planted.reached('view')";

/// Nothing of `plants` is run by these commands, each of which does its work.
fn nothing_is_borne(stack: &Stack, plants: &Plants) {
    for command in [
        &["check"][..],
        &["run"],
        &["verify"],
        &["verify", "--drill"],
        &["restore", "--yes", "--only", "supabase", "--drop-old"],
    ] {
        let outcome = stack.backupd(command).run();
        let fruit = plants.fruit(&stack.server);
        assert!(fruit.is_empty(), "{command:?}: {fruit:#?}; {outcome}");
        assert!(
            matches!(outcome.code, Some(0 | 4)),
            "{command:?}: {outcome}"
        );
    }
}

#[test]
fn a_view_in_the_place_of_storage_objects_is_not_asked() {
    let stack = Stack::new();
    let plants = Plants::set(&stack.server, "postgres");
    stack.server.psql(
        "postgres",
        &format!(
            "SET search_path = pg_catalog; DROP SCHEMA storage CASCADE; CREATE SCHEMA storage AUTHORIZATION planter; {AS_PLANTER}; {VIEW}"
        ),
    );
    nothing_is_borne(&stack, &plants);
    let manifest = stack.manifest(&stack.only_set());
    assert!(manifest["storage"]["reconcile"].is_null());
    assert!(
        manifest.to_string().contains(
            "files will not be compared with storage.objects: it is not as Supabase's storage service makes it: it is a view"
        ),
        "{manifest:#}"
    );
}

/// The planner calls immutable functions of a table's indexes, whatever is asked of the table.
#[test]
fn functions_in_an_index_of_storage_objects_are_not_called() {
    let stack = Stack::new();
    let plants = Plants::set(&stack.server, "postgres");
    stack.server.psql(
        "postgres",
        &format!(
            "SET search_path = pg_catalog; ALTER SCHEMA storage OWNER TO planter; ALTER TABLE storage.objects OWNER TO planter; {AS_PLANTER};
             CREATE INDEX planted ON storage.objects ((planted.always('index of objects')))"
        ),
    );
    // One that is missed is asked for again.
    let objects = storage::objects();
    let gone = objects.iter().find(|object| object.bytes > 0).unwrap();
    fs::remove_file(stack.storage.join(gone.path())).unwrap();
    nothing_is_borne(&stack, &plants);
    let manifest = stack.manifest(&stack.only_set());
    let found = &manifest["storage"]["reconcile"];
    assert_eq!(
        (&found["matched"], &found["missing"]["total"]),
        (&(objects.len() - 1).into(), &1.into()),
        "{found:#}"
    );

    // Nor on a server without a fence, once the functions are again what they were.
    let named = PgServer::bare();
    named.psql("postgres", "CREATE ROLE planter LOGIN PASSWORD 'planter'");
    let outcome = stack
        .backupd(["verify", "--drill"])
        .env("BACKUP_DRILL_URL", named.url("postgres"))
        .run();
    let fruit = plants.fruit(&named);
    assert!(fruit.is_empty(), "{fruit:#?}; {outcome}");
    assert!(matches!(outcome.code, Some(0 | 4)), "{outcome}");
}

#[test]
fn functions_in_an_index_of_keycloaks_versions_are_not_called() {
    let stack = Stack::new();
    let before = superusers(&stack.server);
    stack.server.psql(
        "keycloak",
        "SET SESSION AUTHORIZATION keycloak;
         CREATE FUNCTION public.reached() RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
           IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
             BEGIN
               EXECUTE 'ALTER ROLE keycloak SUPERUSER';
             EXCEPTION WHEN OTHERS THEN NULL;
             END;
           END IF;
           RETURN true;
         END $$;
         CREATE FUNCTION public.always(integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN public.reached(); END $$;
         CREATE INDEX planted ON public.migration_model ((public.always(7)))",
    );
    let nothing = |after: &str| assert_eq!(superusers(&stack.server), before, "{after}");
    for command in [
        &["check"][..],
        &["run"],
        &["verify"],
        &["verify", "--drill"],
    ] {
        stack.backupd(command).succeed();
        nothing(&format!("{command:?}"));
    }
    let url = format!("keycloak={}", stack.server.url("postgres"));
    let restored = stack
        .backupd(["restore", "--yes", "--only", "keycloak"])
        .env("BACKUP_RESTORE_URLS", url)
        .succeed();
    nothing("restore");
    assert!(
        restored
            .stdout
            .contains("Keycloak's schema is of version 26.4.2"),
        "{restored}"
    );
    let as_superuser = [("KC_DB_USERNAME", ADMIN), ("KC_DB_PASSWORD", PASSWORD)];
    let as_superuser = as_superuser.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let checked = stack.backupd(["check"]).envs(as_superuser).succeed();
    assert!(
        checked.stdout.contains("Keycloak schema 26.4.2"),
        "{checked}"
    );
    nothing("check as superuser");
}

/// What of `eve`'s plants a load, a drill or a comparison may have reached.
fn reached(server: &PgServer, database: &str) -> String {
    server.psql(
        database,
        "SELECT (SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_catalog.pg_roles WHERE rolsuper) || ': ' ||
           (SELECT string_agg(v, ' ') FROM public.accounts) || ': ' || coalesce(pg_catalog.to_regclass('eve.later')::text, 'none')",
    )
}

#[test]
fn code_of_a_plain_role_is_never_run_by_the_superuser_who_loads() {
    let stack = Stack::new();
    stack
        .server
        .psql_file("postgres", &tests::hostile::fixture("eve.sql"), &[]);
    let before = reached(&stack.server, "postgres");
    assert!(before.ends_with(": mine: none"), "{before}");
    let told = stack.server.told("postgres");
    stack.backupd(["run"]).succeed();
    assert_eq!(reached(&stack.server, "postgres"), before, "run");
    stack.backupd(["verify", "--drill"]).succeed();
    for arguments in [
        &["restore", "--yes", "--only", "supabase"][..],
        &["restore", "--yes", "--only", "supabase", "--jobs", "1"],
        &["restore", "--yes", "--only", "supabase", "--keep-going"],
    ] {
        stack.backupd(arguments).succeed();
        assert_eq!(reached(&stack.server, "postgres"), before, "{arguments:?}");
        same(&told, &stack.server.told("postgres"));
    }
    stack
        .backupd(["restore", "--yes", "--only", "supabase", "--into", "beside"])
        .succeed();
    assert_eq!(reached(&stack.server, "beside"), before, "--into");
    stack
        .backupd([
            "restore",
            "--yes",
            "--only",
            "supabase",
            "--table",
            "eve.checked",
            "--into",
            "one",
        ])
        .succeed();
    assert_eq!(reached(&stack.server, "beside"), before, "--table");
    assert_eq!(
        stack.server.psql("one", "SELECT count(*) FROM eve.checked"),
        "2"
    );
}

/// Its check reads a table that its owner reads by a GRANT, which a dump gives behind all rows; a foreign key rests on it.
#[test]
fn rows_whose_check_needs_a_grant_come_behind_the_grants() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "CREATE ROLE tenant; CREATE SCHEMA tenants; GRANT USAGE ON SCHEMA tenants TO tenant;
         CREATE TABLE tenants.codes (code text PRIMARY KEY); INSERT INTO tenants.codes VALUES ('a');
         GRANT SELECT ON tenants.codes TO tenant;
         CREATE FUNCTION tenants.known(text) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM tenants.codes WHERE code = $1)';
         ALTER FUNCTION tenants.known(text) OWNER TO tenant;
         CREATE TABLE tenants.zz (code text PRIMARY KEY CHECK (tenants.known(code))); INSERT INTO tenants.zz VALUES ('a');
         ALTER TABLE tenants.zz OWNER TO tenant;
         CREATE TABLE tenants.zzz (code text REFERENCES tenants.zz); INSERT INTO tenants.zzz VALUES ('a')",
    );
    let told = stack.server.told("postgres");
    stack.backupd(["run"]).succeed();
    stack.backupd(["verify", "--drill"]).succeed();
    stack
        .backupd(["restore", "--yes", "--only", "supabase"])
        .succeed();
    same(&told, &stack.server.told("postgres"));
}

/// Rows that a dump brings through the root of partitions, which lie in others on another server: by an enum's hash, some levels down, by
/// expressions that fold a plain role's functions. No role of the source is on that server but hers, and there is no fence.
#[test]
fn rows_of_partitions_are_proven_on_a_named_server_and_call_nothing_there() {
    let stack = Stack::new();
    let plants = Plants::set(&stack.server, "postgres");
    stack.server.psql(
        "postgres",
        &format!(
            "SET search_path = pg_catalog; {AS_PLANTER}; CREATE SCHEMA parts;
             CREATE FUNCTION parts.key(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
               BEGIN PERFORM planted.reached('key'); RETURN $1; END $$;
             CREATE TYPE parts.mood AS ENUM ('sad', 'glad', 'none');
             CREATE TABLE parts.moods (m parts.mood, n integer) PARTITION BY HASH (m);
             CREATE TABLE parts.moods_0 PARTITION OF parts.moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE parts.moods_1 PARTITION OF parts.moods FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             INSERT INTO parts.moods SELECT (ARRAY['sad', 'glad', 'none'])[1 + n % 3]::parts.mood, n FROM generate_series(1, 3000) n;
             CREATE TABLE parts.deep (m parts.mood, n integer) PARTITION BY RANGE ((n + parts.key(7)));
             CREATE TABLE parts.deep_low PARTITION OF parts.deep FOR VALUES FROM (0) TO (1000) PARTITION BY HASH (m);
             CREATE TABLE parts.deep_low_0 PARTITION OF parts.deep_low FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE parts.deep_low_1 PARTITION OF parts.deep_low FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             CREATE TABLE parts.deep_high PARTITION OF parts.deep FOR VALUES FROM (1000) TO (10000);
             INSERT INTO parts.deep SELECT m, n FROM parts.moods;
             CREATE TABLE parts.indexed (m parts.mood, n integer) PARTITION BY HASH (m);
             CREATE TABLE parts.indexed_0 PARTITION OF parts.indexed FOR VALUES WITH (MODULUS 1, REMAINDER 0);
             CREATE INDEX ON parts.indexed ((parts.key(7))); CREATE INDEX ON parts.indexed (n) WHERE parts.key(7) > 0;
             INSERT INTO parts.indexed SELECT m, n FROM parts.moods"
        ),
    );
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "supabase")
        .succeed();
    let named = PgServer::bare();
    // The roles of the source: what lacks one cannot be compared whole.
    named.psql_file(
        "postgres",
        &write(&stack, "roles.sql", &stack.server.told_roles()),
        &[],
    );
    let before = superusers(&named);
    let outcome = stack
        .backupd(["verify", "--drill", "--json"])
        .env("BACKUP_DRILL_URL", named.url("postgres"))
        .run();
    let report = outcome.json();
    println!("{report:#}");
    assert_eq!(superusers(&named), before);
    let fruit = plants.fruit(&named);
    assert!(fruit.is_empty(), "{fruit:#?}; {outcome}");
    let words = report.to_string();
    assert!(!words.contains("parts."), "{report:#}");
    assert_eq!(report["verdict"], "proven", "{report:#}");
}

fn write(stack: &Stack, name: &str, text: &str) -> std::path::PathBuf {
    let path = stack.server.root().join(name);
    // Her that installs the server is there already.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("CREATE ROLE supabase_admin;"));
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    path
}

/// A check runs as its owner while rows are loaded, and may change what is its owner's: what it leaves there is not run by the superuser
/// who brings further rows, counts them and asks what came of the check.
#[test]
fn code_that_runs_in_a_load_leaves_nothing_for_the_superuser() {
    let stack = Stack::new();
    stack.server.psql(
        "postgres",
        "CREATE ROLE mole LOGIN PASSWORD 'm'; CREATE SCHEMA mole AUTHORIZATION mole; SET SESSION AUTHORIZATION mole;
         CREATE FUNCTION mole.digs() RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
           IF pg_catalog.current_setting('is_superuser') = 'on' AND CURRENT_USER <> 'mole' THEN
             EXECUTE 'ALTER ROLE mole SUPERUSER';
           END IF;
           RETURN true;
         EXCEPTION WHEN OTHERS THEN RETURN true;
         END $$;
         CREATE FUNCTION mole.folds(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM mole.digs(); RETURN $1; END $$;
         CREATE FUNCTION mole.fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM mole.digs(); RETURN NEW; END $$;
         CREATE FUNCTION mole.lays() RETURNS boolean LANGUAGE plpgsql AS $$
         DECLARE view text; way text;
         BEGIN
           IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname LIKE 'backupd%') THEN RETURN true; END IF;
           FOR way IN SELECT pg_catalog.unnest(ARRAY[
             'CREATE TRIGGER laid BEFORE INSERT ON mole.z_fired FOR EACH ROW EXECUTE FUNCTION mole.fires()',
             'ALTER TABLE mole.z_fired ENABLE ALWAYS TRIGGER laid',
             'CREATE TRIGGER laid BEFORE INSERT ON mole.z_fired_once FOR EACH ROW EXECUTE FUNCTION mole.fires()',
             'CREATE INDEX laid ON mole.z_indexed ((mole.folds(7)))',
             'CREATE STATISTICS mole.laid ON (a + mole.folds(7)), (a + 1) FROM mole.z_counted'])
           LOOP
             BEGIN EXECUTE way; EXCEPTION WHEN OTHERS THEN NULL; END;
           END LOOP;
           FOR view IN SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND n.nspname LIKE 'backupd%'
           LOOP
             BEGIN
               EXECUTE pg_catalog.format('CREATE STATISTICS mole.of_view ON (n + mole.folds(7)), (n + 1) FROM %s', view);
             EXCEPTION WHEN OTHERS THEN NULL; END;
           END LOOP;
           RETURN true;
         END $$;
         CREATE TABLE mole.a (a integer CHECK (mole.lays()));
         CREATE TABLE mole.z_fired (a integer); CREATE TABLE mole.z_fired_once (a integer);
         CREATE TABLE mole.z_indexed (a integer); CREATE TABLE mole.z_counted (a integer);
         INSERT INTO mole.a VALUES (1);
         INSERT INTO mole.z_fired VALUES (1); INSERT INTO mole.z_fired_once VALUES (1); INSERT INTO mole.z_indexed VALUES (1);
         INSERT INTO mole.z_counted VALUES (1)",
    );
    let before = superusers(&stack.server);
    let told = stack.server.told("postgres");
    stack
        .backupd(["run"])
        .env("BACKUP_SOURCES", "supabase")
        .succeed();
    for jobs in ["1", "4"] {
        let outcome = stack
            .backupd(["restore", "--yes", "--only", "supabase", "--jobs", jobs])
            .run();
        assert_eq!(superusers(&stack.server), before, "{outcome}");
        assert_eq!(outcome.code, Some(0), "{outcome}");
        same(&told, &stack.server.told("postgres"));
    }
}
