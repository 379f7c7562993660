//! When runs are due: a cron expression in a time zone. Pure; the present moment is an argument.
//!
//! Across daylight-saving changes a fixed time runs once a day: one that the clock jumps over runs right after the jump, one that comes
//! twice runs the first time. An expression whose hour is `*` runs every hour that passes.

mod local;
mod timetable;

use std::time::Duration;
use stream::words::counted;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

use local::LocalTimes;
pub use timetable::{Due, Ended, Known, Next, Plan, Reason, Timetable};

/// The fields of a five-field expression, with what each may hold.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31 or L"),
    ("month", "1-12 or JAN-DEC"),
    ("day of week", "0-7 or SUN-SAT"),
];
/// A sixth field comes before them.
const SECOND: (&str, &str) = ("second", "0-59");
/// How many moments ahead are looked at for the shortest pause: past a week of hourly runs.
const MOMENTS_AHEAD: usize = 200;

/// A cron expression in a time zone. Exists only if it is right and has moments to come.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    times: LocalTimes,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum ScheduleError {
    /// One field.
    #[error(
        "its field {field}, `{value}`, is wrong: use {allowed}, lists (1,15), ranges (1-5), steps (*/2) or *"
    )]
    Field {
        field: &'static str,
        value: String,
        allowed: &'static str,
    },
    /// Not five or six.
    #[error(
        "it has {}: use five, `minute hour day-of-month month day-of-week`, or @hourly, @daily, @weekly, @monthly, @yearly",
        counted(*found as u64, "field")
    )]
    FieldCount { found: usize },
    /// A name that begins with `@`.
    #[error("it is no known name: use @hourly, @daily, @weekly, @monthly or @yearly")]
    Macro,
    /// Fields that are right and do not go together.
    #[error("{0}")]
    Whole(String),
    /// The 30th of February.
    #[error("no moment ever matches it")]
    Never,
}

impl Schedule {
    /// Reads five fields, six with seconds first, or a name such as `@daily`. `now` is where the search for a first moment begins.
    pub fn parse(text: &str, zone: Tz, now: DateTime<Utc>) -> Result<Self, ScheduleError> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = match parser.parse(&text) {
            Ok(cron) => cron,
            Err(error) => return Err(fault(parser, &text, &error.to_string())),
        };
        let times = LocalTimes::new(cron, zone, is_hourly(&text));
        let schedule = Self { text, times };
        match schedule.after(now) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never),
        }
    }

    /// The first moment after another.
    pub fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.times.after(moment)
    }

    /// The last moment at or before another.
    pub fn until(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.times.until(moment)
    }

    /// The shortest and the longest pause between moments to come.
    pub fn pauses(&self, now: DateTime<Utc>) -> Option<(TimeDelta, TimeDelta)> {
        let moments: Vec<_> = std::iter::successors(self.after(now), |last| self.after(*last))
            .take(MOMENTS_AHEAD)
            .collect();
        let pauses = moments.windows(2).map(|pair| pair[1] - pair[0]);
        Some((pauses.clone().min()?, pauses.max()?))
    }

    /// Its time zone.
    pub fn zone(&self) -> Tz {
        self.times.zone
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.times.zone)
    }
}

/// Whether every hour matches, so that hours are counted as they pass and not by their names.
fn is_hourly(text: &str) -> bool {
    let fields: Vec<&str> = text.split(' ').collect();
    match fields.len() {
        1 => fields[0].eq_ignore_ascii_case("@hourly"),
        count => fields[count - 4] == "*" || fields[count - 4] == "*/1",
    }
}

/// Finds the field that is wrong by trying each alone.
fn fault(parser: CronParser, text: &str, words: &str) -> ScheduleError {
    if text.starts_with('@') {
        return ScheduleError::Macro;
    }
    let values: Vec<&str> = text.split(' ').filter(|value| !value.is_empty()).collect();
    let names: Vec<(&str, &str)> = match values.len() {
        5 => FIELDS.to_vec(),
        6 => std::iter::once(SECOND).chain(FIELDS).collect(),
        found => return ScheduleError::FieldCount { found },
    };
    for (at, (field, allowed)) in names.into_iter().enumerate() {
        let mut alone = vec!["*"; values.len()];
        alone[at] = values[at];
        if parser.parse(&alone.join(" ")).is_err() {
            return ScheduleError::Field {
                field,
                value: values[at].to_owned(),
                allowed,
            };
        }
    }
    ScheduleError::Whole(words.to_owned())
}

/// The delay of a due moment: the same for the same host and moment, spread evenly over 0 to `most` between hosts and days, so that
/// a fleet does not dump at once and the next run can be told exactly.
fn jitter(most: Duration, host: &str, due: DateTime<Utc>) -> TimeDelta {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (host, due.timestamp()).hash(&mut hasher);
    let seconds = hasher.finish() % (most.as_secs() + 1);
    TimeDelta::seconds(i64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests;
