//! Putting back: what a set holds comes back as it was, beside whatever is there, or not at all.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tests::backupd::Backupd;
use tests::host::command;
use tests::skipped::is_root_for;
use tests::stack::{Stack, names};
use tests::tree;

#[test]
fn a_tree_comes_back_as_it_was() {
    let stack = Stack::new();
    let extra = stack.server.root().join("stack.env");
    fs::write(&extra, "JWT_SECRET=x\n").unwrap();
    let labels = format!("env={}", extra.display());
    stack
        .backupd(["run"])
        .env("BACKUP_EXTRA_PATHS", labels)
        .succeed();
    let to = stack.server.root().join("restored");
    // On the worst day nothing but BACKUP_DIR is set.
    let call = |only: &str, to: &Path, more: &[&str]| {
        let arguments = [
            "restore",
            "latest",
            "--only",
            only,
            "--to",
            to.to_str().unwrap(),
        ];
        Backupd::new(arguments.iter().chain(more)).env("BACKUP_DIR", &stack.backups)
    };
    let restore = |only: &str, to: &Path| call(only, to, &["--allow-outside-links"]);
    // The sample has a link that leads out.
    let refused = call("storage", &to, &[]).run();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused
            .stderr
            .contains("documents/dangling is a symbolic link that leads out"),
        "{refused}"
    );
    assert!(
        refused.stderr.contains("say --allow-outside-links"),
        "{refused}"
    );
    let outcome = restore("storage", &to).succeed();
    assert!(outcome.stdout.contains("storage of 2"), "{outcome}");
    let different = tree::differences(&tree::snapshot(&stack.storage), &tree::snapshot(&to));
    assert_eq!(different, Vec::<String>::new());
    let to = stack.server.root().join("env");
    restore("env", &to).succeed();
    assert_eq!(
        fs::read_to_string(to.join("stack.env")).unwrap(),
        "JWT_SECRET=x\n"
    );

    // Nothing is overwritten, and every fault is named.
    let before = names(stack.server.root());
    let nowhere = stack.server.root().join("no/where");
    let fresh = stack.server.root().join("fresh");
    for (only, to, words) in [
        ("storage", &to, "is there already"),
        ("storage", &nowhere, "has no parent: make"),
        (
            "supabase",
            &fresh,
            "--to takes one file tree: say which by --only (storage, env)",
        ),
    ] {
        let refused = restore(only, to).run();
        assert_ne!(refused.code, Some(0), "{refused}");
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    assert_eq!(names(stack.server.root()), before);
}

#[test]
fn a_damaged_archive_restores_nothing() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let archive = stack.only_set().join("storage_buckets.tar.gz");
    let to = stack.server.root().join("restored");
    let whole = fs::read(&archive).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&archive).unwrap();
    for at in [20, whole.len() / 2, whole.len() - 6] {
        file.write_all_at(&[whole[at] ^ 0x55], at as u64).unwrap();
        let before = names(stack.server.root());
        let outcome = stack
            .backupd([
                "restore",
                "--only",
                "storage",
                "--allow-outside-links",
                "--to",
                to.to_str().unwrap(),
            ])
            .run();
        assert_eq!(outcome.code, Some(4), "byte {at}: {outcome}");
        assert!(outcome.stderr.contains("nothing was restored"), "{outcome}");
        assert_eq!(names(stack.server.root()), before);
        file.write_all_at(&whole[at..=at], at as u64).unwrap();
    }
}

#[test]
fn a_file_system_without_attributes_is_refused_before_anything_is_written() {
    if !is_root_for("mounting a file system without attributes") {
        return;
    }
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let mount = stack.server.root().join("ramfs");
    fs::create_dir(&mount).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let status = command(program)
            .args(arguments)
            .arg(&mount)
            .status()
            .unwrap();
        assert!(status.success(), "{program}");
    };
    run("mount", &["-t", "ramfs", "ramfs"]);
    let to = mount.join("restored");
    let arguments = [
        "restore",
        "--only",
        "storage",
        "--allow-outside-links",
        "--to",
        to.to_str().unwrap(),
    ];
    let refused = stack.backupd(arguments).run();
    let left = names(&mount);
    let told = stack
        .backupd(arguments.into_iter().chain(["--without-xattrs"]))
        .run();
    let there = to.exists();
    run("umount", &[]);
    assert_eq!((refused.code, left.len()), (Some(1), 0), "{refused}");
    assert!(
        refused.stderr.contains("without extended attributes"),
        "{refused}"
    );
    assert_eq!((told.code, there), (Some(0), true), "{told}");
    assert!(told.stderr.contains("not kept: "), "{told}");
}

#[test]
fn a_tree_of_any_depth_is_backed_up_verified_and_restored() {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    use std::io::Write;
    // 600 levels, whose path has 120,000 bytes where the kernel takes 4,096; more levels than files may be open.
    const DEPTH: usize = 600;
    let name = "d".repeat(200);
    let stack = Stack::new();
    let open = |directory: &fs::File, name: &str, flags| {
        fs::File::from(openat(directory, name, flags, Mode::RUSR | Mode::WUSR).unwrap())
    };
    let mut last = fs::File::open(&stack.storage).unwrap();
    for _ in 0..DEPTH {
        mkdirat(&last, &name, Mode::RWXU).unwrap();
        last = open(&last, &name, OFlags::DIRECTORY);
    }
    let mut file = open(&last, "bottom", OFlags::CREATE | OFlags::WRONLY);
    file.write_all(b"at the bottom").unwrap();
    let few_files = |call| Backupd::under("prlimit", ["--nofile=400", "--"], call).succeed();
    few_files(stack.backupd(["run"]));
    few_files(stack.backupd(["verify"]));
    let to = stack.server.root().join("restored");
    let arguments = ["restore", "latest", "--only", "storage", "--to"];
    let arguments = arguments.iter().copied().chain([to.to_str().unwrap()]);
    few_files(stack.backupd(arguments.chain(["--allow-outside-links"])));
    let mut last = fs::File::open(&to).unwrap();
    for _ in 0..DEPTH {
        last = open(&last, &name, OFlags::DIRECTORY);
    }
    let bottom = std::io::read_to_string(open(&last, "bottom", OFlags::RDONLY)).unwrap();
    assert_eq!(bottom, "at the bottom");
    for tree in [&stack.storage, &to] {
        command("rm").arg("-rf").arg(tree).status().unwrap();
    }
}
