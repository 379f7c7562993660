//! Unpacks an archive into a new directory: content, holes, extended attributes, times, modes, and owners where the user may give them.
//!
//! An archive is not trusted: no entry may lie outside the directory, go through a symbolic link, or be a device, and no link may lead
//! out.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod, fchown,
    futimens, utimensat,
};
use tar::EntryType;
use tokio_util::sync::CancellationToken;
use xattr::FileExt as _;

use super::members::{Member, Members};
use super::{NAMED_MAX, Walked};

/// Until an entry is complete, it is its maker's alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

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
    #[error("the archive is not trusted: entry {entry} is a symbolic link that leads out, to {}", link.display())]
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
        .mode(DIRECTORY_MODE)
        .create(target)
        .map_err(|source| at(target, source))?;
    let mut members = Members::new(reader);
    let mut unpacker = Unpacker {
        target,
        selection,
        cancel,
        unpacked: Unpacked::default(),
        links: HashSet::new(),
        open: Vec::new(),
        may_give: rustix::process::geteuid().is_root(),
        user: rustix::process::geteuid().as_raw(),
    };
    while let Some(member) = members.next().map_err(UnpackError::Source)? {
        unpacker.member(&mut members, member)?;
    }
    unpacker.leave(None)?;
    Ok(unpacker.unpacked)
}

/// Whether a directory's file system keeps a user's extended attributes.
pub fn takes_attributes(directory: &Path) -> io::Result<bool> {
    let probe = tempfile::NamedTempFile::new_in(directory)?;
    match probe.as_file().set_xattr("user.backupd", b"probe") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(false),
        Err(error) => Err(error),
    }
}

fn at(path: &Path, source: io::Error) -> UnpackError {
    UnpackError::Target {
        path: path.to_owned(),
        source,
    }
}

struct Unpacker<'a> {
    target: &'a Path,
    selection: Selection<'a>,
    cancel: &'a CancellationToken,
    unpacked: Unpacked,
    /// Symbolic links made so far, below the target.
    links: HashSet<PathBuf>,
    /// Directories on the way to the present entry: theirs are given when it is left, as what happens inside changes their times.
    open: Vec<(PathBuf, Member)>,
    may_give: bool,
    user: u32,
}

impl Unpacker<'_> {
    fn member<R: Read>(
        &mut self,
        members: &mut Members<R>,
        member: Member,
    ) -> Result<(), UnpackError> {
        if self.cancel.is_cancelled() {
            return Err(UnpackError::Cancelled);
        }
        let refused = |why| UnpackError::Hostile {
            entry: member.name.display().to_string(),
            why,
        };
        let upward = member
            .name
            .components()
            .any(|part| part == Component::ParentDir);
        let below = inside(&member.name)
            .filter(|_| !upward)
            .ok_or_else(|| refused("lies outside"))?;
        if below.ancestors().any(|path| self.links.contains(path)) {
            return Err(refused("goes through a symbolic link"));
        }
        self.unpacked.walked.count(&member);
        if self.selection.wanted.is_some_and(|wanted| !wanted(&below)) {
            return Ok(());
        }
        let path = self.target.join(&below);
        self.leave(below.parent())?;
        match member.kind {
            EntryType::Directory => {
                if below != Path::new("") {
                    DirBuilder::new()
                        .mode(DIRECTORY_MODE)
                        .create(&path)
                        .map_err(|source| at(&path, source))?;
                }
                self.open.push((below, member));
                Ok(())
            }
            EntryType::Symlink => {
                let from = below.parent().unwrap_or(Path::new(""));
                let out = member.link.is_absolute() || inside(&from.join(&member.link)).is_none();
                if out && self.selection.outside_links == OutsideLinks::Refused {
                    return Err(UnpackError::OutsideLink {
                        entry: member.name.display().to_string(),
                        link: member.link,
                    });
                }
                symlink(&member.link, &path).map_err(|source| at(&path, source))?;
                self.links.insert(below);
                self.finish_link(&path, &member)
            }
            EntryType::Link => {
                let to =
                    inside(&member.link).ok_or_else(|| refused("is a hard link that leads out"))?;
                let original = self.target.join(&to);
                let is_file = fs::symlink_metadata(&original).is_ok_and(|meta| meta.is_file());
                if !is_file || to.ancestors().any(|path| self.links.contains(path)) {
                    return Err(refused("is a hard link to no file of the archive"));
                }
                fs::hard_link(&original, &path).map_err(|source| at(&path, source))
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(members, &path, &member)
            }
            _ => Err(refused("is neither file, directory nor link")),
        }
    }

    fn file<R: Read>(
        &mut self,
        members: &mut Members<R>,
        path: &Path,
        member: &Member,
    ) -> Result<(), UnpackError> {
        let failed = |source| at(path, source);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)
            .map_err(failed)?;
        let mut written = Ok(());
        members
            .content(member, |offset, data| {
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
        self.finish(&file, path, member)
    }

    /// Gives the directories their member that are no ancestors of what comes next.
    fn leave(&mut self, next: Option<&Path>) -> Result<(), UnpackError> {
        while let Some((directory, member)) = self
            .open
            .pop_if(|(directory, _)| next.is_none_or(|next| !next.starts_with(directory)))
        {
            let path = self.target.join(directory);
            let file = File::open(&path).map_err(|source| at(&path, source))?;
            self.finish(&file, &path, &member)?;
        }
        Ok(())
    }

    fn finish(&mut self, file: &File, path: &Path, member: &Member) -> Result<(), UnpackError> {
        let failed = |errno: rustix::io::Errno| at(path, errno.into());
        for (name, value) in &member.xattrs {
            if let Err(error) = file.set_xattr(name, value) {
                self.unkept(path, &format!("{}: {error}", name.to_string_lossy()));
            }
        }
        let (uid, gid) = member.owner;
        // Before the mode: a change of owner takes setuid away.
        if self.may_give {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed)?;
        } else if uid != self.user {
            self.unpacked.foreign_owners += 1;
        }
        fchmod(file, Mode::from_raw_mode(member.mode)).map_err(failed)?;
        futimens(file.as_fd(), &times(member.mtime)).map_err(failed)
    }

    fn finish_link(&self, path: &Path, member: &Member) -> Result<(), UnpackError> {
        let failed = |errno: rustix::io::Errno| at(path, errno.into());
        let (uid, gid) = member.owner;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.may_give {
            chownat(
                CWD,
                path,
                Some(Uid::from_raw(uid)),
                Some(Gid::from_raw(gid)),
                flags,
            )
            .map_err(failed)?;
        }
        utimensat(CWD, path, &times(member.mtime), flags).map_err(failed)
    }

    fn unkept(&mut self, path: &Path, what: &str) {
        self.unpacked.unkept_total += 1;
        if self.unpacked.unkept.len() < NAMED_MAX {
            self.unpacked
                .unkept
                .push(format!("{} {what}", path.display()));
        }
    }
}

/// A path below the directory, without `.`; none when it leads out.
fn inside(path: &Path) -> Option<PathBuf> {
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

fn times(mtime: Timespec) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: mtime,
    }
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
    }
}
