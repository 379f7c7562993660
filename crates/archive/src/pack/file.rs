//! Files: their content, which others may be changing.

use std::fs::{File, Metadata};
use std::io::{self, Write};

use tar::EntryType;

use super::packer::{Packer, path_of};
use super::read::{READ_BYTES, change_since, read_at};
use crate::listing::{self, Listed};
use crate::pax::Xattr;
use crate::pax::{About, Head};
use crate::sparse::{self, Region};
use crate::{Change, PackError};

impl<W: Write> Packer<'_, W> {
    /// A file that was read before.
    pub(super) fn small(
        &mut self,
        name: &[u8],
        about: About,
        xattrs: &[Xattr],
        content: &[u8],
        change: Option<Change>,
    ) -> Result<(), PackError> {
        let size = content.len() as u64;
        self.put(
            &Head {
                kind: EntryType::Regular,
                name,
                link: b"",
                size,
                about,
                xattrs,
            },
            size,
            None,
        )?;
        self.write(content)?;
        self.pad(size)?;
        if self.packing.lister.is_some() {
            let mut hashed = listing::Content::new(self.cancel);
            hashed.take(0, content).map_err(cancelled)?;
            self.tell(name, Some((size, hashed.finish(size).map_err(cancelled)?)));
        }
        self.packed.files += 1;
        self.packed.bytes += size;
        if let Some(change) = change {
            self.changed(path_of(name), change);
        }
        Ok(())
    }

    pub(super) fn large(
        &mut self,
        name: &[u8],
        file: &File,
        meta: &Metadata,
        xattrs: &[Xattr],
    ) -> Result<(), PackError> {
        let size = meta.len();
        let head = Head {
            kind: EntryType::Regular,
            name,
            link: b"",
            size,
            about: About::from(meta),
            xattrs,
        };
        let whole = [Region {
            offset: 0,
            length: size,
        }];
        let read = match sparse::regions(file, meta) {
            None => {
                self.put(&head, size, None)?;
                self.content(file, &whole, name, size)?
            }
            Some(regions) => {
                self.put(&head, size, Some(&regions))?;
                self.content(file, &regions, name, size)?
            }
        };
        self.packed.files += 1;
        self.packed.bytes += size;
        match read {
            Read::Failed(error) => self.unreadable.add(&self.root.join(path_of(name)), &error),
            Read::Short => self.changed(path_of(name), Change::Shrank),
            Read::Whole => {
                if let Some(change) = change_since(file, meta) {
                    self.changed(path_of(name), change);
                }
            }
        }
        Ok(())
    }

    /// Writes the regions' bytes, zeros for those that are gone, and the padding to a whole block.
    fn content(
        &mut self,
        file: &File,
        regions: &[Region],
        name: &[u8],
        size: u64,
    ) -> Result<Read, PackError> {
        let cancel = self.cancel;
        let lister = self.packing.lister.is_some();
        let mut hashed = lister.then(|| listing::Content::new(cancel));
        let mut read = Read::Whole;
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
                let got = match read {
                    Read::Whole => match read_at(file, buffer, at) {
                        Ok(got) => got,
                        Err(error) => {
                            read = Read::Failed(error);
                            0
                        }
                    },
                    Read::Short | Read::Failed(_) => 0,
                };
                if got < want {
                    buffer[got..].fill(0);
                    if matches!(read, Read::Whole) {
                        read = Read::Short;
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
        self.pad(written)?;
        if let Some(hashed) = hashed {
            self.tell(name, Some((size, hashed.finish(size).map_err(cancelled)?)));
        }
        Ok(read)
    }

    pub(super) fn tell(&mut self, name: &[u8], content: Option<(u64, [u8; 16])>) {
        if let Some(lister) = &mut self.packing.lister {
            lister(Listed {
                name: path_of(name),
                content,
            });
        }
    }
}

/// How the reading of a file went.
enum Read {
    Whole,
    Short,
    Failed(io::Error),
}

/// Hashing fails in no other way.
fn cancelled(_: io::Error) -> PackError {
    PackError::Cancelled
}
