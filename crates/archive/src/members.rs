//! Reads an archive a member at a time: the fixed headers, PAX records, GNU's long names and old sparse maps.
//!
//! The `tar` crate reads headers; its own iterator cuts PAX records at newlines (its `PaxExtensions`), which attribute values and long
//! names may hold, so records are taken apart here by their lengths.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Timespec;
use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::pax::{self, BLOCK, RECORDS_MOST};
use crate::sparse::{REGIONS_MOST, Region};

/// Bytes taken from the source at once, and of content given at once.
const READ_BYTES: usize = 256 * 1024;
const XATTR_KEY: &[u8] = b"SCHILY.xattr.";

/// One member of an archive, before its content.
#[derive(Debug)]
pub(super) struct Member {
    pub kind: EntryType,
    pub name: PathBuf,
    /// What a link leads to.
    pub link: PathBuf,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: Timespec,
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    /// Of the file, holes included.
    pub size: u64,
    /// Where the stored bytes belong.
    pub regions: Vec<Region>,
}

pub(super) const OUTSIDE: &str = "lies outside";

impl Member {
    /// Whether a symbolic link of this name leads out of the tree.
    pub fn link_leads_out(&self, below: &Path) -> bool {
        leads_out(below, &self.link)
    }

    /// Refuses what no archive of ours has: a name that leads out, and what is neither file, directory nor link.
    pub fn refuse_strange(&self) -> Result<(), &'static str> {
        let leads_out = |part| matches!(part, Component::ParentDir | Component::RootDir);
        if self.name.components().any(leads_out) {
            return Err(OUTSIDE);
        }
        match self.kind {
            EntryType::Directory
            | EntryType::Symlink
            | EntryType::Link
            | EntryType::Regular
            | EntryType::Continuous
            | EntryType::GNUSparse => Ok(()),
            _ => Err("is neither file, directory nor link"),
        }
    }
}

/// A path below the directory, without `.`; none when it leads out.
pub(super) fn inside(path: &Path) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::CurDir => {}
            Component::ParentDir if below.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(below)
}

/// Whether a symbolic link at a path below the root leads out of the tree, as its words are.
pub(super) fn leads_out(below: &Path, link: &Path) -> bool {
    let from = below.parent().unwrap_or(Path::new(""));
    link.is_absolute() || inside(&from.join(link)).is_none()
}

/// An archive being read.
pub(super) struct Members<R> {
    reader: BufReader<R>,
    /// Bytes of the present member that have not been read, padding included.
    rest: u64,
}

/// What stands before a member and is about it.
#[derive(Default)]
struct About {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    owner: (Option<u32>, Option<u32>),
    mtime: Option<Timespec>,
    xattrs: Vec<(OsString, Vec<u8>)>,
}

impl<R: Read> Members<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader: BufReader::with_capacity(READ_BYTES, reader),
            rest: 0,
        }
    }

    /// The next member; none at the closing blocks, which must be there, and to the input's end.
    pub fn next(&mut self) -> io::Result<Option<Member>> {
        let mut about = About::default();
        let mut left = RECORDS_MOST as u64;
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size()?;
            let mut record = |members: &mut Self| {
                left = left
                    .checked_sub(size)
                    .ok_or_else(|| malformed("records that are too long"))?;
                members.record(size)
            };
            match header.entry_type() {
                EntryType::XHeader => about.read(&record(self)?)?,
                EntryType::XGlobalHeader => drop(record(self)?),
                EntryType::GNULongName => about.name = Some(text(record(self)?)),
                EntryType::GNULongLink => about.link = Some(text(record(self)?)),
                _ => return self.member(&header, size, about).map(Some),
            }
        }
    }

    /// Gives the content of the member just read, piece by piece with its place in the file.
    pub fn content(
        &mut self,
        member: &Member,
        mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        for region in &member.regions {
            let (mut at, end) = (region.offset, region.offset + region.length);
            while at < end {
                let data = some(&mut self.reader, end - at)?;
                let taken = data.len();
                let done = take(at, data);
                self.reader.consume(taken);
                self.rest -= taken as u64;
                at += taken as u64;
                done?;
            }
        }
        Ok(())
    }

    fn member(&mut self, header: &Header, stored: u64, about: About) -> io::Result<Member> {
        let kind = header.entry_type();
        let stored = about.size.unwrap_or(stored);
        self.rest = padded(stored)?;
        let (size, regions) = match header.as_gnu() {
            Some(gnu) if kind == EntryType::GNUSparse => {
                let regions = self.sparse_map(gnu)?;
                let total = regions.iter().map(|region| region.length).sum::<u64>();
                let end = regions.last().map_or(0, |last| last.offset + last.length);
                let size = gnu.real_size()?;
                if total != stored || end > size || i64::try_from(size).is_err() {
                    return Err(malformed("a sparse map that does not fit its data"));
                }
                (size, regions)
            }
            _ => (
                stored,
                vec![Region {
                    offset: 0,
                    length: stored,
                }],
            ),
        };
        let id = |value: u64| u32::try_from(value).map_err(|_| malformed("an owner out of range"));
        let mtime = Timespec {
            tv_sec: i64::try_from(header.mtime()?).map_err(|_| malformed("a time out of range"))?,
            tv_nsec: 0,
        };
        let path = |bytes: Vec<u8>| PathBuf::from(OsString::from_vec(bytes));
        Ok(Member {
            kind,
            name: path(
                about
                    .name
                    .unwrap_or_else(|| header.path_bytes().into_owned()),
            ),
            link: path(
                about
                    .link
                    .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            ),
            mode: header.mode()?,
            owner: (
                about.owner.0.map_or_else(|| id(header.uid()?), Ok)?,
                about.owner.1.map_or_else(|| id(header.gid()?), Ok)?,
            ),
            mtime: about.mtime.unwrap_or(mtime),
            xattrs: about.xattrs,
            size,
            regions,
        })
    }

    /// The map in the header, and the blocks of more map that follow it.
    fn sparse_map(&mut self, gnu: &tar::GnuHeader) -> io::Result<Vec<Region>> {
        let mut regions = Vec::new();
        let mut take = |slot: &tar::GnuSparseHeader| -> io::Result<()> {
            if !slot.is_empty() {
                let (offset, length) = (slot.offset()?, slot.length()?);
                let after = regions
                    .last()
                    .map_or(0, |last: &Region| last.offset + last.length);
                if offset < after || offset.checked_add(length).is_none() {
                    return Err(malformed("a sparse map out of order"));
                }
                if regions.len() == REGIONS_MOST {
                    return Err(malformed("a sparse map that is too long"));
                }
                regions.push(Region { offset, length });
            }
            Ok(())
        };
        gnu.sparse.iter().try_for_each(&mut take)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = GnuExtSparseHeader::new();
            self.reader.read_exact(block.as_mut_bytes())?;
            block.sparse.iter().try_for_each(&mut take)?;
            more = block.is_extended();
        }
        Ok(regions)
    }

    /// A header, or none at the end. Two blocks of zeros close an archive; what follows them is padding.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        self.block(&mut header)?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.block(&mut header)?;
            io::copy(&mut self.reader, &mut io::sink())?;
            return if header.as_bytes().iter().all(|byte| *byte == 0) {
                Ok(None)
            } else {
                Err(malformed("one closing block alone"))
            };
        }
        if header.cksum()? != pax::sum_of(&header) {
            return Err(malformed("a header whose checksum is wrong"));
        }
        Ok(Some(header))
    }

    fn block(&mut self, header: &mut Header) -> io::Result<()> {
        self.reader
            .read_exact(header.as_mut_bytes())
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(
                    error.kind(),
                    "the archive lacks its closing blocks: it is cut off",
                ),
                _ => error,
            })
    }

    /// A member that is about the next one.
    fn record(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut record = vec![0; usize::try_from(size).unwrap_or_default()];
        self.reader.read_exact(&mut record)?;
        self.rest = padded(size)? - size;
        Ok(record)
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        while self.rest > 0 {
            let taken = some(&mut self.reader, self.rest)?.len();
            self.reader.consume(taken);
            self.rest -= taken as u64;
        }
        Ok(())
    }
}

/// Bytes of the source that are there, one at least and no more than these.
fn some<R: Read>(reader: &mut BufReader<R>, most: u64) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Ok([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let there = reader.buffer();
    let most = usize::try_from(most).unwrap_or(there.len());
    Ok(&there[..there.len().min(most)])
}

impl About {
    /// PAX records: `LENGTH KEY=VALUE` and a newline each, the length counting all of it.
    fn read(&mut self, mut records: &[u8]) -> io::Result<()> {
        let wrong = || malformed("a PAX record");
        while !records.is_empty() {
            let space = records
                .iter()
                .position(|byte| *byte == b' ')
                .ok_or_else(wrong)?;
            let length: usize = number(&records[..space]).ok_or_else(wrong)?;
            let (record, rest) = records.split_at_checked(length).ok_or_else(wrong)?;
            let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
            let record = record.get(space + 1..).ok_or_else(wrong)?;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(wrong)?;
            self.take(&record[..equals], &record[equals + 1..])
                .ok_or_else(wrong)?;
            records = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.name = Some(value.to_owned()),
            b"linkpath" => self.link = Some(value.to_owned()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.owner.0 = Some(number(value)?),
            b"gid" => self.owner.1 = Some(number(value)?),
            b"mtime" => self.mtime = Some(moment(std::str::from_utf8(value).ok()?)?),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_KEY) {
                    let name = String::from_utf8_lossy(name);
                    let name = name.replace("%3D", "=").replace("%25", "%");
                    self.xattrs.push((name.into(), value.to_owned()));
                }
            }
        }
        Some(())
    }
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// GNU's long names end with a NUL.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

fn padded(size: u64) -> io::Result<u64> {
    size.checked_next_multiple_of(BLOCK as u64)
        .ok_or_else(|| malformed("a size out of range"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the archive is damaged: {what}"),
    )
}

/// Seconds since 1970 with a fraction, as PAX writes them.
fn moment(text: &str) -> Option<Timespec> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let before_1970 = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    Some(if before_1970 && nanoseconds > 0 {
        Timespec {
            tv_sec: seconds.checked_sub(1)?,
            tv_nsec: 1_000_000_000 - nanoseconds,
        }
    } else {
        Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(inside(Path::new("./a/./b")), Some("a/b".into()));
        assert_eq!(inside(Path::new("a/../b")), Some("b".into()));
        for out in ["/a", "..", "a/../../b"] {
            assert_eq!(inside(Path::new(out)), None, "{out}");
        }
        assert!(!leads_out(Path::new("a/b"), Path::new("../c")));
        assert!(leads_out(Path::new("a/b"), Path::new("../../c")));
    }

    #[test]
    fn moments_are_read_as_they_are_written() {
        for (text, seconds, nanoseconds) in [
            ("5.250000000", 5, 250_000_000),
            ("-0.250000000", -1, 750_000_000),
            ("-2.000000000", -2, 0),
            ("7", 7, 0),
            ("7.5", 7, 500_000_000),
        ] {
            let found = moment(text).unwrap();
            assert_eq!(
                (found.tv_sec, found.tv_nsec),
                (seconds, nanoseconds),
                "{text}"
            );
        }
        assert!(moment("soon").is_none());
    }

    #[test]
    fn records_are_taken_apart_by_their_lengths() {
        let mut about = About::default();
        about
            .read(b"15 path=a\nb=c\n\n31 SCHILY.xattr.user.x=1\n2\n3=4\n")
            .unwrap();
        assert_eq!(about.name.unwrap(), b"a\nb=c\n");
        assert_eq!(about.xattrs, [("user.x".into(), b"1\n2\n3=4".to_vec())]);
        for wrong in [
            "",
            "5",
            "x path=a\n",
            "99 path=a\n",
            "0 path=a\n",
            "11 path=a\n",
            "10 path=ab",
            "8 path=a\n1",
            "7 path\n",
        ] {
            let read = About::default().read(wrong.as_bytes());
            assert_eq!(read.is_ok(), wrong.is_empty(), "{wrong:?}");
        }
    }
}
