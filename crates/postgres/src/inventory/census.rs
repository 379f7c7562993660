//! What a dump holds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::{LargeObjects, RowsSum};
use crate::sql::CopyTarget;

/// A table and its rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TableRows {
    /// `schema.table` as the dump names it: quoted where SQL needs quotes.
    pub table: String,
    /// Rows in the dump.
    pub rows: u64,
    /// Of their lines, without newlines.
    pub bytes: u64,
    /// Of its rows, in any order ([`crate::digest`]); none where the dump has them in blocks with other columns each.
    pub digest: Option<String>,
}

/// What a dump holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// Every table that the dump has data of, empty ones too, by name.
    pub tables: Vec<TableRows>,
    /// Its large objects.
    pub large_objects: LargeObjects,
    /// Whether it ends with pg_dump's trailer.
    pub complete: bool,
    /// Whether it ends with pg_dumpall's trailer, as roles artifacts do.
    pub cluster_complete: bool,
}

/// Rows so far, by table.
#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<String, Table>);

#[derive(Debug)]
struct Table {
    sum: RowsSum,
    columns: String,
    /// Whether every block had the same columns.
    alike: bool,
}

impl Tables {
    pub fn add(&mut self, target: CopyTarget, rows: RowsSum) {
        let CopyTarget { table, columns } = target;
        if let Some(known) = self.0.get_mut(&table) {
            known.sum.add(rows);
            known.alike &= known.columns == columns;
        } else {
            let first = Table {
                sum: rows,
                columns,
                alike: true,
            };
            self.0.insert(table, first);
        }
    }

    pub fn list(self) -> Vec<TableRows> {
        let tables = self.0.into_iter().map(|(table, known)| {
            let digest = known.sum.digest();
            TableRows {
                table,
                rows: digest.rows,
                bytes: known.sum.bytes,
                digest: known.alike.then_some(digest.digest),
            }
        });
        tables.collect()
    }
}
