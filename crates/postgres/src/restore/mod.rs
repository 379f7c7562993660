//! Puts a dump back: what an archive holds, which of a dump's entries are loaded, how roles come back, and how a database is moved
//! aside for the one that is restored in its place.

mod archive;
pub mod compare;
pub mod entries;
pub mod load;
pub mod place;
pub mod roles;
mod statements;
mod strangers;

pub use archive::{custom_inventory, custom_list};
pub use strangers::Stranger;
