//! Files with holes, as GNU tar's old sparse entries (type `S`; GNU tar manual, "Storing Sparse Files"): a map of data regions, then
//! those regions' bytes alone.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{SeekFrom, seek};
use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::members::REGIONS_MOST;

/// `st_blocks` counts these, whatever the file system's own block is.
const STAT_BLOCK: u64 = 512;
/// Octal digits of a 12-byte numeric field, before its closing NUL.
const OCTAL_DIGITS: usize = 11;
/// First value that does not fit them; larger ones are stored in base 256.
const OCTAL_LIMIT: u64 = 1 << (3 * OCTAL_DIGITS);

/// A region of a file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub offset: u64,
    pub length: u64,
}

/// The data regions of a file that has holes; none for a file without, or where the file system does not tell.
pub fn regions(file: &File, meta: &Metadata) -> Option<Vec<Region>> {
    let size = meta.len();
    if meta.blocks() * STAT_BLOCK >= size {
        return None;
    }
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
    header.set_size(regions.iter().map(|region| region.length).sum());
    let mut more = Vec::new();
    if let Some(gnu) = header.as_gnu_mut() {
        gnu.realsize = field(size);
        let (first, rest) = regions.split_at(regions.len().min(gnu.sparse.len()));
        for (slot, region) in gnu.sparse.iter_mut().zip(first) {
            slot.offset = field(region.offset);
            slot.numbytes = field(region.length);
        }
        gnu.isextended = [u8::from(!rest.is_empty())];
        let mut chunks = rest.chunks(21).peekable();
        while let Some(chunk) = chunks.next() {
            let mut block = GnuExtSparseHeader::new();
            for (slot, region) in block.sparse.iter_mut().zip(chunk) {
                slot.offset = field(region.offset);
                slot.numbytes = field(region.length);
            }
            block.isextended = [u8::from(chunks.peek().is_some())];
            more.push(block);
        }
    }
    more
}

/// A 12-byte number: octal, or base 256 with the top bit set.
fn field(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value < OCTAL_LIMIT {
        let text = format!("{value:011o}");
        field[..OCTAL_DIGITS].copy_from_slice(text.as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
    field
}
