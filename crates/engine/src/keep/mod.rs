//! What is kept: retention, what is swept, and what a backup directory tells of itself.

pub mod accept;
pub mod prune;
pub mod survey;
pub mod sweep;
