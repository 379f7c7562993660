//! Files that survive a power cut: written aside, synced, renamed, the directory synced. The only place that renames.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::{Errno, retry_on_intr};

/// Sets hold password hashes and people's data: for their owner alone.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Makes a file that must not be there yet, for its owner alone.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// Makes a directory that must not be there yet, for its owner alone.
pub fn create_dir_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(DIR_MODE).create(path)
}

/// Renames, and makes the new name survive a power cut.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the file that owns renaming"
)]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(parent(to))
}

/// As [`rename`], onto a name that nothing has: what has it stays, and that is an error. Where the file system cannot tell, it is looked at
/// first.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the file that owns renaming"
)]
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match to.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to)?,
            Err(error) => return Err(error),
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        },
        Err(error) => return Err(error.into()),
    }
    sync_dir(parent(to))
}

/// Exchanges two names, and makes that survive a power cut; at no moment is either of them missing. Says `false` where the file system
/// cannot.
pub fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => sync_dir(parent(one)).map(|()| true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes the names in a directory survive a power cut.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes everything below a directory survive a power cut, with whatever else its file system has not written yet: a flush a file would
/// take longer.
///
/// A signal that comes meanwhile cuts syncfs(2) off on some file systems (FUSE, NFS); the standard library asks again by itself, rustix
/// does not.
pub fn sync_tree(dir: &Path) -> io::Result<()> {
    let dir = File::open(dir)?;
    Ok(retry_on_intr(|| rustix::fs::syncfs(&dir))?)
}

/// Whether there is no room: on the disk, or in what this user may have of it.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The name a file has until it is complete.
pub fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

/// Replaces a file's content: the old one is there until the new one is complete.
pub fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let aside = aside(path);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&aside)?;
        file.write_all(content)?;
        file.sync_all()?;
        rename(&aside, path)
    })();
    if written.is_err() {
        // The error on its way says what is wrong; a remaining aside file is overwritten by the next attempt.
        let _ = fs::remove_file(&aside);
    }
    written
}

/// Appends one line to a file, synced. A line that a power cut left without its end is ended first, so that it spoils no other.
pub fn append_line(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)?;
    let mut text = String::with_capacity(line.len() + 2);
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(line);
    text.push('\n');
    // One write: lines of two processes do not mix.
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replaced_file_is_private_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_keeps_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.json");
        fs::create_dir(aside(&path)).unwrap();
        fs::write(&path, b"old").unwrap();
        assert!(write_atomic(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_torn_line_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h");
        append_line(&path, "a").unwrap();
        fs::write(&path, b"a\n{\"torn").unwrap();
        append_line(&path, "b").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n{\"torn\nb\n");
    }
}
