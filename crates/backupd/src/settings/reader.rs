//! How the environment's text becomes the values of settings.

use std::collections::BTreeMap;

use super::problems::Problems;
use super::setting::{Fallback, Setting};

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
