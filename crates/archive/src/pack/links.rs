//! Files of several names: which of them was packed, so that a further name is a link to it.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Memory for files whose further names were not found yet: some 130,000 of them. Names that lie outside of the tree are waited for in
/// vain.
const BYTES_MOST: usize = 32 * 1024 * 1024;
/// Of one of them, besides its name: an entry of the map at its emptiest, and what the allocator takes.
const ENTRY_BYTES: usize = 200;

/// What is known of files of several names. When there is no room for more, the next ones are not known: each of their names is packed with
/// the content.
pub(super) struct Links {
    /// By device and inode.
    known: HashMap<(u64, u64), Linked>,
    bytes: usize,
    most: usize,
}

struct Linked {
    /// The name that was packed.
    first: Box<Path>,
    /// Names to come, as far as they are in the tree.
    left: u64,
    was: Version,
}

/// Another file may have the inode meanwhile, or another content: a time of change is never given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(meta: &Metadata) -> Self {
        Self {
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Default for Links {
    fn default() -> Self {
        Self::up_to(BYTES_MOST)
    }
}

impl Links {
    fn up_to(most: usize) -> Self {
        Self {
            known: HashMap::new(),
            bytes: 0,
            most,
        }
    }

    /// The name that was packed of a file; none where it is to be packed by this one.
    pub(super) fn first_of(&mut self, meta: &Metadata) -> Option<PathBuf> {
        let inode = (meta.dev(), meta.ino());
        let linked = self.known.get_mut(&inode)?;
        let is_same = linked.was == Version::of(meta);
        linked.left = linked.left.saturating_sub(1);
        if is_same && linked.left > 0 {
            return Some(linked.first.to_path_buf());
        }
        let linked = self.known.remove(&inode)?;
        self.bytes -= cost(&linked.first);
        is_same.then(|| linked.first.into_path_buf())
    }

    /// A file is packed by this name.
    pub(super) fn packed(&mut self, meta: &Metadata, name: &Path) {
        let bytes = self.bytes + cost(name);
        if bytes > self.most {
            return;
        }
        let linked = Linked {
            first: name.into(),
            left: meta.nlink().saturating_sub(1),
            was: Version::of(meta),
        };
        self.bytes = bytes;
        self.known.insert((meta.dev(), meta.ino()), linked);
    }
}

fn cost(name: &Path) -> usize {
    name.as_os_str().len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn no_more_are_known_than_there_is_room_for_and_room_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<Metadata> = (0..4)
            .map(|number| {
                let path = dir.path().join(number.to_string());
                fs::write(&path, b"content").unwrap();
                fs::hard_link(&path, path.with_extension("again")).unwrap();
                fs::hard_link(&path, path.with_extension("outside")).unwrap();
                path.metadata().unwrap()
            })
            .collect();
        let name = Path::new("name");
        let mut links = Links::up_to(2 * cost(name));
        for file in &files {
            assert_eq!(links.first_of(file), None);
            links.packed(file, name);
        }
        assert_eq!(links.first_of(&files[0]).as_deref(), Some(name));
        for unknown in &files[2..] {
            assert_eq!(links.first_of(unknown), None);
        }
        assert_eq!(links.known.len(), 2);
        // The last of its three names makes room.
        assert_eq!(links.first_of(&files[0]).as_deref(), Some(name));
        assert_eq!(links.first_of(&files[0]), None);
        links.packed(&files[3], name);
        assert_eq!(links.first_of(&files[3]).as_deref(), Some(name));
        assert!(links.known.len() == 2 && links.bytes == 2 * cost(name));
    }
}
