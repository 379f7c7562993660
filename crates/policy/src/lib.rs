//! Decisions: when a run is due, which sets stay, what is odd about one, whether an operator can sleep.
//!
//! Pure functions over plain data; the present moment is an argument. Reads no file, no clock, no environment, and does nothing about what it
//! decides.

pub mod anomaly;
pub mod retention;
pub mod schedule;
pub mod verdict;
