//! Whether an operator can sleep: the health verdict, out of plain facts. Pure; the present moment is one of them.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use stream::words::counted;

/// A clock that is set back by less repeats no run.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::hours(1);

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// The present moment.
    pub now: DateTime<Utc>,
    /// When the newest good set began; none from the future.
    pub newest_good: Option<DateTime<Utc>>,
    /// Good sets dated later than the clock allows.
    pub future_sets: usize,
    /// What is odd about the sets or their sources and waits for a person, each in a sentence.
    pub odd: Vec<String>,
    /// How the last run ended: nothing, or its failure in words. A run that was cut off by a stop of the daemon is no failure.
    pub last_failure: Option<String>,
    /// When a first good set may be expected at the latest.
    pub first_set_by: DateTime<Utc>,
    /// A good set older than this is too old.
    pub max_age: TimeDelta,
    /// How long the scheduler has not been heard of.
    pub silence: TimeDelta,
    /// The longest that is no fault.
    pub max_silence: TimeDelta,
    /// Why the backup directory cannot be used.
    pub directory_fault: Option<String>,
    /// What drills found.
    pub drills: Drills,
}

/// What drills found, and how often they should.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drills {
    /// Why the last one failed, if it did.
    pub last_failure: Option<String>,
    /// When one last did not fail; before the first, when they came to be expected.
    pub proof_or_since: Option<DateTime<Utc>>,
    /// Whether there was one that did not fail.
    pub proven: bool,
    /// A proof older than this is too old; none where no drills are expected.
    pub max_age: Option<TimeDelta>,
}

/// The verdict's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There is a recent good set, and the next one is on its way.
    Healthy,
    /// There is no set yet, and it is too early to complain.
    Starting,
    /// Somebody must look.
    Unhealthy,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// In a word.
    pub health: Health,
    /// In sentences: every fault, or why all is well.
    pub reasons: Vec<String>,
}

/// A fault, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it is of.
    pub of: Concern,
    /// In a sentence.
    pub text: String,
}

/// What a fault is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// The backup directory.
    Directory,
    /// The daemon's scheduler.
    Scheduler,
    /// Anomalies, and sources that are others than the sets'.
    Odd,
    /// The last run failed.
    LastRun,
    /// The newest good set is too old, or there is none.
    Age,
    /// Sets from the future.
    Future,
    /// Drills.
    Drills,
}

/// Judges.
pub fn judge(situation: &Situation) -> Verdict {
    let found = faults(situation).into_iter();
    let faults: Vec<String> = found.map(|fault| fault.text).collect();
    let now = situation.now;
    match (faults.is_empty(), situation.newest_good) {
        (false, _) => Verdict {
            health: Health::Unhealthy,
            reasons: faults,
        },
        (true, Some(good)) => Verdict {
            health: Health::Healthy,
            reasons: vec![format!("the newest good set is {} old", span(now - good))],
        },
        (true, None) => Verdict {
            health: Health::Starting,
            reasons: vec!["there is no good set yet; the first run is to come".to_owned()],
        },
    }
}

/// Every fault.
pub fn faults(situation: &Situation) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut say = |of: Concern, text: String| faults.push(Fault { of, text });
    if let Some(fault) = &situation.directory_fault {
        say(Concern::Directory, fault.clone());
    }
    if situation.silence > situation.max_silence {
        let silence = span(situation.silence);
        say(
            Concern::Scheduler,
            format!("the scheduler has not been heard of for {silence}: restart the container"),
        );
    }
    for odd in &situation.odd {
        say(Concern::Odd, odd.clone());
    }
    if let Some(words) = &situation.last_failure {
        say(Concern::LastRun, format!("the last run failed: {words}"));
    }
    let now = situation.now;
    match situation.newest_good {
        Some(good) if now - good > situation.max_age => say(
            Concern::Age,
            format!(
                "the newest good set is {} old, more than {} (BACKUP_MAX_AGE_HOURS)",
                span(now - good),
                span(situation.max_age)
            ),
        ),
        // Whether there are sets cannot be told.
        None if situation.directory_fault.is_some() => {}
        None if situation.future_sets > 0 => {
            say(Concern::Future, from_the_future(situation.future_sets));
        }
        None if now > situation.first_set_by => {
            say(Concern::Age, "there is no good set".to_owned());
        }
        // Recent enough, or too early to complain.
        Some(_) | None => {}
    }
    let any_set = situation.newest_good.is_some();
    for text in drill_faults(&situation.drills, now, any_set) {
        say(Concern::Drills, text);
    }
    faults
}

fn from_the_future(sets: usize) -> String {
    let sets = counted(sets as u64, "good set");
    format!("{sets} dated in the future, and none from the past: the clock is or was wrong")
}

fn drill_faults(drills: &Drills, now: DateTime<Utc>, any_set: bool) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(words) = &drills.last_failure {
        faults.push(format!("the last drill failed: {words}"));
    }
    if let (Some(since), Some(max_age)) = (drills.proof_or_since, drills.max_age)
        && now - since > max_age
    {
        let limit = span(max_age);
        if drills.proven {
            faults.push(format!(
                "the last proof by a drill is {} old, more than {limit} (BACKUP_MAX_DRILL_AGE_DAYS)",
                span(now - since)
            ));
        } else if any_set {
            faults.push(format!(
                "no set was proven by a drill within {limit} (BACKUP_MAX_DRILL_AGE_DAYS)"
            ));
        }
    }
    faults
}

/// A span as people say it, in its two largest units.
pub fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: TimeDelta = TimeDelta::hours(1);

    fn now() -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn well() -> Situation {
        Situation {
            now: now(),
            newest_good: Some(now() - HOUR * 10),
            future_sets: 0,
            odd: Vec::new(),
            last_failure: None,
            first_set_by: now() - HOUR * 100,
            max_age: HOUR * 26,
            silence: TimeDelta::seconds(5),
            max_silence: TimeDelta::seconds(90),
            directory_fault: None,
            drills: Drills::default(),
        }
    }

    #[test]
    fn the_verdict_by_table() {
        let none = |first_set_by| Situation {
            newest_good: None,
            first_set_by,
            ..well()
        };
        let aged = |age| Situation {
            newest_good: Some(now() - age),
            ..well()
        };
        let cases = [
            (
                well(),
                Health::Healthy,
                "the newest good set is 10 h 00 min old",
            ),
            (aged(HOUR * 26), Health::Healthy, "1 d 2 h old"),
            (
                aged(HOUR * 26 + TimeDelta::seconds(1)),
                Health::Unhealthy,
                "more than 1 d 2 h (BACKUP_MAX_AGE_HOURS)",
            ),
            // Dated a little ahead: clocks differ.
            (aged(-TimeDelta::minutes(5)), Health::Healthy, "0 s old"),
            (none(now()), Health::Starting, "no good set yet"),
            (
                none(now() - TimeDelta::seconds(1)),
                Health::Unhealthy,
                "there is no good set",
            ),
            (
                Situation {
                    future_sets: 2,
                    ..none(now())
                },
                Health::Unhealthy,
                "2 good sets dated in the future",
            ),
            (
                Situation {
                    future_sets: 2,
                    ..well()
                },
                Health::Healthy,
                "10 h",
            ),
            (
                Situation {
                    last_failure: Some("supabase: refused".to_owned()),
                    ..well()
                },
                Health::Unhealthy,
                "the last run failed: supabase: refused",
            ),
            (
                Situation {
                    last_failure: Some("x".to_owned()),
                    ..none(now())
                },
                Health::Unhealthy,
                "the last run failed: x",
            ),
            (
                Situation {
                    silence: TimeDelta::seconds(90),
                    ..well()
                },
                Health::Healthy,
                "10 h",
            ),
            (
                Situation {
                    silence: TimeDelta::seconds(91),
                    ..well()
                },
                Health::Unhealthy,
                "not been heard of for 1 min",
            ),
            (
                Situation {
                    directory_fault: Some("BACKUP_DIR /backups is not writable".to_owned()),
                    ..well()
                },
                Health::Unhealthy,
                "not writable",
            ),
        ];
        for (situation, health, words) in cases {
            let verdict = judge(&situation);
            assert_eq!(verdict.health, health, "{situation:?}: {verdict:?}");
            assert!(
                verdict.reasons.join("; ").contains(words),
                "{words}: {verdict:?}"
            );
        }
    }

    #[test]
    fn what_waits_for_a_person_is_a_fault() {
        let verdict = judge(&Situation {
            odd: vec!["an anomaly is open".to_owned()],
            ..well()
        });
        assert_eq!(verdict.health, Health::Unhealthy);
        assert_eq!(verdict.reasons, ["an anomaly is open"]);
    }

    #[test]
    fn drills_are_judged_by_their_result_and_their_age() {
        let drilled = |last_failure: Option<&str>, days: i64, proven, max_days: Option<i64>| {
            judge(&Situation {
                drills: Drills {
                    last_failure: last_failure.map(str::to_owned),
                    proof_or_since: Some(now() - TimeDelta::days(days)),
                    proven,
                    max_age: max_days.map(TimeDelta::days),
                },
                ..well()
            })
        };
        for (verdict, words) in [
            (drilled(None, 8, true, Some(8)), ""),
            (drilled(None, 900, true, None), ""),
            (
                drilled(None, 9, true, Some(8)),
                "is 9 d 0 h old, more than 8 d 0 h",
            ),
            (
                drilled(None, 9, false, Some(8)),
                "no set was proven by a drill within 8 d",
            ),
            (
                drilled(Some("a role is missing"), 1, true, None),
                "the last drill failed: a role is missing",
            ),
        ] {
            let health = if words.is_empty() {
                Health::Healthy
            } else {
                Health::Unhealthy
            };
            assert_eq!(verdict.health, health, "{verdict:?}");
            assert!(
                verdict.reasons.join("; ").contains(words),
                "{words}: {verdict:?}"
            );
        }
    }

    #[test]
    fn every_fault_is_told() {
        let verdict = judge(&Situation {
            newest_good: None,
            last_failure: Some("storage: gone".to_owned()),
            silence: HOUR,
            directory_fault: Some("full".to_owned()),
            ..well()
        });
        assert_eq!(verdict.reasons.len(), 3, "{verdict:?}");
    }
}
