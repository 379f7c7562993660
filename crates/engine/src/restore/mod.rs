//! What a restore of any kind keeps in the backup directory. How a source is put back is its kind's (`source`).

mod directory;
mod kept;

pub use directory::{Held, hold, know};
pub use kept::{InPlace, NotKept, remember, settle};
