//! How the environment's text becomes the values of settings.

use std::collections::BTreeMap;

use super::problems::Problems;
use super::setting::{Fallback, Setting};

/// Reads settings, and collects what is wrong with them.
pub struct Reader<'a> {
    vars: &'a BTreeMap<String, String>,
    /// What was wrong so far.
    pub problems: Problems,
}

impl<'a> Reader<'a> {
    /// Nothing is read yet.
    pub fn new(vars: &'a BTreeMap<String, String>) -> Self {
        let problems = Problems::default();
        Self { vars, problems }
    }

    /// The setting's value, or its fallback's; none where it is absent or wrong, which is told.
    pub fn read<T>(&mut self, setting: &Setting<T>) -> Option<T> {
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

    /// Its text, where it is set.
    pub fn text<T>(&self, setting: &Setting<T>) -> Option<&'a str> {
        self.vars.get(setting.name).map(String::as_str)
    }
}
