//! What of a history's oldest lines still tells something.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Happening, Record, Runs};
use crate::drill::DrillVerdict;

/// A history with all of its newest lines, so many, and of those before only what is still asked for: that there were runs, and how many
/// ended how; the last run, set, drill and proof; each restore, with the run before it; what was found damaged last; when each version began.
pub(super) fn shortened(records: Vec<Record>, newest: usize) -> Vec<Record> {
    let kept_from = records.len().saturating_sub(newest);
    let Some(first) = records.first() else {
        return records;
    };
    let began = first.at;
    let mut kept: BTreeSet<usize> = (kept_from..records.len()).collect();
    kept.extend(still_told(&records));
    let (mut stay, mut go) = (Vec::new(), Vec::new());
    for (at, record) in records.into_iter().enumerate() {
        if kept.contains(&at) {
            stay.push(record);
        } else {
            go.push(record);
        }
    }
    let carried = Record {
        at: began,
        happening: Happening::Carried(Runs::count(&go)),
    };
    stay.insert(0, carried);
    stay
}

/// The lines that a look at the history as a whole would find.
fn still_told(records: &[Record]) -> BTreeSet<usize> {
    let mut told = BTreeSet::new();
    let last = |is: &dyn Fn(&Happening) -> bool| {
        records
            .iter()
            .rposition(|record| is(&record.happening))
            .into_iter()
    };
    told.extend(last(&|what| {
        matches!(
            what,
            Happening::RunFinished { .. } | Happening::RunRefused { .. }
        )
    }));
    told.extend(last(&|what| {
        matches!(what, Happening::RetentionFailed { .. })
    }));
    told.extend(last(&|what| matches!(what, Happening::Drilled { .. })));
    told.extend(last(&|what| {
        matches!(what, Happening::Drilled { verdict, .. } if *verdict != DrillVerdict::Failed)
    }));
    let mut run = None;
    let mut versions = BTreeSet::new();
    let mut verified = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        match &record.happening {
            Happening::RunFinished { set: Some(_), .. } => run = Some(at),
            Happening::Restoring { .. }
            | Happening::RestoreSettled { .. }
            | Happening::Restored { .. } => {
                told.extend(run);
                told.insert(at);
            }
            Happening::SetVerified { set, whole, .. } => {
                verified.remove(set);
                if !whole {
                    verified.insert(*set, at);
                }
            }
            Happening::SetRemoved { set, .. } => {
                verified.remove(set);
            }
            Happening::ServiceStarted { backupd } => {
                if versions.insert(backupd) {
                    told.insert(at);
                }
            }
            Happening::RunFinished { set: None, .. }
            | Happening::RunRefused { .. }
            | Happening::Drilled { .. }
            | Happening::Accepted { .. }
            | Happening::RetentionFailed { .. }
            | Happening::Carried(_) => {}
        }
    }
    told.extend(run);
    told.extend(verified.into_values());
    told
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{damaged, restored};
    use super::*;
    use crate::manifest::RunStatus;
    use crate::set::SetId;

    fn set(day: u32) -> SetId {
        format!("202611{:02}T020000Z", day % 28 + 1)
            .parse()
            .unwrap()
    }

    fn happening(kind: u8, day: u32) -> Happening {
        let set = set(day);
        match kind {
            0..=5 => Happening::RunFinished {
                set: (kind != 0).then_some(set),
                status: if kind < 2 {
                    RunStatus::Failed
                } else {
                    RunStatus::Succeeded
                },
                trigger: String::new(),
                duration_ms: 0,
                bytes: 0,
                error: None,
                anomalies: usize::from(kind == 5),
            },
            6 | 7 => Happening::RunRefused {
                reasons: vec![],
                trigger: None,
                duration_ms: 0,
                interrupted: kind == 7,
            },
            8 | 9 => Happening::Drilled {
                set,
                verdict: if kind == 8 {
                    DrillVerdict::Proven
                } else {
                    DrillVerdict::Failed
                },
                duration_ms: 0,
                differences: vec![],
                not_proven: 0,
            },
            10 => Happening::SetRemoved {
                set,
                reasons: vec![],
            },
            11 | 12 => Happening::SetVerified {
                set,
                whole: kind == 12,
                problems: vec![day.to_string()],
            },
            13 | 14 => Happening::Restored {
                set,
                source: (day % 3).to_string(),
                into: String::new(),
                in_place: true,
                duration_ms: 0,
                error: (kind == 14).then(String::new),
            },
            15 => Happening::Restoring {
                set,
                source: (day % 3).to_string(),
                into: String::new(),
            },
            16 | 17 => Happening::RestoreSettled {
                source: (day % 3).to_string(),
                into: String::new(),
                in_use: kind == 16,
            },
            _ => Happening::ServiceStarted {
                backupd: (day % 3).to_string(),
            },
        }
    }

    /// All that is asked of a history as a whole.
    fn told(records: &[Record], removed: &BTreeSet<SetId>) -> impl PartialEq + std::fmt::Debug {
        let last = |is: fn(&Happening) -> bool| {
            let mut newest_first = records.iter().rev();
            newest_first.find(|record| is(&record.happening)).cloned()
        };
        let mut versions = BTreeMap::new();
        for record in records {
            if let Happening::ServiceStarted { backupd } = &record.happening {
                versions.entry(backupd.clone()).or_insert(record.at);
            }
        }
        let mut found = damaged(records);
        found.retain(|set, _| !removed.contains(set));
        (
            records.first().map(|record| record.at),
            Runs::count(records),
            found
                .into_iter()
                .map(|(set, what)| (set, what.to_owned()))
                .collect::<Vec<_>>(),
            restored(records),
            versions,
            [
                last(|what| matches!(what, Happening::RunFinished { set: Some(_), .. })),
                last(|what| matches!(what, Happening::Drilled { .. })),
                last(
                    |what| matches!(what, Happening::Drilled { verdict, .. } if *verdict == DrillVerdict::Proven),
                ),
                last(|what| {
                    matches!(
                        what,
                        Happening::RunFinished { .. } | Happening::RunRefused { .. }
                    )
                }),
            ],
        )
    }

    proptest! {
        #[test]
        fn a_shortened_history_tells_the_same(lines in prop::collection::vec((0..20_u8, 0..40_u32), 0..80), newest in 0..20_usize, again in 0..20_usize) {
            let records: Vec<Record> = lines
                .iter()
                .enumerate()
                .map(|(at, (kind, day))| Record {
                    at: set(0).time() + chrono::TimeDelta::seconds(i64::try_from(at).unwrap()),
                    happening: happening(*kind, *day),
                })
                .collect();
            let removed = lines.iter().filter(|(kind, _)| *kind == 10).map(|(_, day)| set(*day)).collect();
            let once = shortened(records.clone(), newest);
            prop_assert_eq!(told(&once, &removed), told(&records, &removed));
            let twice = shortened(once, again);
            prop_assert_eq!(told(&twice, &removed), told(&records, &removed));
        }
    }
}
