//! Whole tokens.

use std::ops::Range;

use super::lexer::{Lexer, TokenKind};

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// As it stands in the text.
    pub text: &'a str,
    /// Where it begins in the text.
    pub at: usize,
}

impl Token<'_> {
    /// Whether it is this keyword, in any case, or this symbol.
    pub fn is(&self, keyword: &str) -> bool {
        self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is blank space or a comment.
    pub fn is_blank(&self) -> bool {
        matches!(self.kind, TokenKind::Blank | TokenKind::Comment)
    }

    /// Its name, where it is one: without its quotes, or as the server folds it.
    pub fn name(&self) -> Option<String> {
        match self.kind {
            TokenKind::Name => Some(self.inside()?.replace("\"\"", "\"")),
            TokenKind::Word => Some(self.text.to_lowercase()),
            _ => None,
        }
    }

    /// The string that it is, without quotes and escapes; none where it is no string, or has an escape that is not understood:
    /// PostgreSQL's programs, and backupd, escape nothing but backslashes and quotes.
    pub fn string(&self) -> Option<String> {
        let TokenKind::Text { escapes } = self.kind else {
            return None;
        };
        let mut string = String::with_capacity(self.text.len());
        let mut chars = self.inside()?.chars();
        while let Some(c) = chars.next() {
            string.push(match c {
                '\'' => chars.next()?,
                '\\' if escapes => chars.next().filter(|c| matches!(c, '\\' | '\''))?,
                c => c,
            });
        }
        Some(string)
    }

    /// What is between its quotes.
    fn inside(&self) -> Option<&str> {
        let quotes = self.text.trim_start_matches(['E', 'e']);
        quotes.get(1..quotes.len().checked_sub(1)?)
    }
}

/// Finds the tokens of a text of which more and more is there.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    pub lexer: Lexer,
    /// Bytes that the lexer has taken, and those whose token it has told.
    seen: usize,
    told: usize,
    /// The token that was begun, and where.
    begun: Option<(TokenKind, usize)>,
}

impl Cursor {
    /// The next token of this text, from where to where. None where more of the text is needed to tell; or at its end, if that is `all`.
    pub fn next(&mut self, text: &[u8], all: bool) -> Option<(TokenKind, Range<usize>)> {
        loop {
            // Nothing is read behind a symbol: it may be the end of a statement.
            if let Some((kind @ TokenKind::Symbol(_), at)) = self.begun {
                self.begun = None;
                return Some((kind, at..self.told));
            }
            let mut rest = &text[self.seen..];
            let part = match self.lexer.next(&mut rest) {
                None if all => self.lexer.end(),
                part => part,
            };
            self.seen = text.len() - rest.len();
            let at = self.told;
            let ended = match part {
                Some(part) => {
                    self.told += part.bytes.len();
                    let ended = part.begins.then(|| self.begun.replace((part.kind, at)));
                    ended.flatten()
                }
                None if all => return self.begun.take().map(|(kind, from)| (kind, from..at)),
                None => return None,
            };
            if let Some((kind, from)) = ended {
                return Some((kind, from..at));
            }
        }
    }

    /// From now on the text begins behind so many bytes, whose tokens were told.
    pub fn pass(&mut self, bytes: usize) {
        self.seen -= bytes;
        self.told -= bytes;
        if let Some((_, at)) = &mut self.begun {
            *at -= bytes;
        }
    }
}

/// Gives the tokens of a text that is whole, blanks and comments too, one after the other.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    text: &'a str,
    cursor: Cursor,
}

impl<'a> Tokens<'a> {
    /// Those of this text.
    pub fn of(text: &'a str) -> Self {
        Self {
            text,
            cursor: Cursor::default(),
        }
    }

    /// Whether backslashes escape in every string from here on.
    pub fn escape_everywhere(&mut self, whether: bool) {
        self.cursor.lexer.escapes_everywhere = whether;
    }

    /// Whether the last token is whole.
    pub fn is_at_rest(&self) -> bool {
        self.cursor.lexer.is_at_rest()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (kind, at) = self.cursor.next(self.text.as_bytes(), true)?;
        Some(Token {
            kind,
            at: at.start,
            text: &self.text[at],
        })
    }
}
