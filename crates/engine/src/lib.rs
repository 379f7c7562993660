//! The use-cases of backupd: a backup (`backup`), its proof (`prove`), what becomes of it (`keep`), a restore (`restore`). They work on
//! sources of whatever kind (`source`), and history is written here alone.
//!
//! The engine turns a checked [`Config`] into work on the `postgres`, `archive`, `stream` and `catalog` crates and says what happens as
//! [`Event`]s. It reads no environment, prints nothing, and never knows who listens.

pub mod backup;
pub mod caught;
pub mod clock;
pub mod config;
mod directory;
pub mod event;
pub mod finding;
pub mod hint;
pub mod identity;
pub mod keep;
mod progress;
pub mod prove;
pub mod restore;
pub mod source;
pub mod space;
pub mod stack;

pub use config::Config;
pub use event::{Event, Observer};
pub use progress::tell_while;
