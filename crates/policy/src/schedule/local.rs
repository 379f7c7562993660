//! Matching wall-clock times as instants. croner finds them on a calendar without daylight saving; where a zone's clock jumps, the rules
//! of [`super`] are applied here (croner 3's own skip and double runs there: the tests beside this file found both).

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use croner::Cron;

/// No zone's clock jumps further.
const LONGEST_JUMP: TimeDelta = TimeDelta::hours(3);

/// Wall-clock times of a zone.
#[derive(Debug, Clone)]
pub(super) struct LocalTimes {
    cron: Cron,
    pub(super) zone: Tz,
    hourly: bool,
}

impl LocalTimes {
    pub fn new(cron: Cron, zone: Tz, hourly: bool) -> Self {
        Self { cron, zone, hourly }
    }

    /// The first instant after another.
    pub fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let reach = self.reach(moment);
        let mut time = self.local(moment) - reach;
        let mut first: Option<DateTime<Utc>> = None;
        loop {
            time = self
                .cron
                .find_next_occurrence(&time.and_utc(), false)
                .ok()?
                .naive_utc();
            if first.is_some_and(|first| time > self.local(first) + reach) {
                return first;
            }
            let later = self.instants(time).into_iter().flatten();
            first = later.filter(|instant| *instant > moment).chain(first).min();
            if first.is_some() && reach.is_zero() {
                return first;
            }
        }
    }

    /// The last instant at or before another.
    pub fn until(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let reach = self.reach(moment);
        let mut time = self.local(moment) + reach + TimeDelta::seconds(1);
        let mut last: Option<DateTime<Utc>> = None;
        loop {
            time = self
                .cron
                .find_previous_occurrence(&time.and_utc(), false)
                .ok()?
                .naive_utc();
            if last.is_some_and(|last| time < self.local(last) - reach) {
                return last;
            }
            let earlier = self.instants(time).into_iter().flatten();
            last = earlier
                .filter(|instant| *instant <= moment)
                .chain(last)
                .max();
            if last.is_some() && reach.is_zero() {
                return last;
            }
        }
    }

    /// The instants that a wall-clock time stands for.
    fn instants(&self, time: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
        let found = self.zone.from_local_datetime(&time);
        let utc = |instant: DateTime<Tz>| instant.with_timezone(&Utc);
        match (found.earliest(), found.latest()) {
            (Some(one), Some(other)) if one == other || !self.hourly => [Some(utc(one)), None],
            (Some(first), Some(second)) => [Some(utc(first)), Some(utc(second))],
            // The clock jumps over it.
            _ if self.hourly => [None, None],
            _ => [self.after_jump(time), None],
        }
    }

    /// The first instant after the jump over a time. Clocks jump at full minutes.
    fn after_jump(&self, time: NaiveDateTime) -> Option<DateTime<Utc>> {
        let minute = time.and_utc().timestamp().div_euclid(60) * 60;
        (1..=LONGEST_JUMP.num_minutes())
            .filter_map(|minutes| DateTime::from_timestamp(minute + minutes * 60, 0))
            .find_map(|next| self.zone.from_local_datetime(&next.naive_utc()).earliest())
            .map(|instant| instant.with_timezone(&Utc))
    }

    /// How far around a moment instants and wall-clock times may be in another order: not at all where no jump is near.
    fn reach(&self, moment: DateTime<Utc>) -> TimeDelta {
        let offset = |moment: DateTime<Utc>| {
            self.zone
                .offset_from_utc_datetime(&moment.naive_utc())
                .fix()
        };
        let here = offset(moment);
        let calm = [-LONGEST_JUMP, LONGEST_JUMP]
            .into_iter()
            .all(|away| offset(moment + away) == here);
        if calm {
            TimeDelta::zero()
        } else {
            LONGEST_JUMP
        }
    }

    /// In whole seconds, which is what expressions have.
    fn local(&self, moment: DateTime<Utc>) -> NaiveDateTime {
        let local = moment.with_timezone(&self.zone).naive_local();
        local.with_nanosecond(0).unwrap_or(local)
    }
}
