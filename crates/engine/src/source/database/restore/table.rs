//! One table of a dump: which one a person means.

use catalog::artifact::Artifact;

use super::error::listed;

/// Names in one sentence.
const NAMED: usize = 10;

/// A table that a person named, with or without the quotes that SQL wants, as SQL names it. The parent of partitions has no rows of its
/// own, and is in no list.
pub(super) fn find_table(artifact: &Artifact, asked: &str) -> String {
    let tables = artifact.tables().unwrap_or_default();
    let found = tables
        .iter()
        .find(|rows| rows.table == asked || unquoted(&rows.table) == asked);
    found.map_or_else(|| asked.to_owned(), |rows| rows.table.clone())
}

/// Tables with a like name.
pub(super) fn near_to(artifact: &Artifact, asked: &str) -> String {
    let name = asked.rsplit('.').next().unwrap_or(asked);
    let tables = artifact.tables().unwrap_or_default();
    let near = tables.iter().filter(|rows| rows.table.contains(name));
    listed(
        &near
            .take(NAMED)
            .map(|rows| rows.table.clone())
            .collect::<Vec<_>>(),
    )
}

fn unquoted(table: &str) -> String {
    table
        .replace("\"\"", "\u{0}")
        .replace('"', "")
        .replace('\u{0}', "\"")
}
