//! Rows per table out of a plain dump while it streams past, with a digest of each table's content and of the large objects, and
//! whether the dump came to its end.
//!
//! Knows the text that `pg_dump` and `pg_dumpall` write (`pg_dump.c`, `pg_backup_archiver.c`): rows stand between
//! `COPY schema.table (columns) FROM stdin;` and a line `\.`, one line a row, because COPY's text format escapes newlines and
//! backslashes inside values (PostgreSQL manual, COPY, "Text Format"). Quotes, dollar quotes and comments are followed, so that a
//! function's body or a comment that looks like a COPY block is not counted. Does not understand SQL otherwise: rows written as
//! `INSERT` (`pg_dump --inserts`, which backupd never asks for) are not counted, nor are `/* */` comments followed, which the tools
//! never write.

pub(crate) mod lexer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use lexer::Lexer;

use crate::digest::{CopyTarget, LargeObjects, RowsSum};

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

/// Passes a dump on and counts.
pub struct Inventory<W> {
    inner: W,
    lexer: Lexer,
}

impl<W: Write> Inventory<W> {
    /// Passes what it is given on to `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            lexer: Lexer::default(),
        }
    }

    /// The inner writer, and what went past.
    pub fn finish(self) -> (W, Census) {
        (self.inner, self.lexer.census())
    }
}

impl<W: Write> Write for Inventory<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.lexer.read(&data[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Rows so far, by table.
#[derive(Debug, Default)]
struct Tables(BTreeMap<String, Table>);

#[derive(Debug)]
struct Table {
    sum: RowsSum,
    columns: String,
    /// Whether every block had the same columns.
    alike: bool,
}

impl Tables {
    fn add(&mut self, target: CopyTarget, rows: RowsSum) {
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

    fn list(self) -> Vec<TableRows> {
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
