use proptest::prelude::*;

use super::*;

/// Kinds and texts of the tokens of a text that comes in pieces of one size.
fn tokens(text: &[u8], size: usize) -> Vec<(TokenKind, Vec<u8>)> {
    let mut lexer = Lexer::default();
    let mut tokens: Vec<(TokenKind, Vec<u8>)> = Vec::new();
    let mut take = |part: Part<'_>| match tokens.last_mut() {
        Some((kind, text)) if !part.begins => {
            assert_eq!(*kind, part.kind);
            text.extend(part.bytes);
        }
        _ => tokens.push((part.kind, part.bytes.to_vec())),
    };
    for mut piece in text.chunks(size) {
        while !piece.is_empty() {
            if let Some(part) = lexer.next(&mut piece) {
                take(part);
            }
        }
    }
    if let Some(part) = lexer.end() {
        take(part);
    }
    tokens
}

fn shown(text: &str) -> Vec<(TokenKind, String)> {
    let tokens = tokens(text.as_bytes(), usize::MAX).into_iter();
    tokens
        .filter(|(kind, _)| *kind != TokenKind::Blank)
        .map(|(kind, text)| (kind, String::from_utf8(text).unwrap()))
        .collect()
}

#[test]
fn tokens_are_those_of_postgresql() {
    use TokenKind::{Body, Command, Comment, Name, Symbol, Text, Word};
    let text = Text { escapes: false };
    let escaped = Text { escapes: true };
    let table: &[(&str, &[(TokenKind, &str)])] = &[
        (
            "a1_é$ 5.x",
            &[
                (Word, "a1_é$"),
                (Word, "5"),
                (Symbol(b'.'), "."),
                (Word, "x"),
            ],
        ),
        ("\"a\"\"b\"\"\"", &[(Name, "\"a\"\"b\"\"\"")]),
        (
            "'it''s\\' E'\\''",
            &[(text, "'it''s\\'"), (escaped, "E'\\''")],
        ),
        (
            "E 'a' ee'b' $e'c'",
            &[
                (Word, "E"),
                (text, "'a'"),
                (Word, "ee"),
                (text, "'b'"),
                (Word, "$e"),
                (text, "'c'"),
            ],
        ),
        ("e'a\\\\' 'b'", &[(escaped, "e'a\\\\'"), (text, "'b'")]),
        ("$$a$b$$c", &[(Body, "$$a$b$$"), (Word, "c")]),
        ("$a_1$ $a$ $$ $a_1$", &[(Body, "$a_1$ $a$ $$ $a_1$")]),
        (
            "$1 a$b$ $1$",
            &[(Word, "$1"), (Word, "a$b$"), (Word, "$1$")],
        ),
        (
            "a-b--c\n-",
            &[
                (Word, "a"),
                (Symbol(b'-'), "-"),
                (Word, "b"),
                (Comment, "--c"),
                (Symbol(b'-'), "-"),
            ],
        ),
        (
            "a/b/*c/*d*/'*/e",
            &[
                (Word, "a"),
                (Symbol(b'/'), "/"),
                (Word, "b"),
                (Comment, "/*c/*d*/'*/"),
                (Word, "e"),
            ],
        ),
        (
            "/*/ */ /**/ /***/",
            &[(Comment, "/*/ */"), (Comment, "/**/"), (Comment, "/***/")],
        ),
        (
            "\\restrict a'b\n;",
            &[(Command, "\\restrict a'b"), (Symbol(b';'), ";")],
        ),
    ];
    for (sql, expected) in table {
        let expected: Vec<_> = expected
            .iter()
            .map(|(kind, text)| (*kind, (*text).to_owned()))
            .collect();
        assert_eq!(shown(sql), expected, "{sql}");
    }
}

#[test]
fn a_text_may_end_where_no_token_is_open() {
    for (sql, expected) in [
        ("a", true),
        ("'a'", true),
        ("-- a", true),
        ("-", false),
        ("'a", false),
        ("\"a", false),
        ("E'\\", false),
        ("/* /* */", false),
        ("$a$ $a", false),
        ("$a$ $a$", true),
    ] {
        let mut lexer = Lexer::default();
        let mut rest = sql.as_bytes();
        while lexer.next(&mut rest).is_some() {}
        assert_eq!(lexer.is_at_rest(), expected, "{sql}");
    }
}

proptest! {
    #[test]
    fn tokens_put_together_are_the_text_however_it_is_cut(
        text in "(['\"$\\\\/*;()E \n-]|\\$a?\\$|--|/\\*|\\*/|''|[a-z0-9é]){0,60}",
        size in 1..9_usize,
    ) {
        let whole = tokens(text.as_bytes(), usize::MAX);
        let together: Vec<u8> = whole.iter().flat_map(|(_, text)| text.clone()).collect();
        prop_assert_eq!(together, text.as_bytes());
        prop_assert_eq!(tokens(text.as_bytes(), size), whole);
    }
}
