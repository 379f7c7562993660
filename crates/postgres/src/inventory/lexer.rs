//! The state machine: fed any pieces, its result depends on their sum alone. Long stretches (rows, string literals, bodies) are
//! crossed by `memchr`; only the statements between them are looked at byte by byte.

use memchr::memchr;

use super::census::{Census, Tables};
use crate::digest::{LargeObjectHasher, Rows};
use crate::sql::CopyTarget;

const TRAILER: &[u8] = b"-- PostgreSQL database dump complete";
const CLUSTER_TRAILER: &[u8] = b"-- PostgreSQL database cluster dump complete";
const COPY: &[u8] = b"COPY ";
/// Large objects stand in a dump as calls of these, a line each (`pg_backup_archiver.c`).
const LARGE_OBJECT: &[u8] = b"SELECT pg_catalog.lo";
const LO_OPEN: &[u8] = b"SELECT pg_catalog.lo_open('";
const LO_WRITE: &[u8] = b"SELECT pg_catalog.lowrite(0, ";
const LO_CLOSE: &[u8] = b"SELECT pg_catalog.lo_close(";
/// Longest COPY statement: 1,600 columns (PostgreSQL's limit) of 63 quoted bytes, each doubled, with their commas.
const STATEMENT_BYTES: usize = 256 * 1024;
/// Longest comment that is kept whole: the headings of a dump's entries hold names, each of 63 bytes at most, and a function's
/// arguments.
const COMMENT_BYTES: usize = 64 * 1024;
/// Longest dollar-quote tag that is followed; identifiers have at most 63 bytes.
const TAG_BYTES: usize = 64;

/// Where the next byte stands.
#[derive(Debug, Default)]
enum State {
    /// In a statement, or between two.
    #[default]
    Sql,
    /// After one `-`, which may begin a comment.
    Dash,
    /// In a comment until the end of its line; whether it began the line.
    Comment(bool),
    /// In a psql command (`\restrict`, `\connect`) until the end of its line.
    Command,
    /// In `'…'` or `"…"`; a doubled quote closes and opens again, which comes to the same.
    Quoted(u8),
    /// After a `$` and what may be its tag.
    Tag,
    /// In a dollar-quoted text; so many bytes of its tag are matched.
    Dollar(usize),
    /// In rows.
    Rows,
    /// In the literal that is written into a large object: whether its digits have begun, behind `\x`.
    LargeObject(bool),
}

/// The last words of a dump.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Last {
    #[default]
    Other,
    Trailer,
    ClusterTrailer,
}

#[derive(Debug, Default)]
pub(crate) struct Lexer {
    state: State,
    /// The line so far: as much of it as is needed to know a COPY or a trailer. A COPY statement goes on in here over newlines in its
    /// quoted names.
    line: Vec<u8>,
    /// Whether `line` has grown over its bound and is no longer kept.
    overlong: bool,
    /// The last byte of `Sql`, to tell `$1` and `a$b` from a tag.
    previous: u8,
    tag: Vec<u8>,
    target: Option<CopyTarget>,
    rows: Rows,
    tables: Tables,
    large_objects: LargeObjectHasher,
    last: Last,
}

impl Lexer {
    pub(super) fn read(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let used = self.step(data);
            data = &data[used..];
        }
    }

    /// Reads a piece that stands in one state, and says how long it is; 0 when only the state changed.
    pub(crate) fn step(&mut self, data: &[u8]) -> usize {
        match self.state {
            State::Sql => self.sql(data),
            State::Dash => self.dash(data[0]),
            State::Comment(whole) => self.comment(data, whole),
            State::Command => self.command(data),
            State::Quoted(quote) => self.quoted(data, quote),
            State::Tag => self.tag(data[0]),
            State::Dollar(matched) => self.dollar(data, matched),
            State::Rows => self.rows(data),
            State::LargeObject(begun) => self.large_object(data, begun),
        }
    }

    pub(super) fn census(mut self) -> Census {
        // A file cut right behind the trailer's words lacks only its last newline.
        if let State::Comment(_) = self.state {
            self.end_of_comment();
        }
        let at_rest = matches!(self.state, State::Sql | State::Comment(_) | State::Command);
        Census {
            tables: self.tables.list(),
            large_objects: self.large_objects.finish(),
            complete: at_rest && self.last == Last::Trailer,
            cluster_complete: at_rest && self.last == Last::ClusterTrailer,
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.line.len() + piece.len() > STATEMENT_BYTES {
            self.overlong = true;
        }
        // Only these statements are ever looked at whole.
        let may_be = |start: &[u8]| {
            let known = self.line.len().min(start.len());
            self.line[..known] == start[..known]
        };
        if !self.overlong && (may_be(COPY) || may_be(LARGE_OBJECT)) {
            self.line.extend_from_slice(piece);
        }
    }

    fn clear(&mut self) {
        self.line.clear();
        self.overlong = false;
    }

    fn sql(&mut self, data: &[u8]) -> usize {
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\'' | b'"' | b'$' | b'-' | b'\\');
        let plain = data.iter().position(ends).unwrap_or(data.len());
        if plain > 0 {
            self.keep(&data[..plain]);
            self.previous = data[plain - 1];
            if data[..plain].iter().any(|byte| !byte.is_ascii_whitespace()) {
                self.last = Last::Other;
            }
            return plain;
        }
        let byte = data[0];
        match byte {
            b'\n' => self.end_of_line(),
            b'\'' if self.line == LO_WRITE && self.large_objects.is_open() => {
                self.state = State::LargeObject(false);
            }
            b'\'' | b'"' => {
                self.keep(&data[..1]);
                self.state = State::Quoted(byte);
            }
            b'$' if is_name(self.previous) => self.keep(&data[..1]),
            b'$' => {
                self.tag.clear();
                self.tag.push(b'$');
                self.state = State::Tag;
            }
            b'-' => self.state = State::Dash,
            b'\\' if self.line.is_empty() => self.state = State::Command,
            _ => self.keep(&data[..1]),
        }
        // Comments and psql commands may follow the trailer (`\unrestrict` does); statements may not.
        if !matches!(byte, b'\n' | b'-') && !matches!(self.state, State::Command) {
            self.last = Last::Other;
        }
        self.previous = byte;
        1
    }

    fn end_of_line(&mut self) {
        if !self.overlong {
            self.end_of_statement();
        }
        self.clear();
    }

    fn end_of_statement(&mut self) {
        if let Some(target) = CopyTarget::parse(&self.line) {
            self.target = Some(target);
            self.state = State::Rows;
        } else if let Some(rest) = self.line.strip_prefix(LO_OPEN) {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            self.large_objects.open(&rest[..digits.count()]);
        } else if self.line.starts_with(LO_CLOSE) {
            self.large_objects.close();
        }
    }

    fn dash(&mut self, byte: u8) -> usize {
        self.state = State::Sql;
        if byte == b'-' {
            // A comment behind something else on its line is no trailer.
            let whole = self.line.is_empty();
            self.clear();
            self.line.extend_from_slice(b"--");
            self.state = State::Comment(whole);
            return 1;
        }
        // The byte itself is looked at again as SQL.
        self.keep(b"-");
        self.last = Last::Other;
        self.previous = b'-';
        0
    }

    fn comment(&mut self, data: &[u8], whole: bool) -> usize {
        let end = memchr(b'\n', data).unwrap_or(data.len());
        if whole {
            // How longer ones end does not matter.
            let room = COMMENT_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&data[..end.min(room)]);
        }
        if end == data.len() {
            return end;
        }
        self.end_of_comment();
        self.state = State::Sql;
        self.previous = b'\n';
        end + 1
    }

    fn end_of_comment(&mut self) {
        if self.line == TRAILER {
            self.last = Last::Trailer;
        } else if self.line == CLUSTER_TRAILER {
            self.last = Last::ClusterTrailer;
        }
        self.clear();
    }

    fn command(&mut self, data: &[u8]) -> usize {
        let Some(end) = memchr(b'\n', data) else {
            return data.len();
        };
        self.state = State::Sql;
        self.previous = b'\n';
        end + 1
    }

    fn quoted(&mut self, data: &[u8], quote: u8) -> usize {
        let end = memchr(quote, data);
        let used = end.map_or(data.len(), |end| end + 1);
        self.keep(&data[..used]);
        if end.is_some() {
            self.state = State::Sql;
            self.previous = quote;
        }
        used
    }

    /// One byte of what may be `$tag$`.
    fn tag(&mut self, byte: u8) -> usize {
        let first = self.tag.len() == 1;
        if byte == b'$' {
            self.tag.push(b'$');
            self.state = State::Dollar(0);
            return 1;
        }
        let of_name = is_name(byte) && !(first && byte.is_ascii_digit());
        if of_name && self.tag.len() < TAG_BYTES {
            self.tag.push(byte);
            return 1;
        }
        // `$1` or a lone `$`: the byte is looked at again as SQL.
        let tag = std::mem::take(&mut self.tag);
        self.keep(&tag);
        self.previous = *tag.last().unwrap_or(&b'$');
        self.state = State::Sql;
        0
    }

    fn dollar(&mut self, data: &[u8], matched: usize) -> usize {
        if matched == 0 {
            let Some(at) = memchr(b'$', data) else {
                return data.len();
            };
            self.state = State::Dollar(1);
            return at + 1;
        }
        // A tag has `$` only at its ends, so a mismatch can begin a new match only with this very byte.
        let byte = data[0];
        if byte == self.tag[matched] {
            if matched + 1 == self.tag.len() {
                self.state = State::Sql;
                self.previous = b'\'';
            } else {
                self.state = State::Dollar(matched + 1);
            }
        } else {
            self.state = State::Dollar(usize::from(byte == b'$'));
        }
        1
    }

    fn large_object(&mut self, data: &[u8], begun: bool) -> usize {
        let sought = if begun { b'\'' } else { b'x' };
        let end = memchr(sought, data);
        let piece = &data[..end.unwrap_or(data.len())];
        if begun {
            self.large_objects.write(piece);
        }
        if end.is_some() {
            self.state = if begun {
                State::Sql
            } else {
                State::LargeObject(true)
            };
            self.previous = b'\'';
        }
        end.map_or(data.len(), |end| end + 1)
    }

    fn rows(&mut self, data: &[u8]) -> usize {
        let Some(end) = self.rows.read(data) else {
            return data.len();
        };
        let rows = self.rows.take();
        if let Some(target) = self.target.take() {
            self.tables.add(target, rows);
        }
        self.state = State::Sql;
        self.previous = b'\n';
        self.clear();
        end
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}
