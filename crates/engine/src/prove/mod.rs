//! A set is proven: by reading it back, and by restoring it.

pub mod drill;
pub mod verify;
