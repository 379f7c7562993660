//! Which restores in place a history tells of.

use std::collections::BTreeMap;

use super::{Happening, Record};
use crate::anomaly::Anomaly;
use crate::set::SetId;

/// A source that a restore in place brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restoration {
    /// Its label.
    pub source: String,
    /// The set that it was restored from.
    pub from: SetId,
    /// The last run's set before it.
    pub behind: SetId,
}

impl Restoration {
    /// Whether it ended what is odd about this set: it came behind it, and brought back what was there before.
    pub fn mends(&self, set: SetId, anomalies: &[Anomaly]) -> bool {
        let is_of = |odd: &Anomaly| {
            let before = odd.since().is_some_and(|since| self.from <= since);
            before && odd.source() == Some(self.source.as_str())
        };
        self.behind >= set && anomalies.iter().any(is_of)
    }
}

/// How the last restore of a source into its place ended, of which history has the beginning, and no end that settles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// Nobody said.
    Untold,
    /// With an error; it may have been complete but for a name.
    Failed,
}

/// One that history tells of.
struct Told {
    restoration: Option<Restoration>,
    in_use: bool,
}

/// All that a history tells of restores in place.
#[derive(Default)]
struct Tale<'a> {
    last: Option<SetId>,
    told: Vec<Told>,
    /// By source and place: where it is among those told, and how it ended.
    begun: BTreeMap<(&'a str, &'a str), (usize, Begun)>,
}

impl<'a> Tale<'a> {
    fn of(records: &'a [Record]) -> Self {
        let mut tale = Self::default();
        for record in records {
            tale.hear(&record.happening);
        }
        tale
    }

    fn hear(&mut self, happening: &'a Happening) {
        match happening {
            Happening::RunFinished { set: Some(set), .. } => self.last = Some(*set),
            Happening::Restoring { set, source, into } => {
                let at = self.tell(source, *set);
                self.begun.insert((source, into), (at, Begun::Untold));
            }
            Happening::RestoreSettled {
                source,
                into,
                in_use,
            } => {
                if let Some((at, _)) = self.begun.remove(&(source.as_str(), into.as_str())) {
                    self.told[at].in_use = *in_use;
                }
            }
            Happening::Restored {
                set,
                source,
                into,
                in_place: true,
                error,
                ..
            } => self.end(source, into, *set, error.is_none()),
            _ => {}
        }
    }

    fn end(&mut self, source: &'a str, into: &'a str, set: SetId, is_well: bool) {
        if !is_well {
            if let Some((at, begun)) = self.begun.get_mut(&(source, into)) {
                self.told[*at].in_use = false;
                *begun = Begun::Failed;
            }
            return;
        }
        let begun = self.begun.remove(&(source, into));
        let is_told = begun.is_some_and(|(at, _)| {
            self.told[at].restoration == restoration(source, set, self.last)
        });
        if !is_told {
            self.tell(source, set);
        }
    }

    fn tell(&mut self, source: &str, set: SetId) -> usize {
        self.told.push(Told {
            restoration: restoration(source, set, self.last),
            in_use: true,
        });
        self.told.len() - 1
    }
}

fn restoration(source: &str, from: SetId, last: Option<SetId>) -> Option<Restoration> {
    Some(Restoration {
        source: source.to_owned(),
        from,
        behind: last?,
    })
}

/// Of a whole history. A restore of which nothing but the beginning is told is in use.
pub(super) fn restored(records: &[Record]) -> Vec<Restoration> {
    let told = Tale::of(records).told.into_iter();
    told.filter(|told| told.in_use)
        .filter_map(|told| told.restoration)
        .collect()
}

/// Whether a restore of this source into this place has no end, or none that settles it.
pub(super) fn begun(records: &[Record], source: &str, into: &str) -> Option<Begun> {
    let tale = Tale::of(records);
    tale.begun.get(&(source, into)).map(|(_, begun)| *begun)
}
