//! Packs a tree into an archive while others write to it.
//!
//! A file's header announces its size before its content is read; whatever happens to the file meanwhile, exactly the announced bytes
//! follow, so that no entry can spoil the ones after it.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tar::{Builder, EntryType};
use tokio_util::sync::CancellationToken;
use xattr::FileExt as _;

use super::listing::{self, Listed, Lister};
use super::pax::{self, BLOCK, Records};
use super::sparse::{self, Region};
use super::tree::{Unreadable, check_root};
use super::{Change, Changed, LeftOut, NAMED_MAX, PackError, Packed};
use crate::proof::Finished;

/// Bytes read from a file at once.
const READ_BYTES: usize = 256 * 1024;

/// How a tree is packed.
#[derive(Default)]
pub struct Packing<'a> {
    /// Is told of every file.
    pub lister: Option<Lister<'a>>,
    /// What is left out.
    pub left_out: Option<LeftOut>,
}

/// Packs `root`, a directory or a single file, into `out`.
///
/// Names are relative to the root, which is the first entry, `./`. Symbolic links are kept as links. Unreadable paths are collected to
/// the end and fail the whole.
pub fn pack<'a, W: Write>(
    root: &Path,
    out: W,
    packing: Packing<'a>,
    cancel: &'a CancellationToken,
) -> Result<(W, Packed, Finished), PackError> {
    check_root(root)?;
    let mut packer = Packer {
        builder: Builder::new(out),
        packed: Packed::default(),
        links: HashMap::new(),
        unreadable: Unreadable::default(),
        buffer: vec![0; READ_BYTES],
        packing,
        cancel,
    };
    if root.is_dir() {
        packer.directory(root, Path::new("./"))?;
    } else {
        let name = root.file_name().unwrap_or(root.as_os_str());
        let real = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        packer.entry(&real, Path::new(name))?;
    }
    packer.unreadable.into_result(())?;
    let out = packer.builder.into_inner().map_err(PackError::Sink)?;
    Ok((out, packer.packed, Finished::new()))
}

struct Packer<'a, W: Write> {
    builder: Builder<W>,
    packed: Packed,
    /// First name of each file that has several, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    unreadable: Unreadable,
    buffer: Vec<u8>,
    packing: Packing<'a>,
    cancel: &'a CancellationToken,
}

impl<W: Write> Packer<'_, W> {
    fn directory(&mut self, path: &Path, name: &Path) -> Result<(), PackError> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                self.lost(path, name, &error);
                return Ok(());
            }
        };
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, attributes(&file)?)));
        let (meta, mut records) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.lost(path, name, &error);
                return Ok(());
            }
        };
        let mut bytes = pax::bytes(name).to_owned();
        if !bytes.ends_with(b"/") {
            bytes.push(b'/');
        }
        let header = pax::header(EntryType::Directory, &bytes, b"", 0, &meta, &mut records);
        self.put(header, &records)?;
        self.packed.directories += 1;
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.lost(path, name, &error);
                    break;
                }
            };
            let below = name
                .strip_prefix("./")
                .unwrap_or(name)
                .join(entry.file_name());
            self.entry(&entry.path(), &below)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &Path) -> Result<(), PackError> {
        if self.cancel.is_cancelled() {
            return Err(PackError::Cancelled);
        }
        if self.packing.left_out.is_some_and(|left_out| left_out(name)) {
            self.skipped(name, "kept by a restore");
            return Ok(());
        }
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) => {
                self.lost(path, name, &error);
                return Ok(());
            }
        };
        let kind = meta.file_type();
        if kind.is_dir() {
            self.directory(path, name)
        } else if kind.is_symlink() {
            self.symlink(path, name, &meta)
        } else if kind.is_file() {
            self.file(path, name, &meta)
        } else {
            let word = if kind.is_socket() {
                "socket"
            } else if kind.is_fifo() {
                "pipe"
            } else {
                "device"
            };
            self.skipped(name, word);
            Ok(())
        }
    }

    fn skipped(&mut self, name: &Path, what: &str) {
        if self.packed.skipped.len() < NAMED_MAX {
            self.packed
                .skipped
                .push(format!("{} ({what})", name.display()));
        }
    }

    fn symlink(&mut self, path: &Path, name: &Path, meta: &Metadata) -> Result<(), PackError> {
        let target = match fs::read_link(path) {
            Ok(target) => target,
            Err(error) => {
                self.lost(path, name, &error);
                return Ok(());
            }
        };
        let mut records = Records::default();
        let header = pax::header(
            EntryType::Symlink,
            pax::bytes(name),
            pax::bytes(&target),
            0,
            meta,
            &mut records,
        );
        self.packed.symlinks += 1;
        self.put(header, &records)
    }

    fn file(&mut self, path: &Path, name: &Path, listed: &Metadata) -> Result<(), PackError> {
        if listed.nlink() > 1
            && let Some(first) = self.links.get(&(listed.dev(), listed.ino()))
        {
            let mut records = Records::default();
            let header = pax::header(
                EntryType::Link,
                pax::bytes(name),
                pax::bytes(first),
                0,
                listed,
                &mut records,
            );
            self.packed.hard_links += 1;
            if let Some(lister) = &mut self.packing.lister {
                lister(Listed {
                    name,
                    content: None,
                });
            }
            return self.put(header, &records);
        }
        let opened = open(path).and_then(|file| {
            let meta = file.metadata()?;
            let records = attributes(&file)?;
            Ok((file, meta, records))
        });
        let (file, meta, mut records) = match opened {
            Ok(opened) => opened,
            // ELOOP: a symbolic link stands where the file was listed.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                self.changed(name, Change::Vanished);
                return Ok(());
            }
            Err(error) => {
                self.lost(path, name, &error);
                return Ok(());
            }
        };
        if !meta.is_file() {
            self.changed(name, Change::Vanished);
            return Ok(());
        }
        let size = meta.len();
        let mut header = pax::header(
            EntryType::Regular,
            pax::bytes(name),
            b"",
            size,
            &meta,
            &mut records,
        );
        let whole = [Region {
            offset: 0,
            length: size,
        }];
        let read = match sparse::regions(&file, &meta) {
            None => {
                self.put(header, &records)?;
                self.content(&file, &whole, name, size)?
            }
            Some(regions) => {
                let more = sparse::describe(&mut header, &regions, size);
                self.put(header, &records)?;
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
            Outcome::Failed(error) => self.lost(path, name, &error),
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
        let mut hashed = self.packing.lister.is_some().then(listing::Content::new);
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
                self.builder
                    .get_mut()
                    .write_all(&self.buffer[..want])
                    .map_err(PackError::Sink)?;
                if let Some(hashed) = &mut hashed {
                    hashed.take(at, &self.buffer[..want]);
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
                content: Some((size, hashed.finish(size))),
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

    fn changed(&mut self, name: &Path, what: Change) {
        self.packed.changed_total += 1;
        if self.packed.changed.len() < NAMED_MAX {
            self.packed.changed.push(Changed {
                path: name.display().to_string(),
                what,
            });
        }
    }

    /// What vanished is a change; what may not be read is remembered and fails the whole at the end.
    fn lost(&mut self, path: &Path, name: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound && name != Path::new("./") {
            self.changed(name, Change::Vanished);
            return;
        }
        self.unreadable.add(path, error);
    }

    fn put(&mut self, mut header: tar::Header, records: &Records) -> Result<(), PackError> {
        if records.iter().next().is_some() {
            self.builder
                .append_pax_extensions(records.iter())
                .map_err(PackError::Sink)?;
        }
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.builder
            .get_mut()
            .write_all(bytes)
            .map_err(PackError::Sink)
    }
}

enum Outcome {
    Whole,
    Short,
    Failed(io::Error),
}

/// Opens a regular file: not through a link, and without waiting should a pipe stand there now.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
}

fn attributes(file: &File) -> io::Result<Records> {
    let mut records = Records::default();
    let names = match file.list_xattr() {
        Ok(names) => names,
        // A file system without attributes has none to keep.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(records),
        Err(error) => return Err(error),
    };
    for name in names {
        if let Some(value) = file.get_xattr(&name)? {
            records.xattr(&name, value);
        }
    }
    Ok(records)
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
