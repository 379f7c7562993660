//! What lies in the backup directory: sets, their manifests, the lock, the history.
//!
//! Synchronous; the clock is an argument everywhere. Knows nothing of databases or of how artifacts are made. The format on disk is
//! docs/set-format.md.

pub mod accepted;
pub mod anomaly;
pub mod artifact;
pub mod catalog;
pub mod census;
pub mod census_file;
pub mod compression;
pub mod drill;
pub mod history;
pub mod identity;
pub mod layout;
pub mod lock;
pub mod manifest;
mod moment;
pub mod name;
pub mod remembered;
pub mod set;
pub mod storage;
