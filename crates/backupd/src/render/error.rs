//! What failed, why, and what to do, on standard error. Servers, dumps and file names have their words in it, which users choose.

use std::error::Error;

use postgres::words::printable;

/// Prints a failure and the chain of its causes.
pub fn print(what: &str, error: &dyn Error) {
    let mut text = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    say(&text);
}

/// Prints a failure.
pub fn say(text: &str) {
    eprintln!("error: {}", belonging(text));
}

/// Prints something worth knowing.
pub fn note(text: &str) {
    eprintln!("note: {}", belonging(text));
}

/// A message's further lines are indented: none of them looks like a message of its own.
fn belonging(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, line) in printable(text).split('\n').enumerate() {
        if at > 0 {
            shown.push('\n');
            if !line.is_empty() && !line.starts_with(' ') {
                shown.push_str("  ");
            }
        }
        shown.push_str(line);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_make_no_message_of_their_own() {
        assert_eq!(
            belonging("ERROR: x\u{1b}[1A\nerror: y\n  z\n"),
            "ERROR: x?[1A\n  error: y\n  z\n"
        );
    }
}
