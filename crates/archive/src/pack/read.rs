//! Reads a file that others may be changing.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::Change;

/// Bytes read from a file at once.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// What happened to a file since it was looked at.
pub(super) fn change_since(file: &File, before: &Metadata) -> Option<Change> {
    let after = file.metadata().ok()?;
    if after.len() > before.len() {
        Some(Change::Grew)
    } else if after.len() < before.len() {
        Some(Change::Shrank)
    } else if (after.mtime(), after.mtime_nsec()) != (before.mtime(), before.mtime_nsec()) {
        Some(Change::Modified)
    } else {
        None
    }
}

/// Fills the buffer, or less at the file's end.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(read) => got += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
