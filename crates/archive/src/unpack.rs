//! Unpacks an archive into a new directory: content, holes, extended attributes, times, modes, and owners where the user may give them.
//!
//! An archive is not trusted: no entry may lie outside the directory, go through a symbolic link, or be a device, and no link may lead
//! out.

mod traits;

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, mkdirat, openat, statat, symlinkat};
use rustix::io::Errno;
use stream::directory::{Closing, Way, open_directory, shown};
use tar::EntryType;
use tokio_util::sync::CancellationToken;
use xattr::FileExt as _;

use self::traits::{Giver, Traits};
use crate::Walked;
use crate::members::{Member, Members, OUTSIDE, inside};

/// Until an entry is complete, it is its maker's alone.
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o700);
/// Bytes of attributes that directories may be waiting for at one time.
const PENDING_ATTRIBUTES: usize = 64 * 1024 * 1024;
pub(super) const THROUGH_LINK: &str = "goes through a symbolic link";
pub(super) const LINK_OUT: &str = "is a hard link that leads out";

/// What was unpacked.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// The counts, as [`super::walk`] makes them.
    pub walked: Walked,
    /// The first attributes and owners that this user, or the target's file system, could not keep.
    pub unkept: Vec<String>,
    /// How many there were.
    pub unkept_total: u64,
    /// Files and directories whose owner is another than this user, who may not give them.
    pub foreign_owners: u64,
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum UnpackError {
    /// It wants to be where it may not.
    #[error("the archive is not trusted: entry {entry} {why}")]
    Hostile { entry: String, why: &'static str },
    /// It has a symbolic link that leads out, which is not allowed.
    #[error(
        "the archive is not trusted: entry {entry} is a symbolic link that leads out, to {}",
        shown(link)
    )]
    OutsideLink { entry: String, link: PathBuf },
    /// The archive cannot be read.
    #[error("the archive cannot be read: {0}")]
    Source(#[source] io::Error),
    /// The target cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Target { path: PathBuf, source: io::Error },
    /// Ended early on request.
    #[error("unpacking was cancelled")]
    Cancelled,
}

/// Whether symbolic links may lead out of the target. They are made as they are either way, and never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutsideLinks {
    /// They may: a tree that had them comes back as it was.
    Allowed,
    /// An archive with one is not trusted.
    Refused,
}

/// What of an archive is unpacked.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    /// Whether symbolic links may lead out.
    pub outside_links: OutsideLinks,
    /// Which entries; all of them without. A directory must be wanted for what is in it to be.
    pub wanted: Option<&'a dyn Fn(&Path) -> bool>,
}

/// Unpacks into `target`, which must not be there yet.
pub fn unpack<R: Read>(
    reader: R,
    target: &Path,
    selection: Selection<'_>,
    cancel: &CancellationToken,
) -> Result<Unpacked, UnpackError> {
    DirBuilder::new()
        .mode(DIRECTORY_MODE.bits())
        .create(target)
        .map_err(|source| at(target, source))?;
    let opened = File::open(target).map_err(|source| at(target, source))?;
    let root = opened.try_clone().map_err(|source| at(target, source))?;
    let mut members = Members::new(reader);
    let mut unpacker = Unpacker {
        target,
        root,
        selection,
        cancel,
        walked: Walked::default(),
        way: Way::begin(opened.into(), Step::default()),
        attribute_bytes: 0,
        giver: Giver::new(),
    };
    while let Some(member) = members.next().map_err(UnpackError::Source)? {
        unpacker.member(&mut members, member)?;
    }
    while unpacker.leave()? {}
    let Unpacker { walked, giver, .. } = unpacker;
    Ok(Unpacked {
        walked,
        unkept: giver.unkept,
        unkept_total: giver.unkept_total,
        foreign_owners: giver.foreign_owners,
    })
}

/// Whether a directory's file system keeps a user's extended attributes.
pub fn takes_attributes(directory: &Path) -> io::Result<bool> {
    // Without a name, where the file system can: a process that is killed leaves nothing in a live tree.
    let probe = tempfile::tempfile_in(directory)?;
    match probe.set_xattr("user.backupd", b"probe") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(false),
        Err(error) => Err(error),
    }
}

fn at(path: &Path, source: io::Error) -> UnpackError {
    UnpackError::Target {
        path: shown(path).into(),
        source,
    }
}

pub(super) fn hostile(entry: &Path, why: &'static str) -> UnpackError {
    UnpackError::Hostile {
        entry: shown(entry),
        why,
    }
}

fn is_symlink(directory: BorrowedFd<'_>, name: &OsStr) -> bool {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink())
}

struct Unpacker<'a> {
    target: &'a Path,
    root: File,
    selection: Selection<'a>,
    cancel: &'a CancellationToken,
    walked: Walked,
    /// Directories on the way to the present entry.
    way: Way<Step>,
    /// Of the attributes that directories on the way are still to get.
    attribute_bytes: usize,
    giver: Giver,
}

/// A directory on the way.
#[derive(Default)]
struct Step {
    name: OsString,
    /// What it gets when it is left, as what happens inside changes its times; none of one that was left before.
    traits: Option<Traits>,
}

impl Unpacker<'_> {
    fn member<R: Read>(
        &mut self,
        members: &mut Members<R>,
        mut member: Member,
    ) -> Result<(), UnpackError> {
        if self.cancel.is_cancelled() {
            return Err(UnpackError::Cancelled);
        }
        let strange = member.refuse_strange();
        let entry = std::mem::take(&mut member.name);
        let refused = |why| hostile(&entry, why);
        strange.map_err(refused)?;
        let below = inside(&entry).ok_or_else(|| refused(OUTSIDE))?;
        self.walked.count(&entry, &member);
        if self.selection.wanted.is_some_and(|wanted| !wanted(&below)) {
            return Ok(());
        }
        let path = self.target.join(&below);
        let failed = |errno: Errno| at(&path, errno.into());
        let Some(name) = below.file_name() else {
            return self.root_member(&mut member, &entry);
        };
        self.go_to(below.parent().unwrap_or(Path::new("")), &entry)?;
        let directory = self.way.last().ok_or_else(|| failed(Errno::NOENT))?;
        match member.kind {
            EntryType::Directory => {
                mkdirat(directory, name, DIRECTORY_MODE).map_err(failed)?;
                self.enter(name, Some(Traits::take(&mut member)), &entry)
            }
            EntryType::Symlink => {
                if member.link_leads_out(&below)
                    && self.selection.outside_links == OutsideLinks::Refused
                {
                    return Err(UnpackError::OutsideLink {
                        entry: shown(&entry),
                        link: member.link,
                    });
                }
                symlinkat(&member.link, directory, name).map_err(failed)?;
                self.giver
                    .finish_link(directory, name, &member)
                    .map_err(failed)
            }
            EntryType::Link => {
                let to = inside(&member.link).ok_or_else(|| refused(LINK_OUT))?;
                self.hard_link(&to, directory, name)
                    .map_err(failed)?
                    .ok_or_else(|| refused("is a hard link to no file of the archive"))
            }
            _ => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let file = openat(directory, name, flags, FILE_MODE).map_err(|errno| {
                    // The name of a symbolic link that the archive made.
                    if errno == Errno::EXIST && is_symlink(directory, name) {
                        return refused(THROUGH_LINK);
                    }
                    failed(errno)
                })?;
                self.file(members, &file.into(), &path, member)
            }
        }
    }

    /// The root's own entry, which most archives begin with.
    fn root_member(&mut self, member: &mut Member, entry: &Path) -> Result<(), UnpackError> {
        if member.kind != EntryType::Directory {
            return Err(hostile(
                entry,
                "is not the directory that the archive is of",
            ));
        }
        self.go_to(Path::new(""), entry)?;
        let traits = Traits::take(member);
        self.attribute_bytes += traits.attribute_bytes();
        self.bound_attributes(entry)?;
        if let Some((_, step)) = self.way.last_mut() {
            step.traits = Some(traits);
        }
        Ok(())
    }

    /// Another name of a file that was unpacked; none when it is no file, or lies behind a symbolic link.
    fn hard_link(
        &self,
        to: &Path,
        directory: BorrowedFd<'_>,
        name: &OsStr,
    ) -> rustix::io::Result<Option<()>> {
        let Some(original) = to.file_name() else {
            return Ok(None);
        };
        let mut held = None::<OwnedFd>;
        for part in to.parent().unwrap_or(Path::new("")) {
            let above = held.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            match open_directory(above, part) {
                Ok(below) => held = Some(below),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
        let above = held.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
        let is_file = statat(above, original, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
        if !is_file {
            return Ok(None);
        }
        linkat(above, original, directory, name, AtFlags::empty()).map(Some)
    }

    fn file<R: Read>(
        &mut self,
        members: &mut Members<R>,
        file: &File,
        path: &Path,
        mut member: Member,
    ) -> Result<(), UnpackError> {
        let failed = |source| at(path, source);
        let mut written = Ok(());
        members
            .content(&member, |offset, data| {
                if self.cancel.is_cancelled() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                if written.is_ok() {
                    written = file.write_all_at(data, offset);
                }
                Ok(())
            })
            .map_err(UnpackError::Source)?;
        written.map_err(failed)?;
        file.set_len(member.size).map_err(failed)?;
        let traits = Traits::take(&mut member);
        let given = self.giver.finish(file, path, &traits);
        given.map_err(|errno| failed(errno.into()))
    }

    /// Goes to a directory of the target, up and down; never through a symbolic link.
    fn go_to(&mut self, directory: &Path, entry: &Path) -> Result<(), UnpackError> {
        let depth = self
            .way
            .values()
            .skip(1)
            .zip(directory)
            .take_while(|(step, part)| step.name == *part)
            .count();
        while self.way.values().len() > depth + 1 {
            self.leave()?;
        }
        for part in directory.iter().skip(depth) {
            self.enter(part, None, entry)?;
        }
        Ok(())
    }

    /// Goes down into a directory.
    fn enter(
        &mut self,
        name: &OsStr,
        traits: Option<Traits>,
        entry: &Path,
    ) -> Result<(), UnpackError> {
        let failed = |source| at(&self.target.join(entry), source);
        let above = self
            .way
            .last()
            .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let directory = open_directory(above, name).map_err(|errno| {
            if is_symlink(above, name) {
                return hostile(entry, THROUGH_LINK);
            }
            failed(errno.into())
        })?;
        self.attribute_bytes += traits.as_ref().map_or(0, Traits::attribute_bytes);
        let step = Step {
            name: name.to_owned(),
            traits,
        };
        self.way
            .down(directory, step, |_, _, _| Ok(Closing::Closed))
            .map_err(failed)?;
        self.bound_attributes(entry)
    }

    fn bound_attributes(&self, entry: &Path) -> Result<(), UnpackError> {
        if self.attribute_bytes > PENDING_ATTRIBUTES {
            return Err(hostile(
                entry,
                "lies in directories that have too many attributes",
            ));
        }
        Ok(())
    }

    /// Goes up, and gives the directory that is left what its entry says. False at the end.
    fn leave(&mut self) -> Result<bool, UnpackError> {
        let here = |way: &Way<Step>| {
            let names = way.values().map(|step| &step.name);
            self.target.join(names.collect::<PathBuf>())
        };
        let path = here(&self.way);
        let left = self.way.up().map_err(|source| at(&path, source))?;
        let Some((directory, step)) = left else {
            return Ok(false);
        };
        if let Some(traits) = step.traits {
            self.attribute_bytes -= traits.attribute_bytes();
            let given = self.giver.finish(&directory.into(), &path, &traits);
            given.map_err(|errno| at(&path, errno.into()))?;
        }
        Ok(true)
    }
}
