//! Puts a dump back: what an archive holds, which of a dump's entries are loaded, how roles come back, and how a database is moved
//! aside for the one that is restored in its place.

pub mod admin;
mod archive;
pub mod compare;
mod contain;
mod error;
pub mod extensions;
mod fault;
pub mod finish;
pub mod load;
pub(crate) mod marks;
mod names;
pub mod place;
mod removal;
pub mod roles;
mod strangers;
pub mod subscriptions;
mod undo;

pub use archive::{custom_inventory, custom_list};
pub use error::RestoreError;
pub use fault::LoadFault;
pub use names::{application, drop_statement, is_too_long};
pub use strangers::Stranger;
