//! What a setting is.

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
