//! What the end-to-end tests stand on: a private PostgreSQL server, a sample storage tree, the real binary, and ways to compare.
//!
//! Knows how to build and look at a stack, not what backupd should do with it: that is said by the scenarios in `tests/tests/scenarios/`.
//! Everything here panics when it cannot work: a fixture that fails is a failed test, and the message is what its reader needs.

#![allow(
    clippy::unwrap_used,
    reason = "fixtures are test code in a library's clothes"
)]

pub mod backupd;
pub mod by_hand;
pub mod campaign;
pub mod daemon;
pub mod fault;
pub mod host;
pub mod hostile;
pub mod pooler;
pub mod proxy;
pub mod server;
pub mod set;
pub mod shelf;
pub mod skipped;
pub mod stack;
pub mod storage;
mod template;
pub use template::load as load_stack;
pub mod tree;
pub mod variants;
pub mod world;
