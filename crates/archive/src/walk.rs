//! Reads an archive from end to end, every member whole, and counts.

use std::io::{self, Read};
use std::path::Path;

use stream::directory::shown;
use tar::EntryType;
use tokio_util::sync::CancellationToken;

use crate::attributes::Attributes;
use crate::listing::{Content, Listed, Lister};
use crate::members::{Member, Members};

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
    /// Names, sizes, modes, owners and extended attributes.
    pub attributes: Attributes,
}

impl Walked {
    /// Counts a member of this name.
    pub(super) fn count(&mut self, name: &Path, member: &Member) {
        self.entries += 1;
        self.attributes.read(name, member);
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

/// Its cause stays known: a fault of the disk is no damage.
#[derive(Debug, thiserror::Error)]
#[error("entry {entry} cannot be read: {source}")]
struct Unread {
    entry: String,
    source: io::Error,
}

/// Walks an archive; `lister`, where there is one, is told of every file. Errors name the entry; an archive without its closing blocks is cut off.
pub fn walk<R: Read>(
    reader: R,
    mut lister: Option<Lister<'_>>,
    cancel: &CancellationToken,
) -> io::Result<Walked> {
    let mut walked = Walked::default();
    let mut members = Members::new(reader);
    while let Some(member) = members.next()? {
        let named = |kind, what: &dyn std::fmt::Display| {
            io::Error::new(kind, format!("entry {} {what}", shown(&member.name)))
        };
        member
            .refuse_strange()
            .map_err(|why| named(io::ErrorKind::InvalidData, &why))?;
        let mut hashed = lister.is_some().then(|| Content::new(cancel));
        members
            .content(&member, |offset, data| {
                if let Some(hashed) = &mut hashed {
                    hashed.take(offset, data)?;
                }
                if cancel.is_cancelled() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                Ok(())
            })
            .map_err(|source| {
                let entry = shown(&member.name);
                io::Error::new(source.kind(), Unread { entry, source })
            })?;
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        walked.count(&member.name, &member);
        if let (Some(lister), Some(hashed)) = (&mut lister, hashed) {
            let name = &member.name;
            match member.kind {
                EntryType::Directory | EntryType::Symlink => {}
                EntryType::Link => lister(Listed {
                    name,
                    content: None,
                }),
                _ => lister(Listed {
                    name,
                    content: Some((member.size, hashed.finish(member.size)?)),
                }),
            }
        }
    }
    Ok(walked)
}
