//! What failed, why, and what to do, on standard error.

use std::error::Error;

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
    eprintln!("error: {text}");
}

/// Prints something worth knowing.
pub fn note(text: &str) {
    eprintln!("note: {text}");
}
