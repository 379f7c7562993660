//! A definition as the server writes it, such that what a dump brings back is written the same.
//!
//! Nearly every definition is: PostgreSQL reads its own text back to the same text. Not so the most usual CHECK constraint on a
//! `varchar`: `x IN ('a', 'b')` is told as `((x)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))`, and once
//! restored as `((x)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text]))`. So casts between the two types
//! of text do not count, nor parentheses around a single word.

/// The words of a definition, without what does not count.
pub(super) fn normal(text: &str) -> String {
    let words = words(text);
    let mut kept: Vec<&str> = Vec::with_capacity(words.len());
    let mut rest = words.as_slice();
    while let Some((word, after)) = rest.split_first() {
        if let Some(behind) = behind_cast(rest) {
            rest = behind;
            continue;
        }
        rest = after;
        kept.push(word);
        if *word == ")" {
            unwrap_last(&mut kept);
        }
    }
    kept.join(" ")
}

/// What follows a cast to text, which begins here.
fn behind_cast<'a, 'b>(words: &'b [&'a str]) -> Option<&'b [&'a str]> {
    let rest = words.strip_prefix(&["::"])?;
    let mut rest = rest
        .strip_prefix(&["text"])
        .or_else(|| rest.strip_prefix(&["character", "varying"]))?;
    if let ["(", _, ")", after @ ..] = rest {
        rest = after;
    }
    while let ["[", "]", after @ ..] = rest {
        rest = after;
    }
    Some(rest)
}

/// Takes the parentheses that ended just now away, where they hold one word or one array and call nothing.
fn unwrap_last(kept: &mut Vec<&str>) {
    let mut depth = 0_usize;
    let open = kept.iter().rposition(|word| {
        match *word {
            ")" => depth += 1,
            "(" => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let Some(open) = open else {
        return;
    };
    let calls = open > 0 && kept[open - 1].starts_with(is_of_word);
    let inside = &kept[open + 1..kept.len() - 1];
    let single = match inside {
        [word] => word.starts_with(|first: char| is_of_word(first) || first == '\''),
        ["ARRAY", "[", elements @ .., "]"] => {
            let mut depth = 0_i64;
            elements.iter().all(|word| {
                depth += i64::from(*word == "[") - i64::from(*word == "]");
                depth >= 0
            })
        }
        _ => false,
    };
    if single && !calls {
        kept.pop();
        kept.remove(open);
    }
}

fn is_of_word(first: char) -> bool {
    first.is_alphanumeric() || matches!(first, '_' | '$' | '"')
}

fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => quoted(rest, first),
            ':' if rest.starts_with("::") => 2,
            _ if is_of_word(first) => rest
                .find(|next: char| !is_of_word(next) || next == '"')
                .unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (word, after) = rest.split_at(length);
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// Length of what stands in quotes here, doubled ones among them.
fn quoted(text: &str, quote: char) -> usize {
    let mut end = 0;
    loop {
        match text[end + 1..].find(quote) {
            None => return text.len(),
            Some(length) => end += length + 2,
        }
        if !text[end..].starts_with(quote) {
            return end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_restore_writes_otherwise_is_the_same() {
        let pairs = [
            (
                "CHECK (((state)::text = ANY ((ARRAY['a b'::character varying, 'it''s'::character varying(20)])::text[])))",
                "CHECK (((state)::text = ANY (ARRAY[('a b'::character varying)::text, ('it''s'::character varying(20))::text])))",
            ),
            ("SELECT a,\n    b\n   FROM t", "SELECT a, b FROM t"),
        ];
        for (before, after) in pairs {
            assert_eq!(normal(before), normal(after));
        }
    }

    #[test]
    fn what_means_something_else_is_not() {
        let pairs = [
            ("(a AND (b OR c))", "((a AND b) OR c)"),
            ("(x = 'a'::text)", "(x = 'b'::text)"),
            ("(x = 'a b'::text)", "(x = 'a  b'::text)"),
            ("(x)::integer", "(x)::bigint"),
            ("f(x)", "fx"),
            ("(auth.uid() = owner)", "(auth.uid() <> owner)"),
            ("\"a b\"", "\"a\" b"),
            ("(- x)", "x"),
        ];
        for (one, other) in pairs {
            assert_ne!(normal(one), normal(other));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([()'\"\\[\\]a:é ]|::text|ARRAY\\[){0,40}") {
            normal(&text);
        }
    }
}
