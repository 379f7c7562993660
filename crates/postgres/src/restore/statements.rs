//! SQL text as `pg_dumpall` writes it, taken apart into statements and words. Follows quotes, `E''` strings and comments; dollar quotes
//! never stand in roles and database settings.

/// One statement without its semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub words: Vec<Word>,
    text: String,
}

/// One word of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// An identifier without its quotes, a keyword as it is written, a string with its quotes, or a single other character.
    pub value: String,
    /// Whether it was quoted: then it is a name and no keyword.
    pub quoted: bool,
    from: usize,
    to: usize,
}

impl Word {
    pub fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.value.eq_ignore_ascii_case(keyword)
    }
}

impl Statement {
    /// Takes text apart. Lines that begin with a backslash are psql's, and left out.
    pub fn split(sql: &str) -> Vec<Self> {
        let mut statements = Vec::new();
        let mut begin = 0;
        let mut words = Vec::new();
        let mut rest = Scanner { sql, at: 0 };
        while let Some(word) = rest.next_word(words.is_empty()) {
            if words.is_empty() {
                begin = word.from;
            }
            if word.is(";") {
                statements.extend(Self::of(sql, begin, word.from, std::mem::take(&mut words)));
            } else {
                words.push(word);
            }
        }
        statements
    }

    fn of(sql: &str, begin: usize, end: usize, mut words: Vec<Word>) -> Option<Self> {
        for word in &mut words {
            word.from -= begin;
            word.to -= begin;
        }
        (!words.is_empty()).then(|| Self {
            words,
            text: sql[begin..end].to_owned(),
        })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it begins with these keywords.
    pub fn begins(&self, keywords: &[&str]) -> bool {
        self.words.len() >= keywords.len()
            && self
                .words
                .iter()
                .zip(keywords)
                .all(|(word, keyword)| word.is(keyword))
    }

    /// Where these keywords stand in a row.
    pub fn find(&self, keywords: &[&str]) -> Option<usize> {
        (0..self.words.len()).find(|at| {
            let tail = &self.words[*at..];
            tail.len() >= keywords.len()
                && tail
                    .iter()
                    .zip(keywords)
                    .all(|(word, keyword)| word.is(keyword))
        })
    }

    /// The same with another text in the place of one word.
    pub fn with(&self, at: usize, text: &str) -> String {
        let word = &self.words[at];
        format!("{}{text}{}", &self.text[..word.from], &self.text[word.to..])
    }

    /// The text before a word.
    pub fn before(&self, at: usize) -> &str {
        self.text[..self.words[at].from].trim_end()
    }
}

struct Scanner<'a> {
    sql: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn next_word(&mut self, between_statements: bool) -> Option<Word> {
        let bytes = self.sql.as_bytes();
        loop {
            let rest = &self.sql[self.at..];
            let first = *bytes.get(self.at)?;
            if first.is_ascii_whitespace() {
                self.at += 1;
            } else if rest.starts_with("--") || (between_statements && first == b'\\') {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else {
                break;
            }
        }
        let from = self.at;
        let (length, quoted) = self.measure();
        self.at += length;
        let text = &self.sql[from..self.at];
        let value = if quoted {
            text[1..text.len() - 1].replace("\"\"", "\"")
        } else {
            text.to_owned()
        };
        Some(Word {
            value,
            quoted,
            from,
            to: self.at,
        })
    }

    /// Length of the word that begins here, and whether it is a quoted name.
    fn measure(&self) -> (usize, bool) {
        let rest = &self.sql[self.at..];
        let mut chars = rest.char_indices();
        let first = chars.next().map_or(' ', |(_, first)| first);
        let escapes = matches!(first, 'E' | 'e') && rest[1..].starts_with('\'');
        if first == '\'' || first == '"' || escapes {
            let quote = if first == '"' { '"' } else { '\'' };
            let skip = 1 + usize::from(escapes);
            let mut body = rest[skip..].char_indices().peekable();
            while let Some((at, c)) = body.next() {
                if escapes && c == '\\' {
                    body.next();
                } else if c == quote {
                    if body.peek().is_some_and(|(_, next)| *next == quote) {
                        body.next();
                    } else {
                        return (skip + at + 1, quote == '"');
                    }
                }
            }
            return (rest.len(), false);
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        if is_name(first) {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            return (end, false);
        }
        (first.len_utf8(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_their_own_semicolons() {
        let text = "-- a; comment\n\\restrict abc\nCREATE ROLE \"a;\"\"b\";\nALTER ROLE x SET y TO 'it''s; \\';\n\
            COMMENT ON ROLE ü IS E'\\\\ \\'; ';\n\nSELECT 1";
        let found = Statement::split(text);
        let texts: Vec<&str> = found.iter().map(Statement::text).collect();
        assert_eq!(
            texts,
            [
                "CREATE ROLE \"a;\"\"b\"",
                "ALTER ROLE x SET y TO 'it''s; \\'",
                "COMMENT ON ROLE ü IS E'\\\\ \\'; '"
            ]
        );
        assert_eq!(found[0].words[2].value, "a;\"b");
        assert!(
            found[0].begins(&["create", "role"]) && !found[0].begins(&["create", "role", "a;\"b"])
        );
        assert_eq!(
            found[1].with(2, "\"z\""),
            "ALTER ROLE \"z\" SET y TO 'it''s; \\'"
        );
        assert_eq!(found[1].find(&["SET", "y"]), Some(3));
        assert_eq!(found[1].before(3), "ALTER ROLE x");
    }
}
