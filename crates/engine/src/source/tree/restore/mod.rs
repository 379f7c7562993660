//! Puts file trees back: apart, in the place of the present one, or one object of them.

mod apart;
mod archive;
mod aside;
mod blocked;
mod error;
mod object;
mod parents;
mod placing;
mod request;
mod swap;
mod target;
pub mod undo;
mod unpacking;

pub use apart::restore_tree;
pub use archive::check_archive;
pub use blocked::obstacles;
pub use error::{RestoreError, RoomFault};
pub use object::{RestoredObject, restore_object};
pub use request::{Restored, TreeRequest};
pub use swap::{Swapped, check_swap, swap_tree};
