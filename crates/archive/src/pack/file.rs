//! Files: their content, which others may be changing, and their further names.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::path::Arg;
use tar::EntryType;

use super::{Packer, attributes};
use crate::listing::{self, Listed};
use crate::pax::{self, BLOCK, Records};
use crate::sparse::{self, Region};
use crate::tree::open_file;
use crate::{Change, PackError};

/// Bytes read from a file at once.
pub(super) const READ_BYTES: usize = 256 * 1024;

impl<W: Write> Packer<'_, W> {
    /// A further name of a file that was packed; says whether it is one.
    fn hard_link(&mut self, name: &Path, meta: &Metadata) -> Result<bool, PackError> {
        let Some(first) = self.links.get(&(meta.dev(), meta.ino())) else {
            return Ok(false);
        };
        let mut records = Records::default();
        let header = pax::header(
            EntryType::Link,
            pax::bytes(name),
            pax::bytes(first),
            0,
            meta,
            &mut records,
        );
        if !self.fits(name, &records) {
            return Ok(true);
        }
        self.packed.hard_links += 1;
        if let Some(lister) = &mut self.packing.lister {
            lister(Listed {
                name,
                content: None,
            });
        }
        self.put(name, 0, header, &records)?;
        Ok(true)
    }

    pub(super) fn file(
        &mut self,
        directory: BorrowedFd<'_>,
        file: impl Arg,
        name: &Path,
    ) -> Result<(), PackError> {
        let opened = open_file(directory, file).and_then(|file| Ok((file.metadata()?, file)));
        let (meta, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.lost(name, &error);
                return Ok(());
            }
        };
        if !meta.is_file() {
            self.changed(name, Change::Vanished);
            return Ok(());
        }
        if meta.nlink() > 1 && self.hard_link(name, &meta)? {
            return Ok(());
        }
        let mut records = match attributes(&file) {
            Ok(records) => records,
            Err(error) => {
                self.lost(name, &error);
                return Ok(());
            }
        };
        let size = meta.len();
        let mut header = pax::header(
            EntryType::Regular,
            pax::bytes(name),
            b"",
            size,
            &meta,
            &mut records,
        );
        if !self.fits(name, &records) {
            return Ok(());
        }
        let whole = [Region {
            offset: 0,
            length: size,
        }];
        let read = match sparse::regions(&file, &meta) {
            None => {
                self.put(name, size, header, &records)?;
                self.content(&file, &whole, name, size)?
            }
            Some(regions) => {
                let more = sparse::describe(&mut header, &regions, size);
                self.put(name, size, header, &records)?;
                for block in more {
                    self.write(block.as_bytes())?;
                }
                self.content(&file, &regions, name, size)?
            }
        };
        self.packed.files += 1;
        self.packed.bytes += size;
        if meta.nlink() > 1 {
            self.links.insert((meta.dev(), meta.ino()), name.to_owned());
        }
        match read {
            Outcome::Failed(error) => self.lost(name, &error),
            Outcome::Short => self.changed(name, Change::Shrank),
            Outcome::Whole => self.compare(&file, &meta, name),
        }
        Ok(())
    }

    /// Writes the regions' bytes, zeros for those that are gone, and the padding to a whole block.
    fn content(
        &mut self,
        file: &File,
        regions: &[Region],
        name: &Path,
        size: u64,
    ) -> Result<Outcome, PackError> {
        let cancel = self.cancel;
        let lister = self.packing.lister.is_some();
        let mut hashed = lister.then(|| listing::Content::new(cancel));
        // Hashing fails in no other way.
        let cancelled = |_| PackError::Cancelled;
        let mut outcome = Outcome::Whole;
        let mut written = 0;
        for region in regions {
            let mut at = region.offset;
            let end = region.offset + region.length;
            while at < end {
                if self.cancel.is_cancelled() {
                    return Err(PackError::Cancelled);
                }
                let want = usize::try_from(end - at)
                    .unwrap_or(READ_BYTES)
                    .min(READ_BYTES);
                let buffer = &mut self.buffer[..want];
                let got = match outcome {
                    Outcome::Whole => match read_at(file, buffer, at) {
                        Ok(got) => got,
                        Err(error) => {
                            outcome = Outcome::Failed(error);
                            0
                        }
                    },
                    Outcome::Short | Outcome::Failed(_) => 0,
                };
                if got < want {
                    buffer[got..].fill(0);
                    if matches!(outcome, Outcome::Whole) {
                        outcome = Outcome::Short;
                    }
                }
                self.out
                    .write_all(&self.buffer[..want])
                    .map_err(PackError::Sink)?;
                if let Some(hashed) = &mut hashed {
                    hashed.take(at, &self.buffer[..want]).map_err(cancelled)?;
                }
                at += want as u64;
            }
            written += region.length;
        }
        let rest = usize::try_from(written % BLOCK as u64).unwrap_or(0);
        self.write(&[0; BLOCK][..(BLOCK - rest) % BLOCK])?;
        if let (Some(lister), Some(hashed)) = (&mut self.packing.lister, hashed) {
            lister(Listed {
                name,
                content: Some((size, hashed.finish(size).map_err(cancelled)?)),
            });
        }
        Ok(outcome)
    }

    fn compare(&mut self, file: &File, before: &Metadata, name: &Path) {
        let Ok(after) = file.metadata() else { return };
        if after.len() > before.len() {
            self.changed(name, Change::Grew);
        } else if after.len() < before.len() {
            self.changed(name, Change::Shrank);
        } else if (after.mtime(), after.mtime_nsec()) != (before.mtime(), before.mtime_nsec()) {
            self.changed(name, Change::Modified);
        }
    }
}

enum Outcome {
    Whole,
    Short,
    Failed(io::Error),
}

/// Fills the buffer, or less at the file's end.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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
