//! One table of a dump: which entries of the dump its copy needs, and which table a person means.

use catalog::manifest::Artifact;
use postgres::inventory::TableRows;
use postgres::restore::entries::{Heading, Wanted};

use super::{NAMED, PG_CRON, list};

/// Everything but rows and what rests on them.
pub(super) fn only_schema(cron_here: bool) -> Wanted {
    // Comments may be about any of them.
    const RESTS_ON_ROWS: [&str; 7] = [
        "CONSTRAINT",
        "FK CONSTRAINT",
        "INDEX",
        "INDEX ATTACH",
        "TRIGGER",
        "EVENT TRIGGER",
        "COMMENT",
    ];
    Box::new(move |heading: &Heading| {
        let kind = heading.kind.as_str();
        let acts = kind.starts_with("PUBLICATION") || kind == "SUBSCRIPTION";
        let of_cron = !cron_here && heading.is_of_extension(PG_CRON.0, PG_CRON.1);
        !heading.is_data() && !acts && !of_cron && !RESTS_ON_ROWS.contains(&kind)
    })
}

/// The rows of these tables, and their keys.
pub(super) fn only_rows_of(tables: Vec<(String, String)>) -> Wanted {
    Box::new(move |heading: &Heading| {
        // A heading has spaces for newlines; a key's begins with its table.
        let of_table = |begins: bool| {
            tables.iter().any(|(schema, table)| {
                let table = table.replace('\n', " ");
                heading.schema == schema.replace('\n', " ")
                    && (heading.name == table
                        || (begins && heading.name.starts_with(&format!("{table} "))))
            })
        };
        match heading.kind.as_str() {
            "TABLE DATA" => of_table(false),
            "CONSTRAINT" => of_table(true),
            _ => false,
        }
    })
}

/// The manifest's entry of a table that a person named, with or without the quotes that SQL wants.
pub(super) fn find_table(artifact: &Artifact, asked: &str) -> TableRows {
    let tables = artifact.tables.as_deref().unwrap_or_default();
    let found = tables
        .iter()
        .find(|rows| rows.table == asked || unquoted(&rows.table) == asked);
    if let Some(found) = found {
        return TableRows {
            table: found.table.clone(),
            rows: found.rows,
            digest: found.digest.clone(),
        };
    }
    // The parent of partitions has no rows of its own, and is in no list.
    TableRows {
        table: asked.to_owned(),
        rows: 0,
        digest: None,
    }
}

/// Tables with a like name.
pub(super) fn near_to(artifact: &Artifact, asked: &str) -> String {
    let name = asked.rsplit('.').next().unwrap_or(asked);
    let tables = artifact.tables.as_deref().unwrap_or_default();
    let near = tables.iter().filter(|rows| rows.table.contains(name));
    list(
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

pub(super) fn is_named(quoted: &str, schema: &str, table: &str) -> bool {
    unquoted(quoted) == format!("{schema}.{table}")
}
