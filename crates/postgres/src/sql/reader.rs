//! Reads a statement from its beginning, token by token. What does not fit is not taken.

use super::tokens::{Token, Tokens};
use crate::server::ident;

/// A name with its schema, without quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QualifiedName {
    /// The schema; empty where the name has none.
    pub schema: String,
    /// The name in it.
    pub name: String,
}

impl QualifiedName {
    /// Reads `schema.name`, quoted where SQL needs quotes.
    pub fn read(text: &str) -> Option<Self> {
        Reader::of(text).qualified()
    }
}

impl std::fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", ident(&self.schema), ident(&self.name))
    }
}

/// Reads a statement's tokens, but blanks and comments.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    next: Option<Token<'a>>,
    tokens: Tokens<'a>,
}

impl<'a> Reader<'a> {
    /// Of this statement.
    pub fn of(statement: &'a str) -> Self {
        Self::behind(Tokens::of(statement))
    }

    /// Of the tokens that are left.
    pub fn behind(mut tokens: Tokens<'a>) -> Self {
        Self {
            next: tokens.find(|token| !token.is_blank()),
            tokens,
        }
    }

    /// Takes one keyword, or symbol.
    pub fn keyword(&mut self, keyword: &str) -> bool {
        let is_next = self.next.is_some_and(|token| token.is(keyword));
        is_next && self.next().is_some()
    }

    /// Takes these keywords in a row, or nothing.
    pub fn keywords(&mut self, keywords: &[&str]) -> bool {
        let mut ahead = self.clone();
        let all = keywords.iter().all(|keyword| ahead.keyword(keyword));
        if all {
            *self = ahead;
        }
        all
    }

    /// Takes the one of these keywords that is next.
    pub fn one_of(&mut self, keywords: &[&'static str]) -> Option<&'static str> {
        keywords
            .iter()
            .find(|keyword| self.keyword(keyword))
            .copied()
    }

    /// Takes a name, quoted or not.
    pub fn name(&mut self) -> Option<String> {
        let name = self.next?.name()?;
        self.next();
        Some(name)
    }

    /// Takes a name, qualified or not.
    pub fn qualified(&mut self) -> Option<QualifiedName> {
        let first = self.name()?;
        if !self.keyword(".") {
            return Some(QualifiedName {
                schema: String::new(),
                name: first,
            });
        }
        Some(QualifiedName {
            schema: first,
            name: self.name()?,
        })
    }

    /// Takes the name of a setting, `a.b.c`.
    pub fn dotted(&mut self) -> Option<String> {
        let mut name = self.name()?;
        while self.keyword(".") {
            name = format!("{name}.{}", self.name()?);
        }
        Some(name)
    }

    /// Takes a string.
    pub fn string(&mut self) -> Option<String> {
        let string = self.next?.string()?;
        self.next();
        Some(string)
    }

    /// Takes a whole number.
    pub fn number(&mut self) -> Option<i32> {
        let mut ahead = self.clone();
        let sign = if ahead.keyword("-") { -1 } else { 1 };
        let number: i32 = ahead.next()?.text.parse().ok()?;
        *self = ahead;
        Some(number * sign)
    }

    /// The next token.
    pub fn peek(&self) -> Option<&Token<'a>> {
        self.next.as_ref()
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.next.is_none()
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let following = self.tokens.find(|token| !token.is_blank());
        std::mem::replace(&mut self.next, following)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_their_quotes() {
        let read = |text: &str| {
            let name = QualifiedName::read(text).unwrap();
            (name.schema, name.name)
        };
        assert_eq!(
            read("public.posts"),
            ("public".to_owned(), "posts".to_owned())
        );
        assert_eq!(
            read("\"odd; \"\"schema\".\"T\" (x)"),
            ("odd; \"schema".to_owned(), "T".to_owned())
        );
        assert_eq!(read("alone"), (String::new(), "alone".to_owned()));
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let mut reader = Reader::of("SET /* a */ a.\"B\" -- c\n = -5 E'x' 1.5;");
        assert!(!reader.keywords(&["SET", "b"]) && reader.keyword("set"));
        assert_eq!(reader.string(), None);
        assert_eq!(reader.dotted().as_deref(), Some("a.B"));
        assert_eq!(reader.number(), None);
        assert!(reader.keyword("=") && reader.number() == Some(-5));
        assert_eq!(reader.name(), None);
        assert_eq!(reader.string().as_deref(), Some("x"));
        assert_eq!(reader.number(), Some(1));
        assert!(reader.keyword(".") && reader.number() == Some(5));
        assert!(!reader.is_at_end() && reader.keyword(";") && reader.is_at_end());
    }
}
