//! Which run is due now, and which comes next: what a daemon asks at its start, at every heartbeat and after every run.
//!
//! A moment is served at most once. Several moments that passed unseen (a suspended machine, a clock set forward) make one run. A clock
//! set back by less than [`CLOCK_TOLERANCE`] repeats nothing; by more, the schedule begins anew from the clock's new time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Schedule, jitter};
use crate::verdict::CLOCK_TOLERANCE;

/// The first pause before a failed run is tried again; each further pause is [`RETRY_GROWTH`] times as long.
const RETRY_PAUSE: TimeDelta = TimeDelta::seconds(30);
const RETRY_GROWTH: i32 = 4;
/// No pause is longer.
const RETRY_PAUSE_MAX: TimeDelta = TimeDelta::hours(1);

/// What the settings say about when to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// None: runs are asked for, never due.
    pub schedule: Option<Schedule>,
    /// A run begins up to this long after its moment.
    pub jitter: Duration,
    /// The host's name, which decides how long.
    pub host: String,
    /// Whether a moment that passed without a good set is made up for at the start.
    pub catch_up: bool,
    /// How often a run that failed on a passing fault is tried again.
    pub retries: u32,
}

/// What is known at the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// When the newest good set began, odd or not; sets from the future do not count.
    pub newest_good: Option<DateTime<Utc>>,
    /// Whether the last run was cut off: a stopped container, a power cut.
    pub interrupted: bool,
}

/// Why a run begins by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its moment came.
    Schedule,
    /// Its moment passed without a good set.
    CatchUp,
    /// The last one failed on a passing fault.
    Retry,
}

impl Reason {
    /// For the manifest's `trigger`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::CatchUp => "catch-up",
            Self::Retry => "retry",
        }
    }
}

/// A run to begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Why.
    pub reason: Reason,
    /// When it should have begun.
    pub since: DateTime<Utc>,
}

/// The next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: Reason,
}

/// How a run ended, as far as the timetable cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With a good set.
    Well,
    /// Not, and the same may go well a little later.
    Passing,
    /// Not, and somebody must mend something first.
    Lasting,
}

/// What has been served, and what is to be tried again.
#[derive(Debug, Clone)]
pub struct Timetable {
    plan: Plan,
    /// All moments up to this one are served.
    served: DateTime<Utc>,
    /// A run that waits at the start or after a failure.
    waiting: Option<Next>,
    attempts: u32,
}

impl Timetable {
    /// The timetable of a daemon that starts now.
    pub fn begin(plan: Plan, known: Known, now: DateTime<Utc>) -> Self {
        let mut timetable = Self {
            plan,
            served: now,
            waiting: None,
            attempts: 0,
        };
        timetable.served = timetable.settled(now);
        let last = timetable.last_moment(now);
        let missed = last.filter(|last| known.newest_good.is_none_or(|good| good < *last));
        let since = missed.or(known.interrupted.then_some(now));
        if let Some(since) = since
            && timetable.plan.catch_up
        {
            // One run makes up for everything until now.
            timetable.served = now;
            timetable.waiting = Some(Next {
                at: since,
                reason: Reason::CatchUp,
            });
        }
        timetable
    }

    /// The run that is due now, which counts as served by being asked for.
    pub fn due(&mut self, now: DateTime<Utc>) -> Option<Due> {
        self.mind_the_clock(now);
        let next = self.next()?;
        if next.at > now {
            return None;
        }
        self.waiting = None;
        self.served = self.served.max(self.settled(now));
        if next.reason == Reason::Schedule {
            self.attempts = 0;
        }
        Some(Due {
            reason: next.reason,
            since: next.at,
        })
    }

    /// The run that comes next, which may be in the past: then it is due.
    pub fn next(&self) -> Option<Next> {
        let scheduled = self.scheduled();
        match (self.waiting, scheduled) {
            (Some(waiting), Some(scheduled)) if scheduled.at < waiting.at => Some(scheduled),
            (Some(waiting), _) => Some(waiting),
            (None, scheduled) => scheduled,
        }
    }

    /// Takes note of a run's end, whoever began it. A moment that came while a good run was at work is passed over and returned.
    pub fn finished(&mut self, ended: Ended, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.mind_the_clock(now);
        self.waiting = None;
        match ended {
            Ended::Well => {
                self.attempts = 0;
                let passed = self.scheduled().filter(|next| next.at <= now)?;
                self.served = self.settled(now);
                Some(passed.at)
            }
            Ended::Passing if self.attempts < self.plan.retries => {
                let pause = RETRY_PAUSE * RETRY_GROWTH.saturating_pow(self.attempts.min(8));
                self.attempts += 1;
                self.waiting = Some(Next {
                    at: now + pause.min(RETRY_PAUSE_MAX),
                    reason: Reason::Retry,
                });
                None
            }
            Ended::Passing | Ended::Lasting => {
                self.attempts = 0;
                None
            }
        }
    }

    fn scheduled(&self) -> Option<Next> {
        let moment = self.plan.schedule.as_ref()?.after(self.served)?;
        Some(Next {
            at: moment + self.delay(moment),
            reason: Reason::Schedule,
        })
    }

    /// The last moment whose run should have begun by now.
    fn settled(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.last_moment(now) {
            // Its delay is not over. The one before it is the last: a delay is shorter than the pause between moments.
            Some(last) if last + self.delay(last) > now => last - TimeDelta::seconds(1),
            _ => now,
        }
    }

    fn last_moment(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.plan.schedule.as_ref()?.until(now)
    }

    fn delay(&self, moment: DateTime<Utc>) -> TimeDelta {
        jitter(self.plan.jitter, &self.plan.host, moment)
    }

    /// Forgets a future that only a wrong clock had seen.
    fn mind_the_clock(&mut self, now: DateTime<Utc>) {
        if self.served > now + CLOCK_TOLERANCE {
            self.served = now;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.at = waiting.at.min(now + RETRY_PAUSE_MAX);
        }
    }
}
