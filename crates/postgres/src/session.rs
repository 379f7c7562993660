//! The settings that every session of ours has, whatever a role, a database or a URL may carry.
//!
//! Who owns a database or a role may give it settings, and whoever may create in a schema of its `search_path` can put operators and
//! functions in front of PostgreSQL's own: a session of a superuser would run them. So each session begins with these settings as
//! start-up options, which outrank `ALTER ROLE … SET` and `ALTER DATABASE … SET` (PostgreSQL manual 20.1.3), and then looks whether it
//! has them: a pooler may have dropped the options.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What every server knows and every role may set. Values as `current_setting` tells them.
const EVERYWHERE: [(&str, &str); 23] = [
    // Nothing but pg_catalog, which is searched first where it is not named.
    ("search_path", ""),
    ("role", "none"),
    // Whatever the database is in: the server converts.
    ("client_encoding", "UTF8"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_isolation", "read committed"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
    ("default_tablespace", ""),
    // What was said to be done is still so after a crash of the server.
    ("synchronous_commit", "on"),
    ("client_min_messages", "warning"),
];
/// What only newer servers know: others end a connection that begins with them.
const NEWER: [(&str, &str); 2] = [("idle_session_timeout", "0"), ("transaction_timeout", "0")];
/// What only a superuser may set. The server's words are read by people, and PostgreSQL's programs pass them on in them.
const SUPERUSERS: [(&str, &str); 2] =
    [("lc_messages", "C"), ("session_replication_role", "origin")];
/// Set by hand in a URL, it is what the operator wants: a login role that is somebody else's.
const ROLE: &str = "role";

/// What the way to a server takes, learned by the first connection and shared by all copies of a DSN.
#[derive(Clone, Default)]
pub(crate) struct Way(Arc<AtomicU8>, Arc<Mutex<BTreeSet<i32>>>);

const UNKNOWN: u8 = 0;
const SUPERUSER: u8 = 1;
const NO_OPTIONS: u8 = 2;

impl Way {
    /// The connections of this DSN are a superuser's.
    pub fn is_superusers(&self) {
        // A way that takes no options takes none of a superuser's.
        let _ = self
            .0
            .compare_exchange(UNKNOWN, SUPERUSER, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A pooler refuses start-up options.
    pub fn takes_no_options(&self) {
        self.0.store(NO_OPTIONS, Ordering::Relaxed);
    }

    /// A session of ours has this process on the server. A name is no proof of that: every session may give itself any.
    pub fn has_session(&self, pid: i32) {
        self.sessions().insert(pid);
    }

    /// The server's processes that are sessions of ours, or were: one that we left ends by and by.
    pub fn our_sessions(&self) -> Vec<i32> {
        self.sessions().iter().copied().collect()
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, BTreeSet<i32>> {
        // A panic elsewhere leaves a plain set behind.
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Start-up options for PostgreSQL's programs. Where a pooler takes none, pg_dump and pg_dumpall still empty the `search_path` as the
    /// first thing they do.
    pub fn child_options(&self, own: Option<&str>) -> Option<String> {
        match self.0.load(Ordering::Relaxed) {
            NO_OPTIONS => own.map(str::to_owned),
            SUPERUSER => Some(options_and(own, &SUPERUSERS)),
            _ => Some(options(own)),
        }
    }
}

/// What was learned is no part of what a DSN is.
impl PartialEq for Way {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Way {}

/// The start-up options of a session: the URL's own, then ours, which hold.
pub(crate) fn options(own: Option<&str>) -> String {
    options_and(own, &[])
}

fn options_and(own: Option<&str>, more: &[(&'static str, &'static str)]) -> String {
    let mut text = own.unwrap_or_default().trim().to_owned();
    for (name, value) in wanted(own).chain(more.iter().copied()) {
        if !text.is_empty() {
            text.push(' ');
        }
        // Spaces part options unless a backslash is before them (libpq's `options`).
        text.push_str(&format!("-c {name}={}", value.replace(' ', "\\ ")));
    }
    text
}

fn wanted(own: Option<&str>) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_others = own.is_some_and(names_a_role);
    EVERYWHERE
        .into_iter()
        .filter(move |(name, _)| !(is_others && *name == ROLE))
}

/// Whether options hold `-c role=…` or `--role=…`, in any of their spellings.
fn names_a_role(own: &str) -> bool {
    let mut words = own.split_ascii_whitespace();
    words.any(|word| {
        let word = word.strip_prefix("--").unwrap_or(word);
        let word = word.strip_prefix("-c").unwrap_or(word);
        word.split_once('=')
            .is_some_and(|(name, _)| name.eq_ignore_ascii_case(ROLE))
    })
}

/// Asks whether the session is a superuser's, which process serves it, and for everything that is to be set. No operator, no name without
/// its schema: whatever the `search_path` is, nobody else's code runs.
pub(crate) fn question(own: Option<&str>) -> String {
    let mut query =
        "SELECT pg_catalog.current_setting('is_superuser'), pg_catalog.pg_backend_pid()".to_owned();
    for (name, _) in all(own) {
        query.push_str(&format!(", pg_catalog.current_setting('{name}', true)"));
    }
    query
}

/// The statements that bring a session from what it told to what it is to be; empty when there is nothing to do. `told` yields the
/// question's columns.
pub(crate) fn correction<'a>(own: Option<&str>, told: impl Fn(usize) -> Option<&'a str>) -> String {
    let superuser = told(0) == Some("on");
    let mut statements = String::new();
    for (at, (name, value)) in all(own).enumerate() {
        let is_superusers = SUPERUSERS.iter().any(|(theirs, _)| *theirs == name);
        match told(at + 2) {
            // A setting that this server does not know, or one that this role may not change.
            None => {}
            Some(_) if is_superusers && !superuser => {}
            // pg_catalog alone, quoted or not, is what is wanted too.
            Some("\"\"") if name == "search_path" => {}
            Some(is) if is == value => {}
            Some(_) => statements.push_str(&format!("SET {name} = '{value}'; ")),
        }
    }
    statements
}

fn all(own: Option<&str>) -> impl Iterator<Item = (&'static str, &'static str)> {
    wanted(own).chain(NEWER).chain(SUPERUSERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_come_after_the_urls_own_and_a_role_that_was_asked_for_stays() {
        let own = options(Some("-c search_path=public -c geqo=off"));
        assert!(own.starts_with("-c search_path=public -c geqo=off -c search_path= -c role=none"));
        assert!(own.contains(" -c default_transaction_isolation=read\\ committed "));
        for spelling in ["-c role=x", "-crole=x", "--role=x", "-c geqo=off -c ROLE=x"] {
            let text = options(Some(spelling));
            assert!(!text.contains("role=none"), "{text}");
            assert!(!question(Some(spelling)).contains("'role'"));
        }
        assert!(options(Some("-c a.role2=x")).contains("role=none"));
    }

    #[test]
    fn only_what_differs_is_set() {
        let names: Vec<&str> = all(None).map(|(name, _)| name).collect();
        let told = |superuser: &'static str, path: &'static str| {
            let names = names.clone();
            move |at: usize| match at {
                0 => Some(superuser),
                at => match names[at - 2] {
                    "search_path" => Some(path),
                    "transaction_timeout" => None,
                    "lc_messages" => Some("de_DE.UTF-8"),
                    name => all(None)
                        .find(|(other, _)| *other == name)
                        .map(|(_, value)| value),
                },
            }
        };
        assert_eq!(correction(None, told("off", "\"\"")), "");
        assert_eq!(
            correction(None, told("on", "public, pg_catalog")),
            "SET search_path = ''; SET lc_messages = 'C'; "
        );
    }

    #[test]
    fn programs_get_what_the_way_takes() {
        let way = Way::default();
        let copy = way.clone();
        assert!(!way.child_options(None).unwrap().contains("lc_messages"));
        copy.is_superusers();
        assert!(way.child_options(None).unwrap().contains("lc_messages=C"));
        copy.takes_no_options();
        copy.is_superusers();
        assert_eq!(way.child_options(Some("-c a=b")).unwrap(), "-c a=b");
        assert_eq!(way.child_options(None), None);
    }
}
