//! backupd's own form of a roles file, as far as it is more than SQL: what it does by PL/pgSQL and by psql, written and read.

use crate::properties::DatabaseProperties;
use crate::server::{ident, literal};

/// Around what is done by PL/pgSQL, because SQL has no words for "where it is missing" and "or else".
pub(super) const CREATES: (&str, &str) =
    ("BEGIN ", "; EXCEPTION WHEN duplicate_object THEN NULL; END");
pub(super) const GRANTS: &str = "; EXCEPTION WHEN OTHERS THEN ";
pub(super) const CHECKS: &str = "BEGIN IF EXISTS ";

/// psql runs what the statement before it yields.
pub(super) const EXECUTES: &str = "\\gexec";

/// Creates the database where it is missing, in psql's way: it can be done in no block.
pub(super) fn where_missing(database: &DatabaseProperties, name: &str) -> String {
    format!(
        "SELECT {} WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = {}) {EXECUTES}",
        literal(&database.creation(name)),
        literal(name)
    )
}

/// Stops where there is a database of this name that was made otherwise: its content could not be the same.
pub(super) fn unless_other(database: &DatabaseProperties, name: &str) -> Option<String> {
    let made = [
        (
            "pg_catalog.pg_encoding_to_char(encoding)",
            &database.encoding,
        ),
        ("datcollate", &database.collate),
        ("datctype", &database.ctype),
    ];
    let differences: Vec<String> = made
        .iter()
        .filter_map(|(what, value)| Some(format!("{what} <> {}", literal(value.as_deref()?))))
        .collect();
    if differences.is_empty() {
        return None;
    }
    let message = format!(
        "there is a database {} of another encoding or locale: drop it if it is empty, then load this file again",
        ident(name)
    );
    Some(format!(
        "DO {}",
        literal(&format!(
            "{CHECKS}(SELECT FROM pg_catalog.pg_database WHERE datname = {} AND ({})) THEN RAISE EXCEPTION USING MESSAGE = {}; END IF; END",
            literal(name),
            differences.join(" OR "),
            literal(&message)
        ))
    ))
}

/// The statement inside of what is done by PL/pgSQL.
pub(super) fn inner(text: &str) -> Option<&str> {
    let text = text.strip_prefix(CREATES.0)?;
    text.strip_suffix(&CREATES.1).or_else(|| {
        // Twice the same, the second without its grantor: read is the first.
        let rest = text.strip_suffix("; END")?;
        let second = rest.rfind(GRANTS)?;
        let (first, second) = (&rest[..second], &rest[second + GRANTS.len()..]);
        first.starts_with(second).then_some(first)
    })
}
