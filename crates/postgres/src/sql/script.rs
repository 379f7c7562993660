//! A file of statements as `pg_dumpall`, `pg_dump` and backupd itself write it about roles and a database's properties. Nothing of the
//! text is ever executed: what is read becomes data, and statements are built anew from that.

use super::lexer::TokenKind;
use super::reader::Reader;
use super::tokens::Tokens;

/// Makes psql stop at an error.
const STOPS: &str = "\\set ON_ERROR_STOP on";

/// What stands at the top level of a file.
#[derive(Debug, Clone)]
pub(crate) enum Item<'a> {
    /// A statement without its semicolon.
    Statement(Reader<'a>),
    /// A comment's line, between statements.
    Comment(&'a str),
}

/// Why a text cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line}")]
pub struct Unreadable {
    what: &'static str,
    line: usize,
}

/// Takes a whole file apart.
pub(crate) fn items(sql: &str) -> Result<Vec<Item<'_>>, Unreadable> {
    let unreadable = |what, at: usize| Unreadable {
        what,
        line: sql[..at].lines().count().max(1),
    };
    let mut items = Vec::new();
    let mut tokens = Tokens::of(sql);
    // Strings are read as the file says that they are written.
    let mut escapes = false;
    let mut begun: Option<usize> = None;
    while let Some(token) = tokens.next() {
        match token.kind {
            TokenKind::Blank => {}
            TokenKind::Comment => {
                let line = token.text.strip_prefix("--");
                if let (None, Some(line)) = (begun, line) {
                    items.push(Item::Comment(line.trim()));
                }
            }
            TokenKind::Command if !is_known(token.text, begun.is_some()) => {
                return Err(unreadable(
                    "a command of psql that does not belong there",
                    token.at,
                ));
            }
            TokenKind::Command | TokenKind::Symbol(b';') => {
                if let Some(from) = begun.take() {
                    let mut statement = Tokens::of(&sql[from..token.at]);
                    statement.escape_everywhere(escapes);
                    let statement = Reader::behind(statement);
                    let mut setting = statement.clone();
                    if setting.keywords(&["SET", "standard_conforming_strings", "="]) {
                        escapes = setting.keyword("off");
                        tokens.escape_everywhere(escapes);
                    }
                    items.push(Item::Statement(statement));
                }
            }
            TokenKind::Text { .. } if tokens.is_at_rest() && token.string().is_none() => {
                return Err(unreadable("an escape that is not understood", token.at));
            }
            _ => {
                begun.get_or_insert(token.at);
            }
        }
    }
    if !tokens.is_at_rest() {
        return Err(unreadable("a quote without an end", sql.len()));
    }
    match begun {
        Some(_) => Err(unreadable("a statement without an end", sql.len())),
        None => Ok(items),
    }
}

/// Takes one statement, which may go without its semicolon.
pub(crate) fn statement(sql: &str) -> Option<Reader<'_>> {
    let sql = sql.trim_end().trim_end_matches(';');
    let mut tokens = Tokens::of(sql);
    let is_one = tokens.all(|token| match token.kind {
        TokenKind::Command | TokenKind::Symbol(b';') => false,
        TokenKind::Text { .. } => token.string().is_some(),
        _ => true,
    });
    let statement = Reader::of(sql);
    (is_one && tokens.is_at_rest() && !statement.is_at_end()).then_some(statement)
}

/// Whether a line is psql's own that such a file may hold: those that guard a load, and the end of a statement whose result is executed.
fn is_known(line: &str, in_statement: bool) -> bool {
    if in_statement {
        return line.trim_end() == "\\gexec";
    }
    let word = line.split_ascii_whitespace().next().unwrap_or_default();
    // pg_dump says the last before it connects to a database whose name is no plain word; sets of 0.1.0 hold it.
    ["\\restrict", "\\unrestrict", "\\encoding"].contains(&word) || line.trim_end() == STOPS
}

/// A statement for a message: its first words, without any string (passwords and settings are nobody's business there).
pub(crate) fn outline(statement: &Reader<'_>) -> String {
    let words = statement.clone().take(8).map_while(|token| {
        let is_told = !matches!(token.kind, TokenKind::Text { .. } | TokenKind::Body);
        is_told.then_some(token.text)
    });
    words.collect::<Vec<_>>().join(" ") + " …"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(sql: &str) -> Vec<Reader<'_>> {
        let found = items(sql).unwrap().into_iter();
        found
            .filter_map(|item| match item {
                Item::Statement(statement) => Some(statement),
                Item::Comment(_) => None,
            })
            .collect()
    }

    fn last(statement: &Reader<'_>) -> Option<String> {
        statement.clone().last()?.string()
    }

    #[test]
    fn statements_end_at_their_own_semicolons() {
        let found = statements(
            "-- a; comment\n\\restrict abc\nCREATE ROLE \"a;\"\"b\";\nALTER ROLE x SET y TO 'it''s; \\';\n\
             COMMENT ON ROLE ü IS E'\\\\ \\'; \n-- CREATE DATABASE z;';\n\nSELECT 1 \\gexec\nSELECT 2;",
        );
        assert_eq!(found.len(), 5);
        assert_eq!(found[0].clone().nth(2).unwrap().name().unwrap(), "a;\"b");
        assert_eq!(last(&found[1]).unwrap(), "it's; \\");
        assert_eq!(last(&found[2]).unwrap(), "\\ '; \n-- CREATE DATABASE z;");
    }

    #[test]
    fn comments_are_those_between_statements() {
        let found = items("-- one\nSET a = 'x\n-- two\n' -- three\n; -- four").unwrap();
        let comments: Vec<_> = found
            .iter()
            .filter_map(|item| match item {
                Item::Comment(words) => Some(*words),
                Item::Statement(_) => None,
            })
            .collect();
        assert_eq!(comments, ["one", "four"]);
    }

    #[test]
    fn strings_are_read_as_the_file_says() {
        let of_last = |sql| last(statements(sql).last().unwrap()).unwrap();
        assert_eq!(of_last("SELECT 'a\\\\b';"), "a\\\\b");
        assert_eq!(
            of_last("SET standard_conforming_strings = off; SELECT 'a\\\\b';"),
            "a\\b"
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
            assert!(text.ends_with('1') || statement(text).is_none(), "{text}");
        }
    }
}
