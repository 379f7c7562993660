//! Tries to get out of a scratch server, as code in a restored database may: through SQL, as its superuser. What is tried is harmless
//! where it works.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use crate::dsn::Dsn;
use crate::server::{Server, ServerError};

/// Each try is answered at once; a busy machine may take longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// What a file says that must not be read.
const CONTENT: &str = "beside the scratch directory";
const PORT: u16 = 5432;

/// Why it could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum TryError {
    /// The server does not answer any more.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Of our own side.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It hangs.
    #[error("it did not answer within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
}

/// What code in the server can do that it should not, in words; nothing behind a fence that holds. `within` is a file that belongs to
/// backupd and lies where the sets are.
pub(super) async fn tried(dsn: &Dsn, within: &Path) -> Result<Vec<&'static str>, TryError> {
    let beside = tempfile::Builder::new()
        .prefix("backupd-fence-")
        .tempdir()?;
    // Whoever the server runs as: the mode shall not be what keeps it out.
    fs::set_permissions(beside.path(), Permissions::from_mode(0o777))?;
    let (file, written) = (beside.path().join("file"), beside.path().join("written"));
    fs::write(&file, CONTENT)?;
    fs::set_permissions(&file, Permissions::from_mode(0o666))?;
    let in_sets = within.with_file_name("escaped");
    let environ = |pid: u32| format!("/proc/{pid}/environ");
    let read = |path: &Path| format!("SELECT pg_catalog.pg_read_binary_file({})", literal(path));
    let write = |path: &Path| format!("COPY (SELECT 1) TO {}", literal(path));
    let tries = [
        (
            "starts programs",
            "CREATE TEMPORARY TABLE backupd_fence (line text); COPY backupd_fence FROM PROGRAM 'echo'".to_owned(),
        ),
        (
            "reads the environment of backupd",
            read(Path::new(&environ(std::process::id()))),
        ),
        (
            "reads the environment of process 1",
            read(Path::new(&environ(1))),
        ),
        ("reads /etc/passwd", read(Path::new("/etc/passwd"))),
        ("reads /etc/shadow", read(Path::new("/etc/shadow"))),
        ("reads files of the backup directory", read(within)),
        ("writes files into the backup directory", write(&in_sets)),
        ("reads other files", read(&file)),
        ("writes other files", write(&written)),
    ];
    let mut out = Vec::new();
    for (what, sql) in tries {
        let server = Server::connect(dsn).await?;
        if answered(server.execute(&sql)).await?.is_ok() {
            out.push(what);
        }
    }
    // The statement itself says the truth; a file that is there all the same says more.
    for (path, what) in [
        (&written, "writes other files"),
        (&in_sets, "writes files into the backup directory"),
    ] {
        if path.exists() {
            fs::remove_file(path)?;
            if !out.contains(&what) {
                out.push(what);
            }
        }
    }
    out.extend(connections(dsn, beside.path()).await?);
    Ok(out)
}

/// A server's core has one way to connect to somewhere: a subscription.
async fn connections(dsn: &Dsn, beside: &Path) -> Result<Vec<&'static str>, TryError> {
    let mut out = Vec::new();
    let tcp = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = tcp.local_addr()?.port();
    if reached(dsn, "127.0.0.1", port, tcp.accept()).await? {
        out.push("reaches the network");
    }
    let socket = beside.join(format!(".s.PGSQL.{PORT}"));
    let unix = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, Permissions::from_mode(0o777))?;
    let host = beside.display().to_string();
    if reached(dsn, &host, PORT, unix.accept()).await? {
        out.push("reaches other servers' sockets");
    }
    Ok(out)
}

async fn reached<T>(
    dsn: &Dsn,
    host: &str,
    port: u16,
    accepted: impl Future<Output = io::Result<T>>,
) -> Result<bool, TryError> {
    let server = Server::connect(dsn).await?;
    let conninfo = format!("host='{host}' port={port} user=u dbname=d connect_timeout=10");
    let sql = format!(
        "CREATE SUBSCRIPTION backupd_fence CONNECTION {} PUBLICATION p",
        literal(Path::new(&conninfo))
    );
    let subscribing = answered(server.execute(&sql));
    // Whoever was reached ends the connection, so the statement never succeeds.
    tokio::select! {
        biased;
        peer = accepted => peer.map(|_| true).map_err(TryError::from),
        refused = subscribing => refused.map(|answer| answer.is_ok()),
    }
}

async fn answered(
    statement: impl Future<Output = Result<(), ServerError>>,
) -> Result<Result<(), ServerError>, TryError> {
    tokio::time::timeout(ANSWER_WITHIN, statement)
        .await
        .map_err(|_| TryError::Silent)
}

/// A path as SQL's string.
fn literal(path: &Path) -> String {
    format!(
        "E'{}'",
        path.display()
            .to_string()
            .replace('\\', "\\\\")
            .replace('\'', "\\'")
    )
}
