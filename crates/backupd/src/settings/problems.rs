//! What is wrong with the settings, told at once.

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn say(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// The value, unless there is any problem.
    pub(super) fn unless<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.len() {
            1 => write!(f, "one setting is wrong; nothing was done:")?,
            n => write!(f, "{n} settings are wrong; nothing was done:")?,
        }
        for problem in &self.0 {
            write!(f, "\n  - {problem}")?;
        }
        write!(f, "\nSettings are described in docs/configuration.md.")
    }
}

impl std::error::Error for Problems {}
