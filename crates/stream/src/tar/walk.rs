//! Reads an archive from end to end, every entry whole, and counts.

use std::io::{self, Read};

use tar::{Archive, EntryType};
use tokio_util::sync::CancellationToken;

/// Bytes taken from an entry at once.
const READ_BYTES: usize = 256 * 1024;

/// What an archive holds. The counts are those of [`super::Packed`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walked {
    /// All entries.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Hard links.
    pub hard_links: u64,
    /// Sum of the files' sizes.
    pub bytes: u64,
}

/// Walks an archive. Errors name the entry; an archive without its closing blocks is cut off.
pub fn walk<R: Read>(reader: R, cancel: &CancellationToken) -> io::Result<Walked> {
    let mut walked = Walked::default();
    let mut archive = Archive::new(Ending::new(reader));
    let mut buffer = vec![0; READ_BYTES];
    for entry in archive.entries()? {
        let mut entry = entry?;
        walked.entries += 1;
        match entry.header().entry_type() {
            EntryType::Directory => walked.directories += 1,
            EntryType::Symlink => walked.symlinks += 1,
            EntryType::Link => walked.hard_links += 1,
            _ => walked.files += 1,
        }
        loop {
            if cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let read = entry.read(&mut buffer).map_err(|error| {
                let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                io::Error::new(error.kind(), format!("entry {name}: {error}"))
            })?;
            if read == 0 {
                break;
            }
            walked.bytes += read as u64;
        }
    }
    archive.into_inner().closed()?;
    Ok(walked)
}

/// Remembers the last two blocks: an archive ends with two of zeros.
struct Ending<R> {
    inner: R,
    zeros: u64,
}

/// Two blocks of 512 bytes.
const CLOSING_ZEROS: u64 = 1024;

impl<R: Read> Ending<R> {
    fn new(inner: R) -> Self {
        Self { inner, zeros: 0 }
    }

    /// Reads what follows the last entry and looks at how it ends.
    fn closed(mut self) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        while self.read(&mut buffer)? > 0 {}
        if self.zeros >= CLOSING_ZEROS {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive lacks its closing blocks: it is cut off",
            ))
        }
    }
}

impl<R: Read> Read for Ending<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let got = &buffer[..read];
        let tail = got.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        self.zeros = if tail == read as u64 {
            self.zeros + tail
        } else {
            tail
        };
        Ok(read)
    }
}
