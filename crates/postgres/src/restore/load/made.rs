//! What a statement makes, by its first words.

use crate::sql::words::{Words, take_name};

/// The name of what a statement makes: the first qualified one in it.
pub(super) fn made(statement: &str) -> Option<String> {
    let words: Vec<_> = Words::of(statement).take(12).collect();
    let dot = words.iter().position(|word| word.is("."))?;
    Some(words.get(dot + 1)?.value.clone())
}

/// The schema that a statement makes.
pub(super) fn made_schema(statement: &str) -> Option<String> {
    let rest = statement.strip_prefix("CREATE SCHEMA ")?;
    take_name(&mut Words::of(rest).peekable()).map(|name| name.name)
}

/// Whether it makes nothing, and gives or takes privileges.
pub(super) fn gives_privileges(statement: &str) -> bool {
    statement.starts_with("GRANT ") || statement.starts_with("REVOKE ")
}
