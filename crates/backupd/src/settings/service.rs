//! Settings of the daemon: when it runs, when it complains, where it is asked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use engine::Config;
use policy::schedule::Schedule;
use postgres::dsn::Dsn;
use postgres::scratch::Fencing;

use super::problems::Problems;
use super::reader::Reader;
use super::setting::Setting;
use super::table::{
    BACKUP_CATCH_UP, BACKUP_CONTROL_SOCKET, BACKUP_DRILL, BACKUP_DRILL_FENCE,
    BACKUP_DRILL_SCHEDULE, BACKUP_DRILL_URL, BACKUP_HTTP_ADDR, BACKUP_HTTP_HOSTS, BACKUP_JITTER,
    BACKUP_MAX_AGE_HOURS, BACKUP_MAX_DRILL_AGE_DAYS, BACKUP_RETRIES, BACKUP_SCHEDULE,
    BACKUP_TIMEZONE,
};

/// Everything the daemon needs to know.
#[derive(Debug)]
pub struct Service {
    /// What its runs do.
    pub config: Config,
    /// When they are due; none with `BACKUP_SCHEDULE=off`.
    pub schedule: Option<Schedule>,
    /// They begin up to this long after.
    pub jitter: Duration,
    /// Whether a missed one is made up for at the start.
    pub catch_up: bool,
    /// How often one that failed on a passing fault is tried again.
    pub retries: u32,
    /// From which age on the newest good set is too old.
    pub max_age: TimeDelta,
    /// Drills.
    pub drills: Drills,
    /// Where the status server listens.
    pub http_addr: SocketAddr,
    /// Names, in small letters, that the status server may be asked under besides its addresses.
    pub http_hosts: Vec<String>,
    /// Where the control socket is.
    pub control_socket: PathBuf,
}

/// When drills are made, where, and how old a proof may be.
#[derive(Debug)]
pub struct Drills {
    /// When they are due; none with `BACKUP_DRILL_SCHEDULE=off`.
    pub schedule: Option<Schedule>,
    /// Whether every good run is followed by one (`BACKUP_DRILL=always`).
    pub always: bool,
    /// A server for them; without, a private one is made.
    pub url: Option<Dsn>,
    /// Whether the private one must be fenced.
    pub fencing: Fencing,
    /// A proof older than this is too old; none where no drills are made by themselves and no age is set.
    pub max_age: Option<TimeDelta>,
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    config: Option<Config>,
    now: DateTime<Utc>,
) -> Option<Service> {
    let zone = reader.read(&BACKUP_TIMEZONE).unwrap_or(Tz::UTC);
    let drills = drills(reader, zone, now);
    let schedule = schedule(&BACKUP_SCHEDULE, zone, now, reader);
    let jitter = reader.read(&BACKUP_JITTER).flatten().unwrap_or_default();
    check_jitter(jitter, schedule.as_ref(), now, &mut reader.problems);
    // Each is read, so that each is judged.
    let (catch_up, retries, max_age, http_addr, http_hosts, control_socket) = (
        reader.read(&BACKUP_CATCH_UP),
        reader.read(&BACKUP_RETRIES),
        reader.read(&BACKUP_MAX_AGE_HOURS),
        reader.read(&BACKUP_HTTP_ADDR),
        reader.read(&BACKUP_HTTP_HOSTS),
        reader.read(&BACKUP_CONTROL_SOCKET),
    );
    Some(Service {
        config: config?,
        schedule,
        jitter,
        catch_up: catch_up?,
        retries: retries?,
        max_age: TimeDelta::hours(i64::from(max_age?)),
        drills: drills?,
        http_addr: http_addr?,
        http_hosts: http_hosts.unwrap_or_default(),
        control_socket: control_socket?,
    })
}

fn drills(reader: &mut Reader<'_>, zone: Tz, now: DateTime<Utc>) -> Option<Drills> {
    let schedule = schedule(&BACKUP_DRILL_SCHEDULE, zone, now, reader);
    let (always, url, fencing, days) = (
        reader.read(&BACKUP_DRILL),
        reader.read(&BACKUP_DRILL_URL),
        reader.read(&BACKUP_DRILL_FENCE),
        reader.read(&BACKUP_MAX_DRILL_AGE_DAYS),
    );
    let always = always?;
    let is_set = reader.is_set(&BACKUP_MAX_DRILL_AGE_DAYS);
    let expected = is_set || always || schedule.is_some();
    let max_age = TimeDelta::days(i64::from(days?));
    Some(Drills {
        schedule,
        always,
        url,
        fencing: fencing?,
        max_age: expected.then_some(max_age),
    })
}

/// A schedule in a zone; none with `off`.
fn schedule(
    setting: &Setting<String>,
    zone: Tz,
    now: DateTime<Utc>,
    reader: &mut Reader<'_>,
) -> Option<Schedule> {
    let value = reader.read(setting)?;
    if value.eq_ignore_ascii_case("off") {
        return None;
    }
    match Schedule::parse(&value, zone, now) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            reader.problems.say(format!(
                "{}={value}: {error}; or off, for none by itself",
                setting.name
            ));
            None
        }
    }
}

/// A delay as long as the pause between runs would make the next run overtake this one.
fn check_jitter(
    jitter: Duration,
    schedule: Option<&Schedule>,
    now: DateTime<Utc>,
    problems: &mut Problems,
) {
    let shortest = schedule.and_then(|schedule| schedule.pauses(now));
    if let Some((shortest, _)) = shortest
        && TimeDelta::from_std(jitter).is_ok_and(|jitter| jitter >= shortest)
    {
        problems.say(format!(
            "BACKUP_JITTER={} s is as long as the shortest pause of BACKUP_SCHEDULE, {} s: make it shorter",
            jitter.as_secs(),
            shortest.num_seconds()
        ));
    }
}
