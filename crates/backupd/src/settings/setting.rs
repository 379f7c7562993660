//! What a setting is, and how the environment's text becomes its value.

use std::collections::BTreeMap;

use super::Problems;
use super::table::SETTINGS;

/// A setting with a value of type `T`.
pub struct Setting<T: 'static> {
    /// Its name in the environment.
    pub name: &'static str,
    /// Whether it may hold a secret; then `NAME_FILE` is read too, and no message repeats its text.
    pub secret: bool,
    /// What holds where it is not set.
    pub fallback: Fallback,
    /// Its value; or what is wrong with the text and what to write instead, to follow `NAME=text`.
    pub parse: fn(&str) -> Result<T, String>,
}

/// What holds where a setting is not set.
#[derive(Clone, Copy)]
pub enum Fallback {
    /// Nothing does: what to do about it.
    Required(&'static str),
    /// This text, read as if it had been set.
    Text(&'static str),
    /// What the documentation calls it; the program does without the value.
    Absent(&'static str),
}

impl Fallback {
    /// In Markdown.
    pub fn in_words(self) -> String {
        match self {
            Self::Required(_) => "required".to_owned(),
            Self::Text(text) => format!("`{text}`"),
            Self::Absent(word) => word.to_owned(),
        }
    }
}

/// A setting for whoever does not ask for its value: documents, and the look-up of names.
pub struct Entry {
    /// Its name in the environment.
    pub name: &'static str,
    /// Whether `NAME_FILE` is read too.
    pub secret: bool,
    /// What holds where it is not set.
    pub fallback: Fallback,
    /// The part of the documents that it belongs to.
    pub theme: Theme,
    /// What it means, in Markdown. The first sentence is what the example file says of it.
    pub help: &'static str,
}

impl Entry {
    /// The first sentence of what it means, without Markdown.
    pub fn sentence(&self) -> String {
        let end = self.help.find(". ").unwrap_or(self.help.len());
        let mut rest = self.help[..end].trim_end_matches('.');
        let mut plain = String::new();
        while let Some((before, link)) = rest.split_once('[')
            && let Some((words, target)) = link.split_once("](")
            && let Some((_, after)) = target.split_once(')')
        {
            plain += before;
            plain += words;
            rest = after;
        }
        (plain + rest).replace('`', "").replace("\\|", "|")
    }
}

/// A part of the documents; the commands that read its settings are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Where data come from.
    Sources,
    /// How artifacts are written.
    Making,
    /// What is kept.
    Keeping,
    /// What is an anomaly.
    Anomalies,
    /// When the daemon runs, and where it is asked.
    Daemon,
    /// Restores and drills.
    Restoring,
    /// How logs are written.
    Logs,
}

impl Theme {
    /// Its heading in the documents.
    pub fn title(self) -> &'static str {
        match self {
            Self::Sources => "Sources",
            Self::Making => "What is made",
            Self::Keeping => "What is kept",
            Self::Anomalies => "Anomalies",
            Self::Daemon => "The daemon",
            Self::Restoring => "Restore and drills",
            Self::Logs => "Logs",
        }
    }
}

/// Reads settings, and collects what is wrong with them.
pub struct Reader<'a> {
    vars: &'a BTreeMap<String, String>,
    /// Secrets whose file gave nothing, with the reason.
    unread: &'a BTreeMap<&'static str, String>,
    /// What was wrong so far.
    pub problems: Problems,
}

impl<'a> Reader<'a> {
    /// Nothing is read yet.
    pub fn new(
        vars: &'a BTreeMap<String, String>,
        unread: &'a BTreeMap<&'static str, String>,
    ) -> Self {
        let problems = Problems::default();
        Self {
            vars,
            unread,
            problems,
        }
    }

    /// The setting's value, or its fallback's; none where it is absent or wrong, which is told.
    pub fn read<T>(&mut self, setting: &Setting<T>) -> Option<T> {
        if let Some(why) = self.unread.get(setting.name) {
            self.problems.say(why.clone());
            return None;
        }
        let text = match (self.text(setting), setting.fallback) {
            (Some(text), _) | (None, Fallback::Text(text)) => text,
            (None, Fallback::Absent(_)) => return None,
            (None, Fallback::Required(fix)) => {
                self.problems
                    .say(format!("{} is missing: {fix}", setting.name));
                return None;
            }
        };
        match (setting.parse)(text.trim()) {
            Ok(value) => Some(value),
            Err(fault) if setting.secret => {
                self.problems.say(format!("{}: {fault}", setting.name));
                None
            }
            Err(fault) => {
                self.problems
                    .say(format!("{}={text} {fault}", setting.name));
                None
            }
        }
    }

    /// Whether it is set, if only to what could not be read.
    pub fn is_set<T>(&self, setting: &Setting<T>) -> bool {
        self.text(setting).is_some() || self.unread.contains_key(setting.name)
    }

    /// Its text, where it is set.
    pub fn text<T>(&self, setting: &Setting<T>) -> Option<&'a str> {
        self.vars.get(setting.name).map(String::as_str)
    }
}

/// Variables of our Compose files, which are Compose's to read: from the shell, or from `.env`.
const OF_COMPOSE: &[&str] = &[
    "BACKUP_BUILD_CONTEXT",
    "BACKUP_CONTAINER",
    "BACKUP_DB_CONFIG_VOLUME",
    "BACKUP_ENV_FILE",
    "BACKUP_HOST_DIR",
    "BACKUP_IMAGE",
    "BACKUP_KEYCLOAK_NETWORK",
    "BACKUP_MEMORY",
    "BACKUP_NETWORK",
    "BACKUP_PG_MAJOR",
    "BACKUP_PORT",
    "BACKUP_SECRETS_DIR",
    "BACKUP_STACK_DIR",
    "BACKUP_STORAGE_DIR",
    "BACKUP_SUITE",
    "BACKUP_USER",
];

/// The prefix that is ours alone. The other names belong to Supabase and Keycloak, which have more settings than we read.
const PREFIX: &str = "BACKUP_";

/// More edits than this between two names, and they are different words.
const NEAR_EDITS: usize = 6;

/// Whether a variable is one of ours, known or not.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || is_known(name)
}

/// The complaint about a `BACKUP_*` name that is no setting.
pub fn unknown(name: &str) -> Option<String> {
    if !name.starts_with(PREFIX) || is_known(name) {
        return None;
    }
    if OF_COMPOSE.contains(&name) {
        return Some(format!(
            "{name} is for Compose, not for backupd: move it from backup.env to .env"
        ));
    }
    let nearest = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .filter(|known| known.starts_with(PREFIX))
        .min_by_key(|known| strsim::damerau_levenshtein(known, name))
        .filter(|known| strsim::damerau_levenshtein(known, name) <= NEAR_EDITS);
    Some(match nearest {
        Some(known) => format!("{name} is no setting of backupd: did you mean {known}?"),
        None => format!("{name} is no setting of backupd: remove it"),
    })
}

fn is_known(name: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        let by_file = || name.strip_suffix("_FILE") == Some(setting.name);
        name == setting.name || (setting.secret && by_file())
    })
}

/// The table of settings: a constant for each, and all of them for documents.
macro_rules! settings {
    ($( $theme:ident { $( $secret:ident $name:ident : $type:ty = $fallback:expr, $parse:expr, $help:literal; )+ } )+) => {
        $($(
            #[doc = $help]
            pub const $name: Setting<$type> = Setting {
                name: stringify!($name),
                secret: $crate::settings::setting::is_secret(stringify!($secret)),
                fallback: $fallback,
                parse: $parse,
            };
        )+)+
        /// All settings, in the order of the documents.
        pub const SETTINGS: &[Entry] = &[$($(
            Entry {
                name: $name.name,
                secret: $name.secret,
                fallback: $name.fallback,
                theme: Theme::$theme,
                help: $help,
            },
        )+)+];
    };
}
pub(super) use settings;

/// The first word of a line of the table: `secret`, or `plain`.
pub const fn is_secret(word: &str) -> bool {
    matches!(word.as_bytes(), b"secret")
}
