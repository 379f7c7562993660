//! SQL text as `pg_dumpall`, `pg_dump` and backupd itself write it about roles and a database's properties, taken apart into statements and
//! tokens. Nothing of the text is ever executed: what is read becomes data, and statements are built anew from that.
//!
//! Follows quotes, `E''` strings and comments. What such files never hold (dollar quotes, `U&''`, block comments) comes out as symbols
//! that no reader takes.

/// Makes psql stop at an error.
const STOPS: &str = "\\set ON_ERROR_STOP on";

/// One piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// An unquoted word: a keyword, a name or a number.
    Word(String),
    /// A quoted name, without its quotes.
    Name(String),
    /// A string, without its quotes and escapes.
    Text(String),
    /// Any other character.
    Symbol(char),
}

/// What stands at the top level of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// A statement without its semicolon.
    Statement(Vec<Token>),
    /// A comment's line, between statements.
    Comment(String),
}

/// Why a text cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line}")]
pub struct Unreadable {
    what: &'static str,
    line: usize,
}

/// Takes a whole file apart.
pub(crate) fn items(sql: &str) -> Result<Vec<Item>, Unreadable> {
    let mut scanner = Scanner {
        sql,
        at: 0,
        escapes_everywhere: false,
    };
    let mut items = Vec::new();
    let mut tokens = Vec::new();
    loop {
        let rest = scanner.rest();
        let Some(first) = rest.chars().next() else {
            break;
        };
        if first.is_ascii_whitespace() {
            scanner.at += 1;
        } else if rest.starts_with("--") {
            let line = rest.lines().next().unwrap_or_default();
            scanner.at += line.len();
            if tokens.is_empty() {
                items.push(Item::Comment(line[2..].trim().to_owned()));
            }
        } else if first == '\\' {
            scanner.command(!tokens.is_empty())?;
            if !tokens.is_empty() {
                items.push(Item::Statement(std::mem::take(&mut tokens)));
            }
        } else if first == ';' {
            scanner.at += 1;
            if !tokens.is_empty() {
                scanner.heed(&tokens);
                items.push(Item::Statement(std::mem::take(&mut tokens)));
            }
        } else {
            tokens.push(scanner.token(first)?);
        }
    }
    if tokens.is_empty() {
        Ok(items)
    } else {
        Err(scanner.unreadable("a statement without an end"))
    }
}

/// Takes one statement apart, which may go without its semicolon.
pub(crate) fn statement(sql: &str) -> Option<Vec<Token>> {
    let mut items = items(&format!("{};", sql.trim_end().trim_end_matches(';'))).ok()?;
    match (items.pop(), items.is_empty()) {
        (Some(Item::Statement(tokens)), true) => Some(tokens),
        _ => None,
    }
}

struct Scanner<'a> {
    sql: &'a str,
    at: usize,
    /// `standard_conforming_strings = off`.
    escapes_everywhere: bool,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.sql[self.at..]
    }

    fn unreadable(&self, what: &'static str) -> Unreadable {
        Unreadable {
            what,
            line: self.sql[..self.at].lines().count().max(1),
        }
    }

    /// A line of psql's own: those that guard a load, and the end of a statement whose result is executed.
    fn command(&mut self, in_statement: bool) -> Result<(), Unreadable> {
        let line = self.rest().lines().next().unwrap_or_default();
        let word = line.split_ascii_whitespace().next().unwrap_or_default();
        // pg_dump says it before it connects to a database whose name is no plain word; sets of 0.1.0 hold it.
        if !in_statement && word == "\\encoding" {
            self.at += line.len();
            return Ok(());
        }
        let known = if in_statement {
            line.trim_end() == "\\gexec"
        } else {
            ["\\restrict", "\\unrestrict"].contains(&word) || line.trim_end() == STOPS
        };
        if !known {
            return Err(self.unreadable("a command of psql that does not belong there"));
        }
        self.at += line.len();
        Ok(())
    }

    /// Strings are read as the file says that they are written.
    fn heed(&mut self, tokens: &[Token]) {
        let mut reader = Reader::new(tokens);
        if reader.keywords(&["SET", "standard_conforming_strings"]) && reader.symbol('=') {
            self.escapes_everywhere = reader.keyword("off");
        }
    }

    fn token(&mut self, first: char) -> Result<Token, Unreadable> {
        let rest = self.rest();
        if first == '"' {
            self.at += 1;
            return Ok(Token::Name(self.quoted('"', false)?));
        }
        let marked = matches!(first, 'E' | 'e') && rest[1..].starts_with('\'');
        if first == '\'' || marked {
            self.at += 1 + usize::from(marked);
            return Ok(Token::Text(
                self.quoted('\'', marked || self.escapes_everywhere)?,
            ));
        }
        let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        if in_word(first) && first != '$' {
            let length = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
            self.at += length;
            return Ok(Token::Word(rest[..length].to_owned()));
        }
        self.at += first.len_utf8();
        Ok(Token::Symbol(first))
    }

    /// From behind the opening quote to behind the closing one.
    fn quoted(&mut self, quote: char, escapes: bool) -> Result<String, Unreadable> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                if chars.next_if(|(_, next)| *next == quote).is_none() {
                    self.at += at + 1;
                    return Ok(text);
                }
                text.push(c);
            } else if escapes && c == '\\' {
                // PostgreSQL's programs, and backupd, escape nothing but these two.
                match chars.next() {
                    Some((_, next @ ('\\' | '\''))) => text.push(next),
                    _ => return Err(self.unreadable("an escape that is not understood")),
                }
            } else {
                text.push(c);
            }
        }
        Err(self.unreadable("a quote without an end"))
    }
}

/// Reads a statement's tokens from its beginning. What does not fit is not taken.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    tokens: &'a [Token],
}

impl<'a> Reader<'a> {
    pub fn new(tokens: &'a [Token]) -> Self {
        Self { tokens }
    }

    fn take<T>(&mut self, fits: impl FnOnce(&'a Token) -> Option<T>) -> Option<T> {
        let (first, rest) = self.tokens.split_first()?;
        let taken = fits(first)?;
        self.tokens = rest;
        Some(taken)
    }

    /// Takes one keyword.
    pub fn keyword(&mut self, keyword: &str) -> bool {
        let is = |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.take(|token| is(token).then_some(())).is_some()
    }

    /// Takes these keywords in a row, or nothing.
    pub fn keywords(&mut self, keywords: &[&str]) -> bool {
        let before = self.tokens;
        let all = keywords.iter().all(|keyword| self.keyword(keyword));
        if !all {
            self.tokens = before;
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

    pub fn symbol(&mut self, symbol: char) -> bool {
        self.take(|token| (*token == Token::Symbol(symbol)).then_some(()))
            .is_some()
    }

    /// Takes a name, quoted or not.
    pub fn name(&mut self) -> Option<String> {
        self.take(|token| match token {
            // As the server folds it; these programs quote every name with a capital.
            Token::Word(word) => Some(word.to_lowercase()),
            Token::Name(name) => Some(name.clone()),
            _ => None,
        })
    }

    /// Takes a string.
    pub fn text(&mut self) -> Option<String> {
        self.take(|token| match token {
            Token::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// Takes a whole number.
    pub fn number(&mut self) -> Option<i32> {
        let before = self.tokens;
        let sign = if self.symbol('-') { -1 } else { 1 };
        let number = self.take(|token| match token {
            Token::Word(word) => word.parse::<i32>().ok(),
            _ => None,
        });
        if number.is_none() {
            self.tokens = before;
        }
        Some(number? * sign)
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// A statement for a message: its first words, without any string (passwords and settings are nobody's business there).
pub(crate) fn outline(tokens: &[Token]) -> String {
    let words = tokens.iter().take(8).map_while(|token| match token {
        Token::Word(word) => Some(word.clone()),
        Token::Name(name) => Some(crate::server::ident(name)),
        Token::Symbol(symbol) => Some(symbol.to_string()),
        Token::Text(_) => None,
    });
    words.collect::<Vec<_>>().join(" ") + " …"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(sql: &str) -> Vec<Vec<Token>> {
        let found = items(sql).unwrap().into_iter();
        found
            .filter_map(|item| match item {
                Item::Statement(tokens) => Some(tokens),
                Item::Comment(_) => None,
            })
            .collect()
    }

    #[test]
    fn statements_end_at_their_own_semicolons() {
        let found = statements(
            "-- a; comment\n\\restrict abc\nCREATE ROLE \"a;\"\"b\";\nALTER ROLE x SET y TO 'it''s; \\';\n\
             COMMENT ON ROLE ü IS E'\\\\ \\'; \n-- CREATE DATABASE z;';\n\nSELECT 1 \\gexec\nSELECT 2;",
        );
        assert_eq!(found.len(), 5);
        assert_eq!(found[0][2], Token::Name("a;\"b".to_owned()));
        assert_eq!(found[1].last(), Some(&Token::Text("it's; \\".to_owned())));
        assert_eq!(
            found[2].last(),
            Some(&Token::Text("\\ '; \n-- CREATE DATABASE z;".to_owned()))
        );
    }

    #[test]
    fn comments_are_those_between_statements() {
        let found = items("-- one\nSET a = 'x\n-- two\n' -- three\n; -- four").unwrap();
        let comments: Vec<_> = found
            .iter()
            .filter_map(|item| match item {
                Item::Comment(words) => Some(words.as_str()),
                Item::Statement(_) => None,
            })
            .collect();
        assert_eq!(comments, ["one", "four"]);
    }

    #[test]
    fn strings_are_read_as_the_file_says() {
        let last = |sql| statements(sql).pop().unwrap().pop().unwrap();
        assert_eq!(last("SELECT 'a\\\\b';"), Token::Text("a\\\\b".to_owned()));
        assert_eq!(
            last("SET standard_conforming_strings = off; SELECT 'a\\\\b';"),
            Token::Text("a\\b".to_owned())
        );
    }

    #[test]
    fn what_has_no_end_or_does_not_belong_there_is_an_error() {
        for text in [
            "SELECT 'a",
            "SELECT \"a",
            "SELECT 1",
            "SELECT E'\\n';",
            "\\! true\n",
            "SELECT 1 \\g | sh\n",
        ] {
            assert!(items(text).is_err(), "{text}");
        }
    }
}
