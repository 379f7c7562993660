//! What a restore into a scratch server fails with for that server's sake, and not the set's.

use std::collections::{BTreeMap, BTreeSet};

use catalog::drill::DatabaseDrill;
use postgres::restore::LoadFault;

use crate::source::database::restore::job::Progress;

/// Statements that a report names for each thing that the scratch server lacks.
const EXCUSED_NAMED: usize = 10;
const NEEDS_EXTENSION: &str = "needs an extension that the scratch server lacks";
/// Names some of what failed for a reason that is not the set's.
fn list(words: &str, faults: &[&LoadFault], found: &mut DatabaseDrill) {
    let more = faults.len().saturating_sub(EXCUSED_NAMED);
    let named = faults.iter().take(EXCUSED_NAMED);
    found
        .not_proven
        .extend(named.map(|fault| format!("{words}: {fault}")));
    if more > 0 {
        found.not_proven.push(format!("{words}: {more} more"));
    }
}

/// What a fault of the scratch server, and not of the set, looks like.
pub(super) struct Excuses {
    /// Names of extensions that are absent there, and of what needs them.
    pub absent: BTreeSet<String>,
    /// It is somebody's server, and lacks roles.
    pub lacks_roles: bool,
    /// It reaches nobody.
    pub no_network: bool,
}

impl Excuses {
    /// Tells what failed for the scratch server's sake from what a restore would have failed with, too.
    pub fn sort(&self, done: &mut Progress, found: &mut DatabaseDrill) {
        let mut excused: BTreeMap<&str, Vec<&LoadFault>> = BTreeMap::new();
        // Members of an extension that this server does not have, or not with all that it brought.
        if self.absent.is_empty() {
            done.tell_left_out();
        } else {
            excused.insert(NEEDS_EXTENSION, done.left_out.iter().collect());
        }
        for fault in &done.faults {
            match self.excuse(fault) {
                Some(words) => excused.entry(words).or_default().push(fault),
                None => found.differences.push(fault.to_string()),
            }
        }
        for (words, faults) in excused {
            list(words, &faults, found);
        }
    }

    fn excuse(&self, fault: &LoadFault) -> Option<&'static str> {
        let code = fault.code.as_deref()?;
        // Class 08: no connection; HV: foreign data (PostgreSQL manual, appendix A).
        let foreign = code.starts_with("08") || code.starts_with("HV");
        let of_absent = |name: &String| {
            fault.statement.contains(name.as_str()) || fault.reason.contains(name.as_str())
        };
        // A provider is loaded as a server starts; what it would refuse a label for is not asked (22023: invalid parameter value).
        let no_provider = fault.statement.starts_with("SECURITY LABEL FOR ") && code == "22023";
        // A table that stands in for an extension's has no keys, and columns of text (42830: invalid foreign key, 42804: datatype mismatch).
        let refers_to_stand_in =
            ["42830", "42804"].contains(&code) && fault.statement.contains(" FOREIGN KEY ");
        if (fault.is_of_missing_thing() || refers_to_stand_in) && self.absent.iter().any(of_absent)
        {
            Some(NEEDS_EXTENSION)
        } else if no_provider && self.no_network {
            Some("needs a provider of security labels, which a private server does not load")
        } else if self.lacks_roles && code == "42704" {
            Some("needs a role that the scratch server lacks")
        } else if self.no_network && foreign && fault.statement.starts_with("REFRESH") {
            Some("needs a foreign server, which a drill does not reach")
        } else {
            None
        }
    }
}
