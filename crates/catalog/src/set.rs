//! The name of a set: the moment it was begun, and ways to point at one.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Duration, NaiveDateTime, SubsecRound, Timelike, Utc};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "%Y%m%dT%H%M%SZ";
/// Characters of an id, `20261120T020000Z`.
const LENGTH: usize = 16;

/// A clock may differ from the one that named a set by this much. A set from further ahead says nothing about the present: the clock was
/// wrong then, or is now.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// A set's id, `20261120T020000Z`; ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetId(DateTime<Utc>);

impl SetId {
    /// The id of a set begun at this moment.
    pub fn at(moment: DateTime<Utc>) -> Self {
        Self(moment.trunc_subsecs(0))
    }

    /// When the set was begun, by the clock at that time.
    pub fn time(self) -> DateTime<Utc> {
        self.0
    }

    /// Whether it names a moment that the clock does not allow. Such a set is kept and told, and counts for nothing.
    pub fn is_from_the_future(self, now: DateTime<Utc>) -> bool {
        self.0 > now + CLOCK_SKEW
    }

    /// Whether a set of this id is one to count on: good, nothing odd about it that nobody has accepted, and its date one that the
    /// clock allows. `latest`, every rule of retention and every age go by this.
    pub fn counts(self, good: bool, odd: bool, now: DateTime<Utc>) -> bool {
        good && !odd && !self.is_from_the_future(now)
    }

    /// The id a second later.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + Duration::seconds(1))
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.format(FORMAT).to_string())
    }
}

/// Not a set's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no set id: one looks like 20261120T020000Z")]
pub struct NoSetId(String);

impl FromStr for SetId {
    type Err = NoSetId;

    fn from_str(text: &str) -> Result<Self, NoSetId> {
        let wrong = || NoSetId(text.to_owned());
        // chrono takes signs and blanks where digits belong; a name on disk has neither.
        let digits = text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
        if text.len() != LENGTH || !digits {
            return Err(wrong());
        }
        let moment = NaiveDateTime::parse_from_str(text, FORMAT).map_err(|_| wrong())?;
        // Second 60, which chrono keeps as a fraction past 59: no clock that names sets tells leap seconds.
        if moment.nanosecond() != 0 {
            return Err(wrong());
        }
        Ok(Self(moment.and_utc()))
    }
}

impl TryFrom<String> for SetId {
    type Error = NoSetId;

    fn try_from(text: String) -> Result<Self, NoSetId> {
        text.parse()
    }
}

impl From<SetId> for String {
    fn from(id: SetId) -> Self {
        id.to_string()
    }
}

/// How a person points at a set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selector {
    /// The newest good set without an open anomaly.
    #[default]
    Latest,
    /// The one set whose id begins so.
    Prefix(String),
}

impl FromStr for Selector {
    type Err = NoSetId;

    fn from_str(text: &str) -> Result<Self, NoSetId> {
        let in_alphabet = |byte: u8| byte.is_ascii_digit() || byte == b'T' || byte == b'Z';
        match text {
            "latest" => Ok(Self::Latest),
            _ if !text.is_empty() && text.len() <= LENGTH && text.bytes().all(in_alphabet) => {
                Ok(Self::Prefix(text.to_owned()))
            }
            _ => Err(NoSetId(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_their_own_text() {
        let id: SetId = "20261120T020000Z".parse().unwrap();
        assert_eq!(id.to_string(), "20261120T020000Z");
        assert_eq!(SetId::at(id.time()), id);
        assert_eq!(id.next().to_string(), "20261120T020001Z");
        for wrong in [
            "",
            "latest",
            "20261120T020000",
            "20261320T020000Z",
            "20261120T020060Z",
            "+0261120T020000Z",
            "20261120t020000z",
            "20261120T020000Zx",
        ] {
            assert!(wrong.parse::<SetId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn selectors_are_latest_or_a_beginning() {
        assert_eq!("latest".parse(), Ok(Selector::Latest));
        assert_eq!("202611".parse(), Ok(Selector::Prefix("202611".to_owned())));
        assert!("../etc".parse::<Selector>().is_err());
        assert!("".parse::<Selector>().is_err());
    }
}
