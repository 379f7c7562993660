//! Files of a set that somebody made to hurt who reads them: each is told by name, in little memory, and keeps nobody waiting.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::Duration;
use rustix::process::Signal;
use tests::backupd::{Backupd, Outcome};
use tests::daemon::Daemon;
use tests::host::{command, wait_for};
use tests::set;
use tests::stack::{Stack, names};

/// What a forged file may take above what a whole set takes.
const MORE_KIB: u64 = 64 * 1024;
/// Larger than that by far: who holds the file in memory is found.
const FORGED_BYTES: usize = 128 << 20;
/// Whoever waits for a pipe or reads a device waits for ever.
const SECONDS: &str = "120";
const BLOCK: usize = 512;

/// A call's outcome, and its memory at the most.
fn measured(stack: &Stack, arguments: &[&str]) -> (Outcome, u64) {
    let peak = stack.server.root().join("peak");
    let file = peak.to_str().unwrap();
    let wrapper = [SECONDS, "/usr/bin/time", "-q", "-f", "%M", "-o", file];
    let outcome = Backupd::under("timeout", wrapper, stack.backupd(arguments)).run();
    assert_ne!(outcome.code, Some(124), "{arguments:?} hangs: {outcome}");
    let text = fs::read_to_string(peak).unwrap();
    (outcome, text.trim().parse().unwrap())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A header of ustar.
fn header(kind: u8, name: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(257, "ustar  \0");
    block[156] = kind;
    sealed(block)
}

/// With its checksum.
fn sealed(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A member of this kind with content.
fn member(kind: u8, name: &str, content: &[u8]) -> Vec<u8> {
    let mut member = header(kind, name, content.len() as u64);
    member.extend(content);
    member.resize(member.len().next_multiple_of(BLOCK), 0);
    member
}

/// The parts one after the other, the last of them a file, and the closing blocks.
fn archive(parts: &[&[u8]]) -> Vec<u8> {
    let mut archive = parts.concat();
    archive.extend(member(b'0', "file", b"content"));
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// Many of the same, as large as a forged file is.
fn many(part: &[u8]) -> Vec<u8> {
    part.repeat(FORGED_BYTES / part.len())
}

/// An old sparse map of GNU tar that goes on and on.
fn endless_map() -> Vec<u8> {
    let mut first = header(b'S', "sparse", 0);
    first[482] = 1;
    let mut more = Vec::new();
    for _ in 0..21 {
        more.extend(b"00000000000\0");
        more.extend(b"00000000000\0");
    }
    more.push(1);
    more.resize(BLOCK, 0);
    let mut map = sealed(first);
    map.extend(many(&more));
    map
}

/// Records of four bytes each in what a member may have of them: more of them than anything else could have.
fn small_records() -> Vec<u8> {
    let record = b"20 SCHILY.xattr.a=b\n";
    member(
        b'x',
        "records",
        &record.repeat((4 << 20) / record.len() - 1),
    )
}

fn forged_archives() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let attribute = format!("512 SCHILY.xattr.user.a={}\n", "x".repeat(512 - 25));
    assert_eq!(attribute.len(), 512);
    let attribute = attribute.as_bytes();
    let long = "records that are too long";
    let wrong = "a PAX record";
    let strange = "is neither file, directory nor link";
    let pax = |records: &str| archive(&[&member(b'x', "records", records.as_bytes())]);
    let outside = |name: &str| archive(&[&member(b'0', name, b"evil")]);
    let device = |kind: u8| archive(&[&header(kind, "device", 0)]);
    vec![
        (
            "stacked records",
            archive(&[&many(&member(b'x', "records", attribute))]),
            long,
        ),
        (
            "stacked global records",
            archive(&[&many(&member(b'g', "records", attribute))]),
            long,
        ),
        (
            "stacked long names",
            archive(&[&many(&member(b'L', "name", &[b'n'; 512]))]),
            long,
        ),
        (
            "one record",
            archive(&[&member(b'x', "records", &many(b"x"))]),
            long,
        ),
        (
            "one long link",
            archive(&[&member(b'K', "link", &many(b"l"))]),
            long,
        ),
        (
            "a sparse map",
            archive(&[&endless_map()]),
            "a sparse map that is too long",
        ),
        ("small records", archive(&[&small_records()]), ""),
        ("a length too large", pax("99 path=x\n"), wrong),
        ("a length too small", pax("3 path=x\n"), wrong),
        ("a length of nothing", pax("0 path=x\n"), wrong),
        ("a length below nothing", pax("-1 path=x\n"), wrong),
        (
            "a length out of range",
            pax("99999999999999999999999 path=x\n"),
            wrong,
        ),
        ("no length", pax("path=x\n"), wrong),
        ("a name above", outside("../evil"), "lies outside"),
        (
            "a name above, later",
            outside("a/../../evil"),
            "lies outside",
        ),
        (
            "a name from the root",
            outside("/tmp/backupd-test-evil"),
            "lies outside",
        ),
        ("a character device", device(b'3'), strange),
        ("a block device", device(b'4'), strange),
        ("a pipe", device(b'6'), strange),
    ]
}

#[test]
fn forged_archives_are_refused_in_little_memory() {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let set = stack.only_set();
    let (id, file) = (name(&set), set.join("storage_buckets.tar.gz"));
    let to = stack.server.root().join("restored");
    let restore = [
        "restore",
        &id,
        "--only",
        "storage",
        "--allow-outside-links",
        "--to",
        to.to_str().unwrap(),
    ];
    let verify = ["verify", &id];
    let (restored, of_restore) = measured(&stack, &restore);
    let (verified, of_verify) = measured(&stack, &verify);
    assert_eq!(
        (restored.code, verified.code),
        (Some(0), Some(0)),
        "{restored}{verified}"
    );
    fs::remove_dir_all(&to).unwrap();
    let there = names(stack.server.root());
    for (what, content, words) in forged_archives() {
        set::replace(&file, content);
        // What `verify` finds damaged would be refused before it is read.
        for (call, whole) in [(&restore[..], of_restore), (&verify[..], of_verify)] {
            let (outcome, peak) = measured(&stack, call);
            let refused: &[i32] = if call[0] == "verify" { &[4] } else { &[1, 4] };
            assert!(
                outcome.code.is_some_and(|code| refused.contains(&code)),
                "{what}, {call:?}: {outcome}"
            );
            let told = format!("{}{}", outcome.stdout, outcome.stderr);
            assert!(
                told.contains(words) && !told.contains("panicked"),
                "{what}: {outcome}"
            );
            println!("{what}, {}: {peak} KiB, a whole set {whole} KiB", call[0]);
            assert!(
                peak < whole + MORE_KIB,
                "{what}, {call:?}: {peak} KiB of {whole} KiB"
            );
        }
        assert_eq!(names(stack.server.root()), there, "{what}");
        assert!(!Path::new("/tmp/backupd-test-evil").exists(), "{what}");
    }
}

/// What may lie in the place of a file, and how it is made there by a shell.
const PLANTS: [(&str, &str); 4] = [
    ("a pipe", "mkfifo $1"),
    ("a device", "ln -s /dev/zero $1"),
    ("a directory", "mkdir $1"),
    ("300 MB", "head -c 300000000 /dev/zero | tr '\\0' ' ' > $1"),
];

fn plant(path: &Path, how: &str) {
    let planted = command("sh").args(["-ec", how, "sh"]).arg(path).status();
    assert!(planted.unwrap().success(), "{how} {}", path.display());
}

fn remove(path: &Path) {
    let removed = command("rm").arg("-rf").arg(path).status();
    assert!(removed.unwrap().success(), "{}", path.display());
}

/// A stack with a whole set and an older one, in which plants are made.
fn two_sets() -> (Stack, PathBuf) {
    let stack = Stack::new();
    stack.backupd(["run"]).succeed();
    let older = set::older(&stack.only_set(), Duration::hours(1));
    (stack, older)
}

#[test]
fn nothing_in_the_place_of_a_sets_file_hangs_or_fills_the_memory() {
    let (stack, older) = two_sets();
    let id = name(&older);
    let calls: [&[&str]; 3] = [&["list"], &["verify", &id], &["restore", &id, "--dry-run"]];
    let whole: Vec<u64> = calls.iter().map(|call| measured(&stack, call).1).collect();
    for file in [
        "manifest.json",
        "SHA256SUMS",
        "census.json.gz",
        "supabase_db.sql.gz",
        "supabase_roles.sql.gz",
        "storage_buckets.tar.gz",
    ] {
        let path = older.join(file);
        let kept = fs::read(&path).unwrap();
        for (what, how) in PLANTS {
            fs::remove_file(&path).unwrap();
            plant(&path, how);
            for (call, whole) in calls.iter().zip(&whole) {
                let (outcome, peak) = measured(&stack, call);
                println!(
                    "{what} as {file}, {}: {:?}, {peak} KiB",
                    call[0], outcome.code
                );
                assert!(
                    peak < whole + MORE_KIB,
                    "{what} as {file}, {call:?}: {peak} KiB of {whole} KiB"
                );
                let told = format!("{}{}", outcome.stdout, outcome.stderr);
                assert!(!told.contains("panicked"), "{what} as {file}: {outcome}");
                if call[0] == "verify" {
                    assert_eq!(outcome.code, Some(4), "{what} as {file}: {outcome}");
                    assert!(told.contains(file), "{what}: {outcome}");
                }
            }
            remove(&path);
            File::create(&path).unwrap().write_all(&kept).unwrap();
        }
        stack.backupd(["verify", &id]).succeed();
    }
}

#[test]
fn a_daemon_beside_a_manifest_that_is_a_pipe_answers_and_ends() {
    for (what, how) in PLANTS {
        let (stack, older) = two_sets();
        let manifest = older.join("manifest.json");
        fs::remove_file(&manifest).unwrap();
        plant(&manifest, how);
        let daemon = Daemon::start(&stack, &[("BACKUP_CATCH_UP", "false")]);
        wait_for(what, || daemon.get("/").0 == 200);
        daemon.backupd(["trigger", "--wait"]).succeed();
        daemon.running.signal(Signal::TERM);
        let outcome = daemon.wait();
        assert_eq!(outcome.code, Some(0), "{what}: {outcome}");
    }
}
