//! Rows per table out of a plain dump while it streams past, with a digest of each table's content and of the large objects, and
//! whether the dump came to its end.
//!
//! Knows the text that `pg_dump` and `pg_dumpall` write (`pg_dump.c`, `pg_backup_archiver.c`): rows stand between
//! `COPY schema.table (columns) FROM stdin;` and a line `\.`, one line a row, because COPY's text format escapes newlines and
//! backslashes inside values (PostgreSQL manual, COPY, "Text Format"). A function's body or a comment that looks like a COPY block is one
//! token, and not counted. Rows written as `INSERT` (`pg_dump --inserts`, which nobody here asks for) are not counted.

mod census;
mod counter;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

pub use census::{Census, TableRows};

use counter::Counter;

/// Passes a dump on and counts.
pub struct Inventory<W> {
    inner: W,
    counter: Counter,
}

impl<W: Write> Inventory<W> {
    /// Passes what it is given on to `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            counter: Counter::default(),
        }
    }

    /// The inner writer, and what went past.
    pub fn finish(self) -> (W, Census) {
        (self.inner, self.counter.census())
    }
}

impl<W: Write> Write for Inventory<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.counter.read(&data[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
