//! Writes the entries that the walk found.

use std::ffi::OsStr;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender};

use stream::directory::shown;
use tar::EntryType;
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Found};
use crate::listing::Lister;
use crate::members::leads_out;
use crate::pax::{self, BLOCK, Head};
use crate::sparse::{self, Region};
use crate::tree::Unreadable;
use crate::{Change, Changed, LeftOut, NAMED_MAX, PackError, Packed};

/// How a tree is packed.
#[derive(Default)]
pub struct Packing<'a> {
    /// Is told of every file.
    pub lister: Option<Lister<'a>>,
    /// What is left out.
    pub left_out: Option<LeftOut<'a>>,
    /// Whether a root without anything in it is taken for what it should be.
    pub may_be_empty: bool,
}

/// Writes an archive, entry by entry.
pub(super) struct Packer<'a, W: Write> {
    pub root: &'a Path,
    pub out: BufWriter<W>,
    pub packed: Packed,
    pub unreadable: Unreadable,
    /// Of a large file.
    pub buffer: Vec<u8>,
    /// Of a member, before its content.
    pub head: Vec<u8>,
    pub packing: Packing<'a>,
    pub cancel: &'a CancellationToken,
}

impl<W: Write> Packer<'_, W> {
    /// Takes the queue with it: without its end here, the walk does not go on.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the queue's ends are dropped here, whatever happens"
    )]
    pub fn batches(
        &mut self,
        batches: Receiver<Batch>,
        used: Sender<Batch>,
    ) -> Result<(), PackError> {
        while let Ok(mut batch) = batches.recv() {
            if self.cancel.is_cancelled() {
                return Err(PackError::Cancelled);
            }
            let Batch { entries, bytes, .. } = &mut batch;
            for entry in entries.drain(..) {
                self.entry(&bytes[entry.name], entry.found, bytes)?;
            }
            batch.clear();
            // At the walk's end nobody wants it.
            let _ = used.send(batch);
        }
        Ok(())
    }

    /// `bytes` are those of the entry's batch.
    fn entry(&mut self, name: &[u8], found: Found, bytes: &[u8]) -> Result<(), PackError> {
        match found {
            Found::Directory { about, xattrs } => {
                let path = [name, b"/"].concat();
                self.packed.directories += 1;
                self.put(
                    &Head {
                        kind: EntryType::Directory,
                        name: &path,
                        link: b"",
                        size: 0,
                        about,
                        xattrs: &xattrs,
                    },
                    0,
                    None,
                )
            }
            Found::Symlink { about, target } => {
                self.packed.symlinks += 1;
                self.note_outside_link(path_of(name), path_of(&target));
                self.put(
                    &Head {
                        kind: EntryType::Symlink,
                        name,
                        link: &target,
                        size: 0,
                        about,
                        xattrs: &[],
                    },
                    0,
                    None,
                )
            }
            Found::Link { about, first } => {
                self.packed.hard_links += 1;
                self.tell(name, None);
                self.put(
                    &Head {
                        kind: EntryType::Link,
                        name,
                        link: pax::bytes(&first),
                        size: 0,
                        about,
                        xattrs: &[],
                    },
                    0,
                    None,
                )
            }
            Found::Small {
                about,
                xattrs,
                content,
                change,
            } => self.small(name, about, &xattrs, &bytes[content], change),
            Found::Large { file, meta, xattrs } => self.large(name, &file, &meta, &xattrs),
            Found::Vanished => {
                self.changed(path_of(name), Change::Vanished);
                Ok(())
            }
            Found::Skipped(why) => {
                if self.packed.skipped.len() < NAMED_MAX {
                    let words = format!("{} ({why})", shown(path_of(name)));
                    self.packed.skipped.push(words);
                }
                Ok(())
            }
            Found::Unreadable(error) => {
                self.unreadable.add(&self.root.join(path_of(name)), &error);
                Ok(())
            }
        }
    }

    fn note_outside_link(&mut self, name: &Path, target: &Path) {
        if leads_out(name, target) {
            self.packed.outside_links_total += 1;
            if self.packed.outside_links.len() < NAMED_MAX {
                let led = format!("{} -> {}", shown(name), shown(target));
                self.packed.outside_links.push(led);
            }
        }
    }

    pub fn changed(&mut self, name: &Path, what: Change) {
        self.packed.changed_total += 1;
        if self.packed.changed.len() < NAMED_MAX {
            self.packed.changed.push(Changed {
                path: shown(name),
                what,
            });
        }
    }

    /// Writes what stands before a member's content; `size` is the file's, `regions` are those of a file with holes.
    pub fn put(
        &mut self,
        head: &Head<'_>,
        size: u64,
        regions: Option<&[Region]>,
    ) -> Result<(), PackError> {
        self.packed.attributes.packed(head, size);
        self.head.clear();
        head.records(&mut self.head);
        let mut header = head.header();
        let more = regions.map(|regions| sparse::describe(&mut header, regions, size));
        pax::sum(&mut header);
        self.head.extend_from_slice(header.as_bytes());
        self.out.write_all(&self.head).map_err(PackError::Sink)?;
        for block in more.into_iter().flatten() {
            self.write(block.as_bytes())?;
        }
        Ok(())
    }

    /// Zeros up to a whole block.
    pub fn pad(&mut self, written: u64) -> Result<(), PackError> {
        let rest = usize::try_from(written % BLOCK as u64).unwrap_or(0);
        self.write(&[0; BLOCK][..(BLOCK - rest) % BLOCK])
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.out.write_all(bytes).map_err(PackError::Sink)
    }
}

pub(super) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
