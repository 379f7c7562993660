//! Retention: what the policy keeps, and the removal of the rest. The deciding is `catalog::retention`'s.

use catalog::catalog::Catalog;
use catalog::history::{Happening, History};
use catalog::retention::{Candidate, Decision, Policy, plan};
use catalog::set::SetId;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::event::{Event, Observer};

/// What retention decided and did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pruned {
    /// Every set with its fate and the rules that decided it.
    pub decisions: Vec<Decision>,
    /// Sets that were removed.
    pub removed: Vec<SetId>,
    /// Sets that could not be removed, with the reason.
    pub failed: Vec<(SetId, String)>,
}

/// What the policy would do now. Changes nothing.
pub fn decide(
    catalog: &Catalog,
    policy: &Policy,
    now: DateTime<Utc>,
) -> std::io::Result<Vec<Decision>> {
    let candidates: Vec<Candidate> = catalog
        .list()?
        .iter()
        .map(|entry| Candidate {
            id: entry.id,
            good: entry.good,
            odd: entry.odd,
            complete: entry.complete,
            // Without a manifest of ours, or with one of a newer backupd, nobody can say what it is: never removed.
            removable: entry.manifest.is_ok(),
        })
        .collect();
    Ok(plan(&candidates, policy, now))
}

/// Removes what the policy does not keep. The caller holds the lock.
pub fn prune(
    catalog: &Catalog,
    history: &History,
    policy: &Policy,
    now: DateTime<Utc>,
    observer: &dyn Observer,
) -> std::io::Result<Pruned> {
    let mut pruned = Pruned {
        decisions: decide(catalog, policy, now)?,
        ..Pruned::default()
    };
    for decision in pruned.decisions.iter().filter(|decision| !decision.keep) {
        match catalog.remove(&decision.id) {
            Ok(()) => {
                history.append(
                    now,
                    &Happening::SetRemoved {
                        set: decision.id,
                        reasons: decision.reasons.clone(),
                    },
                )?;
                observer.on(&Event::SetRemoved { set: decision.id });
                pruned.removed.push(decision.id);
            }
            Err(error) => pruned.failed.push((decision.id, error.to_string())),
        }
    }
    Ok(pruned)
}
