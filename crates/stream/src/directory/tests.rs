//! Real trees, some of them deeper than any path may be long.

use std::collections::BTreeSet;
use std::fs;

use rustix::fs::{mkdirat, symlinkat};

use super::*;

/// Makes directories of 200-byte names one in another, and gives the last.
fn dig(root: &Path, depth: usize) -> OwnedFd {
    let mut last = OwnedFd::from(File::open(root).unwrap());
    for _ in 0..depth {
        let name = "d".repeat(200);
        mkdirat(&last, &name, Mode::RWXU).unwrap();
        last = open_directory(last.as_fd(), &name).unwrap();
    }
    last
}

/// Levels with more names than are held.
const LARGE: usize = 3;

#[test]
fn every_name_is_given_once_and_few_directories_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    // More levels than are open at a time, and more names in each than the kernel gives at once.
    let mut expected = BTreeSet::new();
    let mut level = root.clone();
    for number in 0..40 {
        fs::create_dir(&level).unwrap();
        for name in 0..if number < LARGE { 4_000 } else { 3 } {
            let path = level.join(format!("a file with a long name, number {name}"));
            fs::write(&path, b"").unwrap();
            expected.insert(path.strip_prefix(&root).unwrap().to_owned());
        }
        level = level.join(format!("level {number}"));
    }
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    // Large ones stay open, or not, where there are too many of them.
    for (already, more) in [(0, LARGE), (LARGE_MOST, 0)] {
        let (before, mut most, mut held) = (open(), 0, 0);
        let mut found = BTreeSet::new();
        let mut descent = Descent::open(&root).unwrap();
        descent.way.large = already;
        loop {
            let Some(name) = descent.next_name().unwrap() else {
                if descent.leave().unwrap().is_none() {
                    break;
                }
                continue;
            };
            if name.kind.is_dir() {
                let below = open_directory(descent.directory().unwrap(), &*name.name).unwrap();
                descent.enter(&name.name, below).unwrap();
                most = most.max(open());
                let names = descent.way.values().map(|names| names.text.len());
                held = held.max(names.max().unwrap());
            } else {
                assert!(found.insert(descent.path_of(&name.name)), "{name:?} twice");
            }
        }
        assert_eq!(found, expected);
        assert!(
            most - before <= OPEN_MOST + more,
            "{most} open, {before} before"
        );
        assert!(more == 0 || held <= 3 * NAMES_BYTES, "{held} bytes held");
        assert_eq!(descent.way.large, already);
    }
}

#[test]
fn a_tree_of_any_depth_is_removed_and_links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), b"").unwrap();
    let root = dir.path().join("tree");
    fs::create_dir(&root).unwrap();
    let last = dig(&root, 2_000);
    symlinkat(&kept, &last, "link").unwrap();
    remove(&root).unwrap();
    assert!(!root.exists() && kept.join("file").exists());
    remove(&kept.join("file")).unwrap();
    assert!(remove(&kept.join("file")).is_err());
}

#[test]
fn a_directory_that_was_moved_meanwhile_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    fs::create_dir(&root).unwrap();
    dig(&root, 40);
    let mut descent = Descent::open(&root).unwrap();
    while let Some(name) = descent.next_name().unwrap() {
        let below = open_directory(descent.directory().unwrap(), &*name.name).unwrap();
        descent.enter(&name.name, below).unwrap();
    }
    // The ninth is the first that is closed.
    let mut ninth = OwnedFd::from(File::open(&root).unwrap());
    for _ in 0..8 {
        ninth = open_directory(ninth.as_fd(), "d".repeat(200)).unwrap();
    }
    let elsewhere = File::open(dir.path()).unwrap();
    rustix::fs::renameat(&ninth, "d".repeat(200), &elsewhere, "moved").unwrap();
    let mut left = (0..40).map_while(|_| descent.leave().transpose());
    let error = left.find_map(Result::err).unwrap();
    assert!(error.to_string().contains("moved meanwhile"), "{error}");
}

#[test]
fn long_paths_are_shown_by_their_ends() {
    assert_eq!(shown(Path::new("/a/b")), "/a/b");
    let long = format!("/first/{}/last", "x".repeat(5_000));
    let short = shown(Path::new(&long));
    assert!(short.len() < 1_100 && short.starts_with("/first/") && short.ends_with("/last"));
}
