//! What lies in the backup directory, and what should: sets, their manifests, the lock, the history, retention, the
//! schedule of runs and the verdict on it all.
//!
//! Synchronous; the clock is an argument everywhere. Knows nothing of databases or of how artifacts are made. The format on disk is
//! docs/set-format.md.

pub mod accepted;
pub mod anomaly;
pub mod catalog;
pub mod census;
pub mod drill;
pub mod history;
pub mod identity;
pub mod lock;
pub mod manifest;
pub mod remembered;
pub mod retention;
pub mod schedule;
pub mod set;
pub mod verdict;
