//! The statement before the rows of a table.

use super::lexer::{Lexer, TokenKind};
use super::reader::{QualifiedName, Reader};

const COPY: &[u8] = b"COPY ";
const FROM_STDIN: &[u8] = b" FROM stdin;";

/// What a COPY statement of a dump fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyTarget {
    /// `schema.table`, quoted where SQL needs quotes.
    pub table: String,
    /// Its columns as the dump lists them, quoted, without the parentheses; empty for a table without columns.
    pub columns: String,
}

impl CopyTarget {
    /// Of `COPY table (columns) FROM stdin;`, or of `COPY table  FROM stdin;`, which a table without columns has. Quotes are followed.
    pub fn parse(statement: &[u8]) -> Option<Self> {
        let rest = statement.trim_ascii_end().strip_prefix(COPY)?;
        let rest = rest.strip_suffix(FROM_STDIN)?;
        let (mut lexer, mut behind, mut end) = (Lexer::default(), rest, 0);
        while let Some(part) = lexer.next(&mut behind)
            && !matches!(part.kind, TokenKind::Blank | TokenKind::Symbol(b'('))
        {
            end += part.bytes.len();
        }
        let (table, columns) = rest.split_at(end);
        let columns = columns.trim_ascii();
        let inside = columns
            .strip_prefix(b"(")
            .and_then(|list| list.strip_suffix(b")"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (!table.is_empty()).then(|| Self {
            table: text(table),
            columns: text(inside.unwrap_or(columns)),
        })
    }

    /// The table's name.
    pub fn name(&self) -> Option<QualifiedName> {
        QualifiedName::read(&self.table)
    }

    /// The columns' names.
    pub fn column_names(&self) -> Vec<String> {
        Reader::of(&self.columns)
            .filter_map(|token| token.name())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_statements_are_taken_apart() {
        let table = [
            (
                "COPY public.users (id, \"select\") FROM stdin;\n",
                "public.users",
                "id, \"select\"",
            ),
            ("COPY public.none  FROM stdin;", "public.none", ""),
            (
                "COPY \"My Schema\".\"ta\"\"ble.\n(x) FROM stdin;\" (a, \"b)\nFROM stdin;\") FROM stdin;",
                "\"My Schema\".\"ta\"\"ble.\n(x) FROM stdin;\"",
                "a, \"b)\nFROM stdin;\"",
            ),
        ];
        for (statement, table, columns) in table {
            let expected = CopyTarget {
                table: table.to_owned(),
                columns: columns.to_owned(),
            };
            assert_eq!(CopyTarget::parse(statement.as_bytes()), Some(expected));
        }
        for other in [
            "COPY t (a) TO stdout;",
            "COPY  FROM stdin;",
            "SELECT 1;",
            "",
        ] {
            assert_eq!(CopyTarget::parse(other.as_bytes()), None, "{other}");
        }
    }
}
