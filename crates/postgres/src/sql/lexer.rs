//! SQL taken apart into tokens, whatever pieces the text comes in (`psqlscan.l`, `scan.l`; PostgreSQL manual, 4.1 "Lexical Structure").
//!
//! It holds no text but the beginning of what it cannot tell yet, which is at most as long as a dollar quote's tag. Long stretches
//! (strings, bodies, comments) are crossed by `memchr`.

use memchr::{memchr, memchr2};

/// Longest tag of a dollar quote that is followed; identifiers have at most 63 bytes.
const TAG_BYTES: usize = 64;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Blank space.
    Blank,
    /// `-- …` without its newline, or `/* … */`, in which others may stand.
    Comment,
    /// A psql command: `\…` without its newline.
    Command,
    /// An unquoted word: a keyword, a name, a number, a parameter.
    Word,
    /// `"…"`.
    Name,
    /// `'…'` or `E'…'`.
    Text {
        /// Whether a backslash in it escapes what follows.
        escapes: bool,
    },
    /// `$tag$…$tag$`.
    Body,
    /// Any other byte, which is of ASCII.
    Symbol(u8),
}

/// A piece of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// What its token is.
    pub kind: TokenKind,
    /// Whether it is the token's beginning. A token ends where the next one begins.
    pub begins: bool,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Where the next byte stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing is known of it.
    #[default]
    Between,
    /// Behind what may begin a longer token, and is held.
    Held,
    Blank,
    Word,
    Line(TokenKind),
    /// In so many comments, behind this byte.
    Comment(u32, u8),
    Quoted(TokenKind, u8),
    /// Behind a quote that ends the token unless another follows.
    Closed(TokenKind, u8),
    /// Behind a backslash in a string.
    Escaped,
    /// So many bytes of the closing tag are matched.
    Body(usize),
}

/// Takes SQL apart.
#[derive(Debug, Clone, Default)]
pub struct Lexer {
    state: State,
    /// What is not told yet.
    held: Vec<u8>,
    /// What was held, and is told; in a body its tag.
    told: Vec<u8>,
    /// Whether backslashes escape in every string (`standard_conforming_strings = off`).
    pub escapes_everywhere: bool,
}

impl Lexer {
    /// The next part, of what is held and of `data`, which gets shorter; none when there is no more of it.
    pub fn next<'a, 'd: 'a>(&'a mut self, data: &mut &'d [u8]) -> Option<Part<'a>> {
        loop {
            let first = *data.first()?;
            match self.state {
                State::Between => {
                    if let Some(part) = self.begin(first, data) {
                        return Some(part);
                    }
                }
                State::Held => {
                    if let Some(kind) = self.resolve(first, data) {
                        return Some(self.tell(kind));
                    }
                }
                State::Blank => {
                    if let Some(part) =
                        run(data, TokenKind::Blank, |byte| byte.is_ascii_whitespace())
                    {
                        return Some(part);
                    }
                    self.state = State::Between;
                }
                State::Word => {
                    if let Some(part) =
                        run(data, TokenKind::Word, |byte| is_name(byte) || byte == b'$')
                    {
                        return Some(part);
                    }
                    self.state = State::Between;
                }
                State::Line(kind) => {
                    let end = memchr(b'\n', data).unwrap_or(data.len());
                    if end > 0 {
                        return Some(go_on(data, end, kind));
                    }
                    self.state = State::Between;
                }
                State::Closed(_, quote) if first != quote => self.state = State::Between,
                State::Closed(kind, quote) => {
                    self.state = State::Quoted(kind, quote);
                    return Some(go_on(data, 1, kind));
                }
                State::Comment(depth, before) => return Some(self.comment(data, depth, before)),
                State::Quoted(kind, quote) => return Some(self.quoted(data, kind, quote)),
                State::Escaped => {
                    let kind = TokenKind::Text { escapes: true };
                    self.state = State::Quoted(kind, b'\'');
                    return Some(go_on(data, 1, kind));
                }
                State::Body(matched) => return Some(self.body(data, matched)),
            }
        }
    }

    /// At the end of the text: what is held, if anything is.
    pub fn end(&mut self) -> Option<Part<'_>> {
        let first = *self.held.first()?;
        let kind = match first {
            b'$' | b'E' | b'e' => TokenKind::Word,
            symbol => TokenKind::Symbol(symbol),
        };
        self.state = State::Between;
        Some(self.tell(kind))
    }

    /// Whether the text may end here: nothing is held, and it is in no quotes, no body, no comment of several lines.
    pub fn is_at_rest(&self) -> bool {
        !matches!(
            self.state,
            State::Held | State::Comment(..) | State::Quoted(..) | State::Escaped | State::Body(_)
        )
    }

    /// A token begins; none where more must be known to say which.
    fn begin<'a>(&mut self, first: u8, data: &mut &'a [u8]) -> Option<Part<'a>> {
        let (kind, state) = match first {
            b'-' | b'/' | b'$' | b'E' | b'e' => {
                self.held.push(first);
                self.state = State::Held;
                *data = &data[1..];
                return None;
            }
            b'\'' => {
                let kind = TokenKind::Text {
                    escapes: self.escapes_everywhere,
                };
                (kind, State::Quoted(kind, first))
            }
            b'"' => (TokenKind::Name, State::Quoted(TokenKind::Name, first)),
            b'\\' => (TokenKind::Command, State::Line(TokenKind::Command)),
            byte if byte.is_ascii_whitespace() => (TokenKind::Blank, State::Blank),
            byte if is_name(byte) => (TokenKind::Word, State::Word),
            symbol => (TokenKind::Symbol(symbol), State::Between),
        };
        self.state = state;
        let part = go_on(data, 1, kind);
        Some(Part {
            begins: true,
            ..part
        })
    }

    /// What the held bytes begin, now that the next is known; none where even more must be.
    fn resolve(&mut self, next: u8, data: &mut &[u8]) -> Option<TokenKind> {
        let (kind, state, takes) = match (self.held[0], next) {
            (b'-', b'-') => (TokenKind::Comment, State::Line(TokenKind::Comment), false),
            (b'/', b'*') => (TokenKind::Comment, State::Comment(1, 0), true),
            (b'E' | b'e', b'\'') => {
                let kind = TokenKind::Text { escapes: true };
                (kind, State::Quoted(kind, next), true)
            }
            (b'E' | b'e', _) => (TokenKind::Word, State::Word, false),
            (b'$', b'$') => (TokenKind::Body, State::Body(0), true),
            (b'$', next) => {
                let first = self.held.len() == 1;
                if is_name(next) && !(first && next.is_ascii_digit()) && self.held.len() < TAG_BYTES
                {
                    self.held.push(next);
                    *data = &data[1..];
                    return None;
                }
                (TokenKind::Word, State::Word, false)
            }
            (symbol, _) => (TokenKind::Symbol(symbol), State::Between, false),
        };
        if takes {
            self.held.push(next);
            *data = &data[1..];
        }
        self.state = state;
        Some(kind)
    }

    /// What was held is told.
    fn tell(&mut self, kind: TokenKind) -> Part<'_> {
        std::mem::swap(&mut self.held, &mut self.told);
        self.held.clear();
        Part {
            kind,
            begins: true,
            bytes: &self.told,
        }
    }

    fn comment<'a>(&mut self, data: &mut &'a [u8], depth: u32, before: u8) -> Part<'a> {
        let (mut depth, mut before, mut end) = (depth, before, 0);
        while depth > 0 && end < data.len() {
            let byte = data[end];
            (depth, before) = match (before, byte) {
                (b'/', b'*') => (depth + 1, 0),
                (b'*', b'/') => (depth - 1, 0),
                _ => (depth, byte),
            };
            end += 1;
        }
        self.state = match depth {
            0 => State::Between,
            _ => State::Comment(depth, before),
        };
        go_on(data, end, TokenKind::Comment)
    }

    fn quoted<'a>(&mut self, data: &mut &'a [u8], kind: TokenKind, quote: u8) -> Part<'a> {
        let escapes = kind == TokenKind::Text { escapes: true };
        let found = if escapes {
            memchr2(quote, b'\\', data)
        } else {
            memchr(quote, data)
        };
        if let Some(at) = found {
            self.state = if data[at] == quote {
                State::Closed(kind, quote)
            } else {
                State::Escaped
            };
        }
        go_on(data, found.map_or(data.len(), |at| at + 1), kind)
    }

    fn body<'a>(&mut self, data: &mut &'a [u8], matched: usize) -> Part<'a> {
        let (mut matched, mut end) = (matched, 0);
        while matched < self.told.len() && end < data.len() {
            if matched == 0 {
                let Some(at) = memchr(b'$', &data[end..]) else {
                    end = data.len();
                    break;
                };
                end += at;
            }
            // A tag has `$` only at its ends, so a mismatch can begin a new match only with this very byte.
            let byte = data[end];
            matched = if byte == self.told[matched] {
                matched + 1
            } else {
                usize::from(byte == b'$')
            };
            end += 1;
        }
        self.state = if matched == self.told.len() {
            State::Between
        } else {
            State::Body(matched)
        };
        go_on(data, end, TokenKind::Body)
    }
}

/// The first bytes of `data`, which goes on behind them.
fn go_on<'a>(data: &mut &'a [u8], length: usize, kind: TokenKind) -> Part<'a> {
    let (bytes, rest) = data.split_at(length);
    *data = rest;
    Part {
        kind,
        begins: false,
        bytes,
    }
}

/// As many as are of the token; none where the first is not.
fn run<'a>(
    data: &mut &'a [u8],
    kind: TokenKind,
    of_token: impl Fn(u8) -> bool,
) -> Option<Part<'a>> {
    let end = data.iter().position(|byte| !of_token(*byte));
    let end = end.unwrap_or(data.len());
    (end > 0).then(|| go_on(data, end, kind))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests;
