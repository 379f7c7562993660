//! Which sets are kept, and why. Pure: sets, a policy and the present moment in; a fate with reasons for each set out.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Duration, Utc};
use serde::Serialize;

use catalog::set::SetId;

/// Without a days rule, failed sets are of use to whoever looks into the failure for this long.
const FAILED_DAYS: u32 = 7;

/// What is kept. A set stays when any rule keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Sets younger than this many times 24 hours; none turns the rule off.
    pub days: Option<u32>,
    /// The newest good sets.
    pub last: u32,
    /// The newest good set of each of the last days that have one (UTC).
    pub daily: u32,
    /// … of each of the last ISO weeks.
    pub weekly: u32,
    /// … of each of the last months.
    pub monthly: u32,
    /// Never fewer good sets than this; counts as at least 1.
    pub min: u32,
}

/// A set that retention judges.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "facts, each of its own")]
pub struct Candidate {
    /// Its id, which is its age.
    pub id: SetId,
    /// Whether it is a recovery point.
    pub good: bool,
    /// Whether its run ended with an anomaly that nobody has accepted.
    pub odd: bool,
    /// Whether the disk refused to tell whether it is good.
    pub unread: bool,
    /// Whether all its files are there with their sizes, however its run ended and whatever reading them found.
    pub complete: bool,
    /// Whether it is known to be a set of ours.
    pub removable: bool,
    /// The servers that its databases are of, where it knows: label and system identifier of each.
    pub servers: Vec<(String, String)>,
}

/// A set's fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The set.
    #[serde(rename = "set")]
    pub id: SetId,
    /// Whether it stays.
    pub keep: bool,
    /// The rules that keep it, or why none does.
    pub reasons: Vec<String>,
}

/// Decides about every set, in the order of their ids. While an anomaly is open, its set stays, and so does every older one; so it is with
/// a set that could not be looked at, which may have one. While no set is good, none goes that has all its files: it is all there is. The last
/// set of a server that is no longer backed up stays whatever anybody accepted: there will be no other.
pub fn plan(candidates: &[Candidate], policy: &Policy, now: DateTime<Utc>) -> Vec<Decision> {
    let mut newest_first: Vec<&Candidate> = candidates.iter().collect();
    newest_first.sort_by_key(|candidate| std::cmp::Reverse(candidate.id));
    let counted: Vec<&Candidate> = newest_first
        .iter()
        .copied()
        .filter(|candidate| candidate.id.counts(candidate.good, candidate.odd, now))
        .collect();
    let good: Vec<SetId> = counted.iter().map(|candidate| candidate.id).collect();
    let odd = newest_first
        .iter()
        .filter(|candidate| candidate.good && candidate.odd);
    let unread = newest_first.iter().filter(|candidate| candidate.unread);
    let last = Last {
        odd: odd.map(|candidate| candidate.id).max(),
        unread: unread.map(|candidate| candidate.id).max(),
    };
    let mut rules = Rules::new(&good, policy);
    rules.kept_by.extend(of_former_servers(&counted));
    let mut decisions: Vec<Decision> = newest_first
        .iter()
        .map(|candidate| decide(candidate, &rules, good.is_empty(), &last, policy, now))
        .collect();
    decisions.reverse();
    decisions
}

/// The newest sets that hold what is older.
struct Last {
    odd: Option<SetId>,
    unread: Option<SetId>,
}

/// The good sets that each counting rule keeps.
struct Rules {
    kept_by: Vec<(String, BTreeSet<SetId>)>,
}

impl Rules {
    fn new(good: &[SetId], policy: &Policy) -> Self {
        let floor = policy.min.max(1);
        let first = |count: u32| good.iter().take(count as usize).copied().collect();
        let kept_by = vec![
            ("the newest good set".to_owned(), first(1)),
            (
                format!("one of the last {}", policy.last),
                first(policy.last),
            ),
            (
                format!("newest of one of the last {} days", policy.daily),
                newest_of_each(good, policy.daily, |t| (t.year(), t.ordinal())),
            ),
            (
                format!("newest of one of the last {} weeks", policy.weekly),
                newest_of_each(good, policy.weekly, |t| {
                    (t.iso_week().year(), t.iso_week().week())
                }),
            ),
            (
                format!("newest of one of the last {} months", policy.monthly),
                newest_of_each(good, policy.monthly, |t| (t.year(), t.month())),
            ),
            (
                format!("one of the {floor} good sets always kept"),
                first(floor),
            ),
        ];
        Self { kept_by }
    }
}

/// The newest set of each server that a database was on and is not in the newest set. `counted` is newest first.
fn of_former_servers(counted: &[&Candidate]) -> Vec<(String, BTreeSet<SetId>)> {
    let Some(newest) = counted.first() else {
        return Vec::new();
    };
    let mut seen: BTreeSet<&(String, String)> = newest.servers.iter().collect();
    let mut kept = Vec::new();
    for candidate in counted {
        for server in &candidate.servers {
            if seen.insert(server) {
                let (label, system) = server;
                let rule = format!("the last of {label} on server {system}");
                kept.push((rule, BTreeSet::from([candidate.id])));
            }
        }
    }
    kept
}

/// The newest set of each of the last `count` periods that have one. `good` is newest first.
fn newest_of_each<P: PartialEq>(
    good: &[SetId],
    count: u32,
    period: impl Fn(DateTime<Utc>) -> P,
) -> BTreeSet<SetId> {
    let mut kept = BTreeSet::new();
    let mut last = None;
    for id in good {
        if kept.len() == count as usize {
            break;
        }
        let this = period(id.time());
        if last.as_ref() != Some(&this) {
            kept.insert(*id);
            last = Some(this);
        }
    }
    kept
}

fn decide(
    candidate: &Candidate,
    rules: &Rules,
    none_is_good: bool,
    last: &Last,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Decision {
    let mut reasons = Vec::new();
    // What the source was before may be what somebody wants back; what it is since, nobody has judged.
    if candidate.good && candidate.odd {
        reasons.push("its anomaly is open".to_owned());
    } else if let Some(last) = last.odd.filter(|last| candidate.id < *last) {
        reasons.push(format!("older than the open anomaly of {last}"));
    }
    if candidate.unread {
        reasons.push("it could not be looked at".to_owned());
    } else if let Some(last) = last.unread.filter(|last| candidate.id < *last) {
        reasons.push(format!("older than {last}, which could not be looked at"));
    }
    if candidate.id.is_from_the_future(now) {
        // The clock was wrong, then or now: nobody can say how old it is, and it counts for no rule.
        reasons.push("from the future".to_owned());
    }
    if !candidate.removable {
        reasons.push("not known to be a set of this backupd".to_owned());
    }
    if let Some(days) = policy.days.or((!candidate.good).then_some(FAILED_DAYS))
        && now - candidate.id.time() < Duration::days(i64::from(days))
    {
        reasons.push(format!("younger than {days} days"));
    }
    if none_is_good && candidate.complete {
        reasons.push("no set is good, and it has all its files".to_owned());
    }
    for (rule, kept) in &rules.kept_by {
        if kept.contains(&candidate.id) {
            reasons.push(rule.clone());
        }
    }
    let keep = !reasons.is_empty();
    if !keep {
        reasons.push(if candidate.good {
            "no rule keeps it".to_owned()
        } else {
            "failed, and old enough".to_owned()
        });
    }
    Decision {
        id: candidate.id,
        keep,
        reasons,
    }
}

#[cfg(test)]
mod tests;
