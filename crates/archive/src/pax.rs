//! Headers: what the fixed 512 bytes hold, and the PAX records for what they cannot (POSIX.1-2017, pax, "pax Extended Header").

use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use tar::{EntryType, Header};

/// Bytes of a name that fit in the header itself.
const NAME_BYTES: usize = 100;
/// Bytes of a block; content is padded to whole blocks.
pub const BLOCK: usize = 512;
/// Two blocks of zeros close an archive.
pub const CLOSING: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Permission bits with setuid, setgid and sticky; the kind of file is the entry's type.
pub const MODE_BITS: u32 = 0o7777;

/// Bytes of the records of one member: a path, a link, attributes, of which a file system keeps 64 KiB each. More is neither written nor
/// read, as it is held in memory.
pub const RECORDS_MOST: usize = 4 * 1024 * 1024;
/// Why a member is not packed: it could not be read back.
pub(crate) const TOO_LONG: &str = "its path and attributes are longer than an archive may hold";

/// Name and value. Names are UTF-8 in practice; what is not is replaced, as it could be no key of an archive.
pub type Xattr = (String, Vec<u8>);

/// Bytes that PAX adds to a record: its length, a blank, `=` and a newline; and what archives round up.
const RECORD_MARGIN: usize = 16 + BLOCK;

/// The key that star introduced, and GNU tar and bsdtar read.
const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// What a header says of a file besides its name and size.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// With the bits of the kind, which are not written.
    pub mode: u32,
    pub owner: (u32, u32),
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
}

impl From<&Metadata> for About {
    fn from(meta: &Metadata) -> Self {
        Self {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
        }
    }
}

impl From<&rustix::fs::Stat> for About {
    fn from(stat: &rustix::fs::Stat) -> Self {
        let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Self {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            mtime: (stat.st_mtime, nanoseconds),
        }
    }
}

/// Refuses what could not be read back: a path, a link and attributes that are too long.
pub fn fits(name: usize, link: usize, xattrs: &[Xattr]) -> io::Result<()> {
    // Each `%` and `=` in a key takes three bytes.
    let xattr = |(name, value): &Xattr| XATTR_PREFIX.len() + 3 * name.len() + value.len();
    let bytes: usize = xattrs
        .iter()
        .map(xattr)
        .chain([name, link])
        .map(|bytes| bytes + RECORD_MARGIN)
        .sum();
    if bytes > RECORDS_MOST {
        return Err(io::Error::other(TOO_LONG));
    }
    Ok(())
}

/// What stands before a member's content.
pub struct Head<'a> {
    pub kind: EntryType,
    pub name: &'a [u8],
    pub link: &'a [u8],
    /// Of the stored content.
    pub size: u64,
    pub about: About,
    pub xattrs: &'a [Xattr],
}

impl Head<'_> {
    /// The header, of GNU's layout, but for its checksum. What does not fit is in [`records`](Self::records).
    pub fn header(&self) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(self.kind);
        let (uid, gid) = self.about.owner;
        let old = header.as_old_mut();
        field(&mut old.mode, u64::from(self.about.mode & MODE_BITS));
        field(&mut old.uid, uid.into());
        field(&mut old.gid, gid.into());
        field(&mut old.size, self.size);
        let seconds = u64::try_from(self.about.mtime.0).unwrap_or(0);
        field(&mut old.mtime, seconds);
        put(&mut old.name, self.name);
        put(&mut old.linkname, self.link);
        header
    }

    /// Appends the member that stands before the header: a header of its own, records, zeros to a whole block. Nothing without records.
    pub fn records(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; BLOCK]);
        let records = out.len();
        for (key, name) in [("path", self.name), ("linkpath", self.link)] {
            if name.len() > NAME_BYTES {
                record(out, key, name);
            }
        }
        let (seconds, nanoseconds) = self.about.mtime;
        if nanoseconds != 0 || seconds < 0 {
            let (text, length) = decimal(seconds, nanoseconds);
            record(out, "mtime", &text[..length]);
        }
        for (name, value) in self.xattrs {
            let name = name.replace('%', "%25").replace('=', "%3D");
            record(out, &format!("{XATTR_PREFIX}{name}"), value);
        }
        if out.len() == records {
            out.truncate(start);
            return;
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        field(&mut header.as_old_mut().size, (out.len() - records) as u64);
        sum(&mut header);
        out[start..records].copy_from_slice(header.as_bytes());
        let padded = (out.len() - start).next_multiple_of(BLOCK);
        out.resize(start + padded, 0);
    }
}

/// `LENGTH KEY=VALUE` and a newline, the length counting all of it.
fn record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = " =\n".len() + key.len() + value.len();
    // A vector takes all that is written.
    let _ = write!(out, "{} {key}=", with_own_digits(rest));
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A record's length counts its own digits, too.
fn with_own_digits(rest: usize) -> usize {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let length = rest + digits(rest);
    rest + digits(length)
}

/// Seconds since 1970 as PAX writes them, and how many bytes that takes; a time before then counts its nanoseconds backwards.
fn decimal(seconds: i64, nanoseconds: i64) -> ([u8; 32], usize) {
    let mut text = [0; 32];
    let mut left = &mut text[..];
    // The largest number of seconds has 20 digits with its sign.
    let _ = if seconds < 0 && nanoseconds > 0 {
        write!(
            left,
            "-{}.{:09}",
            -(seconds + 1),
            1_000_000_000 - nanoseconds
        )
    } else {
        write!(left, "{seconds}.{nanoseconds:09}")
    };
    let length = 32 - left.len();
    (text, length)
}

/// A number of a header: octal digits and a NUL, or base 256 with the top bit set where they are too few.
pub fn field<const BYTES: usize>(field: &mut [u8; BYTES], value: u64) {
    let digits = BYTES - 1;
    if digits < 22 && value >> (3 * digits) > 0 {
        *field = [0; BYTES];
        for (place, byte) in field.iter_mut().rev().zip(value.to_le_bytes()) {
            *place = byte;
        }
        field[0] |= 0x80;
        return;
    }
    let mut left = value;
    for place in field[..digits].iter_mut().rev() {
        *place = b'0' + (left & 7) as u8;
        left >>= 3;
    }
    field[digits] = 0;
}

/// Completes a header by its checksum, which counts its own field as spaces (POSIX.1-2017, ustar).
pub fn sum(header: &mut Header) {
    let sum = sum_of(header);
    field(&mut header.as_old_mut().cksum, sum.into());
}

/// The checksum that a header should have.
pub fn sum_of(header: &Header) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let own = &header.as_old().cksum;
    sum(header.as_bytes()) - sum(own) + sum(&[b' '; 8])
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
    fn times_before_1970_count_backwards() {
        for (seconds, nanoseconds, expected) in [
            (5, 250_000_000, "5.250000000"),
            (-1, 750_000_000, "-0.250000000"),
            (-2, 0, "-2.000000000"),
            (i64::MIN, 1, "-9223372036854775807.999999999"),
        ] {
            let (text, length) = decimal(seconds, nanoseconds);
            assert_eq!(&text[..length], expected.as_bytes());
        }
    }

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
    fn numbers_are_octal_and_large_ones_in_base_256() {
        for value in [0, 1, 0o644, 2_097_151, 2_097_152, u64::from(u32::MAX)] {
            let mut ours = Header::new_gnu();
            field(&mut ours.as_old_mut().uid, value);
            let mut theirs = Header::new_gnu();
            theirs.set_uid(value);
            assert_eq!(ours.as_bytes(), theirs.as_bytes(), "{value}");
            assert_eq!(ours.uid().unwrap(), value);
        }
        for value in [0, 511, (1 << 33) - 1, 1 << 33, u64::MAX >> 1] {
            let mut header = Header::new_gnu();
            field(&mut header.as_old_mut().size, value);
            assert_eq!(header.entry_size().unwrap(), value);
        }
    }
}
