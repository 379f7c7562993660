//! Findings of several lookers, each fault once.

use engine::finding::{Check, Outcome};

/// A finding, and what it stops.
pub struct Finding {
    /// As it was found first.
    pub check: Check,
    /// A run, or a step of it.
    pub stops_run: bool,
    /// A restore.
    pub stops_restore: bool,
}

/// All of them, in the order they were made.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Takes a finding. The same fault of the same subject is one finding that stops both.
    pub fn add(&mut self, check: Check) {
        let (stops_run, stops_restore) = (check.stops_run(), check.stops_restore());
        let same = self.0.iter_mut().find(|other| {
            check.outcome != Outcome::Passed
                && check.fault.is_some()
                && other.check.fault == check.fault
                && other.check.subject == check.subject
        });
        match same {
            Some(other) => {
                other.check.outcome = other.check.outcome.max(check.outcome);
                other.stops_run |= stops_run;
                other.stops_restore |= stops_restore;
            }
            None => self.0.push(Finding {
                check,
                stops_run,
                stops_restore,
            }),
        }
    }

    pub fn all(&self) -> &[Finding] {
        &self.0
    }
}

impl Extend<Check> for Findings {
    fn extend<T: IntoIterator<Item = Check>>(&mut self, checks: T) {
        for check in checks {
            self.add(check);
        }
    }
}
