//! What a server says of a statement of a dump that it refuses.

use tokio_postgres::error::Error;

use crate::server::told;

/// Bytes of a statement that a message shows.
const SHOWN_BYTES: usize = 2000;

/// A statement that the server refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFault {
    /// The statement, cut to a length that can be read; empty for what is of none.
    pub statement: String,
    /// Why, in the server's words, without the content of rows.
    pub reason: String,
    /// SQLSTATE; none where the connection was lost.
    pub code: Option<String>,
}

impl std::fmt::Display for LoadFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.statement.is_empty() {
            return f.write_str(&self.reason);
        }
        let statement = told::without_strings(&self.statement);
        write!(f, "{}; the statement is: {statement}", self.reason)
    }
}

impl LoadFault {
    pub(crate) fn of(statement: &str, error: &Error) -> Self {
        Self {
            statement: shown(statement),
            reason: words(error),
            code: error.code().map(|code| code.code().to_owned()),
        }
    }

    /// Whether the statement alone is at fault: not the connection, the server's resources or its disk, nor what the dump may not hold.
    pub fn is_of_statement(&self) -> bool {
        const OF_THE_SERVER: [&str; 5] = ["08", "53", "57", "58", "XX"];
        let is_of_the_server =
            |code: &String| OF_THE_SERVER.iter().any(|class| code.starts_with(class));
        // 58P01 is an extension's file that is not there.
        self.code
            .as_ref()
            .is_some_and(|code| code == "58P01" || !is_of_the_server(code))
    }

    /// Whether the function, relation or schema is not there that the statement is about.
    pub fn is_of_missing_object(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        ["3F000", "42P01", "42883"].contains(&code)
    }

    /// Whether something that the statement names is not there.
    pub fn is_of_missing_thing(&self) -> bool {
        const MISSING: [&str; 6] = ["3F000", "42P01", "42883", "42704", "42703", "58P01"];
        self.code
            .as_deref()
            .is_some_and(|code| MISSING.contains(&code))
    }
}

/// As much of a statement as a person reads, on one line less its rows.
fn shown(statement: &str) -> String {
    let mut end = statement.len().min(SHOWN_BYTES);
    while !statement.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < statement.len() { " …" } else { "" };
    format!("{}{cut}", statement[..end].trim())
}

fn words(error: &Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), told::words)
}
