//! A dump's entries while they stream past: some are passed on, others left out.
//!
//! Every object in a plain dump stands behind a heading such as `-- Name: posts; Type: TABLE; Schema: public; Owner: postgres`
//! (`pg_backup_archiver.c`, `_printTocEntry`). What precedes the first heading are the session's settings; two settings that belong to
//! the *next* entry are printed before its heading, so these are passed on wherever they stand.

use std::io::{self, Write};

use memchr::memmem;

use crate::inventory::lexer::Lexer;

/// Printed for the next entry, behind the last one's end.
const FOR_NEXT: &[u8] = b"SET default_table";
/// pg_dump 17 and later print it for every server; older servers do not know it.
const TRANSACTION_TIMEOUT: &[u8] = b"SET transaction_timeout";
/// The first server that knows it.
const TRANSACTION_TIMEOUT_SINCE: u32 = 17;
/// As much of a line as must be seen to know it.
const KNOWN_BY: usize = TRANSACTION_TIMEOUT.len();

/// One entry's heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// The object, as it is named in the catalog; newlines in it are spaces here.
    pub name: String,
    /// `TABLE`, `TABLE DATA`, `FK CONSTRAINT`, ….
    pub kind: String,
    /// Its schema; `-` for what has none.
    pub schema: String,
}

impl Heading {
    fn read(comment: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(comment);
        let rest = text
            .strip_prefix("-- Name: ")
            .or_else(|| text.strip_prefix("-- Data for Name: "))?;
        // A name may hold anything, these words too: the last ones count.
        let (rest, _owner) = rest.rsplit_once("; Owner: ")?;
        let (rest, schema) = rest.rsplit_once("; Schema: ")?;
        let (name, kind) = rest.rsplit_once("; Type: ")?;
        Some(Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            schema: schema.to_owned(),
        })
    }

    /// Whether it is the extension itself, a word about it, or lies in a schema that the extension brings.
    pub fn is_of_extension(&self, extension: &str, schema: &str) -> bool {
        let about = |kind: &str| {
            self.name == format!("{kind} {extension}") || self.name == format!("{kind} {schema}")
        };
        self.schema == schema
            || (self.kind == "EXTENSION" && self.name == extension)
            || about("EXTENSION")
            || about("SCHEMA")
            || (self.kind == "SCHEMA" && self.name == schema)
    }

    /// Whether it holds rows, large objects or a sequence's position.
    pub fn is_data(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "TABLE DATA" | "BLOBS" | "BLOB DATA" | "SEQUENCE SET" | "MATERIALIZED VIEW DATA"
        )
    }
}

/// Which entries are loaded.
pub type Wanted = Box<dyn FnMut(&Heading) -> bool + Send>;

/// Passes on what is wanted.
pub struct Entries<W> {
    inner: W,
    lexer: Lexer,
    wanted: Wanted,
    drop_transaction_timeout: bool,
    mode: Mode,
    /// The beginning of a line that is not yet known.
    held: Vec<u8>,
    line: Line,
    skipped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Before the first heading.
    Preamble,
    /// In an entry that is wanted.
    Passing,
    /// In one that is not.
    Skipping,
}

/// What becomes of the present line, outside of [`Mode::Passing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Held,
    Passed,
    Dropped,
}

impl<W: Write> Entries<W> {
    /// Passes entries on to `inner`, for a server of this major version.
    pub fn new(inner: W, server_major: u32, wanted: Wanted) -> Self {
        Self {
            inner,
            lexer: Lexer::default(),
            wanted,
            drop_transaction_timeout: server_major < TRANSACTION_TIMEOUT_SINCE,
            mode: Mode::Preamble,
            held: Vec::new(),
            line: Line::Held,
            skipped: 0,
        }
    }

    /// How many entries were left out. What is held is passed on first.
    pub fn finish(mut self) -> io::Result<u64> {
        self.decide(true)?;
        self.inner.flush()?;
        Ok(self.skipped)
    }

    fn piece(&mut self, piece: &[u8], begins_line: bool) -> io::Result<()> {
        if self.mode == Mode::Passing {
            return self.inner.write_all(piece);
        }
        if begins_line {
            self.decide(true)?;
            self.line = Line::Held;
        }
        match self.line {
            Line::Dropped => Ok(()),
            Line::Passed => self.inner.write_all(piece),
            Line::Held => {
                self.held.extend_from_slice(piece);
                self.decide(piece.ends_with(b"\n"))
            }
        }
    }

    /// Decides on the present line, if enough of it is there or no more will come.
    fn decide(&mut self, ended: bool) -> io::Result<()> {
        if self.held.is_empty() || (!ended && self.held.len() < KNOWN_BY) {
            return Ok(());
        }
        let passed = match self.mode {
            Mode::Preamble => {
                !(self.drop_transaction_timeout && self.held.starts_with(TRANSACTION_TIMEOUT))
            }
            Mode::Skipping => self.held.starts_with(FOR_NEXT),
            Mode::Passing => true,
        };
        let held = std::mem::take(&mut self.held);
        self.line = if passed { Line::Passed } else { Line::Dropped };
        if passed {
            self.inner.write_all(&held)?;
        }
        Ok(())
    }

    fn comment(&mut self, comment: &[u8]) -> io::Result<()> {
        let next = match Heading::read(comment) {
            Some(heading) if (self.wanted)(&heading) => Mode::Passing,
            Some(_) => {
                self.skipped += 1;
                Mode::Skipping
            }
            // The trailer, behind which psql's own commands stand.
            None if memmem::find(comment, b"dump complete").is_some() => Mode::Passing,
            None => return Ok(()),
        };
        self.decide(true)?;
        self.mode = next;
        self.line = Line::Held;
        Ok(())
    }
}

impl<W: Write> Write for Entries<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut rest = data;
        while !rest.is_empty() {
            let begins_line = self.lexer.at_line_start();
            let used = self.lexer.step(rest);
            let (piece, after) = rest.split_at(used);
            if !piece.is_empty() {
                self.piece(piece, begins_line)?;
            }
            if let Some(comment) = self.lexer.take_comment() {
                self.comment(&comment)?;
            }
            rest = after;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET statement_timeout = 0;\nSET transaction_timeout = 0;\n\
        SET client_encoding = 'UTF8';\n\n--\n-- Name: a; Type: TABLE; Schema: public; Owner: o\n--\n\nCREATE TABLE public.a (x text DEFAULT '\n\
        -- Name: trap; Type: TABLE; Schema: public; Owner: o\n');\n\nSET default_tablespace = 'fast';\n\n\
        --\n-- Name: b; Type: TABLE; Schema: public; Owner: o\n--\n\nCREATE TABLE public.b (x text);\n\nSET default_tablespace = '';\n\n\
        --\n-- Data for Name: a; Type: TABLE DATA; Schema: public; Owner: o\n--\n\nCOPY public.a (x) FROM stdin;\n\
        -- Name: b; Type: TABLE; Schema: public; Owner: o\n\\.\n\n\n\
        --\n-- Name: odd; Type: x; Type: TABLE; Schema: odd; Owner: o\n--\n\nSELECT 1;\n\n--\n-- PostgreSQL database dump complete\n--\n\n\
        \\unrestrict abc\n";

    fn filtered(server: u32, piece: usize, wanted: fn(&Heading) -> bool) -> (String, u64) {
        let mut out = Vec::new();
        let mut entries = Entries::new(&mut out, server, Box::new(wanted));
        for piece in DUMP.as_bytes().chunks(piece) {
            entries.write_all(piece).unwrap();
        }
        let skipped = entries.finish().unwrap();
        (String::from_utf8(out).unwrap(), skipped)
    }

    #[test]
    fn everything_wanted_is_everything() {
        for piece in [1, 2, 3, 7, 64, 10_000] {
            assert_eq!(filtered(17, piece, |_| true), (DUMP.to_owned(), 0));
            let (older, _) = filtered(16, piece, |_| true);
            assert_eq!(older, DUMP.replace("SET transaction_timeout = 0;\n", ""));
        }
    }

    #[test]
    fn what_is_left_out_is_gone_with_its_rows_and_nothing_else() {
        for piece in [1, 5, 10_000] {
            let (text, skipped) = filtered(17, piece, |heading| heading.name != "a");
            assert_eq!(skipped, 2);
            assert!(
                !text.contains("public.a") && !text.contains("trap"),
                "{text}"
            );
            assert!(text.contains("SET default_tablespace = 'fast';"), "{text}");
            assert!(
                text.contains("CREATE TABLE public.b") && text.contains("SELECT 1;"),
                "{text}"
            );
            assert!(
                text.contains("SET default_tablespace = '';")
                    && text.ends_with("\\unrestrict abc\n"),
                "{text}"
            );
        }
    }

    #[test]
    fn headings_are_read_by_their_last_words() {
        let heading =
            Heading::read(b"-- Name: odd; Type: x; Type: TABLE; Schema: odd; Owner: o").unwrap();
        assert_eq!(
            (heading.name.as_str(), heading.kind.as_str()),
            ("odd; Type: x", "TABLE")
        );
        let of = |text: &str| {
            Heading::read(text.as_bytes())
                .unwrap()
                .is_of_extension("pg_cron", "cron")
        };
        assert!(of("-- Name: pg_cron; Type: EXTENSION; Schema: -; Owner: -"));
        assert!(of(
            "-- Name: EXTENSION pg_cron; Type: COMMENT; Schema: -; Owner: "
        ));
        assert!(of(
            "-- Data for Name: job; Type: TABLE DATA; Schema: cron; Owner: supabase_admin"
        ));
        assert!(of(
            "-- Name: SCHEMA cron; Type: ACL; Schema: -; Owner: supabase_admin"
        ));
        assert!(!of("-- Name: cron; Type: TABLE; Schema: public; Owner: o"));
    }
}
