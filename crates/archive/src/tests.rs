//! Real trees, packed by us and unpacked by GNU tar.
#![allow(
    clippy::disallowed_methods,
    reason = "the tests run GNU tar as a user would"
)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use tokio_util::sync::CancellationToken;

use super::*;

mod hostile;

/// A directory on a file system with user attributes; `/tmp` may be a tmpfs of an old kernel.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
}

fn pack_to_vec(root: &Path) -> (Vec<u8>, Packed) {
    let (archive, packed, _) = pack(
        root,
        Vec::new(),
        Packing::default(),
        &CancellationToken::new(),
    )
    .unwrap();
    let walked = walk(archive.as_slice(), None, &CancellationToken::new()).unwrap();
    assert_eq!(
        (
            walked.files,
            walked.directories,
            walked.symlinks,
            walked.hard_links,
            walked.bytes
        ),
        (
            packed.files,
            packed.directories,
            packed.symlinks,
            packed.hard_links,
            packed.bytes
        )
    );
    (archive, packed)
}

fn gnu_unpack(archive: &[u8], into: &Path) {
    let file = into.with_extension("tar");
    fs::write(&file, archive).unwrap();
    fs::create_dir(into).unwrap();
    let output = Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "-xpf"])
        .arg(&file)
        .arg("-C")
        .arg(into)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn same(a: &Path, b: &Path) {
    let (x, y) = (
        fs::symlink_metadata(a).unwrap(),
        fs::symlink_metadata(b).unwrap(),
    );
    let name = a.display();
    assert_eq!(x.mode(), y.mode(), "{name}");
    assert_eq!((x.uid(), x.gid()), (y.uid(), y.gid()), "{name}");
    assert_eq!(
        (x.mtime(), x.mtime_nsec()),
        (y.mtime(), y.mtime_nsec()),
        "{name}"
    );
    if x.is_symlink() {
        assert_eq!(fs::read_link(a).unwrap(), fs::read_link(b).unwrap());
        return;
    }
    let attributes = |path: &Path| {
        let mut all: Vec<_> = xattr::list(path)
            .unwrap()
            .map(|name| (name.clone(), xattr::get(path, &name).unwrap()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(attributes(a), attributes(b), "{name}");
    if x.is_dir() {
        let names = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(a), names(b));
        for name in names(a) {
            same(&a.join(&name), &b.join(&name));
        }
    } else if x.is_file() {
        assert_eq!(x.len(), y.len(), "{name}");
        if x.len() < 1 << 30 {
            assert!(fs::read(a).unwrap() == fs::read(b).unwrap(), "{name}");
        }
    }
}

/// Names, attributes, modes and sizes of every kind; gives an object of several attributes.
fn furnish(root: &Path) -> std::path::PathBuf {
    let deep = root.join("stub/stub/avatars/a name with spaces/ünïcode ☃");
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(root.join("empty directory")).unwrap();
    let object = deep.join("0f1e2d3c");
    fs::write(&object, b"content of an object").unwrap();
    xattr::set(&object, "user.supabase.content-type", b"image/png").unwrap();
    xattr::set(&object, "user.supabase.cache-control", b"max-age=3600").unwrap();
    xattr::set(&object, "user.binary=%", b"\0\xff\n=").unwrap();
    xattr::set(&deep, "user.on-a-directory", b"yes").unwrap();
    fs::set_permissions(&object, fs::Permissions::from_mode(0o4640)).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("new\nline"), b"x").unwrap();
    fs::write(
        root.join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff")),
        b"y",
    )
    .unwrap();
    fs::write(root.join("l".repeat(255)), b"long").unwrap();
    let far = root.join("d".repeat(120)).join("e".repeat(150));
    fs::create_dir_all(&far).unwrap();
    fs::write(far.join("f".repeat(90)), vec![7; 1_000_000]).unwrap();
    object
}

#[test]
fn gnu_tar_gives_back_the_same_tree() {
    let dir = scratch();
    let root = dir.path().join("tree");
    let object = furnish(&root);
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    symlink("t".repeat(300), root.join("far-link")).unwrap();
    fs::hard_link(&object, root.join("second name")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(9 << 30).unwrap();
    for at in 0..40_u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", at * (200 << 20)).unwrap();
    }
    // Not walked: the sparse file's nine gigabytes of zeros would be read.
    let (archive, packed, _) = pack(
        &root,
        Vec::new(),
        Packing::default(),
        &CancellationToken::new(),
    )
    .unwrap();
    assert_eq!(
        (packed.hard_links, packed.symlinks, packed.changed_total),
        (1, 2, 0)
    );
    assert!(archive.len() < 4 << 20, "holes are not stored");
    let copy = dir.path().join("copy");
    gnu_unpack(&archive, &copy);
    same(&root, &copy);
    let back = fs::metadata(copy.join("sparse")).unwrap();
    assert!(back.blocks() * 512 < 1 << 30, "holes stay holes");
    let first = fs::metadata(copy.join("second name")).unwrap();
    assert_eq!(first.nlink(), 2);
}

#[test]
fn we_give_back_the_same_tree() {
    let dir = scratch();
    let root = dir.path().join("tree");
    let object = furnish(&root);
    symlink("t".repeat(300), root.join("far-link")).unwrap();
    symlink("../avatars", root.join("stub/stub/sideways")).unwrap();
    // A file of another's with a capability, which a change of owner takes away: both come back.
    if rustix::process::geteuid().is_root() {
        let capable = root.join("capable");
        fs::write(&capable, b"").unwrap();
        std::os::unix::fs::chown(&capable, Some(1234), Some(1234)).unwrap();
        let mut bind_low_ports = [0; 20];
        (bind_low_ports[3], bind_low_ports[5]) = (2, 4);
        xattr::set(&capable, "security.capability", &bind_low_ports).unwrap();
    }
    fs::hard_link(&object, root.join("second name")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    for at in 0..30_u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", at * (2 << 20)).unwrap();
    }
    let (archive, packed) = pack_to_vec(&root);
    let copy = dir.path().join("copy");
    let unpacked = unpack(
        archive.as_slice(),
        &copy,
        Selection {
            outside_links: OutsideLinks::Refused,
            wanted: None,
        },
        &CancellationToken::new(),
    )
    .unwrap();
    let walked = walk(archive.as_slice(), None, &CancellationToken::new()).unwrap();
    assert_eq!(unpacked.walked, walked);
    assert_eq!(walked.attributes, packed.attributes);
    assert_eq!(pack_to_vec(&copy).1.attributes, packed.attributes);
    assert_eq!(unpacked.unkept, Vec::<String>::new());
    same(&root, &copy);
    let back = fs::metadata(copy.join("sparse")).unwrap();
    assert!(back.blocks() * 512 < 16 << 20, "holes stay holes");
    assert_eq!(fs::metadata(copy.join("second name")).unwrap().nlink(), 2);

    let again = unpack(
        archive.as_slice(),
        &copy,
        Selection {
            outside_links: OutsideLinks::Refused,
            wanted: None,
        },
        &CancellationToken::new(),
    )
    .unwrap_err();
    assert!(again.to_string().contains("File exists"), "{again}");
    let cut = &archive[..archive.len() - 1024];
    let cut = unpack(
        cut,
        &dir.path().join("cut"),
        Selection {
            outside_links: OutsideLinks::Refused,
            wanted: None,
        },
        &CancellationToken::new(),
    )
    .unwrap_err();
    assert!(cut.to_string().contains("cut off"), "{cut}");
}

/// An archive of one kind of entry after another, as nobody but an enemy makes it.
fn hostile(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, link) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn a_hostile_archive_is_refused_and_touches_nothing_outside() {
    use tar::EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let dir = scratch();
    fs::write(dir.path().join("victim"), "as it was").unwrap();
    for (entries, why) in [
        (&[(Regular, "/etc/evil", "")][..], "lies outside"),
        (&[(Regular, "../evil", "")], "lies outside"),
        (&[(Regular, "a/../../evil", "")], "lies outside"),
        (&[(Symlink, "out", "/etc")], "leads out"),
        (&[(Symlink, "out", "../..")], "leads out"),
        (
            &[(Directory, "a/", ""), (Symlink, "a/out", "../../x")],
            "leads out",
        ),
        (
            &[
                (Directory, "a/", ""),
                (Symlink, "in", "a"),
                (Regular, "in/evil", ""),
            ],
            "goes through a symbolic link",
        ),
        (
            &[(Symlink, "in", "a"), (Regular, "in", "")],
            "goes through a symbolic link",
        ),
        (&[(Link, "evil", "../victim")], "leads out"),
        (&[(Link, "evil", "/etc/passwd")], "leads out"),
        (&[(Link, "evil", "nothing")], "to no file of the archive"),
        (
            &[(Symlink, "in", "a"), (Link, "evil", "in")],
            "to no file of the archive",
        ),
        (&[(Char, "null", "")], "neither file"),
        (&[(Block, "disk", "")], "neither file"),
        (&[(Fifo, "pipe", "")], "neither file"),
    ] {
        let archive = hostile(entries);
        let cancel = CancellationToken::new();
        let inspected = inspect(archive.as_slice(), OutsideLinks::Refused, &cancel);
        if why != "to no file of the archive" {
            let refused = inspected.expect_err(why).to_string();
            assert!(refused.contains(why), "{entries:?}: {refused}");
        }
        let target = dir.path().join("target");
        let refused = unpack(
            archive.as_slice(),
            &target,
            Selection {
                outside_links: OutsideLinks::Refused,
                wanted: None,
            },
            &CancellationToken::new(),
        );
        let refused = refused.expect_err(why).to_string();
        assert!(refused.contains(why), "{entries:?}: {refused}");
        fs::remove_dir_all(&target).unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["victim"]);
    }
    assert_eq!(
        fs::read_to_string(dir.path().join("victim")).unwrap(),
        "as it was"
    );
}

#[test]
fn the_walk_counts_what_was_packed() {
    let dir = scratch();
    let root = dir.path().join("tree");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/one"), vec![1; 700]).unwrap();
    symlink("one", root.join("a/two")).unwrap();
    let sparse = File::create(root.join("holes")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    let (archive, packed) = pack_to_vec(&root);
    assert_eq!((packed.files, packed.directories), (2, 3));
    assert_eq!(packed.bytes, 700 + (3 << 20));
    for cut in [archive.len() - 1024, archive.len() / 2, 600] {
        assert!(
            walk(&archive[..cut], None, &CancellationToken::new()).is_err(),
            "cut at {cut}"
        );
    }
}

#[test]
fn an_attribute_a_mode_or_a_name_that_changed_is_another_digest() {
    let dir = scratch();
    let file = dir.path().join("tree/a");
    fs::create_dir_all(dir.path().join("tree")).unwrap();
    fs::write(&file, "same").unwrap();
    xattr::set(&file, "user.supabase.content-type", b"image/png").unwrap();
    let digest = || pack_to_vec(&dir.path().join("tree")).1.attributes;
    let mut seen = vec![digest()];
    assert_eq!(digest(), seen[0]);
    xattr::set(&file, "user.supabase.content-type", b"text/html").unwrap();
    seen.push(digest());
    xattr::remove(&file, "user.supabase.content-type").unwrap();
    seen.push(digest());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).unwrap();
    seen.push(digest());
    fs::rename(&file, file.with_file_name("b")).unwrap();
    seen.push(digest());
    for (index, one) in seen.iter().enumerate() {
        assert!(!seen[index + 1..].contains(one), "{seen:?}");
    }
}

/// Changes the tree when the first bytes of content come by.
struct Meddler<F: FnMut()> {
    out: Vec<u8>,
    seen: &'static [u8],
    act: Option<F>,
}

impl<F: FnMut()> Write for Meddler<F> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(data);
        if self
            .out
            .windows(self.seen.len())
            .rev()
            .take(data.len() + 1)
            .any(|w| w == self.seen)
            && let Some(mut act) = self.act.take()
        {
            act();
        }
        Ok(data.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn meddle(act: impl FnMut(&Path)) -> (Packed, Vec<u8>) {
    let dir = scratch();
    let root = dir.path().join("tree");
    fs::create_dir(&root).unwrap();
    let file = root.join("file");
    fs::write(&file, vec![b'm'; 3 * 256 * 1024]).unwrap();
    let mut act = act;
    let sink = Meddler {
        out: Vec::new(),
        seen: b"mmmm",
        act: Some(|| act(&file)),
    };
    let (sink, packed, _) =
        pack(&root, sink, Packing::default(), &CancellationToken::new()).unwrap();
    let archive = sink.out;
    let walked = walk(archive.as_slice(), None, &CancellationToken::new()).unwrap();
    assert_eq!((walked.files, walked.bytes), (1, 3 * 256 * 1024));
    (packed, archive)
}

#[test]
fn a_file_that_changes_while_it_is_read_never_spoils_the_archive() {
    let grown = meddle(|file| {
        let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(b"more").unwrap();
    });
    assert_eq!(grown.0.changed[0].what, Change::Grew);
    let shrunk = meddle(|file| {
        fs::OpenOptions::new()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(10)
            .unwrap();
    });
    assert_eq!(shrunk.0.changed[0].what, Change::Shrank);
    let modified = meddle(|file| {
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_modified(later)
            .unwrap();
    });
    assert_eq!(modified.0.changed[0].what, Change::Modified);
    assert_eq!(modified.0.changed[0].path, "file");
}

/// More files than are ever read ahead of the packer.
#[test]
fn files_that_vanish_are_named_and_left_out() {
    const FILES: u64 = 6_000;
    let dir = scratch();
    let root = dir.path().join("tree");
    fs::create_dir(&root).unwrap();
    for number in 0..FILES {
        fs::write(root.join(format!("file-{number}")), [b'v'; 1024]).unwrap();
    }
    let sink = Meddler {
        out: Vec::new(),
        seen: b"vvvv",
        act: Some(|| fs::remove_dir_all(&root).unwrap()),
    };
    let (sink, packed, _) =
        pack(&root, sink, Packing::default(), &CancellationToken::new()).unwrap();
    assert!(
        packed.files > 0 && packed.files < FILES / 2,
        "{}",
        packed.files
    );
    assert!(packed.changed_total > 0);
    assert!(
        packed
            .changed
            .iter()
            .all(|change| change.what == Change::Vanished)
    );
    let walked = walk(sink.out.as_slice(), None, &CancellationToken::new()).unwrap();
    assert_eq!(walked.files, packed.files);
}

/// Counts this process's open files at each write.
struct OpenFiles {
    out: Vec<u8>,
    most: usize,
}

impl Write for OpenFiles {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.most = self.most.max(open_files());
        self.out.extend_from_slice(data);
        Ok(data.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_tree_of_many_files_comes_back_and_few_of_them_are_open() {
    let dir = scratch();
    let (root, copy) = (dir.path().join("tree"), dir.path().join("copy"));
    for number in 0..3_000 {
        let bucket = root.join(format!("bucket {}", number % 30));
        fs::create_dir_all(&bucket).unwrap();
        let file = bucket.join(format!("{number}"));
        let size = if number % 10 == 0 { 70_000 } else { number / 4 };
        fs::write(&file, vec![b'a' + u8::try_from(number % 26).unwrap(); size]).unwrap();
        if number % 3 == 0 {
            xattr::set(&file, "user.supabase.content-type", b"image/png").unwrap();
        }
        if number % 500 == 0 {
            // Longer than what is asked for first, each and together; ext4 keeps no more than a block of them.
            xattr::set(&file, "user.long", &[7; 1_500]).unwrap();
            for attribute in 0..10 {
                let name = format!("user.{attribute}{}", "n".repeat(100));
                xattr::set(&file, name, b"").unwrap();
            }
            fs::hard_link(&file, bucket.join(format!("{number} again"))).unwrap();
            fs::hard_link(&file, root.join(format!("{number} once more"))).unwrap();
            symlink("nothing", bucket.join(format!("{number} link"))).unwrap();
        }
    }
    let before = open_files();
    let sink = OpenFiles {
        out: Vec::new(),
        most: 0,
    };
    let cancel = CancellationToken::new();
    let (sink, packed, _) = pack(&root, sink, Packing::default(), &cancel).unwrap();
    assert_eq!(
        (
            packed.files,
            packed.hard_links,
            packed.symlinks,
            packed.changed_total
        ),
        (3_000, 12, 6, 0)
    );
    assert!(sink.most < before + 128, "{} open", sink.most);
    let selection = Selection {
        outside_links: OutsideLinks::Refused,
        wanted: None,
    };
    let unpacked = unpack(sink.out.as_slice(), &copy, selection, &cancel).unwrap();
    assert_eq!(unpacked.walked.attributes, packed.attributes);
    same(&root, &copy);
}

/// Inodes are used again, by files that others put in the place of those that are gone: of the same size, and dated alike.
#[test]
fn another_content_under_the_same_inode_is_no_further_name() {
    let dir = scratch();
    let (root, copy) = (dir.path().join("tree"), dir.path().join("copy"));
    fs::create_dir(&root).unwrap();
    let names = ["one", "other"].map(|name| root.join(name));
    fs::write(&names[0], "before").unwrap();
    fs::hard_link(&names[0], &names[1]).unwrap();
    let pack_when = |seen: usize| {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let change = |_: &Path| {
            if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == seen {
                let file = File::options().write(true).open(&names[0]).unwrap();
                let modified = file.metadata().unwrap().modified().unwrap();
                (&file).write_all(b"behind").unwrap();
                file.set_modified(modified).unwrap();
            }
            false
        };
        let packing = Packing {
            left_out: Some(&change),
            ..Packing::default()
        };
        let cancel = CancellationToken::new();
        let (archive, packed, _) = pack(&root, Vec::new(), packing, &cancel).unwrap();
        (archive, (packed.files, packed.hard_links))
    };
    let (archive, counted) = pack_when(1);
    assert_eq!(counted, (2, 0));
    gnu_unpack(&archive, &copy);
    let mut contents = ["one", "other"].map(|name| fs::read_to_string(copy.join(name)).unwrap());
    contents.sort();
    assert_eq!(contents, ["before", "behind"]);
    assert_eq!(pack_when(usize::MAX).1, (1, 1));
}

#[test]
fn what_is_no_file_is_named_and_left_out() {
    let dir = scratch();
    let root = dir.path().join("tree");
    fs::create_dir(&root).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("s")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("p"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let (_, packed) = pack_to_vec(&root);
    let mut skipped = packed.skipped;
    skipped.sort();
    assert_eq!(skipped, ["p (pipe)", "s (socket)"]);
}

/// A directory tree 600 levels deep with names of 200 bytes, and a file with an attribute at its bottom.
fn dig(root: &Path) {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    fs::create_dir(root).unwrap();
    let mut last = std::os::fd::OwnedFd::from(File::open(root).unwrap());
    for _ in 0..600 {
        let name = "d".repeat(200);
        mkdirat(&last, &name, Mode::RWXU).unwrap();
        last = openat(&last, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let mut file = File::from(openat(&last, "bottom", flags, Mode::RUSR | Mode::WUSR).unwrap());
    file.write_all(b"at the bottom").unwrap();
    xattr::FileExt::set_xattr(&file, "user.deep", b"yes").unwrap();
    rustix::fs::linkat(&last, "bottom", &last, "link", rustix::fs::AtFlags::empty()).unwrap();
}

#[test]
fn a_tree_of_any_depth_goes_into_an_archive_and_comes_back() {
    let dir = scratch();
    let (root, copy) = (dir.path().join("tree"), dir.path().join("copy"));
    dig(&root);
    let cancel = CancellationToken::new();
    let measured = measure(&root, None, &cancel).unwrap();
    assert_eq!((measured.files, measured.bytes), (2, 26));
    // A stack as small as a thread may have, where a recursion would show.
    let packing = std::thread::Builder::new().stack_size(128 * 1024);
    let from = root.clone();
    let packed = packing.spawn(move || pack_to_vec(&from)).unwrap();
    let (archive, packed) = packed.join().unwrap();
    assert_eq!((packed.files, packed.directories), (1, 601));
    let selection = Selection {
        outside_links: OutsideLinks::Refused,
        wanted: None,
    };
    let unpacked = unpack(archive.as_slice(), &copy, selection, &cancel).unwrap();
    assert_eq!(
        (unpacked.walked.directories, unpacked.unkept_total),
        (601, 0)
    );
    let (again, packed_again) = pack_to_vec(&copy);
    assert_eq!((packed_again, again.len()), (packed, archive.len()));
    let holds = |text: &[u8]| again.windows(text.len()).any(|window| window == text);
    assert!(holds(b"at the bottom") && holds(b"user.deep=yes\n"));
    for tree in [&root, &copy] {
        stream::directory::remove(tree).unwrap();
    }
}

#[test]
fn a_single_file_is_packed_under_its_own_name() {
    let dir = scratch();
    fs::write(dir.path().join(".env"), b"JWT_SECRET=x").unwrap();
    let (archive, packed) = pack_to_vec(&dir.path().join(".env"));
    assert_eq!((packed.files, packed.directories), (1, 0));
    assert!(archive.starts_with(b".env\0") || archive.windows(5).any(|w| w == b".env\0"));
    assert_eq!(
        measure(&dir.path().join(".env"), None, &CancellationToken::new())
            .unwrap()
            .bytes,
        12
    );
}

#[test]
fn a_root_that_is_missing_or_empty_is_refused_by_name() {
    let dir = scratch();
    let cancel = CancellationToken::new();
    let missing = dir.path().join("no");
    assert!(matches!(
        pack(&missing, io::sink(), Packing::default(), &cancel),
        Err(PackError::RootMissing { .. })
    ));
    assert!(matches!(
        measure(dir.path(), None, &cancel),
        Err(PackError::RootEmpty { .. })
    ));
    let error = pack(dir.path(), io::sink(), Packing::default(), &cancel)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains(&dir.path().display().to_string()));
}

#[test]
fn cancellation_and_a_full_disk_end_the_packing() {
    let dir = scratch();
    fs::write(dir.path().join("x"), vec![1; 5_000_000]).unwrap();
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    assert!(matches!(
        pack(dir.path(), io::sink(), Packing::default(), &cancelled),
        Err(PackError::Cancelled)
    ));
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert!(matches!(
        pack(
            dir.path(),
            full,
            Packing::default(),
            &CancellationToken::new()
        ),
        Err(PackError::Sink(_))
    ));
}

#[test]
fn every_file_is_told_alike_by_packing_and_by_walking() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    fs::create_dir_all(root.join("a b")).unwrap();
    fs::write(root.join("a b/ü"), b"content").unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::hard_link(root.join("empty"), root.join("zz-link")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 1 << 20).unwrap();
    let cancel = CancellationToken::new();
    let told = |listed: Listed<'_>| {
        (
            listed.name.to_owned(),
            listed.content.map(|(size, md5)| (size, hex::encode(md5))),
        )
    };
    let (mut packed, mut walked) = (Vec::new(), Vec::new());
    let (archive, ..) = pack(
        &root,
        Vec::new(),
        Packing {
            lister: Some(&mut |listed| packed.push(told(listed))),
            ..Packing::default()
        },
        &cancel,
    )
    .unwrap();
    walk(
        archive.as_slice(),
        Some(&mut |listed| walked.push(told(listed))),
        &cancel,
    )
    .unwrap();
    assert_eq!(packed, walked);
    packed.sort();
    let mut content = vec![0; 3 << 20];
    content[1 << 20..(1 << 20) + 6].copy_from_slice(b"middle");
    let md5 = |content: &[u8]| hex::encode(<md5::Md5 as md5::Digest>::digest(content));
    let find = |name: &str| {
        packed
            .iter()
            .find(|(path, _)| path == Path::new(name))
            .unwrap()
            .1
            .clone()
    };
    assert_eq!(find("a b/ü"), Some((7, md5(b"content"))));
    assert_eq!(find("sparse"), Some((3 << 20, md5(&content))));
    let names = [find("empty"), find("zz-link")];
    assert!(
        names.contains(&Some((0, md5(b"")))) && names.contains(&None),
        "{names:?}"
    );
}
