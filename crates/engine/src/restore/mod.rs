//! Puts back what a set holds: file trees and databases. What is there is moved aside, never overwritten.

pub mod archive;
pub mod blocked;
pub mod database;
pub mod object;
mod parents;
pub mod swap;
pub mod tree;
pub mod undo;
