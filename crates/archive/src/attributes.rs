//! A digest of what an archive says of its members besides their content, in any order: XXH3 (128 bits) of each one's text, added modulo
//! 2^128. The same whoever wrote the archive, and however it is compressed.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use xxhash_rust::xxh3::xxh3_128;

use crate::members::Member;
use crate::pax::{Head, MODE_BITS};

/// Most members' text.
const TEXT_BYTES: usize = 256;

/// The sum so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes(u128);

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Attributes {
    /// A member that is being packed; `size` is that of a regular file.
    pub(super) fn packed(&mut self, head: &Head<'_>, size: u64) {
        let (uid, gid) = head.about.owner;
        let xattrs = head.xattrs.iter();
        self.add(
            Path::new(OsStr::from_bytes(head.name)),
            size,
            head.about.mode & MODE_BITS,
            (uid, gid),
            xattrs
                .map(|(name, value)| (name.as_bytes(), value.as_slice()))
                .collect(),
        );
    }

    /// A member that was read.
    pub(super) fn read(&mut self, name: &Path, member: &Member) {
        let xattrs = member.xattrs.iter();
        self.add(
            name,
            member.size,
            member.mode,
            member.owner,
            xattrs
                .map(|(name, value)| (name.as_bytes(), value.as_slice()))
                .collect(),
        );
    }

    fn add(
        &mut self,
        name: &Path,
        size: u64,
        mode: u32,
        (uid, gid): (u32, u32),
        mut xattrs: Vec<(&[u8], &[u8])>,
    ) {
        let mut text = Vec::with_capacity(TEXT_BYTES);
        for part in name.components() {
            if part != Component::CurDir {
                if !text.is_empty() {
                    text.push(b'/');
                }
                text.extend_from_slice(part.as_os_str().as_bytes());
            }
        }
        // A vector takes all that is written.
        let _ = writeln!(text, "\0{size} {mode:o} {uid} {gid}");
        xattrs.sort_unstable();
        for (name, value) in xattrs {
            text.extend_from_slice(name);
            let _ = writeln!(text, "\0{}", value.len());
            text.extend_from_slice(value);
        }
        self.0 = self.0.wrapping_add(xxh3_128(&text));
    }
}
