use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};

use super::*;
use crate::child::{ChildError, Program};
use tokio_util::sync::CancellationToken;

/// Debian's smallest perl: it is everywhere, and asks the kernel for anything.
const PERL: &str = "/usr/bin/perl";
const LIMITS: Limits = Limits {
    memory: 1 << 30,
    processes: 4096,
    file: 1 << 20,
};

fn for_perl() -> Fence {
    Fence::new()
        .execute([
            PERL,
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-linux-aarch64.so.1",
        ])
        .read([
            "/lib",
            "/lib64",
            "/usr/lib",
            "/usr/share",
            "/etc/ld.so.cache",
        ])
}

/// Whether a line of perl comes out true.
async fn does(fence: Option<&Fence>, line: &str) -> bool {
    let script = format!("use Socket; print((eval {{ {line} }}) ? 'yes' : 'no')");
    let mut program = Program::new(PERL).args(["-e", &script]);
    if let Some(fence) = fence {
        program = program.fenced(fence.clone());
    }
    let output = program.output(&CancellationToken::new()).await;
    let text = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    match &*text.stdout {
        b"yes" => true,
        b"no" => false,
        _ => panic!("{line}: {text:?}"),
    }
}

/// Everything here works without a fence, and nothing behind one: files, programs, sockets, other processes, ways around.
#[tokio::test]
async fn nothing_outside_is_reached() {
    let outside = tempfile::tempdir().unwrap();
    let inside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = outside.path().join("socket");
    let _socket = UnixListener::bind(&socket).unwrap();
    let name = format!("backupd-fence-{}", std::process::id());
    let _abstract =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let (out, socket) = (outside.path().display(), socket.display());
    let ours = std::process::id();
    let mut lines = vec![
        "open my $f, '<', '/etc/passwd'".to_owned(),
        format!("open my $f, '<', '{out}/file'"),
        format!("open my $f, '<', '/proc/{ours}/environ'"),
        "open my $f, '<', '/proc/self/environ'".to_owned(),
        "opendir my $d, '/'".to_owned(),
        format!("open my $f, '>', '{out}/file'"),
        format!("open my $f, '>', '{out}/new'"),
        format!("mkdir '{out}/directory'"),
        format!("rename '{out}/file', '{out}/other'"),
        format!("unlink '{out}/file'"),
        format!("truncate '{out}/file', 1"),
        format!("utime 1, 1, '{out}/file'"),
        "system('/bin/true') == 0".to_owned(),
        "system('/bin/sh', '-c', 'exit 0') == 0".to_owned(),
        "system($_, '/bin/true') == 0 and return 1 for glob('/lib*/ld-linux*.so.*'); 0".to_owned(),
        format!(
            "socket my $s, AF_INET, SOCK_STREAM, 0 or return 0; connect $s, pack_sockaddr_in({port}, INADDR_LOOPBACK)"
        ),
        "socket my $s, AF_INET, SOCK_STREAM, 0".to_owned(),
        format!(
            "socket my $s, AF_INET, SOCK_DGRAM, 0 or return 0; send $s, 'x', 0, pack_sockaddr_in({port}, INADDR_LOOPBACK)"
        ),
        "socket my $s, AF_INET6, SOCK_DGRAM, 0".to_owned(),
        "socket my $s, 16, SOCK_RAW, 0".to_owned(),
        format!("socket my $s, AF_UNIX, SOCK_STREAM, 0; connect $s, pack_sockaddr_un('{socket}')"),
        format!(
            "socket my $s, AF_UNIX, SOCK_STREAM, 0; connect $s, pack('Sa*', AF_UNIX, \"\\0{name}\")"
        ),
        format!("setpriority 0, {ours}, getpriority 0, {ours}"),
    ];
    if holds_signals() {
        lines.push(format!("kill 0, {ours}"));
    }
    #[cfg(target_arch = "x86_64")]
    lines.extend([
        // A program in memory, a user namespace, a ring, kill by pidfd, limits of others.
        "my $name = 'x'; syscall(319, $name, 0) >= 0".to_owned(),
        "syscall(272, 0x10000000) == 0".to_owned(),
        "my $pid = syscall(56, 0x10000000 | 17, 0, 0, 0, 0); exit 0 if $pid == 0; $pid > 0"
            .to_owned(),
        format!("syscall(302, {ours}, 7, 0, 0) == 0"),
    ]);
    let fence = for_perl().write([inside.path()]);
    for line in lines {
        fs::write(&file, "not yours").unwrap();
        assert!(does(None, &line).await, "without a fence: {line}");
        // What the first try moved, made or cut short is put back.
        for left in ["other", "new"] {
            let _ = fs::remove_file(outside.path().join(left));
        }
        let _ = fs::remove_dir(outside.path().join("directory"));
        fs::write(&file, "not yours").unwrap();
        assert!(!does(Some(&fence), &line).await, "behind the fence: {line}");
        assert_eq!(fs::read(&file).unwrap(), b"not yours", "{line}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2, "{line}");
    }
    assert_eq!(fs::read_dir(inside.path()).unwrap().count(), 0);
}

/// These do not work without a fence either, or not everywhere; or they are said to have worked.
#[tokio::test]
async fn ways_around_are_shut() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let fence = for_perl();
    let path = file.display();
    assert!(does(Some(&fence), &format!("chmod 0777, '{path}'")).await);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    for line in [
        format!("chown 1, 1, '{path}'"),
        "chroot '/'".to_owned(),
        // io_uring_setup, ptrace, keyctl; socket by the second table of x86-64.
        "my $parameters = \"\\0\" x 120; syscall(425, 1, $parameters) >= 0".to_owned(),
        #[cfg(target_arch = "x86_64")]
        "syscall(101, 0, 0, 0, 0) == 0".to_owned(),
        #[cfg(target_arch = "x86_64")]
        "syscall(250, 0, -3, 0) >= 0".to_owned(),
        #[cfg(target_arch = "x86_64")]
        "syscall(0x40000029, 2, 1, 0) >= 0".to_owned(),
    ] {
        assert!(!does(Some(&fence), &line).await, "{line}");
    }
}

#[tokio::test]
async fn its_own_directory_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let fence = for_perl()
        .write([dir.path()])
        .holding(dir.path())
        .unwrap()
        .limits(LIMITS);
    let (path, held) = (dir.path().display(), fence.held().display().to_string());
    for line in [
        format!(
            "mkdir '{path}/a'; mkdir '{path}/b'; open my $f, '>', '{path}/a/f'; print $f 'x'; close $f; \
             rename '{path}/a/f', '{path}/b/f'"
        ),
        format!("open my $f, '<', '{held}/b/f'; <$f> eq 'x'"),
        format!("truncate '{held}/b/f', 0"),
        format!("unlink '{held}/b/f'"),
        "open my $f, '>', '/dev/null'".to_owned(),
        "open my $f, '<', '/dev/urandom'".to_owned(),
        "my $pid = fork // return 0; exit 0 unless $pid; waitpid($pid, 0) == $pid".to_owned(),
        "my $pid = fork // return 0; unless ($pid) { sleep 60; exit 0 } kill 9, $pid".to_owned(),
        format!(
            "socket my $s, AF_UNIX, SOCK_STREAM, 0; bind $s, pack_sockaddr_un('{path}/s') and listen $s, 1"
        ),
    ] {
        assert!(does(Some(&fence), &line).await, "{line}");
    }
    for line in [
        format!("symlink '/etc/passwd', '{path}/link'"),
        format!("my $name = '{path}/fifo'; syscall(133, $name, 0010600, 0) == 0"),
        format!("open my $f, '<', '{held}/../' . ('../' x 20) . 'etc/passwd'"),
    ] {
        #[cfg(not(target_arch = "x86_64"))]
        if line.contains("syscall") {
            continue;
        }
        assert!(does(Some(&fence.clone().open()), &line).await, "{line}");
        for made in ["link", "fifo"] {
            let _ = fs::remove_file(dir.path().join(made));
        }
        assert!(!does(Some(&fence), &line).await, "{line}");
    }
    let large = format!(
        "$SIG{{XFSZ}} = 'IGNORE'; open my $f, '>', '{path}/large'; print $f 'x' x (2 << 20) and close $f"
    );
    assert!(does(None, &large).await);
    assert!(!does(Some(&fence), &large).await);
}

#[tokio::test]
async fn limits_hold_and_nobody_else_inherits_what_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let fence = Fence::new()
        .holding(dir.path())
        .unwrap()
        .limits(LIMITS)
        .open();
    let cancel = CancellationToken::new();
    let sh = |script: &str| Program::new("/bin/sh").args(["-c", script]);
    // Limits come right after the start.
    let limited = sh("sleep 0.3; cat /proc/self/limits").fenced(fence.clone());
    let text = String::from_utf8(limited.output(&cancel).await.unwrap().stdout).unwrap();
    for (name, value) in [
        ("Max core file size", 0),
        ("Max address space", LIMITS.memory),
        ("Max processes", LIMITS.processes),
        ("Max file size", LIMITS.file),
    ] {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        let mut words = line[name.len()..].split_whitespace();
        assert_eq!(words.next(), Some(&*value.to_string()), "{line}");
        assert_eq!(words.next(), Some(&*value.to_string()), "{line}");
    }
    let held = fs::canonicalize(dir.path()).unwrap().display().to_string();
    let files = "for file in /proc/self/fd/*; do readlink $file; done; true";
    let inherited = sh(files).fenced(fence.clone()).output(&cancel).await;
    let others = sh(files).output(&cancel).await;
    let text = |output: Result<crate::child::Output, ChildError>| {
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert!(text(inherited).contains(&held));
    assert!(!text(others).contains(&held));
}

/// As root: another user, in no other group, who finds its directory below one that is closed to it.
#[tokio::test]
async fn root_starts_it_as_somebody_else() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let closed = tempfile::tempdir().unwrap();
    let dir = closed.path().join("dir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "").unwrap();
    let account = Account {
        uid: 61_183,
        gid: 61_182,
    };
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&dir, Some(account.uid), Some(account.gid)).unwrap();
    let fence = for_perl()
        .write([&dir])
        .holding(&dir)
        .unwrap()
        .account(Some(account))
        .limits(LIMITS);
    let (path, held) = (dir.display(), fence.held().display().to_string());
    assert!(
        does(
            Some(&fence),
            "$< == 61183 and $> == 61183 and $) eq '61182'"
        )
        .await
    );
    assert!(does(Some(&fence), &format!("open my $f, '>', '{held}/new'")).await);
    assert!(!does(Some(&fence), &format!("open my $f, '<', '{path}/file'")).await);
    assert_eq!(fs::metadata(dir.join("new")).unwrap().uid(), account.uid);
}
