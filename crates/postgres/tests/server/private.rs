//! A PostgreSQL server of the test's own: in a temporary directory, on a port of its own, with passwords and TLS, gone with the last
//! test that uses it.
#![allow(
    clippy::disallowed_methods,
    reason = "a test starts programs by itself, so that it does not depend on what it tests"
)]

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use postgres::dsn::Dsn;
use postgres::server::Server;
use tempfile::TempDir;

pub const PASSWORD: &str = "s3cret/p@ss";

pub struct PrivateServer {
    dir: TempDir,
    bindir: PathBuf,
    port: u16,
}

static RUNNING: Mutex<Weak<PrivateServer>> = Mutex::new(Weak::new());

/// The server, started by whoever asks first.
pub fn server() -> Arc<PrivateServer> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.upgrade().unwrap_or_else(|| {
        let started = Arc::new(PrivateServer::start());
        *running = Arc::downgrade(&started);
        started
    })
}

impl PrivateServer {
    fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("backupd-pg-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .unwrap();
        let server = Self {
            port: TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port(),
            bindir: newest_bindir(),
            dir,
        };
        let at = |name: &str| server.path(name).into_os_string();
        std::fs::write(server.path("password"), PASSWORD).unwrap();
        if am_root() {
            let id =
                String::from_utf8(run(Command::new("id").args(["-u", "postgres"])).stdout).unwrap();
            chown(server.dir.path(), Some(id.trim().parse().unwrap()), None).unwrap();
        }
        server.certificates();
        server
            .as_owner("initdb")
            .args([
                "--auth=scram-sha-256",
                "--username=supabase_admin",
                "--locale=C.UTF-8",
                "--no-sync",
            ])
            .args([
                OsStr::new("--pwfile"),
                &at("password"),
                OsStr::new("-D"),
                &at("data"),
            ])
            .succeeds();
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c ssl=on -c ssl_cert_file={} -c ssl_key_file={}",
            server.port,
            server.dir.path().display(),
            server.path("server.crt").display(),
            server.path("server.key").display(),
        );
        server
            .as_owner("pg_ctl")
            .args([
                OsStr::new("-D"),
                &at("data"),
                OsStr::new("-l"),
                &at("log"),
                OsStr::new("-o"),
                OsStr::new(&options),
            ])
            .args(["-w", "start"])
            .succeeds();
        server
    }

    /// A DSN of the superuser; `rest` is the database and parameters.
    pub fn dsn(&self, rest: &str) -> Dsn {
        self.dsn_of("supabase_admin:s3cret%2Fp%40ss", rest)
    }

    pub fn dsn_of(&self, credentials: &str, rest: &str) -> Dsn {
        Dsn::parse(&format!(
            "postgres://{credentials}@127.0.0.1:{}/{rest}",
            self.port
        ))
        .unwrap()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A session as a user's, which finds what is in `public`.
    async fn connect(&self, database: &str) -> Server {
        let server = Server::connect(&self.dsn(&encode(database))).await.unwrap();
        server
            .execute("SET search_path = \"$user\", public")
            .await
            .unwrap();
        server
    }

    /// Runs SQL as the superuser, each text as one batch.
    pub async fn sql(&self, database: &str, batches: &[&str]) {
        let server = self.connect(database).await;
        for batch in batches {
            server
                .client()
                .batch_execute(batch)
                .await
                .unwrap_or_else(|error| panic!("{batch}: {error:?}"));
        }
    }

    /// What a query yields, a line a row.
    pub async fn ask(&self, database: &str, query: &str) -> String {
        let server = self.connect(database).await;
        let rows = server.client().query(query, &[]).await.unwrap();
        rows.iter()
            .map(|row| row.get::<_, Option<String>>(0).unwrap_or_default() + "\n")
            .collect()
    }

    /// Loads SQL by psql as the superuser; yields what it complained.
    pub fn psql(&self, database: &str, file: &Path) -> String {
        let mut psql = Command::new(self.bindir.join("psql"));
        psql.envs(self.dsn(&encode(database)).child_env())
            .args(["-qX", "-o", "/dev/null", "-f"])
            .arg(file);
        String::from_utf8(psql.output().unwrap().stderr).unwrap()
    }

    /// An authority, a server's certificate of it for `localhost` and 127.0.0.1, and another authority.
    fn certificates(&self) {
        let openssl = |args: &str| {
            let mut command = Command::new("openssl");
            command
                .args(args.split_whitespace())
                .current_dir(self.dir.path());
            run(&mut command);
        };
        for name in ["ca", "other"] {
            openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt"
            ));
        }
        openssl(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        );
        std::fs::write(self.path("san"), "subjectAltName=DNS:localhost\n").unwrap();
        openssl(
            "x509 -req -in server.csr -days 2 -CA ca.crt -CAkey ca.key -CAcreateserial -extfile san -out server.crt",
        );
        if am_root() {
            use std::os::unix::fs::MetadataExt;
            let owner = std::fs::metadata(self.dir.path()).unwrap().uid();
            chown(self.path("server.key"), Some(owner), None).unwrap();
        }
    }

    /// A program of the server, which refuses to run as root.
    fn as_owner(&self, program: &str) -> Command {
        let path = self.bindir.join(program);
        let mut command = if am_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.dir.path());
        command
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        let data = self.path("data");
        self.as_owner("pg_ctl")
            .arg("-D")
            .arg(data)
            .args(["-m", "immediate", "stop"])
            .succeeds();
    }
}

trait Succeeds {
    fn succeeds(&mut self);
}

impl Succeeds for Command {
    fn succeeds(&mut self) {
        // A server started by pg_ctl keeps its output open: it goes to files and nowhere.
        let status = self.stdout(std::process::Stdio::null()).status().unwrap();
        assert!(status.success(), "{self:?}: {status}");
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn am_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn newest_bindir() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL's server programs are needed: apt-get install postgresql");
    let newest = versions
        .map(|entry| entry.unwrap().path().join("bin"))
        .max()
        .unwrap();
    assert!(
        newest.join("initdb").exists(),
        "{} has no initdb",
        newest.display()
    );
    newest
}

fn encode(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}
