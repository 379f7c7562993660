//! SQL as pg_dump writes it: a dump's text taken apart into statements and rows, and what a statement is about. All of it, and files of
//! roles, are read by one lexer.
//!
//! Nothing here trusts a comment: users write names, and pg_dump writes these into its headings. A statement is known by its own first
//! words, outside of quotes.

mod body;
mod copy;
pub mod kind;
pub(crate) mod lexer;
pub(crate) mod reader;
pub(crate) mod script;
pub mod split;
mod tokens;

pub use copy::CopyTarget;
pub use kind::{Kind, classify};
pub use reader::QualifiedName;
pub use script::Unreadable;
pub use split::{Piece, Splitter};
