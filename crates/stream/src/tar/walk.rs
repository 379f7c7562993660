//! Reads an archive from end to end, every member whole, and counts.

use std::io::{self, Read};

use tar::EntryType;
use tokio_util::sync::CancellationToken;

use super::members::{Member, Members};

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

impl Walked {
    /// Counts a member.
    pub(super) fn count(&mut self, member: &Member) {
        self.entries += 1;
        match member.kind {
            EntryType::Directory => self.directories += 1,
            EntryType::Symlink => self.symlinks += 1,
            EntryType::Link => self.hard_links += 1,
            _ => {
                self.files += 1;
                self.bytes += member.size;
            }
        }
    }
}

/// Walks an archive. Errors name the entry; an archive without its closing blocks is cut off.
pub fn walk<R: Read>(reader: R, cancel: &CancellationToken) -> io::Result<Walked> {
    let mut walked = Walked::default();
    let mut members = Members::new(reader);
    while let Some(member) = members.next()? {
        members
            .content(&member, |_, _| {
                if cancel.is_cancelled() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                Ok(())
            })
            .map_err(|error| {
                let name = member.name.display();
                io::Error::new(error.kind(), format!("entry {name}: {error}"))
            })?;
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        walked.count(&member);
    }
    Ok(walked)
}
