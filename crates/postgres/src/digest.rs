//! Digests of what a database holds, row by row and large object by large object, which do not depend on their order.
//!
//! Of a table: XXH3 (128 bits, seed 0) of each row's line as COPY's text format writes it, without its newline, added modulo 2^128. Rows
//! of one table in several COPY blocks come to the same as in one. Of large objects: XXH3 of `OID:` and the content in lowercase hex,
//! added the same way. The sums tell chance and mistakes, not an attacker, who would write their digests as well.
//!
//! The lines of a dump and those of a server asked later are the same only where the sessions have the same settings ([`prepare`]), and the
//! lines the same encoding.

mod server;

use std::fmt;

use memchr::{memchr, memchr_iter};
use serde::Serialize;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

pub use server::{TableContent, of_large_objects, of_table, prepare};

/// Ends the rows of a COPY block.
const END_OF_ROWS: &[u8] = b"\\.";

/// Hashes, added modulo 2^128.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum(u128);

impl Sum {
    fn add(&mut self, hash: u128) {
        self.0 = self.0.wrapping_add(hash);
    }
}

/// As the manifest holds it: 32 digits in lowercase hex.
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDigest {
    /// How many.
    pub rows: u64,
    /// Of all of them, 32 digits in hex.
    pub digest: String,
}

/// The large objects of a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LargeObjects {
    /// How many.
    pub count: u64,
    /// Of their contents.
    pub bytes: u64,
    /// Of all of them, 32 digits in hex.
    pub digest: String,
}

/// Hashes lines that come in pieces of any size, each once and without a copy.
#[derive(Default)]
pub(crate) struct Rows {
    count: u64,
    bytes: u64,
    sum: Sum,
    /// The line that began in an earlier piece.
    begun: Box<Xxh3>,
    begun_bytes: u64,
    /// Its first bytes, as many as the end mark has.
    begins: [u8; END_OF_ROWS.len()],
}

impl Rows {
    /// Takes the next piece, up to the line that ends rows: where in the piece it ended, if it did.
    pub(crate) fn read(&mut self, data: &[u8]) -> Option<usize> {
        let mut start = 0;
        if self.begun_bytes > 0 {
            let Some(end) = memchr(b'\n', data) else {
                self.begin(data);
                return None;
            };
            self.begin(&data[..end]);
            start = end + 1;
            if self.end_begun() {
                return Some(start);
            }
        }
        let rest = &data[start..];
        let mut from = 0;
        for end in memchr_iter(b'\n', rest) {
            let line = &rest[from..end];
            from = end + 1;
            if line == END_OF_ROWS {
                return Some(start + from);
            }
            self.count += 1;
            self.bytes += line.len() as u64;
            self.sum.add(xxh3_128(line));
        }
        self.begin(&rest[from..]);
        None
    }

    fn begin(&mut self, piece: &[u8]) {
        let known = usize::try_from(self.begun_bytes).unwrap_or(usize::MAX);
        if let Some(wanted) = self.begins.get_mut(known..) {
            for (begins, byte) in wanted.iter_mut().zip(piece) {
                *begins = *byte;
            }
        }
        self.begun.update(piece);
        self.begun_bytes += piece.len() as u64;
    }

    /// The line that began earlier has ended: whether it was the end of the rows.
    fn end_begun(&mut self) -> bool {
        let is_end = self.begun_bytes == END_OF_ROWS.len() as u64 && self.begins == END_OF_ROWS;
        if !is_end {
            self.count += 1;
            self.bytes += self.begun_bytes;
            self.sum.add(self.begun.digest128());
        }
        self.begun.reset();
        self.begun_bytes = 0;
        is_end
    }

    /// What there was, and the beginning of the next.
    pub(crate) fn take(&mut self) -> RowsSum {
        self.begun.reset();
        self.begun_bytes = 0;
        RowsSum {
            rows: std::mem::take(&mut self.count),
            bytes: std::mem::take(&mut self.bytes),
            sum: std::mem::take(&mut self.sum),
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, {}", self.count, self.sum)
    }
}

/// Rows of one block, or of several.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowsSum {
    pub(crate) rows: u64,
    /// Of their lines, without newlines.
    pub(crate) bytes: u64,
    sum: Sum,
}

impl RowsSum {
    pub(crate) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.sum.add(other.sum.0);
    }

    pub(crate) fn digest(self) -> TableDigest {
        TableDigest {
            rows: self.rows,
            digest: self.sum.to_string(),
        }
    }
}

/// Hashes large objects, one after the other.
#[derive(Default)]
pub(crate) struct LargeObjectHasher {
    count: u64,
    digits: u64,
    sum: Sum,
    hash: Box<Xxh3>,
    open: bool,
}

impl LargeObjectHasher {
    pub(crate) fn open(&mut self, oid: &[u8]) {
        self.close();
        self.hash.update(oid);
        self.hash.update(b":");
        self.open = true;
    }

    /// The next of the open one's content, in lowercase hex.
    pub(crate) fn write(&mut self, hex: &[u8]) {
        self.hash.update(hex);
        self.digits += hex.len() as u64;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn close(&mut self) {
        if self.open {
            self.count += 1;
            self.sum.add(self.hash.digest128());
        }
        self.hash.reset();
        self.open = false;
    }

    pub(crate) fn finish(mut self) -> LargeObjects {
        self.close();
        LargeObjects {
            count: self.count,
            bytes: self.digits / 2,
            digest: self.sum.to_string(),
        }
    }
}

impl fmt::Debug for LargeObjectHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} large objects, {}", self.count, self.sum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(pieces: &[&[u8]]) -> TableDigest {
        let mut rows = Rows::default();
        for piece in pieces {
            assert_eq!(rows.read(piece), None);
        }
        rows.take().digest()
    }

    #[test]
    fn the_digest_is_what_the_format_document_says() {
        assert_eq!(digest(&[]).digest, "0".repeat(32));
        let of = |line: &[u8]| xxh3_128(line);
        let sum = of(b"1\ta").wrapping_add(of(b"2\t\\N"));
        let expected = TableDigest {
            rows: 2,
            digest: format!("{sum:032x}"),
        };
        assert_eq!(digest(&[b"1\ta\n2\t\\N\n"]), expected);
        assert_eq!(digest(&[b"2\t\\N\n1\ta\n"]), expected, "in any order");
        // XXH3's own test vector: nothing, seed 0.
        assert_eq!(digest(&[b"\n"]).digest, "99aa06d3014798d86001c324468d497f");
    }

    #[test]
    fn one_cell_or_one_row_more_is_another_digest() {
        let digests = [
            digest(&[b"1\ta\n2\tb\n"]),
            digest(&[b"1\tb\n2\ta\n"]),
            digest(&[b"1\ta\n2\tb\n2\tb\n"]),
            digest(&[b"1\ta\n2\tb\n\n"]),
            digest(&[b"1\ta\n1\ta\n"]),
            digest(&[b"2\tb\n2\tb\n"]),
        ];
        for (index, one) in digests.iter().enumerate() {
            for other in &digests[index + 1..] {
                assert_ne!(one.digest, other.digest);
            }
        }
    }

    #[test]
    fn rows_end_at_their_mark_wherever_the_pieces_are_cut() {
        let text = b"a\n\\\\.\n.\n\\\n\\.\nCOPY";
        let end = text.len() - 4;
        for cut in 0..end {
            let mut rows = Rows::default();
            assert_eq!(rows.read(&text[..cut]), None, "{cut}");
            assert_eq!(rows.read(&text[cut..]), Some(end - cut), "{cut}");
            assert_eq!(
                rows.take().digest(),
                digest(&[b"a\n\\\\.\n.\n\\\n"]),
                "{cut}"
            );
        }
    }

    proptest! {
        #[test]
        fn rows_hash_the_same_in_any_order_and_any_pieces(
            mut lines in prop::collection::vec("[ -\\[\\]-~\t]{0,300}", 0..20),
            size in 1..700_usize,
        ) {
            let text = |lines: &[String]| lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect::<Vec<u8>>();
            let whole = text(&lines);
            let expected = digest(&[&whole]);
            prop_assert_eq!(expected.rows, lines.len() as u64);
            lines.reverse();
            let reversed = text(&lines);
            let pieces: Vec<&[u8]> = reversed.chunks(size).collect();
            prop_assert_eq!(digest(&pieces), expected);
        }
    }
}
