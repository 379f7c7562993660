//! A digest of what an archive says of its members besides their content, in any order: XXH3 (128 bits) of each one's text, added modulo
//! 2^128. The same whoever wrote the archive, and however it is compressed.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::members::Member;
use crate::pax::Records;

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
    pub(super) fn packed(
        &mut self,
        name: &Path,
        size: u64,
        header: &tar::Header,
        records: &Records,
    ) {
        let number = |value: std::io::Result<u64>| value.unwrap_or_default();
        self.add(
            name,
            size,
            header.mode().unwrap_or_default(),
            (number(header.uid()), number(header.gid())),
            records.xattrs(),
        );
    }

    /// A member that was read.
    pub(super) fn read(&mut self, name: &Path, member: &Member) {
        let xattrs = member.xattrs.iter();
        let (uid, gid) = member.owner;
        self.add(
            name,
            member.size,
            member.mode,
            (uid.into(), gid.into()),
            xattrs
                .map(|(name, value)| (name.as_bytes().to_owned(), value.as_slice()))
                .collect(),
        );
    }

    fn add(
        &mut self,
        name: &Path,
        size: u64,
        mode: u32,
        owner: (u64, u64),
        mut xattrs: Vec<(Vec<u8>, &[u8])>,
    ) {
        let name: PathBuf = name
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect();
        let mut hash = Xxh3::new();
        hash.update(name.as_os_str().as_bytes());
        hash.update(format!("\0{size} {mode:o} {} {}\n", owner.0, owner.1).as_bytes());
        xattrs.sort_unstable();
        for (name, value) in xattrs {
            hash.update(&name);
            hash.update(format!("\0{}\n", value.len()).as_bytes());
            hash.update(value);
        }
        self.0 = self.0.wrapping_add(hash.digest128());
    }
}
