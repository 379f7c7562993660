//! The machine that tests run on: programs, accounts, ports, and the guard that cleans up after a killed test.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// A server starts in well under a second; a loaded machine may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at again.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Below Linux's ephemeral ports, so that no outgoing connection sits on one of ours.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Waits until its input ends, then ends the server whose directory is `$1/data` and removes `$1`. The server is known by its
/// working directory, so that a reused process id is never signalled.
/// A copy into the directory may outlive the test for a moment, hence the repeated removal.
const GUARD: &str = r#"
trap '' INT TERM HUP QUIT
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
at_work() { [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; }
at_work "$1" && kill -QUIT "$pid"
while at_work "$1"; do sleep 0.05; done
while [ -e "$1" ]; do rm -rf "$1" || sleep 0.1; done
"#;

/// Waits for a condition, and fails the test when it does not come.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(POLL);
    }
}

/// The newest server's programs, as Debian's packages lay them out.
pub fn bindir() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .expect("please install postgresql (apt-get install postgresql)");
    versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|major| Path::new(&format!("/usr/lib/postgresql/{major}/bin/postgres")).exists())
        .max()
        .map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")))
        .expect("please install postgresql (apt-get install postgresql)")
}

/// A child process of a test, with an environment of PATH alone.
#[expect(
    clippy::disallowed_methods,
    reason = "tests start programs themselves, and look for them where the tester's shell does"
)]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C.UTF-8");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// A program run as the account that PostgreSQL's server runs as: it refuses to be root's.
pub(crate) fn as_server(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return command(program);
    }
    let mut command = command("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
        .arg(program)
        .current_dir("/");
    command
}

/// Makes a file or directory the server account's own.
pub(crate) fn give_to_server(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let status = command("chown")
            .arg("postgres:postgres")
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success(), "chown postgres {}", path.display());
    }
}

/// Starts the guard of a directory; it acts when its input is closed, and then ends.
pub(crate) fn guard(root: &Path) -> Child {
    let mut command = command("sh");
    command
        .args(["-c", GUARD, "guard"])
        .arg(root)
        .stdin(Stdio::piped())
        .process_group(0);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starting sh")
}

/// A port that nothing listens on now. Each test process begins elsewhere, so that two seldom try the same.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    let start = u16::try_from(std::process::id().wrapping_mul(37) % u32::from(count)).unwrap();
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// All but letters, digits, `-`, `.`, `_`, `~` as `%XX`.
pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}
