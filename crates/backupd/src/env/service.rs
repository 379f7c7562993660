//! Settings of the daemon: when it runs, when it complains, where it is asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use catalog::schedule::Schedule;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use engine::Config;
use postgres::dsn::Dsn;
use postgres::scratch::Fencing;

use super::{Problems, parse, raw, sources};

const DEFAULT_SCHEDULE: &str = "0 2 * * *";
/// Sunday night, an hour after the run.
const DEFAULT_DRILL_SCHEDULE: &str = "0 3 * * 0";
/// A week, and a day for the drill itself.
const DEFAULT_MAX_DRILL_AGE_DAYS: u32 = 8;
/// Ten years.
const MOST_MAX_DRILL_AGE_DAYS: u32 = 3_650;
const DEFAULT_RETRIES: u32 = 2;
/// More tries than this are no retries but a schedule.
const MOST_RETRIES: u32 = 20;
/// A day, and two hours for the run itself and for daylight saving.
const DEFAULT_MAX_AGE_HOURS: u32 = 26;
/// Ten years.
const MOST_MAX_AGE_HOURS: u32 = 87_600;
const DEFAULT_HTTP_ADDR: &str = "0.0.0.0:8484";
const DEFAULT_CONTROL_SOCKET: &str = "/run/backupd/control.sock";

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
    vars: &BTreeMap<String, String>,
    config: Option<Config>,
    now: DateTime<Utc>,
    problems: &mut Problems,
) -> Option<Service> {
    let raw: raw::Service = raw::read(vars);
    let zone = zone(raw.backup_timezone.as_deref(), problems);
    let drills = drills(&raw, vars, zone, now, problems);
    let value = raw.backup_schedule.as_deref().unwrap_or(DEFAULT_SCHEDULE);
    let schedule = schedule("BACKUP_SCHEDULE", value, zone, now, problems);
    let jitter = raw
        .backup_jitter
        .filter(|value| value.trim() != "0")
        .and_then(|value| parse::duration_or_off("BACKUP_JITTER", &value, problems))
        .unwrap_or(Duration::ZERO);
    check_jitter(jitter, schedule.as_ref(), now, problems);
    let catch_up = parse::choice(
        "BACKUP_CATCH_UP",
        raw.backup_catch_up.as_deref(),
        &[("true", true), ("false", false)],
        problems,
    );
    let retries = parse::number(
        "BACKUP_RETRIES",
        raw.backup_retries.as_deref(),
        DEFAULT_RETRIES,
        (0, MOST_RETRIES),
        problems,
    );
    let hours = parse::number(
        "BACKUP_MAX_AGE_HOURS",
        raw.backup_max_age_hours.as_deref(),
        DEFAULT_MAX_AGE_HOURS,
        (1, MOST_MAX_AGE_HOURS),
        problems,
    );
    let http_addr = http_addr(vars, problems);
    let http_hosts = http_hosts(raw.backup_http_hosts.as_deref(), problems);
    let control_socket = control_socket(vars, problems);
    Some(Service {
        config: config?,
        schedule,
        jitter,
        catch_up: catch_up?,
        retries,
        max_age: TimeDelta::hours(i64::from(hours)),
        drills,
        http_addr: http_addr?,
        http_hosts,
        control_socket: control_socket?,
    })
}

pub(super) fn http_addr(
    vars: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<SocketAddr> {
    let raw: raw::Service = raw::read(vars);
    let value = raw.backup_http_addr.as_deref().unwrap_or(DEFAULT_HTTP_ADDR);
    let addr = value.trim().parse().ok();
    if addr.is_none() {
        problems.say(format!(
            "BACKUP_HTTP_ADDR={value} is no address: use IP:PORT, as in 0.0.0.0:8484, 127.0.0.1:8484 or [::]:8484"
        ));
    }
    addr
}

fn http_hosts(value: Option<&str>, problems: &mut Problems) -> Vec<String> {
    let names = value.unwrap_or_default().split(',').map(str::trim);
    let names: Vec<String> = names
        .filter(|name| !name.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    for name in &names {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !name.chars().all(is_name) {
            problems.say(format!(
                "BACKUP_HTTP_HOSTS has {name}, which is no name of a host: use names without scheme and port, separated by commas, as in \
                 status.example.org"
            ));
        }
    }
    names
}

pub(super) fn control_socket(
    vars: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<PathBuf> {
    /// `sun_path` has 108 bytes, the last of them 0 (unix(7)).
    const MOST_BYTES: usize = 107;
    let raw: raw::Service = raw::read(vars);
    let name = "BACKUP_CONTROL_SOCKET";
    let value = raw.backup_control_socket.as_deref();
    let path = parse::absolute(name, value.unwrap_or(DEFAULT_CONTROL_SOCKET), problems)?;
    if path.as_os_str().len() > MOST_BYTES {
        problems.say(format!(
            "{name}={} is longer than the {MOST_BYTES} bytes a socket's path may have",
            path.display()
        ));
        return None;
    }
    Some(path)
}

fn zone(value: Option<&str>, problems: &mut Problems) -> Tz {
    let Some(value) = value.map(str::trim) else {
        return Tz::UTC;
    };
    value.parse().unwrap_or_else(|_| {
        let nearest = TZ_VARIANTS
            .iter()
            .map(|zone| zone.name())
            .min_by_key(|name| strsim::damerau_levenshtein(name, value))
            .unwrap_or("UTC");
        problems.say(format!(
            "BACKUP_TIMEZONE={value} is no time zone: use a name such as Europe/Berlin or UTC; did you mean {nearest}?"
        ));
        Tz::UTC
    })
}

fn drills(
    raw: &raw::Service,
    vars: &BTreeMap<String, String>,
    zone: Tz,
    now: DateTime<Utc>,
    problems: &mut Problems,
) -> Drills {
    const AGE: &str = "BACKUP_MAX_DRILL_AGE_DAYS";
    let value = raw
        .backup_drill_schedule
        .as_deref()
        .unwrap_or(DEFAULT_DRILL_SCHEDULE);
    let schedule = schedule("BACKUP_DRILL_SCHEDULE", value, zone, now, problems);
    let always = drill_always(vars, problems);
    let age = raw.backup_max_drill_age_days.as_deref();
    let days = parse::number(
        AGE,
        age,
        DEFAULT_MAX_DRILL_AGE_DAYS,
        (1, MOST_MAX_DRILL_AGE_DAYS),
        problems,
    );
    let expected = age.is_some() || always || schedule.is_some();
    Drills {
        schedule,
        always,
        url: sources::drill_url(vars, problems),
        fencing: sources::drill_fence(vars, problems),
        max_age: expected.then(|| TimeDelta::days(i64::from(days))),
    }
}

/// Whether every good run is followed by a drill.
pub(super) fn drill_always(vars: &BTreeMap<String, String>, problems: &mut Problems) -> bool {
    let raw: raw::Service = raw::read(vars);
    let choices = [("scheduled", false), ("always", true)];
    parse::choice(
        "BACKUP_DRILL",
        raw.backup_drill.as_deref(),
        &choices,
        problems,
    )
    .unwrap_or(false)
}

fn schedule(
    name: &str,
    value: &str,
    zone: Tz,
    now: DateTime<Utc>,
    problems: &mut Problems,
) -> Option<Schedule> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("off") {
        return None;
    }
    match Schedule::parse(value, zone, now) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            problems.say(format!(
                "{name}={value}: {error}; or off, for none by itself"
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
