//! Names of databases on their way, and of the sessions that are at work on them.

use crate::server::ident;

/// As long as every origin.
pub(super) const ORIGIN: &str = "00000000T000000Z";
/// PostgreSQL's `NAMEDATALEN` less one.
const NAME_BYTES: usize = 63;

/// The statement that drops a database with whatever sessions there are.
pub fn drop_statement(name: &str) -> String {
    format!("DROP DATABASE {} WITH (FORCE)", ident(name))
}

/// What sessions of a restore call themselves: by it others know them, and the next restore knows what a killed one left running.
pub fn application(process: &str, name: &str) -> String {
    // The server replaces what is no printable ASCII, each version in its own way; done here, the name stays as it was given.
    let name: String = name
        .chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect();
    // PostgreSQL cuts it to this.
    cut(&format!("backupd restore {process} {name}"), "")
}

/// Whether a name is too long for PostgreSQL, which would cut it without a word.
pub fn is_too_long(name: &str) -> bool {
    name.len() > NAME_BYTES
}

/// A pattern of LIKE in which only a `%` standing for the process is one.
pub(super) fn like(application: &str) -> String {
    let literal = application.replace('\\', "\\\\").replace('_', "\\_");
    let (before, after) = literal.split_once('%').unwrap_or((&literal, ""));
    format!("{before}%{}", after.replace('%', "\\%"))
}

/// The name of a database that is being restored; where from is named by a moment, `20261120T020000Z`.
pub(super) fn fresh_name(name: &str, origin: &str) -> String {
    let suffix = format!("_restoring_{origin}");
    cut(name, &suffix) + &suffix
}

pub(super) fn is_fresh_name(name: &str) -> bool {
    name.rsplit_once("_restoring_")
        .is_some_and(|(_, origin)| origin.len() == ORIGIN.len() && origin.ends_with('Z'))
}

/// As much of a name as leaves room for a suffix.
pub(super) fn cut(name: &str, suffix: &str) -> String {
    let mut end = name.len().min(NAME_BYTES - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_keep_whole_characters() {
        let origin = "20261120T020000Z";
        assert_eq!(
            fresh_name("postgres", origin),
            "postgres_restoring_20261120T020000Z"
        );
        let long = fresh_name(&"ü".repeat(31), origin);
        assert!(
            long.len() <= NAME_BYTES && long.starts_with("üü") && is_fresh_name(&long),
            "{long}"
        );
        assert!(!is_fresh_name("postgres_before_20261120T020000Z"));
    }
}
