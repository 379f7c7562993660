//! Headers: what the fixed 512 bytes hold, and the PAX records for what they cannot (POSIX.1-2017, pax, "pax Extended Header").

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use tar::{EntryType, Header};

/// Bytes of a name that fit in the header itself.
const NAME_BYTES: usize = 100;
/// Bytes of a block; content is padded to whole blocks.
pub const BLOCK: usize = 512;
/// Two blocks of zeros close an archive.
pub const CLOSING: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Bytes of the records of one member: a path, a link, attributes, of which a file system keeps 64 KiB each. More is neither written nor
/// read, as it is held in memory.
pub const RECORDS_MOST: usize = 4 * 1024 * 1024;
/// Bytes that PAX adds to a record: its length, a blank, `=` and a newline; and what archives round up.
const RECORD_MARGIN: usize = 16 + BLOCK;

const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// PAX records in the making.
#[derive(Default)]
pub struct Records(Vec<(String, Vec<u8>)>);

impl Records {
    /// What they come to, at the most.
    pub fn bytes(&self) -> usize {
        self.iter()
            .map(|(key, value)| key.len() + value.len() + RECORD_MARGIN)
            .sum()
    }

    /// The modification time with its nanoseconds.
    fn mtime(&mut self, (seconds, nanoseconds): (i64, i64)) {
        if nanoseconds != 0 || seconds < 0 {
            self.0.push((
                "mtime".to_owned(),
                decimal(seconds, nanoseconds).into_bytes(),
            ));
        }
    }

    /// A name too long for the header.
    fn name(&mut self, key: &str, name: &[u8]) {
        if name.len() > NAME_BYTES {
            self.0.push((key.to_owned(), name.to_owned()));
        }
    }

    /// An extended attribute, under the key that star introduced and GNU tar and bsdtar read.
    pub fn xattr(&mut self, name: &OsStr, value: Vec<u8>) {
        // Attribute names are UTF-8 in practice; one that is not could not be written as a PAX key.
        let name = name
            .to_string_lossy()
            .replace('%', "%25")
            .replace('=', "%3D");
        self.0.push((format!("{XATTR_PREFIX}{name}"), value));
    }

    /// The extended attributes by their own names.
    pub fn xattrs(&self) -> Vec<(Vec<u8>, &[u8])> {
        let xattr = |(key, value)| {
            let name = str::strip_prefix(key, XATTR_PREFIX)?;
            let name = name.replace("%3D", "=").replace("%25", "%");
            Some((name.into_bytes(), value))
        };
        self.iter().filter_map(xattr).collect()
    }

    /// The member that stands before the one that they are about: a header, the records, zeros to a whole block. Nothing without records.
    pub fn member(&self) -> Vec<u8> {
        let mut member = Vec::new();
        if self.0.is_empty() {
            return member;
        }
        member.resize(BLOCK, 0);
        for (key, value) in self.iter() {
            let rest = " =\n".len() + key.len() + value.len();
            member.extend_from_slice(format!("{} {key}=", with_own_digits(rest)).as_bytes());
            member.extend_from_slice(value);
            member.push(b'\n');
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size((member.len() - BLOCK) as u64);
        header.set_cksum();
        member[..BLOCK].copy_from_slice(header.as_bytes());
        member.resize(member.len().next_multiple_of(BLOCK), 0);
        member
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()))
    }
}

/// A record's length counts its own digits, too.
fn with_own_digits(rest: usize) -> usize {
    let mut digits = 1;
    while (rest + digits).to_string().len() > digits {
        digits += 1;
    }
    rest + digits
}

/// What a header says of a file.
pub trait About {
    fn mode(&self) -> u32;
    fn owner(&self) -> (u32, u32);
    /// Seconds and nanoseconds since 1970.
    fn mtime(&self) -> (i64, i64);
}

impl About for Metadata {
    fn mode(&self) -> u32 {
        MetadataExt::mode(self)
    }

    fn owner(&self) -> (u32, u32) {
        (self.uid(), self.gid())
    }

    fn mtime(&self) -> (i64, i64) {
        (MetadataExt::mtime(self), self.mtime_nsec())
    }
}

impl About for rustix::fs::Stat {
    fn mode(&self) -> u32 {
        self.st_mode
    }

    fn owner(&self) -> (u32, u32) {
        (self.st_uid, self.st_gid)
    }

    fn mtime(&self) -> (i64, i64) {
        let nanoseconds = i64::try_from(self.st_mtime_nsec).unwrap_or(0);
        (self.st_mtime, nanoseconds)
    }
}

/// Seconds since 1970 as PAX writes them; a time before then counts its nanoseconds backwards.
fn decimal(seconds: i64, nanoseconds: i64) -> String {
    if seconds < 0 && nanoseconds > 0 {
        format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
    } else {
        format!("{seconds}.{nanoseconds:09}")
    }
}

/// A header of GNU's layout with owner, mode, time and names; what does not fit goes to `records`.
pub fn header(
    kind: EntryType,
    name: &[u8],
    link: &[u8],
    size: u64,
    meta: &impl About,
    records: &mut Records,
) -> Header {
    /// Permission bits with setuid, setgid and sticky; the kind of file is the entry's type.
    const MODE_BITS: u32 = 0o7777;
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.mode() & MODE_BITS);
    let (uid, gid) = meta.owner();
    header.set_uid(u64::from(uid));
    header.set_gid(u64::from(gid));
    header.set_mtime(u64::try_from(meta.mtime().0).unwrap_or(0));
    header.set_size(size);
    let old = header.as_old_mut();
    put(&mut old.name, name);
    put(&mut old.linkname, link);
    records.name("path", name);
    records.name("linkpath", link);
    records.mtime(meta.mtime());
    header
}

fn put(field: &mut [u8; NAME_BYTES], name: &[u8]) {
    let fits = name.len().min(NAME_BYTES);
    field[..fits].copy_from_slice(&name[..fits]);
}

/// The name's bytes as the archive holds them.
pub fn bytes(name: &std::path::Path) -> &[u8] {
    name.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_record_counts_its_own_digits() {
        for (rest, length) in [
            (5, 6),
            (8, 9),
            (9, 11),
            (97, 99),
            (98, 101),
            (996, 999),
            (997, 1001),
        ] {
            assert_eq!(with_own_digits(rest), length);
        }
    }

    #[test]
    fn times_before_1970_count_backwards() {
        assert_eq!(decimal(5, 250_000_000), "5.250000000");
        assert_eq!(decimal(-1, 750_000_000), "-0.250000000");
        assert_eq!(decimal(-2, 0), "-2.000000000");
    }
}
