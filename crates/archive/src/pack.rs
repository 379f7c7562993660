//! Packs a tree into an archive while others write to it.
//!
//! A file's header announces its size before its content is read; whatever happens to the file meanwhile, exactly the announced bytes
//! follow, so that no entry can spoil the ones after it.

mod file;

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, readlinkat, statat};
use rustix::io::Errno;
use stream::Finished;
use stream::directory::{Descent, Name, open_directory, shown};
use tar::EntryType;
use tokio_util::sync::CancellationToken;
use xattr::FileExt as _;

use self::file::READ_BYTES;
use crate::listing::Lister;
use crate::members::leads_out;
use crate::pax::{self, CLOSING, RECORDS_MOST, Records};
use crate::tree::{Unreadable, check_root, is_gone, unreadable_root};
use crate::{Change, Changed, LeftOut, NAMED_MAX, PackError, Packed};

/// How a tree is packed.
#[derive(Default)]
pub struct Packing<'a> {
    /// Is told of every file.
    pub lister: Option<Lister<'a>>,
    /// What is left out.
    pub left_out: Option<LeftOut<'a>>,
}

/// Packs `root`, a directory or a single file, into `out`.
///
/// Names are relative to the root, which is the first entry, `./`. Symbolic links are kept as links. Unreadable paths are collected to
/// the end and fail the whole.
pub fn pack<'a, W: Write>(
    root: &'a Path,
    out: W,
    packing: Packing<'a>,
    cancel: &'a CancellationToken,
) -> Result<(W, Packed, Finished), PackError> {
    let meta = check_root(root)?;
    let mut packer = Packer {
        root,
        out,
        packed: Packed::default(),
        links: HashMap::new(),
        unreadable: Unreadable::default(),
        buffer: vec![0; READ_BYTES],
        packing,
        cancel,
    };
    if meta.is_dir() {
        packer.tree()?;
    } else {
        let name = root.file_name().unwrap_or(root.as_os_str());
        if meta.is_file() {
            let real = fs::canonicalize(root).map_err(|error| unreadable_root(root, &error))?;
            packer.file(CWD, &real, Path::new(name))?;
        } else {
            packer.skipped(Path::new(name), "no file");
        }
    }
    packer.unreadable.into_result(())?;
    let mut out = packer.out;
    let proof = Finished::writing(&mut out, &CLOSING).map_err(PackError::Sink)?;
    Ok((out, packer.packed, proof))
}

struct Packer<'a, W: Write> {
    root: &'a Path,
    out: W,
    packed: Packed,
    /// First name of each file that has several, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    unreadable: Unreadable,
    buffer: Vec<u8>,
    packing: Packing<'a>,
    cancel: &'a CancellationToken,
}

impl<W: Write> Packer<'_, W> {
    fn tree(&mut self) -> Result<(), PackError> {
        let opened = Descent::open(self.root).and_then(|descent| {
            let root = File::from(descent.directory()?.try_clone_to_owned()?);
            Ok((descent, root.metadata()?, attributes(&root)?))
        });
        let (mut descent, meta, records) =
            opened.map_err(|error| unreadable_root(self.root, &error))?;
        self.directory(Path::new("."), &meta, records)?;
        loop {
            let found = descent.next_name().unwrap_or_else(|error| {
                self.lost(descent.path(), &error);
                None
            });
            if let Some(found) = found {
                self.entry(&mut descent, &found)?;
                continue;
            }
            match descent.leave() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => {
                    // What is left of the directories above was not read.
                    self.unreadable.add(&self.root.join(descent.path()), &error);
                    return Ok(());
                }
            }
        }
    }

    /// Puts a directory's own entry; says whether it could be.
    fn directory(
        &mut self,
        name: &Path,
        meta: &Metadata,
        mut records: Records,
    ) -> Result<bool, PackError> {
        let mut bytes = pax::bytes(name).to_owned();
        bytes.push(b'/');
        let header = pax::header(EntryType::Directory, &bytes, b"", 0, meta, &mut records);
        if !self.fits(name, &records) {
            return Ok(false);
        }
        self.put(name, 0, header, &records)?;
        self.packed.directories += 1;
        Ok(true)
    }

    fn entry(&mut self, descent: &mut Descent, found: &Name) -> Result<(), PackError> {
        if self.cancel.is_cancelled() {
            return Err(PackError::Cancelled);
        }
        let name = descent.path_of(&found.name);
        if self
            .packing
            .left_out
            .is_some_and(|left_out| left_out(&name))
        {
            self.skipped(&name, "kept by a restore");
            return Ok(());
        }
        let directory = match descent.directory() {
            Ok(directory) => directory,
            Err(error) => {
                self.lost(&name, &error);
                return Ok(());
            }
        };
        match found.kind {
            FileType::Directory => {
                let opened = open_directory(directory, &*found.name)
                    .map_err(io::Error::from)
                    .and_then(|opened| {
                        let file = File::from(opened);
                        Ok((file.metadata()?, attributes(&file)?, file))
                    });
                let entered = match opened {
                    Err(error) => Err(error),
                    Ok((meta, records, file)) => {
                        if !self.directory(&name, &meta, records)? {
                            return Ok(());
                        }
                        descent.enter(&found.name, file.into())
                    }
                };
                if let Err(error) = entered {
                    self.lost(&name, &error);
                }
                Ok(())
            }
            FileType::Symlink => self.symlink(directory, &found.name, &name),
            FileType::RegularFile => self.file(directory, &*found.name, &name),
            FileType::Socket => {
                self.skipped(&name, "socket");
                Ok(())
            }
            FileType::Fifo => {
                self.skipped(&name, "pipe");
                Ok(())
            }
            _ => {
                self.skipped(&name, "device");
                Ok(())
            }
        }
    }

    fn skipped(&mut self, name: &Path, what: &str) {
        if self.packed.skipped.len() < NAMED_MAX {
            self.packed
                .skipped
                .push(format!("{} ({what})", shown(name)));
        }
    }

    fn symlink(
        &mut self,
        directory: BorrowedFd<'_>,
        link: &CStr,
        name: &Path,
    ) -> Result<(), PackError> {
        let read = readlinkat(directory, link, Vec::new())
            .and_then(|target| Ok((target, statat(directory, link, AtFlags::SYMLINK_NOFOLLOW)?)));
        let (target, stat) = match read {
            Ok(read) => read,
            // No symbolic link any more.
            Err(Errno::INVAL) => {
                self.changed(name, Change::Vanished);
                return Ok(());
            }
            Err(error) => {
                self.lost(name, &error.into());
                return Ok(());
            }
        };
        let mut records = Records::default();
        let header = pax::header(
            EntryType::Symlink,
            pax::bytes(name),
            target.to_bytes(),
            0,
            &stat,
            &mut records,
        );
        if !self.fits(name, &records) {
            return Ok(());
        }
        self.packed.symlinks += 1;
        let link = Path::new(OsStr::from_bytes(target.to_bytes()));
        if leads_out(name, link) {
            self.packed.outside_links_total += 1;
            if self.packed.outside_links.len() < NAMED_MAX {
                let led = format!("{} -> {}", shown(name), shown(link));
                self.packed.outside_links.push(led);
            }
        }
        self.put(name, 0, header, &records)
    }

    fn changed(&mut self, name: &Path, what: Change) {
        self.packed.changed_total += 1;
        if self.packed.changed.len() < NAMED_MAX {
            self.packed.changed.push(Changed {
                path: shown(name),
                what,
            });
        }
    }

    /// What vanished is a change; what may not be read is remembered and fails the whole at the end.
    fn lost(&mut self, name: &Path, error: &io::Error) {
        if is_gone(error) {
            self.changed(name, Change::Vanished);
            return;
        }
        self.unreadable.add(&self.root.join(name), error);
    }

    /// What could not be read back is not packed.
    fn fits(&mut self, name: &Path, records: &Records) -> bool {
        let fits = records.bytes() <= RECORDS_MOST;
        if !fits {
            let words = "its path and attributes are longer than an archive may hold";
            self.unreadable
                .add(&self.root.join(name), &io::Error::other(words));
        }
        fits
    }

    fn put(
        &mut self,
        name: &Path,
        size: u64,
        mut header: tar::Header,
        records: &Records,
    ) -> Result<(), PackError> {
        self.packed.attributes.packed(name, size, &header, records);
        self.write(&records.member())?;
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.out.write_all(bytes).map_err(PackError::Sink)
    }
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
