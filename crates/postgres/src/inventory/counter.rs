//! Counts while a dump's tokens and rows go past: its result depends on the sum of the pieces alone.

use super::census::{Census, Tables};
use crate::digest::{LargeObjectHasher, Rows};
use crate::sql::CopyTarget;
use crate::sql::lexer::{Lexer, Part, TokenKind};

const TRAILER: &[u8] = b"-- PostgreSQL database dump complete";
const CLUSTER_TRAILER: &[u8] = b"-- PostgreSQL database cluster dump complete";
const COPY: &[u8] = b"COPY ";
/// Large objects stand in a dump as calls of these, a line each (`pg_backup_archiver.c`).
const LARGE_OBJECT: &[u8] = b"SELECT pg_catalog.lo";
const LO_OPEN: &[u8] = b"SELECT pg_catalog.lo_open('";
const LO_WRITE: &[u8] = b"SELECT pg_catalog.lowrite(0, ";
const LO_CLOSE: &[u8] = b"SELECT pg_catalog.lo_close(";
/// What stands before the digits that are written into one.
const LO_DIGITS: &[u8] = b"'\\x";
/// Longest COPY statement: 1,600 columns (PostgreSQL's limit) of 63 quoted bytes, each doubled, with their commas.
const STATEMENT_BYTES: usize = 256 * 1024;
/// Of a comment that is kept: more than the trailers have.
const COMMENT_BYTES: usize = 64;

/// What is read.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Sql,
    /// Behind a COPY statement, which has its line for itself.
    EndOfCopy,
    Rows,
}

/// The last words of a dump.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Last {
    #[default]
    Other,
    Trailer,
    ClusterTrailer,
}

/// Counts.
#[derive(Debug, Default)]
pub(super) struct Counter {
    lexer: Lexer,
    sql: Sql,
    rows: Rows,
    tables: Tables,
}

/// What was read of SQL.
#[derive(Debug, Default)]
struct Sql {
    place: Place,
    /// Whether something stands on this line.
    within_line: bool,
    within_statement: bool,
    /// The statement so far, where it begins its line and may be one that counts.
    statement: Option<Vec<u8>>,
    /// Bytes of [`LO_DIGITS`] that are passed.
    digits_from: usize,
    /// The comment that is read, where it begins its line.
    comment: Option<Vec<u8>>,
    target: Option<CopyTarget>,
    large_objects: LargeObjectHasher,
    last: Last,
}

impl Counter {
    pub fn read(&mut self, mut data: &[u8]) {
        while let Some(first) = data.first() {
            match self.sql.place {
                Place::Sql => {
                    if let Some(part) = self.lexer.next(&mut data) {
                        self.sql.part(part);
                    }
                }
                Place::EndOfCopy if *first == b'\n' => {
                    data = &data[1..];
                    self.sql.place = Place::Rows;
                }
                Place::EndOfCopy => self.sql.place = Place::Sql,
                Place::Rows => {
                    let Some(end) = self.rows.read(data) else {
                        return;
                    };
                    data = &data[end..];
                    self.sql.place = Place::Sql;
                    self.sql.within_line = false;
                    let rows = self.rows.take();
                    if let Some(target) = self.sql.target.take() {
                        self.tables.add(target, rows);
                    }
                }
            }
        }
    }

    pub fn census(mut self) -> Census {
        // A file cut right behind the trailer's words lacks only its last newline.
        self.sql.end_of_comment();
        let Self { lexer, sql, .. } = self;
        let at_rest = sql.place == Place::Sql && lexer.is_at_rest();
        Census {
            tables: self.tables.list(),
            large_objects: sql.large_objects.finish(),
            complete: at_rest && sql.last == Last::Trailer,
            cluster_complete: at_rest && sql.last == Last::ClusterTrailer,
        }
    }
}

impl Sql {
    fn part(&mut self, part: Part<'_>) {
        let begins_line = part.begins && !self.within_line;
        self.within_line = !part.bytes.ends_with(b"\n");
        if part.begins {
            self.end_of_comment();
        }
        match part.kind {
            TokenKind::Blank => self.keep(part.bytes),
            // Behind something else on its line it is no trailer.
            TokenKind::Comment if begins_line => self.comment = Some(part.bytes.to_vec()),
            TokenKind::Comment => {
                if let Some(comment) = &mut self.comment {
                    let room = COMMENT_BYTES.saturating_sub(comment.len());
                    comment.extend_from_slice(&part.bytes[..part.bytes.len().min(room)]);
                }
            }
            // `\unrestrict` may follow the trailer; statements may not.
            TokenKind::Command => {}
            kind => {
                self.last = Last::Other;
                if !self.within_statement {
                    self.within_statement = true;
                    self.statement = begins_line.then(Vec::new);
                }
                match kind {
                    TokenKind::Text { .. } if self.writes_large_object() => self.digits(part),
                    _ => self.keep(part.bytes),
                }
                if kind == TokenKind::Symbol(b';') {
                    self.end_of_statement();
                }
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let Some(statement) = &mut self.statement else {
            return;
        };
        statement.extend_from_slice(bytes);
        let may_be = |start: &[u8]| {
            let known = statement.len().min(start.len());
            statement[..known] == start[..known]
        };
        if statement.len() > STATEMENT_BYTES || !may_be(COPY) && !may_be(LARGE_OBJECT) {
            self.statement = None;
        }
    }

    fn end_of_statement(&mut self) {
        self.within_statement = false;
        let Some(statement) = self.statement.take() else {
            return;
        };
        if let Some(target) = CopyTarget::parse(&statement) {
            self.target = Some(target);
            self.place = Place::EndOfCopy;
        } else if let Some(rest) = statement.strip_prefix(LO_OPEN) {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            self.large_objects.open(&rest[..digits.count()]);
        } else if statement.starts_with(LO_CLOSE) {
            self.large_objects.close();
        }
    }

    fn end_of_comment(&mut self) {
        match self.comment.take().as_deref() {
            Some(TRAILER) => self.last = Last::Trailer,
            Some(CLUSTER_TRAILER) => self.last = Last::ClusterTrailer,
            _ => {}
        }
    }

    fn writes_large_object(&self) -> bool {
        self.large_objects.is_open() && self.statement.as_deref() == Some(LO_WRITE)
    }

    /// Digits up to the quote that closes.
    fn digits(&mut self, part: Part<'_>) {
        if part.begins {
            self.digits_from = 0;
        }
        let passed = (LO_DIGITS.len() - self.digits_from).min(part.bytes.len());
        self.digits_from += passed;
        let digits = &part.bytes[passed..];
        self.large_objects
            .write(digits.strip_suffix(b"'").unwrap_or(digits));
    }
}
