//! The judgement: each source of the new set against the newest set that counts and holds it.

use std::collections::{BTreeMap, BTreeSet};

use super::fall::{Point, fell_before};
use catalog::accepted::Accepted;
use catalog::anomaly::{Anomaly, Quantity};
use catalog::history::Restoration;
use catalog::set::SetId;

use super::{Settings, SourceVitals, TableVitals, Vitals, floor, table_floor};

/// What is known besides the sets.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What somebody has accepted.
    pub accepted: Accepted,
    /// Restores in place.
    pub restored: Vec<Restoration>,
}

/// Judges a set. `history` holds the sets that count (good, without an open anomaly, not from the future), oldest first.
pub fn judge(history: &[Vitals], new: &Vitals, known: &Known, settings: &Settings) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (label, is) in &new.sources {
        let restored: Vec<SetId> = known
            .restored
            .iter()
            .filter(|restored| restored.source == *label)
            .map(|restored| restored.behind)
            .collect();
        let before: Vec<(SetId, &SourceVitals)> = history
            .iter()
            .filter_map(|vitals| Some((vitals.set, vitals.sources.get(label)?)))
            .collect();
        found.extend(another_source(label, &before, is, known));
        let source = Source {
            label,
            before: &before,
            is,
            restored: &restored,
            settings,
        };
        source.tables(&mut found);
        source.tree(&mut found);
        source.compressibility(&mut found);
    }
    found
}

/// Databases of the same server that were dropped and made again since, as a restore does: no anomaly. Each with the set before.
pub fn made_anew(history: &[Vitals], new: &Vitals) -> Vec<(String, SetId)> {
    let anew = new.sources.iter().filter_map(|(label, is)| {
        let is = is.identity.as_ref()?;
        let (since, was) = newest(history, |vitals| {
            vitals.sources.get(label)?.identity.as_ref()
        })?;
        (was.is_same(is) == Some(true) && was != is).then(|| (label.clone(), since))
    });
    anew.collect()
}

fn newest<'a, T>(
    history: &'a [Vitals],
    of: impl Fn(&'a Vitals) -> Option<T>,
) -> Option<(SetId, T)> {
    let mut newest_first = history.iter().rev();
    newest_first.find_map(|vitals| Some((vitals.set, of(vitals)?)))
}

fn another_source(
    label: &str,
    before: &[(SetId, &SourceVitals)],
    is: &SourceVitals,
    known: &Known,
) -> Option<Anomaly> {
    let is = is.identity.as_ref()?;
    let (since, was) = before
        .iter()
        .rev()
        .find_map(|(set, vitals)| Some((*set, vitals.identity.as_ref()?)))?;
    (was.differs(is) && !known.accepted.knows(label, is)).then(|| Anomaly::AnotherSource {
        source: label.to_owned(),
        since,
        was: was.clone(),
        is: is.clone(),
    })
}

/// One source of the new set, and what it was before.
struct Source<'a> {
    label: &'a str,
    /// Oldest first.
    before: &'a [(SetId, &'a SourceVitals)],
    is: &'a SourceVitals,
    restored: &'a [SetId],
    settings: &'a Settings,
}

impl Source<'_> {
    fn tables(&self, found: &mut Vec<Anomaly>) {
        let counted: Vec<_> = self
            .before
            .iter()
            .filter_map(|(set, vitals)| Some((*set, vitals.tables.as_ref()?, vitals.ordinary)))
            .collect();
        let (Some(is), Some((since, was, _))) = (&self.is.tables, counted.last()) else {
            return;
        };
        let fell_before = |table: &str, is: u64, of: fn(&TableVitals) -> u64| {
            let points: Vec<Point> = counted
                .iter()
                .map(|(set, tables, ordinary)| Point {
                    set: *set,
                    value: tables.get(table).map_or(0, of),
                    ordinary: *ordinary,
                })
                .collect();
            fell_before(&points, is, self.settings, self.restored)
        };
        // Tables that answer for themselves: their whole is judged without them.
        let mut fell = Vec::new();
        let mut apart = BTreeSet::new();
        let mut renamed = Renamed::new(was, is, self.settings);
        for (table, before) in *was {
            let now = is.get(table).copied();
            let rows = now.map_or(0, |now| now.rows);
            let bytes = now.map_or(Some(0), |now| now.bytes);
            if self.is_table_lost(Quantity::Rows, before.rows, rows) {
                apart.insert(table.as_str());
                let excused = now.is_none() && renamed.claim(before.rows)
                    || fell_before(table, rows, |table| table.rows);
                if !excused {
                    fell.push((table, Quantity::Rows, before.rows, rows));
                }
            } else if let Some((was, is)) = before.bytes.zip(bytes)
                && self.is_table_lost(Quantity::Bytes, was, is)
            {
                apart.insert(table.as_str());
                if !fell_before(table, is, |table| table.bytes.unwrap_or(u64::MAX)) {
                    fell.push((table, Quantity::Bytes, was, is));
                }
            }
        }
        // All tables together, but those that answer for themselves. Where these are nearly everything, they are the whole.
        let large = |vitals: &SourceVitals| vitals.large_objects.map_or(0, |(_, bytes)| bytes);
        let large = (
            self.before.last().map_or(0, |(_, vitals)| large(vitals)),
            large(self.is),
        );
        let rows = |left_out: &dyn Fn(&str) -> bool| {
            let of = |table: &TableVitals| Some(table.rows);
            sum(was, left_out, of).zip(sum(is, left_out, of))
        };
        let bytes = |left_out: &dyn Fn(&str) -> bool| {
            let of = |table: &TableVitals| table.bytes;
            let (was, is) = sum(was, left_out, of).zip(sum(is, left_out, of))?;
            Some((was + large.0, is + large.1))
        };
        let apart = |table: &str| apart.contains(table);
        let are_all = rows(&apart).is_none_or(|(was, _)| was < floor(Quantity::Rows));
        let left_out: &dyn Fn(&str) -> bool = if are_all { &|_| false } else { &apart };
        for (of, sums) in [
            (Quantity::Rows, rows(left_out)),
            (Quantity::Bytes, bytes(left_out)),
        ] {
            if let Some((was, is)) = sums {
                self.fell(*since, of, was, is, found);
            }
        }
        let count = |tables: &BTreeMap<_, _>| tables.len() as u64;
        self.fell(*since, Quantity::Tables, count(was), count(is), found);
        for (table, of, was, is) in fell {
            found.push(Anomaly::TableFell {
                source: self.label.to_owned(),
                since: *since,
                table: table.clone(),
                of,
                was,
                is,
            });
        }
        let held = self.before.last().and_then(|(_, was)| was.large_objects);
        if let Some(((was, _), (is, _))) = held.zip(self.is.large_objects) {
            self.fell(*since, Quantity::LargeObjects, was, is, found);
        }
    }

    fn tree(&self, found: &mut Vec<Anomaly>) {
        let Some((since, was)) = self.before.last() else {
            return;
        };
        if let Some((was, is)) = was.files.zip(self.is.files) {
            for (of, was, is, pick) in [
                (Quantity::Files, was.0, is.0, first as fn((u64, u64)) -> u64),
                (Quantity::Bytes, was.1, is.1, second),
            ] {
                let in_its_season = || {
                    let points: Vec<Point> = self
                        .before
                        .iter()
                        .filter_map(|(set, vitals)| {
                            Some(Point {
                                set: *set,
                                value: pick(vitals.files?),
                                ordinary: vitals.ordinary,
                            })
                        })
                        .collect();
                    self.is.loose && fell_before(&points, is, self.settings, self.restored)
                };
                if self.is_lost(of, was, is) && !in_its_season() {
                    self.fell(*since, of, was, is, found);
                }
            }
        }
        if let Some((was, is)) = was.objects.zip(self.is.objects) {
            self.fell(*since, Quantity::Objects, was, is, found);
        }
    }

    /// Content that is added, however dense, leaves what compression spared; content that is gone takes its bytes along. What is spared
    /// less than both explain was replaced by something that does not compress.
    fn compressibility(&self, found: &mut Vec<Anomaly>) {
        let Some((since, was)) = self.before.last() else {
            return;
        };
        let Some((was, is)) = was.written.zip(self.is.written) else {
            return;
        };
        let gone = was.raw_bytes.saturating_sub(is.raw_bytes);
        let spared = is.spared() + gone;
        if was.compression == is.compression && self.is_lost(Quantity::Bytes, was.spared(), spared)
        {
            found.push(Anomaly::Incompressible {
                source: self.label.to_owned(),
                since: *since,
                was,
                is,
            });
        }
    }

    fn is_lost(&self, of: Quantity, was: u64, is: u64) -> bool {
        was >= floor(of) && self.settings.is_lost(was, is)
    }

    fn is_table_lost(&self, of: Quantity, was: u64, is: u64) -> bool {
        was >= table_floor(of) && self.settings.is_lost(was, is)
    }

    fn fell(&self, since: SetId, of: Quantity, was: u64, is: u64, found: &mut Vec<Anomaly>) {
        if self.is_lost(of, was, is) {
            found.push(Anomaly::SourceFell {
                source: self.label.to_owned(),
                since,
                of,
                was,
                is,
            });
        }
    }
}

fn first(pair: (u64, u64)) -> u64 {
    pair.0
}

fn second(pair: (u64, u64)) -> u64 {
    pair.1
}

/// Of all tables but some; none where one's is not known.
fn sum(
    tables: &BTreeMap<String, TableVitals>,
    left_out: &dyn Fn(&str) -> bool,
    of: impl Fn(&TableVitals) -> Option<u64>,
) -> Option<u64> {
    let counted = tables.iter().filter(|(name, _)| !left_out(name));
    counted.map(|(_, table)| of(table)).sum()
}

/// New tables that have about as many rows as one that is gone: it has another name now. Each stands for one.
struct Renamed<'a> {
    new: Vec<u64>,
    settings: &'a Settings,
}

impl<'a> Renamed<'a> {
    fn new(
        was: &BTreeMap<String, TableVitals>,
        is: &BTreeMap<String, TableVitals>,
        settings: &'a Settings,
    ) -> Self {
        let new = is.iter().filter(|(name, _)| !was.contains_key(*name));
        Self {
            new: new.map(|(_, table)| table.rows).collect(),
            settings,
        }
    }

    fn claim(&mut self, gone: u64) -> bool {
        let like =
            |rows: &u64| !self.settings.is_lost(gone, *rows) && !self.settings.is_lost(*rows, gone);
        match self.new.iter().position(like) {
            Some(at) => {
                self.new.swap_remove(at);
                true
            }
            None => false,
        }
    }
}
