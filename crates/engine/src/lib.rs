//! The use-cases of backupd, one a file: check, run, verify, drill, prune, restore, survey.
//!
//! The engine turns a checked [`Config`] into work on the `postgres`, `stream` and `catalog` crates and says what happens as
//! [`Event`]s. It reads no environment, prints nothing, and never knows who listens.

pub mod anomaly;
pub mod caught;
pub mod clock;
pub mod config;
mod content;
pub mod drill;
pub mod event;
pub mod finding;
pub mod identity;
mod ledger;
pub mod plan;
pub mod preflight;
pub mod prune;
pub mod reconcile;
pub mod restore;
pub mod run;
pub mod space;
pub mod stack;
mod steps;
pub mod survey;
pub mod turn;
pub mod verify;

pub use config::Config;
pub use event::{Event, Observer};
pub use ledger::tell_while;
