//! What of a server's error may be passed on: into a log, a history, a report, a page. No row's content is among it.
//!
//! DETAIL, HINT and CONTEXT hold whole rows (`Failing row contains (…)`, `COPY t, line 1: "…"`): of them only the line is taken. Nor is
//! every message without content: of what cannot be read as a value the message quotes the value, and a function of a user's raises any
//! text. Whoever may see rows finds all of it in the server's own log, where it is written by default.

use tokio_postgres::error::DbError;

/// The class of errors that quote values (PostgreSQL manual, appendix A: data exceptions).
const DATA: &str = "22";
/// Classes of errors that functions raise, in PL/pgSQL and in other languages.
const RAISED: [&str; 3] = ["P0", "38", "39"];
/// The function of PL/pgSQL that raises an error under whatever code.
const RAISE: &str = "exec_stmt_raise";
/// Behind a COPY's table in its context.
const LINE: &str = ", line ";

/// The message, without values.
pub(crate) fn message(told: &DbError) -> String {
    let code = told.code().code();
    if RAISED.iter().any(|class| code.starts_with(class)) || told.routine() == Some(RAISE) {
        return "a function raised an error, whose words are in the server's log".to_owned();
    }
    let of_missing_thing = ["3F", "42P01", "42883", "42704", "42703"]
        .iter()
        .any(|start| code.starts_with(start));
    let in_function = told
        .where_()
        .is_some_and(|context| context.contains(" function "));
    if code.starts_with(DATA) || in_function && !of_missing_thing {
        without_quoted(told.message())
    } else {
        told.message().to_owned()
    }
}

/// The message, and what the error is about: SQLSTATE, table, column, constraint, and the line of rows that were loaded.
pub(crate) fn words(told: &DbError) -> String {
    let mut about = vec![format!("SQLSTATE {}", told.code().code())];
    if let Some(table) = told.table() {
        let schema = told.schema().map(|schema| format!("{schema}."));
        about.push(format!("table {}{table}", schema.unwrap_or_default()));
    }
    let named = [("column", told.column()), ("constraint", told.constraint())];
    for (what, name) in named {
        about.extend(name.map(|name| format!("{what} {name}")));
    }
    about.extend(told.where_().and_then(line));
    format!("ERROR: {} ({})", message(told), about.join(", "))
}

/// What stands between the first quote and the last is a value, with whatever quotes are in it.
fn without_quoted(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}\"…\"{}", &message[..first], &message[last + 1..])
        }
        _ => message.to_owned(),
    }
}

/// `line 3` of `COPY t, line 3, column a: "…"`.
fn line(context: &str) -> Option<String> {
    let copied = context.lines().find(|line| line.starts_with("COPY "))?;
    let behind = &copied[copied.find(LINE)? + LINE.len()..];
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| format!("line {digits}"))
}

/// A statement up to its first string: there a default, a password, or the content of a large object may begin.
pub(crate) fn without_strings(statement: &str) -> String {
    match statement.find(['\'', '$']) {
        Some(end) => format!("{}…", &statement[..end]),
        None => statement.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out() {
        let table = [
            (
                "invalid input syntax for type integer: \"a \"secret\" b\"",
                "invalid input syntax for type integer: \"…\"",
            ),
            (
                "value \"99999\" is out of range for type smallint",
                "value \"…\" is out of range for type smallint",
            ),
            ("division by zero", "division by zero"),
            ("one \" alone", "one \" alone"),
        ];
        for (message, shown) in table {
            assert_eq!(without_quoted(message), shown);
        }
        assert_eq!(
            line("PL/pgSQL function f() line 9 at IF\nCOPY t, line 3, column a: \"x, line 7\""),
            Some("line 3".to_owned())
        );
        assert_eq!(line("PL/pgSQL function f(), line 9 at IF"), None);
        assert_eq!(
            without_strings("CREATE SUBSCRIPTION s CONNECTION 'password=x'"),
            "CREATE SUBSCRIPTION s CONNECTION …"
        );
        assert_eq!(without_strings("CREATE TABLE t ()"), "CREATE TABLE t ()");
    }
}
