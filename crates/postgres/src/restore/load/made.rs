//! What a statement makes, by its first words.

use crate::sql::QualifiedName;
use crate::sql::reader::Reader;

/// The name of what a statement makes: the first qualified one in it.
pub(super) fn made(statement: &str) -> Option<String> {
    let mut words = Reader::of(statement).take(12);
    words.find(|word| word.is("."))?;
    let name = words.next()?;
    Some(name.name().unwrap_or_else(|| name.text.to_owned()))
}

/// The schema that a statement makes.
pub(super) fn made_schema(statement: &str) -> Option<String> {
    let rest = statement.strip_prefix("CREATE SCHEMA ")?;
    QualifiedName::read(rest).map(|name| name.name)
}

/// Whether it makes nothing, and gives or takes privileges.
pub(super) fn gives_privileges(statement: &str) -> bool {
    statement.starts_with("GRANT ") || statement.starts_with("REVOKE ")
}
