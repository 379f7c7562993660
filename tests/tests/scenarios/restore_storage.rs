//! The storage tree comes back in its place: the tree before is kept whole, and nothing is lost whenever it is cut off.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::backupd::Backupd;
use tests::host::command;
use tests::skipped::is_root_for;
use tests::stack::{Stack, names};
use tests::tree::{self, differences};

/// Kills of either way to swap, and of a soak; numbers without the factor 7, so that each part of a restore has its kill.
const KILLS: u32 = 12;
/// See [`KILLS`].
const SOAK: u32 = 160;

fn restore(stack: &Stack, set: &str) -> Backupd {
    stack.backupd([
        "restore",
        set,
        "--yes",
        "--allow-outside-links",
        "--only",
        "storage",
    ])
}

fn assert_same(before: &Path, after: &Path) {
    assert_eq!(
        differences(&tree::snapshot(before), &tree::snapshot(after)),
        Vec::<String>::new()
    );
}

fn run_tool(program: &str, arguments: &[&str]) {
    assert!(
        command(program).args(arguments).status().unwrap().success(),
        "{program} {arguments:?}"
    );
}

/// A copy of a tree with everything that it has.
fn copy(from: &Path, to: &Path) {
    run_tool("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}

/// The tree that a restore kept.
fn kept(dir: &Path) -> PathBuf {
    let name = names(dir)
        .into_iter()
        .find(|name| name.contains(".before-"));
    dir.join(name.unwrap_or_else(|| panic!("{:?}", names(dir))))
}

#[test]
fn an_ordinary_tree_is_swapped_and_the_old_one_kept() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let root = stack.server.root();
    let whole = root.join("whole");
    copy(&stack.storage, &whole);
    fs::remove_dir_all(stack.storage.join("stub/stub/avatars")).unwrap();
    fs::write(stack.storage.join("since then"), "x").unwrap();
    let ruined = root.join("ruined");
    copy(&stack.storage, &ruined);
    let plan = stack
        .backupd([
            "restore",
            "--dry-run",
            "--allow-outside-links",
            "--only",
            "storage",
        ])
        .succeed();
    assert!(
        plan.stdout
            .contains("the present tree is kept as storage.before-"),
        "{plan}"
    );
    let outcome = restore(&stack, "latest").succeed();
    assert_same(&whole, &stack.storage);
    assert_same(&ruined, &kept(root));
    assert!(outcome.stdout.contains(".before-"), "{outcome}");
    // Again, and onto nothing at all.
    restore(&stack, "latest").succeed();
    assert_eq!(
        names(root)
            .iter()
            .filter(|name| name.contains(".before-"))
            .count(),
        2
    );
    fs::remove_dir_all(&stack.storage).unwrap();
    restore(&stack, "latest").succeed();
    assert_same(&whole, &stack.storage);
    let asked = stack.backupd(["restore", "--only", "storage"]).run();
    assert_eq!(asked.code, Some(2), "{asked}");
    // Everything at once.
    let all = stack
        .backupd(["restore", "--yes", "--allow-outside-links"])
        .succeed();
    for words in [
        "postgres: supabase of",
        "keycloak: keycloak of",
        "storage: storage of",
    ] {
        assert!(all.stdout.contains(words), "{words}: {all}");
    }
    assert_same(&whole, &stack.storage);
}

/// Whether a restore is at work beside a tree that lies in this directory.
fn is_restoring(directory: &Path) -> bool {
    names(directory)
        .iter()
        .any(|name| name.starts_with(".backupd-restoring-"))
}

#[test]
fn a_signal_leaves_the_present_tree() {
    let stack = large_stack();
    let home = stack.server.root().join("home");
    fs::create_dir(&home).unwrap();
    let tree = home.join("tree");
    copy(&stack.storage, &tree);
    fs::write(tree.join("since then"), "x").unwrap();
    let whole = stack.server.root().join("whole");
    copy(&tree, &whole);
    let mut running = restore(&stack, "latest")
        .env("SUPABASE_STORAGE_PATH", &tree)
        .spawn();
    running.wait_until("the restore", |_| is_restoring(&home));
    running.signal(Signal::TERM);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(143), "{outcome}");
    assert_same(&whole, &tree);
    assert_eq!(names(&home), ["tree"], "{outcome}");
}

#[test]
fn a_damaged_archive_leaves_the_present_tree() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let whole = stack.server.root().join("whole");
    copy(&stack.storage, &whole);
    let archive = stack.only_set().join("storage_buckets.tar.gz");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(&archive, bytes).unwrap();
    let before = names(stack.server.root());
    let outcome = restore(&stack, "latest").run();
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert_same(&whole, &stack.storage);
    assert_eq!(names(stack.server.root()), before);
}

/// Long enough in the making to be killed at many moments.
fn large_stack() -> Stack {
    let stack = Stack::new();
    tests::storage::build_bulk(&stack.storage, 800, 4 << 20);
    stack.backupd(["run"]).succeed();
    stack
}

/// A mounted tree: its root cannot be renamed.
struct Mounted {
    stack: Stack,
    root: PathBuf,
    from: PathBuf,
}

impl Mounted {
    fn new() -> Option<Self> {
        if !is_root_for("mounting a tree") {
            return None;
        }
        let stack = large_stack();
        let from = stack.server.root().join("volume");
        copy(&stack.storage, &from);
        let root = stack.server.root().join("mounted");
        fs::create_dir(&root).unwrap();
        run_tool(
            "mount",
            &["--bind", from.to_str().unwrap(), root.to_str().unwrap()],
        );
        Some(Self { stack, root, from })
    }

    fn restore(&self) -> Backupd {
        self.restore_of("latest")
    }

    fn restore_of(&self, set: &str) -> Backupd {
        restore(&self.stack, set).env("SUPABASE_STORAGE_PATH", &self.root)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run_tool("umount", &[self.root.to_str().unwrap()]);
    }
}

#[test]
fn in_a_mount_point_the_children_change_places() {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    let (stack, root) = (&mounted.stack, &mounted.root);
    fs::write(root.join("since then"), "x").unwrap();
    mounted.restore().succeed();
    let old = kept(root);
    assert_eq!(fs::read_to_string(old.join("since then")).unwrap(), "x");
    assert_same(&stack.storage.join("stub"), &root.join("stub"));
    assert_same(&stack.storage.join("stub"), &old.join("stub"));
    // The kept tree is no part of the next set.
    std::thread::sleep(Duration::from_secs(1));
    let run = stack
        .backupd(["run"])
        .env("SUPABASE_STORAGE_PATH", root)
        .succeed();
    assert!(run.stdout.contains("(kept by a restore)"), "{run}");
    let sets = stack.sets();
    let files = |set: &Path| stack.manifest(set)["storage"]["files"].clone();
    assert_eq!(files(&sets[0]), files(&sets[1]));
    // Read-only, as the compose file mounts it.
    run_tool("mount", &["-o", "remount,bind,ro", root.to_str().unwrap()]);
    let refused = mounted.restore().run();
    run_tool("mount", &["-o", "remount,bind,rw", root.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("is mounted read-only"), "{refused}");
    assert!(mounted.from.join("stub").is_dir());
}

#[test]
fn an_uploader_hides_nothing_by_a_name_of_restores_and_loses_nothing() {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    let (stack, root) = (&mounted.stack, &mounted.root);
    let run = || {
        std::thread::sleep(Duration::from_secs(1));
        let run = stack
            .backupd(["run"])
            .env("SUPABASE_STORAGE_PATH", root)
            .run();
        // It is another directory than the first set's.
        assert_eq!(run.code, Some(4), "{run}");
        assert!(!run.stdout.contains("kept by a restore"), "{run}");
        stack.sets().pop().unwrap()
    };
    // Buckets, where they lie in the root itself.
    let of_today = stack.only_set().file_name().unwrap().to_owned();
    let today = of_today.to_str().unwrap();
    for name in [
        format!("mounted.before-{today}"),
        format!(".before-{today}"),
        format!("mounted.meanwhile-{today}-2"),
        format!(".backupd-restoring-{today}"),
        format!(".backupd-keeping-{today}"),
        format!(".backupd-swapping-{today}"),
        format!(".backupd-placed-{today}"),
    ] {
        fs::create_dir(root.join(&name)).unwrap();
        fs::write(root.join(&name).join("theirs"), &name).unwrap();
    }
    let uploaded = stack.server.root().join("uploaded");
    copy(root, &uploaded);
    let set = run();
    // It is in the way of that one set, which is said; nothing is removed, neither by this nor by an undo.
    let at_work = mounted.restore_of(today).run();
    assert_eq!(at_work.code, Some(1), "{at_work}");
    assert!(
        at_work
            .stderr
            .contains("a name that the restore needs and none of its own"),
        "{at_work}"
    );
    stack
        .backupd(["restore", "--yes", "--undo", "--only", "storage"])
        .env("SUPABASE_STORAGE_PATH", root)
        .succeed();
    assert_same(&uploaded, root);
    // All of it comes back with the next set, and what was there is kept.
    for name in names(root) {
        fs::remove_dir_all(root.join(name)).unwrap();
    }
    fs::create_dir(root.join("since")).unwrap();
    let set = set.file_name().unwrap().to_str().unwrap();
    mounted.restore_of(set).succeed();
    let old = root.join(format!("mounted.before-{set}"));
    assert!(old.join("since").is_dir(), "{:?}", names(root));
    fs::remove_dir_all(&old).unwrap();
    assert_eq!(names(root), names(&uploaded));
    for name in names(root) {
        assert_same(&uploaded.join(&name), &root.join(&name));
    }
}

/// Kills restores at moments all over their duration; `root` must hold the old tree or the new one, whole, at once or after the command.
fn kill_often(stack: &Stack, root: &Path, kills: u32, call: impl Fn() -> Backupd) {
    let parent = root.parent().unwrap();
    let new = tree::snapshot(&stack.storage.join("stub"));
    fs::write(root.join("stub/only here"), "old").unwrap();
    let old = tree::snapshot(&root.join("stub"));
    let began = Instant::now();
    call().succeed();
    let whole = began.elapsed();
    let tidy = || {
        for dir in [root, parent] {
            for name in names(dir).iter().filter(|name| name.contains(".before-")) {
                let path = dir.join(name);
                if path.join("stub/only here").exists() {
                    fs::remove_dir_all(root.join("stub")).unwrap();
                    run_tool(
                        "mv",
                        &[path.join("stub").to_str().unwrap(), root.to_str().unwrap()],
                    );
                }
                fs::remove_dir_all(path).unwrap();
            }
        }
    };
    tidy();
    let mut ends = (0, 0, 0);
    for kill in 0..kills {
        let part = f64::from(kill * 7 % kills) / f64::from(kills);
        let mut running = call().spawn();
        std::thread::sleep(whole.mul_f64(part * 1.02));
        if !running.has_ended() {
            running.signal(Signal::KILL);
        }
        drop(running);
        let left = [root, parent]
            .iter()
            .flat_map(|dir| names(dir))
            .filter(|name| name.starts_with(".backupd-"))
            .count();
        if left > 0 {
            stack
                .backupd(["restore", "--undo", "--only", "storage"])
                .env("SUPABASE_STORAGE_PATH", root)
                .succeed();
            ends.1 += 1;
        }
        let now = tree::snapshot(&root.join("stub"));
        if differences(&old, &now).is_empty() {
            ends.0 += u32::from(left == 0);
        } else {
            assert_eq!(differences(&new, &now), Vec::<String>::new(), "kill {kill}");
            ends.2 += 1;
        }
        let remains: Vec<String> = [root, parent]
            .iter()
            .flat_map(|dir| names(dir))
            .filter(|name| name.starts_with(".backupd-"))
            .collect();
        assert_eq!(remains, Vec::<String>::new(), "kill {kill}");
        tidy();
        assert_eq!(
            differences(&old, &tree::snapshot(&root.join("stub"))),
            Vec::<String>::new(),
            "kill {kill}: the old tree is lost"
        );
    }
    println!(
        "{kills} kills within {whole:?}: {} before anything, {} put right by the command, {} with the new tree",
        ends.0, ends.1, ends.2
    );
    assert!(
        ends.1 > kills / 10,
        "the kills missed the restore: {ends:?}"
    );
}

#[test]
fn killed_at_any_moment_an_ordinary_tree_is_whole() {
    killed_at_an_ordinary_tree(KILLS);
}

#[test]
#[ignore = "a soak: restores killed at many more moments"]
fn any_kill_leaves_an_ordinary_tree_whole() {
    killed_at_an_ordinary_tree(SOAK);
}

fn killed_at_an_ordinary_tree(kills: u32) {
    let stack = large_stack();
    let root = stack.server.root().join("other/tree");
    fs::create_dir(root.parent().unwrap()).unwrap();
    copy(&stack.storage, &root);
    kill_often(&stack, &root, kills, || {
        restore(&stack, "latest").env("SUPABASE_STORAGE_PATH", &root)
    });
}

#[test]
fn killed_at_any_moment_a_mounted_tree_is_whole() {
    killed_at_a_mounted_tree(KILLS);
}

#[test]
#[ignore = "a soak: restores killed at many more moments"]
fn any_kill_leaves_a_mounted_tree_whole() {
    killed_at_a_mounted_tree(SOAK);
}

fn killed_at_a_mounted_tree(kills: u32) {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    kill_often(&mounted.stack, &mounted.root, kills, || mounted.restore());
}

#[test]
fn one_object_comes_back_alone() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let objects = tests::storage::objects();
    let named = |part: &str| {
        objects
            .iter()
            .find(|object| object.name.contains(part))
            .unwrap()
    };
    for part in ["my photo (1).jpg", "größe", "legacy-without-version"] {
        let object = named(part);
        let path = stack.storage.join(object.path());
        let before = tree::snapshot(&stack.storage);
        fs::remove_file(&path).unwrap();
        let label = format!("{}/{}", object.bucket, object.name);
        let call = |more: &[&str]| {
            stack.backupd(
                ["restore", "--object", &label, "--only", "storage"]
                    .iter()
                    .chain(more),
            )
        };
        call(&[]).succeed();
        assert_eq!(fs::read(&path).unwrap(), object.content());
        let kind = xattr::get(&path, "user.supabase.content-type").unwrap();
        assert_eq!(
            kind.map(|kind| String::from_utf8(kind).unwrap()),
            object.mimetype
        );
        // Directories have another mtime; everything else is as it was.
        let changed = differences(&before, &tree::snapshot(&stack.storage));
        assert!(
            changed.iter().all(|what| what.contains("mtime")),
            "{changed:?}"
        );
        // One that differs is kept.
        fs::write(&path, "another").unwrap();
        let outcome = call(&[]).succeed();
        assert_eq!(fs::read(&path).unwrap(), object.content());
        assert!(outcome.stdout.contains(".before-"), "{outcome}");
        let to = stack.server.root().join(format!("apart-{}", object.bytes));
        call(&["--to", to.to_str().unwrap()]).succeed();
        assert_eq!(fs::read(to.join(object.path())).unwrap(), object.content());
    }
    let before = names(&stack.storage);
    let missing = stack
        .backupd([
            "restore",
            "--object",
            "documents/readme",
            "--only",
            "storage",
        ])
        .run();
    assert_eq!(missing.code, Some(1), "{missing}");
    assert!(missing.stderr.contains("readme.txt"), "{missing}");
    let hostile = stack
        .backupd([
            "restore",
            "--object",
            "documents/../../x",
            "--only",
            "storage",
        ])
        .run();
    assert_eq!(hostile.code, Some(1), "{hostile}");
    let wrong = stack
        .backupd(["restore", "--object", "a/b", "--only", "supabase"])
        .run();
    assert_eq!(wrong.code, Some(2), "{wrong}");
    assert_eq!(names(&stack.storage), before);
}
