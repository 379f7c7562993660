//! What a dump holds, as its manifest says it: rows per table and large objects, with their digests.

use catalog::artifact::{Dump, LargeObjects, TableRows};
use postgres::inventory;

/// Writes down what went by while a dump was made or read.
pub(crate) fn describe(dump: &mut Dump, content: inventory::Census) {
    let inventory::Census {
        tables,
        large_objects,
        ..
    } = content;
    dump.tables = Some(tables_of(tables));
    dump.large_objects = Some(large_objects_of(large_objects));
}

/// As the catalog keeps them.
pub(crate) fn tables_of(tables: Vec<inventory::TableRows>) -> Vec<TableRows> {
    let kept = tables.into_iter().map(|rows| TableRows {
        table: rows.table,
        rows: rows.rows,
        bytes: Some(rows.bytes),
        digest: rows.digest,
    });
    kept.collect()
}

/// As the catalog keeps them.
pub(crate) fn large_objects_of(found: postgres::digest::LargeObjects) -> LargeObjects {
    LargeObjects {
        count: found.count,
        bytes: found.bytes,
        digest: found.digest,
    }
}
