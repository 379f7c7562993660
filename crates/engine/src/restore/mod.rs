//! Puts back what a set holds: file trees and databases. What is there is moved aside, never overwritten.

pub mod database;
pub mod object;
pub mod swap;
pub mod tree;
