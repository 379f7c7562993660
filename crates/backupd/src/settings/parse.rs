//! Single values: numbers, choices, durations, paths, lists. Each says what is wrong with a text, and what to write instead.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::{TZ_VARIANTS, Tz};
use engine::config::{LABEL_MAX, OtherDatabases, is_label};
use policy::anomaly::{NoPattern, Pattern};
use postgres::dsn::Dsn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Any text.
#[allow(
    clippy::unnecessary_wraps,
    reason = "a parser as all others of the table"
)]
pub fn text(value: &str) -> Result<String, String> {
    Ok(value.to_owned())
}

/// One of a few words.
pub fn choice<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(value));
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        format!("is unknown: use {}", words.join(" or "))
    })
}

/// A whole number within bounds.
pub fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    value: &str,
    (min, max): (T, T),
) -> Result<T, String> {
    value
        .parse()
        .ok()
        .filter(|number| *number >= min && *number <= max)
        .ok_or_else(|| format!("is not a whole number from {min} to {max}"))
}

/// An absolute path.
pub fn absolute(value: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("is not an absolute path: begin it with /".to_owned())
    }
}

/// A path that a socket can have.
pub fn socket(value: &str) -> Result<PathBuf, String> {
    /// `sun_path` has 108 bytes, the last of them 0 (unix(7)).
    const MOST_BYTES: usize = 107;
    let path = absolute(value)?;
    if path.as_os_str().len() > MOST_BYTES {
        return Err(format!(
            "is longer than the {MOST_BYTES} bytes a socket's path may have"
        ));
    }
    Ok(path)
}

/// A PostgreSQL URL.
pub fn dsn(value: &str) -> Result<Dsn, String> {
    Dsn::parse(value).map_err(|error| error.to_string())
}

/// `IP:PORT`.
pub fn address(value: &str) -> Result<SocketAddr, String> {
    value.parse().map_err(|_| {
        "is no address: use IP:PORT, as in 0.0.0.0:8484, 127.0.0.1:8484 or [::]:8484".to_owned()
    })
}

/// Words between commas.
pub fn list(value: &str) -> Vec<String> {
    let words = value.split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Names of hosts, in small letters.
pub fn hosts(value: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = list(&value.to_ascii_lowercase());
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match names.iter().find(|name| !name.chars().all(is_name)) {
        Some(name) => Err(format!(
            "has {name}, which is no name of a host: use names without scheme and port, separated by commas, as in status.example.org"
        )),
        None => Ok(names),
    }
}

/// A time zone.
pub fn zone(value: &str) -> Result<Tz, String> {
    value.parse().map_err(|_| {
        let nearest = TZ_VARIANTS
            .iter()
            .map(|zone| zone.name())
            .min_by_key(|name| strsim::damerau_levenshtein(name, value))
            .unwrap_or("UTC");
        format!("is no time zone: use a name such as Europe/Berlin or UTC; did you mean {nearest}?")
    })
}

/// A span of time, `90`, `90s`, `45m`, `6h`, `2d`; or none for `off`.
pub fn duration_or_off(value: &str) -> Result<Option<Duration>, String> {
    if value.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    duration(value).map(Some).ok_or_else(|| {
        "is no span of time: use seconds (5400), a unit (90m, 6h, 2d) or off".to_owned()
    })
}

/// As [`duration_or_off`], and `0` is `off` too.
pub fn delay(value: &str) -> Result<Option<Duration>, String> {
    match value {
        "0" => Ok(None),
        value => duration_or_off(value),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, seconds) = match text.char_indices().last()? {
        (at, 's') => (&text[..at], 1),
        (at, 'm') => (&text[..at], 60),
        (at, 'h') => (&text[..at], 3600),
        (at, 'd') => (&text[..at], 24 * 3600),
        _ => (text, 1),
    };
    let count: u64 = digits.parse().ok().filter(|count| *count > 0)?;
    Some(Duration::from_secs(count.checked_mul(seconds)?))
}

/// `label=value,label=value`. Only a comma before a label parts two pairs, so that a value may hold commas itself.
pub fn pairs(value: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in value.split(',') {
        match part.split_once('=') {
            Some((label, value)) if is_label(label.trim()) => {
                pairs.push((label.trim().to_owned(), value.trim().to_owned()));
            }
            _ if part.trim().is_empty() => {}
            _ => match pairs.last_mut() {
                Some((_, value)) => {
                    value.push(',');
                    value.push_str(part);
                }
                None => {
                    return Err(format!(
                        "is not a list of label=value: a label is lower-case letters, digits, - and _, at most {LABEL_MAX}"
                    ));
                }
            },
        }
    }
    Ok(pairs)
}

/// As [`pairs`], each label and value read by `parse`; all faults are told.
fn labelled<T>(
    value: &str,
    parse: fn(&str, &str) -> Result<T, String>,
) -> Result<Vec<(String, T)>, String> {
    let mut read = Vec::new();
    let mut faults = Vec::new();
    for (label, text) in pairs(value)? {
        match parse(&label, &text) {
            Ok(value) => read.push((label, value)),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(read)
    } else {
        Err(faults.join("; "))
    }
}

/// `label=postgres://…,label=…`.
pub fn labelled_dsns(value: &str) -> Result<Vec<(String, Dsn)>, String> {
    labelled(value, |label, text| {
        Dsn::parse(text).map_err(|error| format!("{label}: {error}"))
    })
}

/// `label=/path,label=/path`.
pub fn labelled_paths(value: &str) -> Result<Vec<(String, PathBuf)>, String> {
    labelled(value, |label, text| {
        absolute(text).map_err(|fault| format!("has {label}={text}, which {fault}"))
    })
}

/// `schema.table,…` with `*`.
pub fn patterns(value: &str) -> Result<Vec<Pattern>, String> {
    let patterns: Result<Vec<_>, NoPattern> = list(value).iter().map(|name| name.parse()).collect();
    patterns.map_err(|error| format!("is no list of tables: {error}"))
}

const LEVELS: &str = "error, warn, info, debug or trace, or a filter such as `info,postgres=debug`";

/// `BACKUP_LOG`.
pub fn level(value: &str) -> Result<String, String> {
    if is_filter(value) {
        Ok(value.to_owned())
    } else {
        Err(format!("is no log level: use {LEVELS}"))
    }
}

/// Whether it says how much is told. The library takes a misspelt level for the name of a part of the program, and tells nothing.
fn is_filter(text: &str) -> bool {
    let words = text.split(',').filter(|word| !word.is_empty());
    let bare = words.filter(|word| !word.contains('='));
    let levels: Vec<_> = bare.map(str::parse::<LevelFilter>).collect();
    !levels.is_empty() && levels.iter().all(Result::is_ok) && EnvFilter::try_new(text).is_ok()
}

/// `BACKUP_DATABASES`.
pub fn others(value: &str) -> Result<OtherDatabases, String> {
    let names = list(value);
    let words = ["all", "none"];
    match names.as_slice() {
        [] => Err("names no database: use all, none, or names separated by commas".to_owned()),
        [one] if one == "none" => Ok(OtherDatabases::LeftOut),
        [one] if one == "all" => Ok(OtherDatabases::All),
        _ => match names.iter().find(|name| words.contains(&name.as_str())) {
            Some(word) => Err(format!(
                "mixes `{word}` with names: say {word} alone, or names alone (a database called {word} goes into \
                 BACKUP_EXTRA_DATABASES)"
            )),
            None => Ok(OtherDatabases::Named(names)),
        },
    }
}

/// `BACKUP_STORAGE_PREFIX`.
pub fn prefix(value: &str) -> Result<String, String> {
    if value.split('/').any(|part| part == "..") {
        return Err(
            "leads out of the storage tree: name directories below it, as in stub/stub, or / for none"
                .to_owned(),
        );
    }
    Ok(value.to_owned())
}

/// A URL as Keycloak has it, or as PostgreSQL has.
pub fn jdbc_or_dsn(value: &str) -> Result<Dsn, String> {
    Dsn::parse_jdbc(value).map_err(|error| error.to_string())
}
