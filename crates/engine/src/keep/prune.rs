//! Retention: what the policy keeps, and the removal of the rest. The deciding is `policy::retention`'s.

use catalog::catalog::{Catalog, Entry};
use catalog::history::{Happening, History};
use catalog::identity::Identity;
use catalog::set::SetId;
use chrono::{DateTime, Utc};
use policy::retention::{Candidate, Decision, Policy, plan};
use serde::Serialize;

use super::sweep::{sweep, tell_removed};
use crate::event::{Event, Observer};

/// What retention decided and did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pruned {
    /// Every set with its fate and the rules that decided it.
    pub decisions: Vec<Decision>,
    /// Sets that could not be looked at, with the reason: they stay, and so does every older one.
    pub unread: Vec<(SetId, String)>,
    /// Sets that were removed.
    pub removed: Vec<SetId>,
    /// Removed sets of which something is left, with the reason: whoever prunes or runs next removes it.
    pub left: Vec<(SetId, String)>,
    /// Sets that could not be removed, with the reason.
    pub failed: Vec<(SetId, String)>,
}

impl Pruned {
    /// What was not done, each in a sentence.
    pub fn faults(&self) -> Vec<String> {
        let unread = self.unread.iter().map(|(set, why)| {
            format!("{set} could not be looked at, so it stays, and every older set: {why}")
        });
        let left = self.left.iter().map(|(set, why)| {
            format!("{set} is removed, and something of it is left for the next run or prune to remove: {why}")
        });
        let failed = self
            .failed
            .iter()
            .map(|(set, why)| format!("{set} could not be removed: {why}"));
        unread.chain(left).chain(failed).collect()
    }
}

/// What the policy would do now. Changes nothing.
pub fn decide(entries: &[Entry], policy: &Policy, now: DateTime<Utc>) -> Pruned {
    let candidates: Vec<Candidate> = entries
        .iter()
        .map(|entry| Candidate {
            id: entry.id,
            good: entry.good,
            odd: entry.odd,
            unread: entry.unread,
            complete: entry.complete,
            // Without a manifest of ours, or with one of a newer backupd, nobody can say what it is: never removed.
            removable: entry.manifest.is_ok(),
            servers: servers(entry),
        })
        .collect();
    let unread = entries.iter().filter(|entry| entry.unread);
    Pruned {
        decisions: plan(&candidates, policy, now),
        unread: unread
            .map(|entry| (entry.id, entry.why_not_good.clone().unwrap_or_default()))
            .collect(),
        ..Pruned::default()
    }
}

fn servers(entry: &Entry) -> Vec<(String, String)> {
    let artifacts = entry
        .manifest()
        .map_or(&[][..], |manifest| &manifest.artifacts);
    let servers = artifacts
        .iter()
        .filter_map(|artifact| match &artifact.identity {
            Some(Identity::Server { system, .. }) => Some((artifact.label.clone(), system.clone())),
            _ => None,
        });
    servers.collect()
}

/// Removes what the policy does not keep, and what earlier removals left. The caller holds the lock.
pub fn prune(
    catalog: &Catalog,
    history: &History,
    policy: &Policy,
    now: DateTime<Utc>,
    observer: &dyn Observer,
) -> std::io::Result<Pruned> {
    sweep(catalog, history)?;
    let mut pruned = decide(&catalog.list()?, policy, now);
    for decision in pruned.decisions.iter().filter(|decision| !decision.keep) {
        let set = decision.id;
        let unnamed = match catalog.unname(set) {
            Ok(flushed) => flushed,
            Err(error) if catalog.has(set) => {
                pruned.failed.push((set, error.to_string()));
                continue;
            }
            Err(error) => Err(error),
        };
        let removed = Happening::SetRemoved {
            set,
            reasons: decision.reasons.clone(),
        };
        let cleared = unnamed
            .and_then(|()| tell_removed(catalog, history, now, set, &removed))
            .and_then(|()| catalog.clear(set));
        observer.on(&Event::SetRemoved { set });
        pruned.removed.push(set);
        if let Err(error) = cleared {
            pruned.left.push((set, error.to_string()));
        }
    }
    Ok(pruned)
}
