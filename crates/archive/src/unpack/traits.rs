//! What files and directories have beside their content: owner, attributes, mode, times.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod, fchown, futimens,
    utimensat,
};
use rustix::thread::{CapabilitySet, capabilities};
use stream::directory::shown;
use xattr::FileExt as _;

use crate::NAMED_MAX;
use crate::members::Member;

/// What a file or directory has beside its content.
pub(super) struct Traits {
    mode: u32,
    owner: (u32, u32),
    mtime: Timespec,
    xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Traits {
    pub(super) fn take(member: &mut Member) -> Self {
        Self {
            mode: member.mode,
            owner: member.owner,
            mtime: member.mtime,
            xattrs: std::mem::take(&mut member.xattrs),
        }
    }

    pub(super) fn attribute_bytes(&self) -> usize {
        let attributes = self.xattrs.iter();
        attributes
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }
}

/// Gives files and directories their traits, and keeps what could not be given.
pub(super) struct Giver {
    /// Whether this user may give files to others.
    may_give: bool,
    user: u32,
    /// The first attributes and owners that could not be kept.
    pub unkept: Vec<String>,
    /// How many there were.
    pub unkept_total: u64,
    /// Files and directories whose owner is another than this user, who may not give them.
    pub foreign_owners: u64,
}

impl Giver {
    pub fn new() -> Self {
        Self {
            may_give: capabilities(None)
                .is_ok_and(|held| held.effective.contains(CapabilitySet::CHOWN)),
            user: rustix::process::geteuid().as_raw(),
            unkept: Vec::new(),
            unkept_total: 0,
            foreign_owners: 0,
        }
    }

    /// Gives a file or directory its traits; `path` names it in words.
    pub fn finish(&mut self, file: &File, path: &Path, traits: &Traits) -> rustix::io::Result<()> {
        let (uid, gid) = traits.owner;
        // Before attributes and mode: a change of owner takes capabilities, setuid and setgid away.
        if self.may_give {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        } else if uid != self.user {
            self.foreign_owners += 1;
        }
        for (name, value) in &traits.xattrs {
            if let Err(error) = file.set_xattr(name, value) {
                self.unkept(path, &format!("{}: {error}", name.to_string_lossy()));
            }
        }
        fchmod(file, Mode::from_raw_mode(traits.mode))?;
        futimens(file.as_fd(), &times(traits.mtime))
    }

    /// Gives a symbolic link its owner and time.
    pub fn finish_link(
        &self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        member: &Member,
    ) -> rustix::io::Result<()> {
        let (uid, gid) = member.owner;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.may_give {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(directory, name, Some(uid), Some(gid), flags)?;
        }
        utimensat(directory, name, &times(member.mtime), flags)
    }

    fn unkept(&mut self, path: &Path, what: &str) {
        self.unkept_total += 1;
        if self.unkept.len() < NAMED_MAX {
            self.unkept.push(format!("{} {what}", shown(path)));
        }
    }
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
