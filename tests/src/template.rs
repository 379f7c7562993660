//! Prepared data directories, made once and copied for every test: initdb and loading the sample stack take seconds, a copy does not.
//!
//! They lie in the target directory, named by a hash of everything they are made from; a lock file lets test processes share them.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::host::{as_server, bindir, command, give_to_server};
use crate::server::{ADMIN, KEYCLOAK_PASSWORD, Options, PASSWORD, PgServer};

const SUPABASE_SQL: &str = include_str!("../fixtures/supabase.sql");
const OBJECTS_SQL: &str = include_str!("../fixtures/objects.sql");
const KEYCLOAK_SQL: &str = include_str!("../fixtures/keycloak.sql");

/// Durability off, since a test's data is worthless; the rest as in a Supabase server, scaled down.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 60
jit = off
autovacuum = off
wal_level = logical
max_wal_senders = 10
max_replication_slots = 5
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] %q%u@%d %a '
";

/// As the stock Supabase server: passwords for every database, and no replication line.
const HBA: &str = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// What a data directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Contents {
    /// A fresh cluster of `supabase_admin`.
    Bare,
    /// The databases `postgres` and `keycloak` of the sample stack.
    Stack,
}

/// Copies the prepared data directory to `data`, which must not exist.
pub(crate) fn copy(contents: Contents, data: &Path) {
    let store = store();
    let lock = File::options()
        .create(true)
        .append(true)
        .open(store.join("pg-template.lock"))
        .unwrap();
    let template = store.join(name(contents));
    lock.lock_shared().unwrap();
    if !template.exists() {
        lock.unlock().unwrap();
        lock.lock().unwrap();
        if !template.exists() {
            remove_others(&store);
            make(contents, &store, &template);
        }
    }
    copy_directory(&template, data);
    // The lock ends with its file.
}

fn make(contents: Contents, store: &Path, template: &Path) {
    let aside = store.join("pg-template.partial");
    // A killed test's leftover; the lock is ours.
    let _ = fs::remove_dir_all(&aside);
    match contents {
        Contents::Bare => {
            let server = PgServer::launch(&Options::default(), init);
            server.stop();
            copy_directory(&server.data(), &aside);
        }
        Contents::Stack => {
            let server = PgServer::launch(&Options::default(), init);
            load(&server, 1);
            server.stop();
            copy_directory(&server.data(), &aside);
        }
    }
    rename(&aside, template);
}

/// Loads the sample stack into a bare server; `scale` multiplies the large tables (1000 is about 1.5 GB of dump).
pub fn load(server: &PgServer, scale: u32) {
    let scale = scale.to_string();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let variables = [
        ("scale", scale.as_str()),
        ("password", PASSWORD),
        ("kc_password", KEYCLOAK_PASSWORD),
    ];
    server.psql_file("postgres", &fixtures.join("supabase.sql"), &variables);
    server.psql_file("postgres", &fixtures.join("keycloak.sql"), &variables);
}

fn init(data: &Path) {
    let passwords = data.with_file_name("passwords");
    fs::write(&passwords, PASSWORD).unwrap();
    give_to_server(&passwords);
    let output = as_server(&bindir().join("initdb"))
        .args([
            "-U",
            ADMIN,
            "--auth=scram-sha-256",
            "--locale=C.UTF-8",
            "--encoding=UTF8",
            "--no-sync",
            "--no-instructions",
        ])
        .arg(format!("--pwfile={}", passwords.display()))
        .args(["--wal-segsize=1", "-D"])
        .arg(data)
        .output()
        .expect("starting initdb");
    assert!(
        output.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::remove_file(passwords).unwrap();
    let config = data.join("postgresql.conf");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + SETTINGS).unwrap();
    fs::write(data.join("pg_hba.conf"), HBA).unwrap();
}

fn name(contents: Contents) -> String {
    let mut hasher = DefaultHasher::new();
    (
        SUPABASE_SQL,
        OBJECTS_SQL,
        KEYCLOAK_SQL,
        SETTINGS,
        HBA,
        PASSWORD,
        KEYCLOAK_PASSWORD,
    )
        .hash(&mut hasher);
    let version = command(bindir().join("postgres"))
        .arg("--version")
        .output()
        .expect("postgres --version");
    (version.stdout, rustix::process::geteuid().as_raw()).hash(&mut hasher);
    format!("pg-template-{:016x}-{contents:?}", hasher.finish())
}

/// Templates of earlier fixtures; the lock is ours alone, so nobody copies from them.
fn remove_others(store: &Path) {
    let current = [name(Contents::Bare), name(Contents::Stack)];
    for entry in fs::read_dir(store).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("pg-template-") && !current.contains(&name) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}

/// `target/tmp` beside the test executable, which lies in `target/<profile>/deps` or `…/examples`.
pub(crate) fn store() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let target = executable
        .ancestors()
        .nth(3)
        .expect("an executable of cargo's");
    let store = target.join("tmp");
    fs::create_dir_all(&store).unwrap();
    store
}

fn copy_directory(from: &Path, to: &Path) {
    let status = command("cp")
        .args(["-a", "--reflink=auto", "--"])
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(
        status.success(),
        "cp -a {} {}",
        from.display(),
        to.display()
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "a cache in the target directory needs no sync"
)]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}
