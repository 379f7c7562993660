//! The fence of a scratch server: what its superuser's SQL can do outside it. Each is tried as the tests' own user and, where that is root,
//! once more as an ordinary one.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use postgres::fence::around;
use postgres::scratch::{Fencing, Scratch, ScratchError, sweep};
use postgres::server::Server;
use seccompiler::{SeccompAction, SeccompFilter};
use stream::child::Program;
use stream::fence::Fence;
use tokio_util::sync::CancellationToken;

use super::tools;

async fn start(dir: &Path, fencing: Fencing) -> Result<Scratch, ScratchError> {
    let tools = tools().await;
    let cancel = CancellationToken::new();
    Scratch::start(
        &tools.bindir,
        tools.version.major,
        dir,
        "somebody",
        fencing,
        &cancel,
    )
    .await
}

fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    dir
}

/// Lines of `/proc/PID/status` by name.
fn status(pid: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Runs a test of this file once more as the user `nobody`, where the tests are root's.
async fn as_nobody(name: &str) {
    if !is_root() {
        return;
    }
    let dir = open_dir();
    let copy = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let program = Program::new("setpriv")
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", name, "--nocapture"])
        .keep_stderr(1 << 20);
    let output = program.output(&CancellationToken::new()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1 passed"), "{text}{}", output.stderr);
}

fn is_root() -> bool {
    status("self")["Uid"].starts_with("0\t")
}

#[tokio::test]
async fn its_superuser_reaches_nothing_outside() {
    let (beside, listener) = (open_dir(), TcpListener::bind("127.0.0.1:0").unwrap());
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let out = beside.path().display();
    let mut statements = vec![
        format!("COPY (SELECT 1) TO PROGRAM 'cat >{out}/marker'"),
        format!("COPY (SELECT 1) TO '{out}/marker'"),
        format!("SELECT lo_create(4242); SELECT lo_export(4242, '{out}/marker')"),
        format!("SELECT pg_read_binary_file('{out}/file')"),
        "SELECT pg_read_binary_file('/proc/self/environ')".to_owned(),
        "SELECT pg_read_binary_file('/etc/passwd')".to_owned(),
        "CREATE TEMPORARY TABLE t (t text); COPY t FROM '/etc/passwd'".to_owned(),
        "SELECT pg_ls_dir('/')".to_owned(),
        "SELECT pg_ls_dir('/tmp')".to_owned(),
    ];
    for fencing in [Fencing::Off, Fencing::Required] {
        // Closed to everybody else, as a backup directory is.
        let closed = tempfile::tempdir().unwrap();
        let dir = closed.path().join("scratch");
        let scratch = start(&dir, fencing).await.unwrap();
        let server = Server::connect(&scratch.dsn("postgres").unwrap())
            .await
            .unwrap();
        if fencing == Fencing::Required {
            // These want more than an ordinary user has, fence or not.
            statements.push("SELECT pg_read_binary_file('/etc/shadow')".to_owned());
            statements.push("SELECT pg_read_binary_file('/proc/1/environ')".to_owned());
            statements.push(format!(
                "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={port} user=u' PUBLICATION p"
            ));
        }
        for statement in &statements {
            let file = beside.path().join("file");
            fs::write(&file, "not yours").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
            let done = server.execute(statement).await;
            let marked = fs::remove_file(beside.path().join("marker")).is_ok();
            match fencing {
                Fencing::Off => assert!(done.is_ok(), "{statement}: {done:?}"),
                Fencing::Required => assert!(done.is_err() && !marked, "{statement}"),
            }
        }
        assert!(listener.accept().is_err(), "the server called somebody");
        let backend = server.names("SELECT pg_backend_pid()::text").await.unwrap();
        let status = status(&backend[0]);
        let bounded = fs::read_to_string(format!("/proc/{}/limits", backend[0])).unwrap();
        assert!(bounded.contains("8589934592"), "{bounded}");
        if is_root() {
            let uid: u32 = status["Uid"].split('\t').next().unwrap().parse().unwrap();
            assert!((61_000..=61_183).contains(&uid), "{uid}");
            assert_eq!(status["Groups"], "");
        }
        if fencing == Fencing::Required {
            assert_eq!(status["NoNewPrivs"], "1");
            assert_eq!(status["Seccomp"], "2");
            assert_eq!(status["CapPrm"].trim_start_matches('0'), "");
            assert!(scratch.fence.starts_with("fenced: "), "{}", scratch.fence);
        } else {
            for got_out in [
                "starts programs",
                "reads /etc/passwd",
                "writes other files",
                "reaches the network",
            ] {
                assert!(scratch.fence.contains(got_out), "{}", scratch.fence);
            }
        }
        drop(server);
        scratch.stop().await.unwrap();
        assert!(!dir.exists());
    }
    if is_root() {
        as_nobody("scratch::its_superuser_reaches_nothing_outside").await;
    }
}

/// What a kernel without Landlock answers, by a filter that answers so.
#[test]
fn without_landlock_there_is_no_server_unless_told_so() {
    let calls = [444, 445, 446].map(|call| (call, Vec::new()));
    let filter = SeccompFilter::new(
        calls.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(38),
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    let without = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path().join("scratch");
            let Err(error) = start(&dir, Fencing::Required).await else {
                panic!("it was started");
            };
            assert!(matches!(error, ScratchError::NotFenced(_)), "{error:?}");
            assert!(error.to_string().contains("Landlock"), "{error}");
            assert!(sweep(&dir).unwrap());
            let scratch = start(&dir, Fencing::Off).await.unwrap();
            assert!(
                scratch.fence.contains("starts programs"),
                "{}",
                scratch.fence
            );
            scratch.stop().await.unwrap();
        });
    });
    without.join().unwrap();
}

/// The same fence around a client that reads what came from a database.
#[tokio::test]
async fn a_fenced_pg_restore_reads_its_archive_alone() {
    let (dir, cancel, tools) = (
        tempfile::tempdir().unwrap(),
        CancellationToken::new(),
        tools().await,
    );
    let archive = dir.path().join("archive");
    let scratch = start(&dir.path().join("scratch"), Fencing::Required)
        .await
        .unwrap();
    let url = scratch.dsn("postgres").unwrap().to_string();
    let server = Server::connect(&scratch.dsn("postgres").unwrap())
        .await
        .unwrap();
    server
        .execute("CREATE TABLE public.kept (n int); INSERT INTO public.kept VALUES (4711)")
        .await
        .unwrap();
    let dump = Program::new(tools.bindir.join("pg_dump")).args(["-Fc", "-d", &url, "-f"]);
    dump.arg(&archive).output(&cancel).await.unwrap();
    let restore = |fence: Fence, to: &str| {
        let program = Program::new(tools.pg_restore()).fenced(fence);
        program.args(["--data-only", to]).arg(&archive)
    };
    let alone = || around(&tools.bindir, "pg_restore").read([&archive]);
    let text = restore(alone(), "--file=-").output(&cancel).await.unwrap();
    assert!(String::from_utf8(text.stdout).unwrap().contains("\n4711\n"));
    let out = format!("--file={}", dir.path().join("out").display());
    let into = format!("--dbname={url}");
    for (fence, to) in [
        (around(&tools.bindir, "pg_restore"), "--file=-"),
        (alone(), &*out),
        (alone(), &*into),
    ] {
        assert!(
            restore(fence.clone().open(), to)
                .output(&cancel)
                .await
                .is_ok(),
            "{to}"
        );
        assert!(restore(fence, to).output(&cancel).await.is_err(), "{to}");
    }
    drop(server);
    scratch.stop().await.unwrap();
}

/// Programs that were moved away with their files: a server behind a fence finds its own, and nothing above them.
#[tokio::test]
async fn an_installation_elsewhere_is_used_with_its_own_files() {
    let dir = open_dir();
    let tools = tools().await;
    let cancel = CancellationToken::new();
    let versioned = tools.bindir.canonicalize().unwrap();
    let versioned = versioned.parent().unwrap();
    let (version, prefix) = (
        versioned.file_name().unwrap(),
        versioned.ancestors().nth(3).unwrap(),
    );
    for (whole, kind) in [
        (versioned, "lib"),
        (&prefix.join("share/postgresql").join(version), "share"),
    ] {
        let to = dir.path().join("moved").join(kind).join("postgresql");
        fs::create_dir_all(&to).unwrap();
        let copy = Program::new("cp").arg("-a").arg(whole).arg(to);
        copy.output(&cancel).await.unwrap();
    }
    let bindir = dir
        .path()
        .join("moved/lib/postgresql")
        .join(version)
        .join("bin");
    let scratch = Scratch::start(
        &bindir,
        tools.version.major,
        &dir.path().join("scratch"),
        "somebody",
        Fencing::Required,
        &cancel,
    )
    .await
    .unwrap();
    let server = Server::connect(&scratch.dsn("postgres").unwrap())
        .await
        .unwrap();
    server
        .execute("CREATE EXTENSION pgcrypto SCHEMA public")
        .await
        .unwrap();
    let library = "SELECT pg_catalog.current_setting('data_directory') IS NOT NULL AND public.digest('a', 'sha256') IS NOT NULL";
    assert_eq!(server.names(library).await.unwrap(), ["t"]);
    drop(server);
    scratch.stop().await.unwrap();
}
