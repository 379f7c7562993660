//! The words of one statement: keywords, names without their quotes, and single characters.

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// A name without its quotes, a keyword as it is written, a string with its quotes, or one other character.
    pub value: String,
    /// Whether it was in double quotes: then it is a name and no keyword.
    pub quoted: bool,
}

impl Word {
    /// Whether it is this keyword, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.value.eq_ignore_ascii_case(keyword)
    }
}

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
        take_name(&mut Words::of(text).peekable())
    }
}

impl std::fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::server::ident;
        write!(f, "{}.{}", ident(&self.schema), ident(&self.name))
    }
}

/// The next words as a name, qualified or not.
pub fn take_name<'a>(
    words: &mut std::iter::Peekable<impl Iterator<Item = Word> + 'a>,
) -> Option<QualifiedName> {
    let first = words.next()?.value;
    if words.next_if(|word| word.is(".")).is_none() {
        return Some(QualifiedName {
            schema: String::new(),
            name: first,
        });
    }
    Some(QualifiedName {
        schema: first,
        name: words.next()?.value,
    })
}

/// Takes the words of a statement, one after the other.
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// Those of this text.
    pub fn of(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// What has not been taken.
    pub fn rest(&self) -> &'a str {
        self.rest
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next()?;
        let quoted = first == '"';
        let end = if quoted || first == '\'' {
            end_of_quoted(self.rest, first)
        } else if is_of_name(first) {
            self.rest
                .find(|c| !is_of_name(c))
                .unwrap_or(self.rest.len())
        } else {
            first.len_utf8()
        };
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let value = if quoted && text.len() >= 2 {
            text[1..text.len() - 1].replace("\"\"", "\"")
        } else {
            text.to_owned()
        };
        Some(Word { value, quoted })
    }
}

/// Where a quoted text ends that begins here; a doubled quote is one of its characters.
fn end_of_quoted(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(found) = text[at..].find(quote) {
        at += found + 1;
        if !text[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    text.len()
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
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
}
