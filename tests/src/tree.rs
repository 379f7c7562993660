//! What a directory tree holds, so that two can be compared: kinds, bytes, modes, owners, nanosecond mtimes, attributes, hard links.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is, and what it holds.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// Kinds of entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Size and SHA-256, hex.
    File { bytes: u64, sha256: String },
    /// A later name of a file that stands in the tree already, under its first name in path order.
    HardLink(PathBuf),
    /// A directory.
    Directory,
    /// Where it points.
    Symlink(PathBuf),
    /// A socket, fifo or device.
    Other,
}

/// Every entry of the tree by its path from `root`; the root itself is the empty path.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut first_names = HashMap::new();
    visit(root, Path::new(""), &mut nodes, &mut first_names);
    nodes
}

/// The differences, a line each; none when the trees are equal.
pub fn differences(left: &BTreeMap<PathBuf, Node>, right: &BTreeMap<PathBuf, Node>) -> Vec<String> {
    let missing = left
        .keys()
        .filter(|path| !right.contains_key(*path))
        .map(|path| format!("missing: {}", path.display()));
    let extra = right
        .keys()
        .filter(|path| !left.contains_key(*path))
        .map(|path| format!("extra: {}", path.display()));
    let changed = left.iter().filter_map(|(path, node)| {
        let other = right.get(path)?;
        (node != other).then(|| format!("{}: {node:?} became {other:?}", path.display()))
    });
    missing.chain(extra).chain(changed).collect()
}

fn visit(
    root: &Path,
    path: &Path,
    nodes: &mut BTreeMap<PathBuf, Node>,
    first_names: &mut HashMap<(u64, u64), PathBuf>,
) {
    let full = root.join(path);
    let metadata =
        fs::symlink_metadata(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()));
    nodes.insert(path.to_owned(), node(&full, path, &metadata, first_names));
    if metadata.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&full)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
        for name in names {
            visit(root, &path.join(name), nodes, first_names);
        }
    }
}

fn node(
    full: &Path,
    path: &Path,
    metadata: &Metadata,
    first_names: &mut HashMap<(u64, u64), PathBuf>,
) -> Node {
    let kind = if metadata.is_dir() {
        Kind::Directory
    } else if metadata.is_symlink() {
        Kind::Symlink(fs::read_link(full).unwrap())
    } else if metadata.is_file() {
        if let Some(first) = first_names.get(&(metadata.dev(), metadata.ino())) {
            Kind::HardLink(first.clone())
        } else {
            first_names.insert((metadata.dev(), metadata.ino()), path.to_owned());
            Kind::File {
                bytes: metadata.len(),
                sha256: sha256(full),
            }
        }
    } else {
        Kind::Other
    };
    let xattrs = xattr::list(full)
        .map(|names| {
            names
                .map(|name| {
                    (
                        name.to_string_lossy().into_owned(),
                        xattr::get(full, &name).unwrap().unwrap_or_default(),
                    )
                })
                .collect()
        })
        .unwrap_or_default();
    Node {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        xattrs,
    }
}

/// SHA-256 of a file, hex.
pub fn sha256(path: &Path) -> String {
    let mut hasher = HashWriter(Sha256::new());
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hasher))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    hex::encode(hasher.0.finalize())
}

/// sha2 0.11 hashes are no writers by themselves.
struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
