//! Lists in sentences, and the words of others as they may be printed.

pub use stream::words::counted;

/// Words that a server, a dump or a file name brought, on one line: whatever could move a cursor, begin a line or turn the direction of
/// writing is `?`.
pub fn one_line(text: &str) -> String {
    text.replace(acts, "?")
}

/// As [`one_line`], with the line breaks and tabs of statements.
pub fn printable(text: &str) -> String {
    text.replace(|c| acts(c) && !matches!(c, '\n' | '\t'), "?")
}

/// Whether a character does something to a terminal other than to stand there.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The first names, and how many more there are: `a, b and 3 more`; each as [`one_line`] tells it.
pub fn listed(names: &[String], most: usize) -> String {
    let shown: Vec<String> = names.iter().take(most).map(|name| one_line(name)).collect();
    let rest = names.len().saturating_sub(most);
    if rest == 0 {
        shown.join(", ")
    } else {
        format!("{} and {rest} more", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_like_english() {
        let names = ["a", "b\n", "c"].map(str::to_owned);
        assert_eq!(listed(&names, 2), "a, b? and 1 more");
        assert_eq!(listed(&names[..1], 2), "a");
    }

    #[test]
    fn words_of_others_cannot_act() {
        let words = "ü\u{1b}[2K\r\u{9b}1A\u{202e}\u{2028}\n\tb";
        assert_eq!(one_line(words), "ü?[2K??1A????b");
        assert_eq!(printable(words), "ü?[2K??1A??\n\tb");
    }
}
