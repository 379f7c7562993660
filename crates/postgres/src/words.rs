//! Counts and lists in sentences.

/// `1 table`, `2 tables`, `3 indexes`, `2 directories`.
pub fn counted(count: u64, noun: &str) -> String {
    if count == 1 {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) => format!("{count} {stem}ies"),
        None if noun.ends_with(['s', 'x']) => format!("{count} {noun}es"),
        None => format!("{count} {noun}s"),
    }
}

/// The first names, and how many more there are: `a, b and 3 more`. Control characters, which names of users may hold, are `?`.
pub fn listed(names: &[String], most: usize) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(most)
        .map(|name| name.replace(char::is_control, "?"))
        .collect();
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
    fn counts_and_lists_read_like_english() {
        assert_eq!(counted(1, "table"), "1 table");
        assert_eq!(counted(0, "table"), "0 tables");
        assert_eq!(counted(2, "index"), "2 indexes");
        assert_eq!(counted(2, "directory"), "2 directories");
        let names = ["a", "b\n", "c"].map(str::to_owned);
        assert_eq!(listed(&names, 2), "a, b? and 1 more");
        assert_eq!(listed(&names[..1], 2), "a");
    }
}
