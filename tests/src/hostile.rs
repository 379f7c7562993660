//! The database that holds everything which trips a backup (`fixtures/hostile.sql`), what a hostile user leaves in one
//! (`fixtures/plants.sql`), and the extension that the first needs, which lies in the server's own directory while a test uses it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::host::{bindir, command, give_to_server};
use crate::server::{Held, PgServer};

/// The files of an extension.
type Files = [(&'static str, &'static str); 2];
/// Rows that the extension's script makes are not dumped, rows of others are: as PostGIS's `spatial_ref_sys` does it.
const EXTENSION: Files = [
    (
        "backupd_test_ext.control",
        "comment = 'tables of which a dump holds some rows'\ndefault_version = '1'\nrelocatable = false\n",
    ),
    (
        "backupd_test_ext--1.sql",
        "CREATE TABLE @extschema@.backupd_test_places (id integer PRIMARY KEY, name text);\n\
         INSERT INTO @extschema@.backupd_test_places SELECT i, 'place ' || i FROM generate_series(1, 100) i;\n\
         SELECT pg_catalog.pg_extension_config_dump('backupd_test_places', 'WHERE id > 900000');\n\
         CREATE TABLE @extschema@.backupd_test_settings (name text PRIMARY KEY, value text);\n\
         INSERT INTO @extschema@.backupd_test_settings VALUES ('first', 'built in'), ('second', 'built in');\n\
         SELECT pg_catalog.pg_extension_config_dump('backupd_test_settings', 'WHERE name NOT IN (''first'', ''second'')');\n\
         CREATE TABLE @extschema@.backupd_test_own (n integer);\n\
         INSERT INTO @extschema@.backupd_test_own VALUES (1);\n",
    ),
];

/// A table whose rows a trigger seals, a view that opens them, and a function to ask; an event trigger that has a trigger seal the rows of
/// tables with the comment `sealed`. The trigger's function and the view are let go: a dump holds them. So do Supabase's Vault and pgsodium.
const SEALED: Files = [
    (
        "backupd_test_sealed.control",
        "comment = 'rows that a trigger seals'\ndefault_version = '1'\nrelocatable = false\nschema = sealed\n",
    ),
    (
        "backupd_test_sealed--1.sql",
        "CREATE TABLE sealed.secrets (id integer PRIMARY KEY, secret text);\n\
         SELECT pg_catalog.pg_extension_config_dump('sealed.secrets', '');\n\
         CREATE FUNCTION sealed.seal() RETURNS trigger LANGUAGE plpgsql AS\n\
         $$ BEGIN NEW.secret := 'sealed ' || reverse(NEW.secret); RETURN NEW; END $$;\n\
         CREATE TRIGGER seal BEFORE INSERT OR UPDATE OF secret ON sealed.secrets FOR EACH ROW EXECUTE FUNCTION sealed.seal();\n\
         CREATE VIEW sealed.opened AS SELECT id, reverse(substr(secret, 8)) AS secret FROM sealed.secrets;\n\
         ALTER EXTENSION backupd_test_sealed DROP FUNCTION sealed.seal();\n\
         ALTER EXTENSION backupd_test_sealed DROP VIEW sealed.opened;\n\
         CREATE FUNCTION sealed.ask(text) RETURNS text LANGUAGE sql AS $$ SELECT 'asked ' || $1 $$;\n\
         GRANT USAGE ON SCHEMA sealed TO PUBLIC;\n\
         CREATE FUNCTION sealed.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN\n\
         FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' AND obj_description(objid, 'pg_class') = 'sealed' LOOP\n\
         EXECUTE format('CREATE OR REPLACE TRIGGER seal BEFORE INSERT OR UPDATE OF secret ON %s FOR EACH ROW EXECUTE FUNCTION sealed.seal()',\n\
         r.object_identity); END LOOP; END $$;\n\
         CREATE EVENT TRIGGER sealed_watch ON ddl_command_end WHEN TAG IN ('COMMENT') EXECUTE FUNCTION sealed.watch();\n",
    ),
];

/// As pgsodium, whose functions need a key that the library keeps from the server's start: without it the extension is created all the same,
/// and what calls it fails at each row. It stands for its name, by which a drill knows it.
const PRELOADED: Files = [
    (
        "pgsodium.control",
        "comment = 'functions that need a library which a server loads as it starts (of a test of backupd)'\ndefault_version = '1'\n\
         relocatable = false\nschema = pgsodium\n",
    ),
    (
        "pgsodium--1.sql",
        "CREATE FUNCTION pgsodium.derive(bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER SET search_path = '' AS $$\n\
         BEGIN IF pg_catalog.current_setting('shared_preload_libraries') !~ 'pgsodium' THEN\n\
         RAISE 'pgsodium_derive: no server secret key defined' USING ERRCODE = 'external_routine_exception'; END IF;\n\
         RETURN pg_catalog.md5($1::text); END $$;\n\
         CREATE TABLE pgsodium.key (id bigint PRIMARY KEY, name text, derived text CHECK (derived = pgsodium.derive(id)));\n\
         SELECT pg_catalog.pg_extension_config_dump('pgsodium.key', '');\n\
         CREATE VIEW pgsodium.valid_key AS SELECT id, name FROM pgsodium.key;\n",
    ),
];
/// What a server loads in its place: a library of PostgreSQL's own that does nothing unasked.
const HARMLESS_LIBRARY: &str = "auto_explain.so";

/// Settings of a database that make a client fail which does not overrule them, as `ALTER DATABASE … SET` takes them.
pub const SETTINGS_THAT_BREAK_CLIENTS: [&str; 7] = [
    "statement_timeout = '1ms'",
    "lock_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "default_transaction_read_only = on",
    "role = anon",
    "array_nulls = off",
    "session_replication_role = replica",
];

/// The test extension in the server's directory of extensions, for as long as any test holds one of these.
#[derive(Debug)]
pub struct Extension {
    directory: PathBuf,
    lock: File,
    files: Files,
    library: Option<PathBuf>,
}

impl Extension {
    /// Puts it there. Needs to be root, as the directory is.
    pub fn install() -> Self {
        Self::put(EXTENSION)
    }

    /// The same for `backupd_test_sealed`.
    pub fn install_sealed() -> Self {
        Self::put(SEALED)
    }

    /// The same for one called `pgsodium`, with a library that a server can load as it starts. The real one must not be there.
    #[allow(
        clippy::disallowed_methods,
        reason = "a library of a test needs no flush"
    )]
    pub fn install_preloaded() -> Self {
        let control = extensions().join(PRELOADED[0].0);
        let there = fs::read_to_string(&control);
        assert!(
            there.is_err() || there.is_ok_and(|there| there == PRELOADED[0].1),
            "{} is there already: this test needs a server without pgsodium",
            control.display()
        );
        let mut extension = Self::put(PRELOADED);
        let library = bindir().with_file_name("lib").join("pgsodium.so");
        // Whole at once: another test's server may be loading it.
        let beside = library.with_extension(std::process::id().to_string());
        fs::copy(library.with_file_name(HARMLESS_LIBRARY), &beside).unwrap();
        fs::rename(&beside, &library).unwrap();
        extension.library = Some(library);
        extension
    }

    fn put(files: Files) -> Self {
        let directory = extensions();
        loop {
            let lock = lock_file(&files);
            lock.lock().unwrap();
            for (name, content) in files {
                // Others read it at this moment only when it is there already, and then it is the same.
                let path = directory.join(name);
                if fs::read_to_string(&path).ok().as_deref() != Some(content) {
                    fs::write(&path, content)
                        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                }
            }
            lock.unlock().unwrap();
            lock.lock_shared().unwrap();
            // Between the two locks another test's end may have taken it away.
            if files.iter().all(|(name, _)| directory.join(name).exists()) {
                return Self {
                    directory,
                    lock,
                    files,
                    library: None,
                };
            }
        }
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        // Closing it would do as much; this does it before the next line.
        let _ = self.lock.unlock();
        let lock = lock_file(&self.files);
        // The last one out; where another test holds it, that one is.
        if lock.try_lock().is_ok() {
            for (name, _) in self.files {
                let _ = fs::remove_file(self.directory.join(name));
            }
            if let Some(library) = &self.library {
                let _ = fs::remove_file(library);
            }
        }
    }
}

/// Where a server looks for extensions.
fn extensions() -> PathBuf {
    PathBuf::from(pg_config("--sharedir")).join("extension")
}

fn lock_file(files: &Files) -> File {
    let path = std::env::temp_dir().join(format!("{}.lock", files[0].0));
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

fn pg_config(what: &str) -> String {
    // The program itself is in the development package; the server's own directories are laid out by major version.
    let output = command(bindir().join("pg_config")).arg(what).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        }
        _ => {
            let major = bindir();
            let major = major.parent().and_then(Path::file_name).unwrap();
            format!("/usr/share/postgresql/{}", major.to_str().unwrap())
        }
    }
}

/// A file of `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// Loads `fixtures/hostile.sql` into a database of a server, with that many more tables. The [`Extension`] must be held by the caller.
pub fn load(server: &PgServer, database: &str, tables: u32) {
    let tables = tables.to_string();
    let variables = [("tables", tables.as_str())];
    server.psql_file(database, &fixture("hostile.sql"), &variables);
}

/// The plants of a hostile user, and where they would show.
#[derive(Debug)]
pub struct Plants {
    fruit: PathBuf,
}

impl Plants {
    /// Sets them in a database of a server.
    pub fn set(server: &PgServer, database: &str) -> Self {
        Self::plant(server, database, "on")
    }

    fn plant(server: &PgServer, database: &str, loaded: &str) -> Self {
        let fruit = server.root().join("fruit");
        fs::create_dir(&fruit).unwrap();
        give_to_server(&fruit);
        let variables = [("fruit", fruit.to_str().unwrap()), ("loaded", loaded)];
        server.psql_file(database, &fixture("plants.sql"), &variables);
        Self { fruit }
    }

    /// What they bore: files that were written, and what the role has become.
    pub fn fruit(&self, server: &PgServer) -> Vec<String> {
        let mut fruit: Vec<String> = fs::read_dir(&self.fruit)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let content = fs::read_to_string(&path).unwrap_or_default();
                format!("{}: {}", path.display(), content.trim_end())
            })
            .collect();
        let sql =
            "SELECT 'superuser: ' OPERATOR(pg_catalog.||) rolname::text FROM pg_catalog.pg_roles
            WHERE rolsuper AND rolname OPERATOR(pg_catalog.<>) 'supabase_admin'::name";
        // In a database where nothing was planted: to look must not be what bears.
        fruit.extend(server.psql("template1", sql).lines().map(str::to_owned));
        fruit
    }
}

/// Where rows lie by the OID of an enum's value, which is another in each database: which partition holds them is no content.
const BY_OID: &str = "hostile.by_colour";

/// As [`PgServer::told`], with the rows of tables that are partitioned by OID in one order behind all else.
pub fn told(server: &PgServer, database: &str) -> String {
    let told = server.told(database);
    let (mut kept, mut rows, mut within) = (Vec::new(), Vec::new(), false);
    for line in told.lines() {
        if within && line != "\\." {
            rows.push(line);
            continue;
        }
        within = line.starts_with("COPY ") && line.contains(BY_OID);
        kept.push(line);
    }
    rows.sort_unstable();
    kept.extend(rows);
    kept.join("\n")
}

/// As [`PgServer::table_hashes`], without the partitions that hold rows by OID; [`told`] has them.
pub fn held(server: &PgServer, database: &str) -> BTreeMap<String, Held> {
    let mut held = server.table_hashes(database);
    held.retain(|name, _| !name.starts_with(BY_OID));
    held
}
