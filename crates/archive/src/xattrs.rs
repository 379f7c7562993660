//! Extended attributes of an open file: one call where there are none, as with most files.

use std::ffi::CStr;
use std::fs::File;
use std::io;

use rustix::fs::{fgetxattr, flistxattr};
use rustix::io::Errno;

use crate::pax::{RECORDS_MOST, TOO_LONG, Xattr};

/// Bytes asked for first: the kernel takes memory for as many, each time.
const FIRST_BYTES: usize = 1024;
/// A list and a value have no more (xattr(7)).
const MOST_BYTES: usize = 64 * 1024;

/// Buffers for reading them.
pub(crate) struct Xattrs {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Xattrs {
    fn default() -> Self {
        let buffer = || vec![0; FIRST_BYTES];
        Self {
            names: buffer(),
            value: buffer(),
        }
    }
}

impl Xattrs {
    /// Those of a file, no more than an archive holds.
    pub fn of(&mut self, file: &File) -> io::Result<Vec<Xattr>> {
        let length = match filled(&mut self.names, |buffer| flistxattr(file, buffer)) {
            // A file system without attributes has none to keep.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => 0,
            listed => listed?,
        };
        let mut xattrs = Vec::new();
        let mut bytes = 0;
        for name in self.names[..length].split_inclusive(|byte| *byte == 0) {
            let name = CStr::from_bytes_with_nul(name).map_err(io::Error::other)?;
            let value = match filled(&mut self.value, |buffer| fgetxattr(file, name, buffer)) {
                // Removed meanwhile.
                Err(Errno::NODATA) => continue,
                length => &self.value[..length?],
            };
            bytes += name.count_bytes() + value.len();
            if bytes > RECORDS_MOST {
                return Err(io::Error::other(TOO_LONG));
            }
            xattrs.push((name.to_string_lossy().into_owned(), value.to_owned()));
        }
        Ok(xattrs)
    }
}

/// Asks with a small buffer, and once more with the largest where that is too small.
fn filled(
    buffer: &mut Vec<u8>,
    ask: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<usize> {
    match ask(buffer) {
        Err(Errno::RANGE) if buffer.len() < MOST_BYTES => {
            let mut larger = vec![0; MOST_BYTES];
            let length = ask(&mut larger)?;
            larger.truncate(length.max(FIRST_BYTES));
            *buffer = larger;
            Ok(length)
        }
        length => length,
    }
}
