//! Years of runs and retention, simulated: no false alarms, and nothing lost.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::{HALF, database, day, of, server, set, tree};
use crate::anomaly::{Known, Vitals, judge};
use crate::retention::{Candidate, Policy, plan};
use catalog::accepted::Accepted;
use catalog::anomaly::Anomaly;
use catalog::artifact::{Artifact, Kind};
use catalog::history::Restoration;
use catalog::identity::Identity;
use catalog::manifest::Manifest;
use catalog::set::SetId;

/// A backup directory over the years, without the files.
struct Years {
    sets: Vec<(Manifest, Vitals)>,
    accepted: Accepted,
    restored: Vec<Restoration>,
    /// By the last run.
    made: Option<SetId>,
    policy: Policy,
}

impl Years {
    fn new(policy: Policy) -> Self {
        Self {
            sets: Vec::new(),
            accepted: Accepted::default(),
            restored: Vec::new(),
            made: None,
            policy,
        }
    }

    fn is_odd(&self, manifest: &Manifest) -> bool {
        !manifest.anomalies.is_empty() && !self.accepted.sets.contains(&manifest.set)
    }

    /// As [`crate::catalog::Entry::good`].
    fn is_good(&self, manifest: &Manifest) -> bool {
        !self.accepted.mended.contains(&manifest.set)
    }

    fn counts(&self, manifest: &Manifest, now: DateTime<Utc>) -> bool {
        let id = manifest.set;
        id.counts(self.is_good(manifest), self.is_odd(manifest), now)
    }

    /// A run at two in the morning of a day, and retention behind it.
    fn run(&mut self, number: i64, artifacts: Vec<Artifact>) -> Vec<Anomaly> {
        self.run_at(day(number).time(), artifacts)
    }

    /// The id of a new set, as [`crate::catalog::Catalog::begin`] gives it.
    fn next_id(&self, now: DateTime<Utc>) -> SetId {
        let present = self.sets.iter().map(|(manifest, _)| manifest.set);
        let newest = present.filter(|id| !id.is_from_the_future(now)).max();
        let mut id = SetId::at(now).max(newest.map_or(SetId::at(now), SetId::next));
        while self.holds(id) {
            id = id.next();
        }
        id
    }

    fn run_at(&mut self, now: DateTime<Utc>, artifacts: Vec<Artifact>) -> Vec<Anomaly> {
        let mut manifest = set(0, artifacts);
        manifest.set = self.next_id(now);
        self.made = Some(manifest.set);
        let history: Vec<Vitals> = self
            .sets
            .iter()
            .filter(|(manifest, _)| self.counts(manifest, now))
            .map(|(_, vitals)| vitals.clone())
            .collect();
        let known = Known {
            accepted: self.accepted.clone(),
            restored: self.restored.clone(),
        };
        manifest.anomalies = judge(&history, &of(&manifest), &known, &HALF);
        let found = manifest.anomalies.clone();
        // The clock was set back: one of before may have had this id.
        self.accepted.forget(manifest.set);
        let vitals = of(&manifest);
        self.sets.push((manifest, vitals));
        self.sets.sort_by_key(|(manifest, _)| manifest.set);
        self.prune(now);
        found
    }

    fn prune(&mut self, now: DateTime<Utc>) {
        let candidates: Vec<Candidate> = self
            .sets
            .iter()
            .map(|(manifest, _)| Candidate {
                id: manifest.set,
                good: self.is_good(manifest),
                odd: self.is_odd(manifest),
                unread: false,
                complete: true,
                removable: true,
                servers: servers(manifest),
            })
            .collect();
        for decision in plan(&candidates, &self.policy, now) {
            if !decision.keep {
                self.sets
                    .retain(|(manifest, _)| manifest.set != decision.id);
            }
        }
    }

    fn accept_all(&mut self) {
        let all = self.sets.iter().map(|(manifest, _)| manifest);
        let odd = all.filter(|manifest| self.is_odd(manifest));
        for manifest in odd.cloned().collect::<Vec<_>>() {
            let anomalies = &manifest.anomalies;
            self.accepted
                .accept(manifest.set, anomalies, &self.restored);
        }
    }

    fn restore(&mut self, from: SetId, behind: SetId) {
        let source = "supabase".to_owned();
        self.restored.push(Restoration {
            source,
            from,
            behind,
        });
    }

    /// What `latest` means.
    fn latest(&self, now: DateTime<Utc>) -> Option<&Manifest> {
        let mut newest_first = self.sets.iter().rev().map(|(manifest, _)| manifest);
        newest_first.find(|manifest| self.counts(manifest, now))
    }

    /// The newest set of each server that counts, or will when the clock is right.
    fn last_of_each_server(&self) -> BTreeMap<(String, String), SetId> {
        let counted = self
            .sets
            .iter()
            .filter(|(manifest, _)| self.is_good(manifest) && !self.is_odd(manifest));
        let each = counted.flat_map(|(manifest, _)| {
            servers(manifest)
                .into_iter()
                .map(|server| (server, manifest.set))
        });
        each.collect()
    }

    fn holds(&self, set: SetId) -> bool {
        self.sets.iter().any(|(manifest, _)| manifest.set == set)
    }
}

fn servers(manifest: &Manifest) -> Vec<(String, String)> {
    let servers = manifest
        .artifacts
        .iter()
        .filter_map(|artifact| match &artifact.identity {
            Some(Identity::Server { system, .. }) => Some((artifact.label.clone(), system.clone())),
            _ => None,
        });
    servers.collect()
}

#[test]
fn a_table_of_seasons_is_told_once_and_a_disaster_that_was_mended_teaches_nothing() {
    let policy = Policy {
        days: Some(400),
        last: 0,
        daily: 0,
        weekly: 0,
        monthly: 0,
        min: 1,
    };
    let rest = ("a.rest", 50_000);
    let mut years = Years::new(policy);
    let mut told = 0;
    for number in 0..365 {
        // Filled through a month and emptied at its end.
        let season = 100 + 100 * u64::try_from(number % 30).unwrap();
        let found = years.run(number, vec![database(1, &[rest, ("a.season", season)])]);
        if !found.is_empty() {
            told += 1;
            years.accept_all();
        }
    }
    assert_eq!(told, 1);

    let mut years = Years::new(policy);
    years.run(0, vec![database(1, &[rest])]);
    assert_eq!(years.run(1, vec![database(1, &[rest, ("a.x", 1)])]), []);
    assert!(!years.run(2, vec![database(1, &[("a.x", 1)])]).is_empty());
    years.restore(day(1), day(2));
    assert_eq!(years.run(3, vec![database(1, &[rest])]), []);
    // The old anomaly is accepted, so that retention goes on: it was a disaster all the same.
    years.accept_all();
    assert!(!years.run(4, vec![database(1, &[("a.x", 1)])]).is_empty());
}

#[derive(Debug, Clone)]
enum Happens {
    NewMachine,
    Restored,
    Wiped,
    Accepted,
    /// Many rows are deleted, fewer than half.
    Purged,
    /// The clock is wrong by so many days from now on.
    ClockSet(i64),
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (
        proptest::option::of(0_u32..30),
        0_u32..4,
        0_u32..4,
        0_u32..4,
        0_u32..4,
        0_u32..4,
    )
        .prop_map(|(days, last, daily, weekly, monthly, min)| Policy {
            days,
            last,
            daily,
            weekly,
            monthly,
            min,
        })
}

fn any_story() -> impl Strategy<Value = Vec<(i64, Happens)>> {
    let happens = prop_oneof![
        Just(Happens::NewMachine),
        Just(Happens::Restored),
        Just(Happens::Wiped),
        Just(Happens::Accepted),
        Just(Happens::Purged),
        prop_oneof![Just(0), -90_i64..90].prop_map(Happens::ClockSet),
    ];
    proptest::collection::vec((0_i64..700, happens), 0..12).prop_map(|mut story| {
        story.sort_by_key(|(day, _)| *day);
        story
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_healthy_grower_raises_no_alarm(
        policy in any_policy(),
        growth in 0_u64..8,
        deletes in proptest::collection::vec(0_u64..40, 730),
        sessions in proptest::collection::vec(0_u64..1_000_000, 730),
    ) {
        let mut years = Years::new(policy);
        let mut users: u64 = 2000;
        for (number, (percent, sessions)) in (0..).zip(deletes.into_iter().zip(sessions)) {
            // A purge now and then, and growth.
            let purged = if number % 30 == 7 { users * percent / 100 } else { 0 };
            users = (users - purged) * (100 + growth) / 100 + 1;
            users = users.min(50_000_000);
            let partition = format!("a.events_{number}");
            let found = years.run(number, vec![
                database(1, &[("a.users", users), ("auth.sessions", sessions), (&partition, 3000 + users / 10)]),
                tree(Kind::Storage, "storage", users / 2, users * 5000),
            ]);
            prop_assert_eq!(found, vec![]);
        }
    }

    #[test]
    fn no_sequence_of_runs_removes_the_last_set_of_the_old_source(policy in any_policy(), story in any_story()) {
        let mut life = Life::new(policy);
        for number in 0..730 {
            for (_, happens) in story.iter().filter(|(day, _)| *day == number) {
                life.meet(number, happens);
            }
            life.day(number)?;
        }
    }
}

/// A stack that grows, purges and has its seasons, and what happens to it; with it what must be there of its sets.
struct Life {
    years: Years,
    system: u64,
    /// Of its users; none while everything is gone.
    users: u64,
    /// By how much the clock is wrong.
    clock: TimeDelta,
    /// Whether it ever was: then sets of one time lie among those of another.
    clock_was_set: bool,
    /// Sets that must stay until somebody accepts: the last ones of sources that were left or emptied.
    guarded: Vec<SetId>,
    /// What `latest` must be of, while nobody accepted and nobody set the clock.
    old: Option<Identity>,
    /// The newest set of each server that ever counted.
    last: BTreeMap<(String, String), SetId>,
}

impl Life {
    fn new(policy: Policy) -> Self {
        Self {
            years: Years::new(policy),
            system: 1,
            users: 20_000,
            clock: TimeDelta::zero(),
            clock_was_set: false,
            guarded: Vec::new(),
            old: None,
            last: BTreeMap::new(),
        }
    }

    fn now(&self, number: i64) -> DateTime<Utc> {
        day(number).time() + self.clock
    }

    fn meet(&mut self, number: i64, happens: &Happens) {
        match happens {
            Happens::NewMachine | Happens::Wiped => {
                if let Happens::NewMachine = happens {
                    self.system += 1;
                }
                let latest = self.years.latest(self.now(number - 1));
                if self.users > 0 && latest.is_some() {
                    self.guarded.extend(latest.map(|manifest| manifest.set));
                    let identity =
                        latest.and_then(|manifest| manifest.artifacts[0].identity.clone());
                    self.old = self.old.take().or(identity);
                }
                self.users = 0;
            }
            Happens::Restored => {
                self.users = 20_000;
                self.years.accepted.know("supabase", server(self.system));
                if let Some(made) = self.years.made {
                    let latest = self.years.latest(self.now(number - 1));
                    let from = latest.map_or(made, |manifest| manifest.set);
                    self.years.restore(from, made);
                }
                self.judged_if_nothing_is_odd();
                self.old = None;
            }
            Happens::Accepted => {
                let is_seen = self.users > 0
                    || self
                        .years
                        .sets
                        .iter()
                        .any(|(one, _)| self.years.is_odd(one));
                self.years.accept_all();
                // Without a run between, nothing was there to accept.
                if is_seen {
                    self.guarded.clear();
                    self.old = None;
                }
            }
            Happens::Purged => self.users = self.users * 6 / 10,
            Happens::ClockSet(days) => {
                self.clock = TimeDelta::days(*days);
                self.clock_was_set = true;
            }
        }
    }

    /// Before any run saw it, nothing is odd.
    fn judged_if_nothing_is_odd(&mut self) {
        if !self
            .years
            .sets
            .iter()
            .any(|(manifest, _)| self.years.is_odd(manifest))
        {
            self.guarded.clear();
        }
    }

    fn day(&mut self, number: i64) -> Result<(), TestCaseError> {
        let now = self.now(number);
        let mut tables = Vec::new();
        if self.users > 0 {
            self.users += self.users / 200;
            // Filled through a month and emptied at its end.
            let season = 100 * u64::try_from(number % 30).unwrap();
            tables = vec![("a.users", self.users), ("a.season", season)];
        }
        let is_calm = self.users > 0 && self.guarded.is_empty();
        let found = self.years.run_at(now, vec![database(self.system, &tables)]);
        let is_season =
            |one: &Anomaly| matches!(one, Anomaly::TableFell { table, .. } if table == "a.season");
        if is_calm && !found.is_empty() && found.iter().all(is_season) {
            // As somebody does who looked.
            self.years.accept_all();
        }
        for set in &self.guarded {
            prop_assert!(
                self.years.holds(*set),
                "day {number}: {set} is gone, and nobody accepted"
            );
        }
        for (server, set) in &self.last {
            prop_assert!(
                self.years.holds(*set) || self.years.last_of_each_server()[server] > *set,
                "day {number}: {set}, the last of {server:?}, is gone"
            );
        }
        self.last.extend(self.years.last_of_each_server());
        if let Some(old) = &self.old
            && !self.clock_was_set
        {
            let latest = self
                .years
                .latest(now)
                .and_then(|manifest| manifest.artifacts[0].identity.as_ref());
            prop_assert_eq!(latest, Some(old));
        }
        Ok(())
    }
}
