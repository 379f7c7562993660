//! Reads an archive from end to end, and refuses what [`super::unpack`] would, before anything is made of it. A hard link to a file that
//! the archive does not have shows only there.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::PathBuf;

use stream::directory::shown;
use tar::EntryType;
use tokio_util::sync::CancellationToken;

use crate::Walked;
use crate::members::{Member, Members, OUTSIDE, inside};
use crate::unpack::{LINK_OUT, OutsideLinks, THROUGH_LINK, UnpackError, hostile};

/// Inspects an archive, and counts as [`super::walk`] does.
pub fn inspect<R: Read>(
    reader: R,
    outside_links: OutsideLinks,
    cancel: &CancellationToken,
) -> Result<Walked, UnpackError> {
    let mut walked = Walked::default();
    let mut links = HashSet::new();
    let mut members = Members::new(reader);
    while let Some(member) = members.next().map_err(UnpackError::Source)? {
        check(&member, outside_links, &mut links)?;
        let read = members.content(&member, |_, _| {
            if cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Ok(())
        });
        if cancel.is_cancelled() {
            return Err(UnpackError::Cancelled);
        }
        read.map_err(UnpackError::Source)?;
        walked.count(&member.name, &member);
    }
    Ok(walked)
}

/// `links` holds the symbolic links so far; a tree of objects has few.
fn check(
    member: &Member,
    outside_links: OutsideLinks,
    links: &mut HashSet<PathBuf>,
) -> Result<(), UnpackError> {
    let refused = |why| hostile(&member.name, why);
    member.refuse_strange().map_err(refused)?;
    let below = inside(&member.name).ok_or_else(|| refused(OUTSIDE))?;
    if !links.is_empty() && below.ancestors().any(|above| links.contains(above)) {
        return Err(refused(THROUGH_LINK));
    }
    match member.kind {
        EntryType::Symlink => {
            if member.link_leads_out(&below) && outside_links == OutsideLinks::Refused {
                return Err(UnpackError::OutsideLink {
                    entry: shown(&member.name),
                    link: member.link.clone(),
                });
            }
            links.insert(below);
        }
        EntryType::Link if inside(&member.link).is_none() => return Err(refused(LINK_OUT)),
        _ => {}
    }
    Ok(())
}
