//! How facts look to people: errors, tables, sets, progress.

pub mod anomaly;
pub mod error;
pub mod progress;
pub mod remedy;
pub mod set;
pub mod table;
