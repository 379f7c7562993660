//! Bytes in motion: child processes, compression, digests, durable files. Knows nothing of archives, databases, sets or settings, and
//! imports no crate of ours.

pub mod alike;
pub mod artifact;
pub mod child;
pub mod digest;
pub mod directory;
pub mod durable;
pub mod fence;
pub mod gzip;
pub mod orphans;
mod proof;
pub mod read;
pub mod words;
pub mod zstd;

pub use proof::Finished;
