//! Takes a dump's text apart while it is read: statements, and the rows between `COPY … FROM stdin;` and `\.`.
//!
//! Ends of statements are found nearly as psql finds them (`psqlscan.l`): a semicolon that is a token of its own ([`super::lexer`]), outside
//! of parentheses (rules) and `BEGIN ATOMIC … END` (functions in standard SQL, [`super::body`]). Rows are passed on as they are, in pieces
//! that end with a row wherever a row is not longer than the buffer.
//!
//! Rows and names are users' words. A statement that ran on into what follows it would end where such words say: so one that meets a
//! heading, a COPY or a psql command at the beginning of a line is a fault of the dump, or of this reader, and ends the reading.

use std::io::{self, Read};
use std::ops::Range;

use memchr::{memchr, memmem, memrchr};

use super::body::Body;
use super::lexer::TokenKind;
use super::tokens::Cursor;

/// Bytes read ahead; pieces of rows are at most as long.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Longest statement: PostgreSQL itself takes none of a gigabyte, and what is longer than this was never written by pg_dump.
const STATEMENT_BYTES: usize = 512 * 1024 * 1024;
/// Ends a block of rows, behind the newline of the row before.
const END_OF_ROWS: &[u8] = b"\n\\.\n";
/// The psql commands that pg_dump writes.
const COMMANDS: [&[u8]; 2] = [b"\\restrict ", b"\\unrestrict "];
/// Of a statement's first line, in a message.
const SHOWN_BYTES: usize = 200;
const TRAILER: &[u8] = b"-- PostgreSQL database dump complete";

/// One part of a dump.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A statement with its semicolon.
    Statement(Vec<u8>),
    /// A statement `COPY … FROM stdin;`, whose rows follow by [`Splitter::rows`].
    Copy(Vec<u8>),
}

/// Rows of a COPY statement, or a part of one that is longer than the buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Rows {
    /// As they stand in the dump.
    pub bytes: Vec<u8>,
    /// Whether the last row is whole.
    pub whole: bool,
}

/// Reads a dump; see the module.
pub struct Splitter<R> {
    input: R,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    ended: bool,
    cursor: Cursor,
    /// In a block of rows, and whether a row's newline stands right before `from`.
    rows: Option<bool>,
    complete: bool,
}

fn fault(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

impl<R: Read> Splitter<R> {
    /// Begins at the beginning of a dump.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; BUFFER_BYTES],
            from: 0,
            to: 0,
            ended: false,
            cursor: Cursor::default(),
            rows: None,
            complete: false,
        }
    }

    /// Whether pg_dump's last words have been read.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The next statement; none at the end. Rows that were not asked for are passed over.
    pub fn piece(&mut self) -> io::Result<Option<Piece>> {
        while self.rows()?.is_some() {}
        let Some(length) = self.measure()? else {
            return Ok(None);
        };
        let statement = self.buffer[self.from..self.from + length].to_vec();
        self.pass(length);
        if statement.starts_with(b"COPY ") && statement.ends_with(b" FROM stdin;") {
            self.end_line()?;
            self.rows = Some(true);
            return Ok(Some(Piece::Copy(statement)));
        }
        Ok(Some(Piece::Statement(statement)))
    }

    /// The next rows of the block that the last statement began; none at its end.
    pub fn rows(&mut self) -> io::Result<Option<Rows>> {
        let Some(at_row_start) = self.rows else {
            return Ok(None);
        };
        loop {
            let data = &self.buffer[self.from..self.to];
            let first_line_ends = at_row_start && data.starts_with(&END_OF_ROWS[1..]);
            if first_line_ends {
                self.from += END_OF_ROWS.len() - 1;
                self.rows = None;
                return Ok(None);
            }
            if let Some(at) = memmem::find(data, END_OF_ROWS) {
                let rows = data[..=at].to_vec();
                self.from += at + END_OF_ROWS.len();
                self.rows = None;
                return Ok(Some(Rows {
                    bytes: rows,
                    whole: true,
                }));
            }
            // Up to the last newline the rows are whole, unless what follows may be the end of the block.
            let cut = memrchr(b'\n', data).map(|at| {
                if END_OF_ROWS.starts_with(&data[at..]) {
                    memrchr(b'\n', &data[..at]).map_or(0, |before| before + 1)
                } else {
                    at + 1
                }
            });
            let full = self.to - self.from == self.buffer.len();
            match cut {
                Some(cut) if cut > 0 && (full || data.len() >= BUFFER_BYTES / 2) => {
                    let bytes = data[..cut].to_vec();
                    self.from += cut;
                    self.rows = Some(true);
                    return Ok(Some(Rows { bytes, whole: true }));
                }
                _ if full => {
                    // Part of one long row; the bytes that may begin the end of the block stay.
                    let keep = END_OF_ROWS.len() - 1;
                    let bytes = data[..data.len() - keep].to_vec();
                    self.from += bytes.len();
                    self.rows = Some(false);
                    return Ok(Some(Rows {
                        bytes,
                        whole: false,
                    }));
                }
                _ => {}
            }
            if !self.fill()? {
                return Err(fault("the dump ends within the rows of a table"));
            }
        }
    }

    /// Reads on; false at the end of the input. Makes room first, and grows where what is there must be kept whole.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        if self.to == self.buffer.len() {
            if self.buffer.len() >= STATEMENT_BYTES {
                return Err(fault("a statement of the dump is longer than 512 MiB"));
            }
            let more = self.buffer.len() * 2;
            self.buffer.resize(more, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.to..]) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(read) => {
                    self.to += read;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next token, from where to where behind `from`; none at the end of the input.
    fn token(&mut self) -> io::Result<Option<(TokenKind, Range<usize>)>> {
        loop {
            let text = &self.buffer[self.from..self.to];
            let token = self.cursor.next(text, self.ended);
            if token.is_some() || self.ended {
                return Ok(token);
            }
            self.fill()?;
        }
    }

    /// What is up to here is done with.
    fn pass(&mut self, bytes: usize) {
        self.from += bytes;
        self.cursor.pass(bytes);
    }

    /// A large statement is over: its room is given back.
    fn give_back_room(&mut self) {
        if self.buffer.len() > BUFFER_BYTES && self.to - self.from < BUFFER_BYTES / 2 {
            self.buffer.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
    }

    /// A COPY statement has its line for itself.
    fn end_line(&mut self) -> io::Result<()> {
        if (self.from < self.to || self.fill()?) && self.buffer[self.from] == b'\n' {
            self.from += 1;
            return Ok(());
        }
        Err(fault("a COPY statement is not followed by its rows"))
    }

    /// Passes over blank space, comments and psql's commands; then the length of the statement that begins here, with its semicolon. None
    /// at the end of the dump.
    fn measure(&mut self) -> io::Result<Option<usize>> {
        self.give_back_room();
        let mut parentheses = 0_u32;
        let mut body = Body::default();
        let mut within = false;
        loop {
            let Some((kind, at)) = self.token()? else {
                return if within || !self.cursor.lexer.is_at_rest() {
                    Err(fault("the dump ends within a statement"))
                } else {
                    Ok(None)
                };
            };
            let text = &self.buffer[self.from + at.start..self.from + at.end];
            if !within {
                match kind {
                    TokenKind::Blank => {}
                    TokenKind::Comment => self.complete |= text == TRAILER,
                    TokenKind::Command if COMMANDS.iter().any(|one| text.starts_with(one)) => {}
                    TokenKind::Command => {
                        return Err(fault(
                            "the dump holds a psql command that pg_dump does not write",
                        ));
                    }
                    _ => within = true,
                }
                if !within {
                    self.pass(at.end);
                    continue;
                }
            }
            let goes_on = match kind {
                TokenKind::Blank => true,
                TokenKind::Comment => !(text.starts_with(b"--") && self.begins_line(at.start)),
                // Only a psql command has a backslash outside of quotes.
                TokenKind::Command => false,
                TokenKind::Symbol(b';') if parentheses == 0 && !body.is_open() => {
                    return Ok(Some(at.end));
                }
                TokenKind::Symbol(symbol) => {
                    match symbol {
                        b'(' => parentheses += 1,
                        b')' => parentheses = parentheses.saturating_sub(1),
                        _ => {}
                    }
                    body.other(symbol)
                }
                // Nothing that is named so is written without quotes, and no other statement holds a COPY.
                TokenKind::Word if text == b"COPY" && self.begins_line(at.start) => false,
                TokenKind::Word => body.word(text, parentheses),
                TokenKind::Name | TokenKind::Text { .. } | TokenKind::Body => body.other(b'\''),
            };
            if !goes_on {
                return Err(self.runs_on());
            }
        }
    }

    /// Whether this is the first byte of a line, and not of the statement.
    fn begins_line(&self, at: usize) -> bool {
        at > 0 && self.buffer[self.from + at - 1] == b'\n'
    }

    /// The statement does not end where it should.
    fn runs_on(&self) -> io::Error {
        let statement = &self.buffer[self.from..self.to];
        let line = &statement[..memchr(b'\n', statement).unwrap_or(statement.len())];
        let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]);
        fault(&format!(
            "a statement runs into what follows it, so neither it nor anything behind it was run: {shown}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it has in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(self.0.len()).min(buffer.len());
            buffer[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    fn split(text: &str, piece: usize) -> io::Result<Vec<(String, Option<String>)>> {
        let mut splitter = Splitter::new(Pieces(text.as_bytes(), piece));
        let mut found = Vec::new();
        while let Some(part) = splitter.piece()? {
            let text = |bytes| String::from_utf8(bytes).unwrap();
            match part {
                Piece::Statement(statement) => found.push((text(statement), None)),
                Piece::Copy(statement) => {
                    let mut rows = Vec::new();
                    while let Some(more) = splitter.rows()? {
                        rows.extend(more.bytes);
                    }
                    found.push((text(statement), Some(text(rows))));
                }
            }
        }
        Ok(found)
    }

    #[test]
    fn statements_end_where_psql_ends_them() {
        let statements = [
            "SELECT ';', E'\\';', \"a;\"\"b\", $$;$$, $x$ $$;' $x$, $1;",
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);",
            "CREATE FUNCTION f() RETURNS int\n BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n SELECT 2;\nEND;",
            "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; END;",
            "CREATE FUNCTION f() RETURNS integer\n    LANGUAGE sql\n    BEGIN ATOMIC\n SELECT 1 AS begin;\n SELECT 1 AS end, a.case,\n\
                 CASE WHEN (begin.begin = 1) THEN CASE WHEN true THEN 1 END END AS \"end\"\n FROM begin(begin, atomic);\nEND;",
            "CREATE FUNCTION f(begin integer, atomic integer) RETURNS begin.atomic LANGUAGE sql RETURN (SELECT 1 AS begin);",
            "CREATE FUNCTION public.begin(a begin) RETURNS x.begin\n SET begin.atomic TO 'x'\n BEGIN ATOMIC\nEND;",
            "CREATE TABLE begin (atomic integer, copy integer,\n    \"COPY\" integer\n);",
            "CREATE TABLE \"begin\" (a text DEFAULT '\n-- Name: trap\n\\.\n');",
            "COMMENT ON TABLE t IS 'it''s; /* no comment */ -- neither';",
            "SELECT 1 /* a /* b; */ c; */ - 2 -- d;\n;",
        ];
        let text = format!(
            "--\n-- Name: x; y\n--\n\n\\restrict abc\n\n{}\n\n-- PostgreSQL database dump complete\n\\unrestrict abc\n",
            statements.join("\n\n--\n-- a; heading\n--\n")
        );
        for piece in [1, 2, 7, 100_000] {
            let found = split(&text, piece).unwrap();
            let found: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
            assert_eq!(found, statements, "{piece}");
        }
    }

    #[test]
    fn rows_are_passed_on_as_they_are() {
        let text = "COPY public.a (x) FROM stdin;\n1\n\\\\.\n2;\n-- Name\n\\.\n\n\nCOPY public.b  FROM stdin;\n\\.\nSELECT 1;\n\
            COPY public.c (x) FROM stdin;\n\n\n\\.\n";
        for piece in [1, 2, 3, 5, 100_000] {
            let found = split(text, piece).unwrap();
            let rows = [
                Some("1\n\\\\.\n2;\n-- Name\n".to_owned()),
                None,
                None,
                Some("\n\n".to_owned()),
            ];
            let found: Vec<_> = found
                .into_iter()
                .map(|(_, rows)| rows.filter(|rows| !rows.is_empty()))
                .collect();
            assert_eq!(found, rows, "{piece}");
        }
    }

    #[test]
    fn rows_longer_than_the_buffer_come_in_parts() {
        let row = "x".repeat(3 * BUFFER_BYTES) + "\n";
        let short = "y\n".repeat(BUFFER_BYTES);
        let text = format!("COPY a FROM stdin;\n{short}{row}{short}\\.\n");
        let mut splitter = Splitter::new(text.as_bytes());
        splitter.piece().unwrap().unwrap();
        let (mut bytes, mut parts) = (Vec::new(), 0);
        while let Some(rows) = splitter.rows().unwrap() {
            assert!(rows.bytes.len() <= BUFFER_BYTES);
            assert!(!rows.whole || rows.bytes.ends_with(b"\n"));
            parts += u32::from(!rows.whole);
            bytes.extend(rows.bytes);
        }
        assert!(parts >= 2 && bytes == format!("{short}{row}{short}").into_bytes());
        assert_eq!(splitter.piece().unwrap(), None);
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_a_fault() {
        for text in [
            "SELECT 1",
            "SELECT 'a",
            "SELECT $a$ $b$;",
            "COPY a FROM stdin;\n1\n",
            "COPY a FROM stdin;\n1\n\\.",
            "\\connect other\n",
            "\\! id\n",
            // What follows a statement that does not end: a heading, rows, a command, words behind a body.
            "CREATE TABLE a (b int\n--\n-- Name: c; Type: TABLE\n--\n);",
            "CREATE TABLE a (b int)\n\nCOPY a (b) FROM stdin;\n);\n\\.\n",
            "SELECT 1\n\\unrestrict a\n;",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END END;",
        ] {
            assert!(split(text, 3).is_err(), "{text}");
        }
    }
}
