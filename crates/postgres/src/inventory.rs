//! Rows per table out of a plain dump while it streams past, with a digest of each table's content and of the large objects, and
//! whether the dump came to its end.
//!
//! Knows the text that `pg_dump` and `pg_dumpall` write (`pg_dump.c`, `pg_backup_archiver.c`): rows stand between
//! `COPY schema.table (columns) FROM stdin;` and a line `\.`, one line a row, because COPY's text format escapes newlines and
//! backslashes inside values (PostgreSQL manual, COPY, "Text Format"). Quotes, dollar quotes and comments are followed, so that a
//! function's body or a comment that looks like a COPY block is not counted. Does not understand SQL otherwise: rows written as
//! `INSERT` (`pg_dump --inserts`, which backupd never asks for) are not counted, nor are `/* */` comments followed, which the tools
//! never write.

mod census;
pub(crate) mod lexer;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

pub use census::{Census, TableRows};

use lexer::Lexer;

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
