//! SQL as pg_dump writes it: a dump's text taken apart into statements and rows, and what a statement is about.
//!
//! Nothing here trusts a comment: users write names, and pg_dump writes these into its headings. A statement is known by its own first
//! words, outside of quotes.

mod body;
mod copy;
pub mod kind;
pub mod split;
pub mod words;

pub use copy::CopyTarget;
pub use kind::{Kind, classify};
pub use split::{Piece, Splitter};
pub use words::QualifiedName;
