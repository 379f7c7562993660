//! A sample tree of Supabase's file backend, laid out as the storage service does:
//! `<root>/stub/stub/<bucket>/<object name>/<version>`, with its extended attributes.
//!
//! The objects are listed once, in `fixtures/objects.sql`, which fills `storage.objects` too; contents are computed from the object's
//! key, so that rows and files agree in size and md5 without any file being kept in the repository.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

const OBJECTS_SQL: &str = include_str!("../fixtures/objects.sql");

/// Tenant and "global bucket" of a stock stack.
const PREFIX: &str = "stub/stub";

/// One row of `storage.objects`, and the file that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `storage.objects.bucket_id`.
    pub bucket: String,
    /// `storage.objects.name`.
    pub name: String,
    /// `storage.objects.version`; without one the file lies at the name itself.
    pub version: Option<String>,
    /// Size in bytes.
    pub bytes: usize,
    /// Media type; none for a row whose metadata is null.
    pub mimetype: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// md5 of the content, hex; none where the metadata is null.
    pub md5: Option<String>,
}

impl Object {
    /// Where the file lies, from the storage root.
    pub fn path(&self) -> PathBuf {
        let name = Path::new(PREFIX).join(&self.bucket).join(&self.name);
        match &self.version {
            Some(version) => name.join(version),
            None => name,
        }
    }

    /// The bytes of the file: text where the media type says text, noise as of an image otherwise.
    pub fn content(&self) -> Vec<u8> {
        let text = self
            .mimetype
            .as_deref()
            .is_some_and(|kind| kind.starts_with("text/") || kind.ends_with("json"));
        let key = format!("{}/{}", self.bucket, self.name);
        if text {
            prose(&key, self.bytes)
        } else {
            noise(&key, self.bytes)
        }
    }
}

/// The objects that `fixtures/supabase.sql` has rows of.
pub fn objects() -> Vec<Object> {
    OBJECTS_SQL
        .lines()
        .skip_while(|line| !line.starts_with("COPY "))
        .skip(1)
        .take_while(|line| *line != r"\.")
        .map(object)
        .collect()
}

fn object(line: &str) -> Object {
    let mut fields = line
        .split('\t')
        .map(|field| (field != r"\N").then(|| field.to_owned()));
    let mut next = || fields.next().expect("objects.sql: a line of 7 fields");
    Object {
        bucket: next().unwrap(),
        name: next().unwrap(),
        version: next(),
        bytes: next().unwrap().parse().unwrap(),
        mimetype: next(),
        cache_control: next(),
        md5: next(),
    }
}

/// Makes the tree at `root` (created, must be empty): every object of [`objects`], and what else is found in such trees. Two calls make
/// equal trees, down to the nanoseconds.
pub fn build(root: &Path) {
    let objects = objects();
    for object in &objects {
        let path = root.join(object.path());
        write(&path, &object.content());
        if let Some(mimetype) = &object.mimetype {
            set_xattr(&path, "user.supabase.content-type", mimetype.as_bytes());
        }
        if let Some(cache_control) = &object.cache_control {
            let value = cache_control.as_bytes();
            set_xattr(&path, "user.supabase.cache-control", value);
        }
    }
    let stub = root.join(PREFIX);
    build_extras(&stub);
    date_all(root);
    for (index, object) in (0_i64..).zip(&objects) {
        // Sub-second and different: an etag may be made from it.
        set_mtime(
            &root.join(object.path()),
            1_772_366_400 + index,
            123_456_789 + 1_000 * index,
        );
    }
    set_mtime(&stub.join("documents/before 1970"), -86_400, 750_000_000);
}

/// Files that have no row: leftovers and what the service keeps for itself, and kinds of file that an archive gets wrong easily.
fn build_extras(stub: &Path) {
    let part = stub.join("documents/multiparts/upload-1/part-1");
    write(&part, &noise("part", 70_000));
    set_xattr(&part, "user.supabase.etag", b"part-etag");
    write(&stub.join("documents/.emptyFolderPlaceholder"), b"");
    fs::create_dir_all(stub.join("empty-bucket")).unwrap();

    let sparse = stub.join("documents/sparse.img");
    let file = File::create(&sparse).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(b"in the middle", 3 << 20).unwrap();
    drop(file);
    let hole = File::create(stub.join("documents/all-hole.img")).unwrap();
    hole.set_len(1 << 20).unwrap();

    let linked = stub.join("documents/linked");
    write(&linked, b"one file, two names");
    fs::set_permissions(&linked, fs::Permissions::from_mode(0o640)).unwrap();
    set_xattr(&linked, "user.binary", b"\0\n=\xff\x01");
    fs::hard_link(&linked, stub.join("avatars/linked too")).unwrap();
    symlink("linked", stub.join("documents/symlink")).unwrap();
    symlink("/nowhere/at all", stub.join("documents/dangling")).unwrap();

    let executable = stub.join("documents/executable");
    write(&executable, b"#!/bin/sh\n");
    fs::set_permissions(&executable, fs::Permissions::from_mode(0o4755)).unwrap();
    // A name of more than 100 bytes, a path of more than 255, and a name that is not UTF-8.
    write(
        &stub
            .join("documents")
            .join("long ".repeat(40))
            .join("ö".repeat(120)),
        b"deep",
    );
    let latin1 = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"caf\xe9\nnewline");
    write(&stub.join("documents").join(latin1), b"latin-1");
    write(&stub.join("documents/before 1970"), b"old");
}

/// `files` more objects under bucket `bulk` of `bytes` in all, about 60 % of the bytes incompressible: something to measure on.
pub fn build_bulk(root: &Path, files: usize, bytes: usize) {
    let each = bytes.checked_div(files).unwrap_or(0);
    for index in 0..files {
        let name = format!("folder-{:03}/file {index:06}", index % 400);
        // Sizes between half and three halves of the mean.
        let size = each / 2 + usize::try_from(mix(index as u64) >> 32).unwrap() % each.max(1);
        let object = Object {
            bucket: "bulk".to_owned(),
            name,
            version: Some(format!("00000000-0000-4000-8000-{index:012}")),
            bytes: size,
            mimetype: Some(
                if index % 5 < 3 {
                    "image/jpeg"
                } else {
                    "text/plain"
                }
                .to_owned(),
            ),
            cache_control: Some("max-age=3600".to_owned()),
            md5: None,
        };
        let path = root.join(object.path());
        write(&path, &object.content());
        set_xattr(
            &path,
            "user.supabase.content-type",
            object.mimetype.unwrap().as_bytes(),
        );
        set_xattr(&path, "user.supabase.cache-control", b"max-age=3600");
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create_new(path)
        .and_then(|mut file| file.write_all(content))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    xattr::set(path, name, value).unwrap_or_else(|error| {
        panic!(
            "{}: {error}: the temporary directory's file system must keep extended attributes",
            path.display()
        )
    });
}

/// Of the entry itself, symbolic links too.
fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let moment = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: moment,
        last_modification: moment,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Gives every entry a fixed mtime; a directory after its entries, whose making changes it.
fn date_all(path: &Path) {
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            date_all(&entry.unwrap().path());
        }
    }
    set_mtime(path, 1_772_400_000, 987_654_321);
}

/// Bytes that do not compress, the same for the same key.
fn noise(key: &str, bytes: usize) -> Vec<u8> {
    let seed = seed(key);
    let mut content: Vec<u8> = (0..bytes.div_ceil(8) as u64)
        .flat_map(|index| mix(seed.wrapping_add(index)).to_le_bytes())
        .collect();
    content.truncate(bytes);
    content
}

/// Lines that compress as text does, the same for the same key.
fn prose(key: &str, bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "backup", "restore", "object", "bucket", "Größe", "the", "a", "of", "storage", "version",
        "signed", "public", "tenant", "and", "is", "\n",
    ];
    let seed = seed(key);
    let mut content = Vec::with_capacity(bytes + 16);
    let mut index = 0;
    while content.len() < bytes {
        let random = mix(seed.wrapping_add(index));
        content.extend_from_slice(WORDS[(random % 16) as usize].as_bytes());
        content.push(b' ');
        if random.is_multiple_of(97) {
            content.extend_from_slice(format!("{:x} ", random >> 40).as_bytes());
        }
        index += 1;
    }
    content.truncate(bytes);
    content
}

/// FNV-1a.
fn seed(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// `SplitMix64`: the n-th number without the ones before.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
