//! Packs a tree into an archive while others write to it.
//!
//! A file's header announces its size before its content is written; whatever happens to the file meanwhile, exactly the announced bytes
//! follow, so that no entry can spoil the ones after it.

mod ahead;
mod batch;
mod file;
mod links;
mod packer;
mod read;

use std::io::{BufWriter, Write};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use stream::Finished;
use tokio_util::sync::CancellationToken;

use self::ahead::{Queue, walk};
use self::packer::Packer;
pub use self::packer::Packing;
use self::read::READ_BYTES;
use crate::pax::CLOSING;
use crate::tree::{Unreadable, check_root, unreadable_root};
use crate::{PackError, Packed};

/// Batches that wait to be packed; besides them one is filled, and one is packed.
const QUEUE: usize = 4;
/// Bytes of small members that are written at once.
const WRITE_BYTES: usize = 128 * 1024;
/// The walk has no recursion, whatever the tree's depth.
const WALK_STACK_BYTES: usize = 256 * 1024;

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
    match check_root(root) {
        Err(PackError::RootEmpty { .. }) if packing.may_be_empty => {}
        checked => {
            checked?;
        }
    }
    let left_out = packing.left_out;
    let mut packer = Packer {
        root,
        out: BufWriter::with_capacity(WRITE_BYTES, out),
        packed: Packed::default(),
        unreadable: Unreadable::default(),
        buffer: vec![0; READ_BYTES],
        head: Vec::new(),
        packing,
        cancel,
    };
    let (full, batches) = sync_channel(QUEUE);
    let (used, empty) = channel();
    thread::scope(|scope| {
        let queue = Queue { full, empty };
        let walking = thread::Builder::new()
            .name("walk".to_owned())
            .stack_size(WALK_STACK_BYTES)
            .spawn_scoped(scope, move || walk(root, left_out, queue, cancel))
            .map_err(|error| unreadable_root(root, &error))?;
        packer.batches(batches, used)?;
        // Only who came to the end says so.
        walking.join().unwrap_or_else(|panic| resume_unwind(panic))
    })?;
    packer.unreadable.into_result(())?;
    let out = packer.out.into_inner();
    let mut out = out.map_err(|error| PackError::Sink(error.into_error()))?;
    let proof = Finished::writing(&mut out, &CLOSING).map_err(PackError::Sink)?;
    Ok((out, packer.packed, proof))
}
