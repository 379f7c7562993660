//! Years of runs and retention, simulated: no false alarms, and nothing lost.

use proptest::prelude::*;

use super::{HALF, database, day, of, server, set, tree};
use crate::anomaly::{Known, Vitals, judge};
use crate::retention::{Candidate, Policy, plan};
use catalog::accepted::Accepted;
use catalog::anomaly::Anomaly;
use catalog::identity::Identity;
use catalog::manifest::{Artifact, Kind, Manifest};
use catalog::set::SetId;

/// A backup directory over the years, without the files.
struct Years {
    sets: Vec<(Manifest, Vitals)>,
    accepted: Accepted,
    restored: Vec<(String, SetId)>,
    policy: Policy,
}

impl Years {
    fn new(policy: Policy) -> Self {
        Self {
            sets: Vec::new(),
            accepted: Accepted::default(),
            restored: Vec::new(),
            policy,
        }
    }

    fn is_odd(&self, manifest: &Manifest) -> bool {
        !manifest.anomalies.is_empty() && !self.accepted.sets.contains(&manifest.set)
    }

    /// A run, and retention behind it.
    fn run(&mut self, number: i64, artifacts: Vec<Artifact>) -> Vec<Anomaly> {
        let mut manifest = set(number, artifacts);
        let history: Vec<Vitals> = self
            .sets
            .iter()
            .filter(|(manifest, _)| !self.is_odd(manifest))
            .map(|(_, vitals)| vitals.clone())
            .collect();
        let known = Known {
            accepted: self.accepted.clone(),
            restored: self.restored.clone(),
        };
        manifest.anomalies = judge(&history, &of(&manifest), &known, &HALF);
        let found = manifest.anomalies.clone();
        let vitals = of(&manifest);
        self.sets.push((manifest, vitals));
        let candidates: Vec<Candidate> = self
            .sets
            .iter()
            .map(|(manifest, _)| Candidate {
                id: manifest.set,
                good: true,
                odd: self.is_odd(manifest),
                unread: false,
                complete: true,
                removable: true,
            })
            .collect();
        for decision in plan(&candidates, &self.policy, day(number).time()) {
            if !decision.keep {
                self.sets
                    .retain(|(manifest, _)| manifest.set != decision.id);
            }
        }
        found
    }

    fn accept_all(&mut self) {
        let odd: Vec<SetId> = self.sets.iter().map(|(manifest, _)| manifest.set).collect();
        self.accepted.sets.extend(odd);
    }

    /// The source of `latest`.
    fn latest(&self) -> Option<Identity> {
        let mut newest_first = self.sets.iter().rev();
        let (manifest, _) = newest_first.find(|(manifest, _)| !self.is_odd(manifest))?;
        manifest.artifacts[0].identity.clone()
    }

    fn holds(&self, set: SetId) -> bool {
        self.sets.iter().any(|(manifest, _)| manifest.set == set)
    }
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
    years.restored.push(("supabase".to_owned(), day(2)));
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
    ];
    proptest::collection::vec((0_i64..700, happens), 0..8).prop_map(|mut story| {
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
        let mut years = Years::new(policy);
        let (mut system, mut rows) = (1, 20_000);
        // Sets that must stay until somebody accepts: the last ones of sources that were left or emptied.
        let mut guarded: Vec<SetId> = Vec::new();
        let mut old: Option<Identity> = None;
        for number in 0..730 {
            for (_, happens) in story.iter().filter(|(day, _)| *day == number) {
                let last = years.sets.iter().rev().find(|(manifest, _)| !years.is_odd(manifest)).map(|(manifest, _)| manifest.set);
                match happens {
                    Happens::NewMachine | Happens::Wiped => {
                        if let Happens::NewMachine = happens {
                            system += 1;
                        }
                        if rows > 0 {
                            guarded.extend(last);
                            old = old.or_else(|| years.latest());
                        }
                        rows = 0;
                    }
                    Happens::Restored => {
                        rows = 20_000;
                        years.accepted.know("supabase", server(system));
                        years.restored.push(("supabase".to_owned(), day(number - 1)));
                        if !years.sets.iter().any(|(manifest, _)| years.is_odd(manifest)) {
                            // Before any run saw it: nothing was odd.
                            guarded.clear();
                        }
                        old = None;
                    }
                    Happens::Accepted => {
                        years.accept_all();
                        // Without a run between, nothing was there to accept.
                        if rows > 0 || years.sets.last().is_some_and(|(manifest, _)| !manifest.anomalies.is_empty()) {
                            guarded.clear();
                            old = None;
                        }
                    }
                }
            }
            years.run(number, vec![database(system, &[("a.users", rows)])]);
            for set in &guarded {
                prop_assert!(years.holds(*set), "day {number}: {set} is gone");
            }
            if let Some(old) = &old {
                prop_assert_eq!(years.latest(), Some(old.clone()));
            }
        }
    }
}
