//! Files with holes, as GNU tar's old sparse entries (type `S`; GNU tar manual, "Storing Sparse Files"): a map of data regions, then
//! those regions' bytes alone.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{SeekFrom, seek};
use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::pax::field;

/// `st_blocks` counts these, whatever the file system's own block is.
const STAT_BLOCK: u64 = 512;

/// Regions of one sparse file: they are held in memory, 16 bytes each.
pub const REGIONS_MOST: usize = 1024 * 1024;

/// A region of a file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub offset: u64,
    pub length: u64,
}

/// Whether a file may have holes: fewer blocks than bytes.
pub fn has_holes(meta: &Metadata) -> bool {
    meta.blocks() * STAT_BLOCK < meta.len()
}

/// The data regions of a file that has holes; none for a file without, or where the file system does not tell.
pub fn regions(file: &File, meta: &Metadata) -> Option<Vec<Region>> {
    if !has_holes(meta) {
        return None;
    }
    let size = meta.len();
    let mut regions = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.min(size),
            // No data after this point.
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => return None,
        };
        // So many are not kept apart: the file is stored with its holes as zeros.
        if regions.len() + 1 == REGIONS_MOST {
            return None;
        }
        let hole = seek(file, SeekFrom::Hole(data)).ok()?.min(size);
        if hole > data {
            regions.push(Region {
                offset: data,
                length: hole - data,
            });
        }
        at = hole.max(data + 1);
    }
    let stored: u64 = regions.iter().map(|region| region.length).sum();
    (stored < size).then(|| {
        // A closing empty region says how long the file is when it ends in a hole.
        regions.push(Region {
            offset: size,
            length: 0,
        });
        regions
    })
}

/// Makes a header one of a sparse entry, and gives the blocks that follow it with the rest of the map.
pub fn describe(header: &mut Header, regions: &[Region], size: u64) -> Vec<GnuExtSparseHeader> {
    header.set_entry_type(EntryType::GNUSparse);
    let stored = regions.iter().map(|region| region.length).sum();
    field(&mut header.as_old_mut().size, stored);
    let mut more = Vec::new();
    if let Some(gnu) = header.as_gnu_mut() {
        field(&mut gnu.realsize, size);
        let (first, rest) = regions.split_at(regions.len().min(gnu.sparse.len()));
        for (slot, region) in gnu.sparse.iter_mut().zip(first) {
            field(&mut slot.offset, region.offset);
            field(&mut slot.numbytes, region.length);
        }
        gnu.isextended = [u8::from(!rest.is_empty())];
        let mut chunks = rest.chunks(21).peekable();
        while let Some(chunk) = chunks.next() {
            let mut block = GnuExtSparseHeader::new();
            for (slot, region) in block.sparse.iter_mut().zip(chunk) {
                field(&mut slot.offset, region.offset);
                field(&mut slot.numbytes, region.length);
            }
            block.isextended = [u8::from(chunks.peek().is_some())];
            more.push(block);
        }
    }
    more
}
