//! `backupd restore`: puts back what a set holds.

mod tree;

pub use tree::execute;
