//! Work that may wait for a disk, out of the way of what only waits for others.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does work that may block, here and now: a flush, the removal of a tree, a look at many files. Meanwhile other tasks of this thread go on
/// elsewhere. Unlike work that is given to another thread, it may borrow, and has ended when its caller goes on or is dropped: nothing of a
/// run is at work on the disk when the run has ended. What only reads, and may be left behind, is better given away.
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    // A runtime of one thread, as tests have it, has no elsewhere.
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
