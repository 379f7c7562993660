//! Whether two files hold the same and have the same about them.

use std::fs::{self, Metadata};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::read::open_regular;

/// Bytes of each file that are in memory.
const READ_BYTES: usize = 256 * 1024;

/// Whether two regular files, or symbolic links, have the same content, mode, owner and extended attributes. Times do not count. Anything
/// else is like nothing.
pub fn alike(one: &Path, other: &Path) -> io::Result<bool> {
    let (meta, with) = (one.symlink_metadata()?, other.symlink_metadata()?);
    if about(&meta) != about(&with) {
        return Ok(false);
    }
    if meta.is_symlink() {
        return Ok(fs::read_link(one)? == fs::read_link(other)?);
    }
    Ok(meta.is_file() && attributes(one)? == attributes(other)? && same_bytes(one, other)?)
}

fn about(meta: &Metadata) -> (u32, u32, u32, u64) {
    (meta.mode(), meta.uid(), meta.gid(), meta.size())
}

fn attributes(path: &Path) -> io::Result<Vec<(std::ffi::OsString, Option<Vec<u8>>)>> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names {
        let value = xattr::get(path, &name)?;
        found.push((name, value));
    }
    found.sort();
    Ok(found)
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let open = |path| Ok::<_, io::Error>(BufReader::with_capacity(READ_BYTES, open_regular(path)?));
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let both = left.len().min(right.len());
        if both == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        if left[..both] != right[..both] {
            return Ok(false);
        }
        one.consume(both);
        other.consume(both);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn content_mode_and_attributes_count_and_times_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let content = vec![7; 3 * READ_BYTES + 1];
        let both = |content: &[u8]| {
            fs::write(&one, content).unwrap();
            fs::write(&other, content).unwrap();
        };
        both(&content);
        let past = std::time::SystemTime::UNIX_EPOCH;
        let file = fs::File::options().write(true).open(&one).unwrap();
        file.set_modified(past).unwrap();
        assert!(alike(&one, &other).unwrap());
        let mut changed = content;
        *changed.last_mut().unwrap() = 8;
        fs::write(&one, changed).unwrap();
        assert!(!alike(&one, &other).unwrap());
        both(b"");
        assert!(alike(&one, &other).unwrap());
        fs::set_permissions(&one, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!alike(&one, &other).unwrap());
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
        xattr::set(&one, "user.kind", b"text").unwrap();
        assert!(!alike(&one, &other).unwrap());
        assert!(!alike(dir.path(), dir.path()).unwrap());
    }
}
