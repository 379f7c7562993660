//! Due times by table and over whole years, and a daemon's days with a clock that the test turns.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn schedule(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, zone.parse().unwrap(), at("2026-01-01T00:00:00Z")).unwrap()
}

fn moments(schedule: &Schedule, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    std::iter::successors(schedule.after(from), |last| schedule.after(*last))
        .take_while(|moment| *moment < to)
        .collect()
}

#[test]
fn the_next_moment_by_table() {
    for (text, zone, from, next) in [
        (
            "0 2 * * *",
            "UTC",
            "2026-11-20T01:59:59Z",
            "2026-11-20T02:00:00Z",
        ),
        (
            "0 2 * * *",
            "UTC",
            "2026-11-20T02:00:00Z",
            "2026-11-21T02:00:00Z",
        ),
        (
            "0 2 * * *",
            "Asia/Tokyo",
            "2026-11-20T00:00:00Z",
            "2026-11-20T17:00:00Z",
        ),
        (
            "@daily",
            "UTC",
            "2026-11-20T12:00:00Z",
            "2026-11-21T00:00:00Z",
        ),
        (
            "@hourly",
            "UTC",
            "2026-11-20T12:00:00Z",
            "2026-11-20T13:00:00Z",
        ),
        (
            "@weekly",
            "UTC",
            "2026-11-20T12:00:00Z",
            "2026-11-22T00:00:00Z",
        ),
        (
            "@monthly",
            "UTC",
            "2026-11-20T12:00:00Z",
            "2026-12-01T00:00:00Z",
        ),
        (
            "30 */15 2 * * *",
            "UTC",
            "2026-11-20T02:15:30Z",
            "2026-11-20T02:30:30Z",
        ),
        (
            "0 3 * * SUN",
            "UTC",
            "2026-11-20T12:00:00Z",
            "2026-11-22T03:00:00Z",
        ),
        (
            "0 3 * * 7",
            "UTC",
            "2026-11-20T12:00:00Z",
            "2026-11-22T03:00:00Z",
        ),
        (
            "0 3 L * *",
            "UTC",
            "2026-02-01T00:00:00Z",
            "2026-02-28T03:00:00Z",
        ),
        (
            "  0   2 * * *  ",
            "UTC",
            "2026-11-20T01:00:00Z",
            "2026-11-20T02:00:00Z",
        ),
        (
            "0 2 * * *",
            "UTC",
            "2026-11-20T01:59:59.999Z",
            "2026-11-20T02:00:00Z",
        ),
        (
            "0 2 * * *",
            "UTC",
            "2026-11-20T02:00:00.5Z",
            "2026-11-21T02:00:00Z",
        ),
    ] {
        let found = schedule(text, zone).after(at(from));
        assert_eq!(found, Some(at(next)), "{text} {zone} after {from}");
    }
}

#[test]
fn times_that_the_clock_jumps_over_or_repeats_by_table() {
    for (text, zone, from, next) in [
        // The clock jumps from 02:00 to 03:00: right after the jump.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-29T01:00:00Z",
        ),
        // 02:30 comes twice: the first time.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T22:00:00Z",
            "2026-10-25T00:30:00Z",
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:30:00Z",
            "2026-10-26T01:30:00Z",
        ),
    ] {
        let found = schedule(text, zone).after(at(from));
        assert_eq!(found, Some(at(next)), "{text} {zone} after {from}");
    }
}

/// Zones with changes at 02:00, at 01:00, at midnight, by half an hour, on the southern side, in Ramadan, and none.
const ZONES: [&str; 10] = [
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Atlantic/Azores",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "UTC",
];

#[test]
fn no_daylight_saving_change_skips_or_doubles_a_daily_run() {
    for zone in ZONES {
        for minute in (0..5 * 60).step_by(30).chain([12 * 60, 23 * 60 + 30]) {
            let text = format!("{} {} * * *", minute % 60, minute / 60);
            let schedule = schedule(&text, zone);
            let mut runs: BTreeMap<NaiveDate, u32> = BTreeMap::new();
            for moment in moments(
                &schedule,
                at("2025-12-30T00:00:00Z"),
                at("2027-01-03T00:00:00Z"),
            ) {
                let local = moment.with_timezone(&schedule.zone());
                *runs.entry(local.date_naive()).or_default() += 1;
            }
            let year = runs.iter().filter(|(date, _)| date.year() == 2026);
            assert_eq!(year.clone().count(), 365, "{text} {zone}: a day has no run");
            for (date, count) in year {
                assert_eq!(*count, 1, "{text} {zone} on {date}");
            }
        }
    }
}

#[test]
fn hourly_runs_come_every_hour_through_every_change() {
    for zone in ZONES
        .into_iter()
        .filter(|zone| *zone != "Australia/Lord_Howe")
    {
        let all = moments(
            &schedule("@hourly", zone),
            at("2026-01-01T00:00:00Z"),
            at("2027-01-01T00:00:00Z"),
        );
        for pair in all.windows(2) {
            assert_eq!(
                pair[1] - pair[0],
                TimeDelta::hours(1),
                "{zone} at {}",
                pair[0]
            );
        }
    }
}

#[test]
fn the_last_moment_agrees_with_the_next() {
    for zone in ZONES {
        for text in [
            "30 2 * * *",
            "0 0 * * *",
            "@hourly",
            "15 3 * * MON",
            "0 1 1 * *",
        ] {
            let schedule = schedule(text, zone);
            let all = moments(
                &schedule,
                at("2025-11-20T00:00:00Z"),
                at("2027-01-01T00:00:00Z"),
            );
            for pair in all.windows(2) {
                for (asked, last) in [
                    (pair[0], pair[0]),
                    (pair[0] + TimeDelta::seconds(1), pair[0]),
                    (pair[1] - TimeDelta::seconds(1), pair[0]),
                ] {
                    assert_eq!(
                        schedule.until(asked),
                        Some(last),
                        "{text} {zone} until {asked}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (text, words) in [
        ("60 2 * * *", "field minute, `60`"),
        ("0 24 * * *", "field hour, `24`"),
        ("0 2 32 * *", "field day of month, `32`"),
        ("0 2 * 13 *", "field month, `13`"),
        ("0 2 * * MOO", "field day of week, `MOO`"),
        ("0 two * * *", "field hour, `two`"),
        ("99 0 2 * * *", "field second, `99`"),
        ("*/0 2 * * *", "field minute, `*/0`"),
        ("0 2 * *", "4 fields"),
        ("0 2 * * * * 2026", "7 fields"),
        ("", "0 fields"),
        ("daily", "1 field"),
        ("@dayly", "@daily"),
        ("0 0 30 2 *", "no moment ever matches"),
    ] {
        let error = Schedule::parse(text, Tz::UTC, at("2026-01-01T00:00:00Z"))
            .expect_err(text)
            .to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn pauses_are_the_shortest_and_the_longest() {
    let (short, long) = schedule("0 2,14 * * MON-FRI", "UTC")
        .pauses(at("2026-11-20T00:00:00Z"))
        .unwrap();
    assert_eq!((short, long), (TimeDelta::hours(12), TimeDelta::hours(60)));
}

fn plan(text: &str) -> Plan {
    Plan {
        schedule: Some(schedule(text, "UTC")),
        jitter: Duration::ZERO,
        host: "test".to_owned(),
        catch_up: true,
        retries: 2,
    }
}

/// A daemon at `0 2 * * *` that knows a good set from this night.
fn settled(plan: Plan, now: &str) -> Timetable {
    let known = Known {
        newest_good: Some(at(now)),
        interrupted: false,
    };
    Timetable::begin(plan, known, at(now))
}

#[test]
fn a_start_makes_up_for_what_passed() {
    let now = at("2026-11-20T12:00:00Z");
    for (good, interrupted, catch_up, due) in [
        (None, false, true, Some("2026-11-20T02:00:00Z")),
        (
            Some("2026-11-19T02:00:00Z"),
            false,
            true,
            Some("2026-11-20T02:00:00Z"),
        ),
        (Some("2026-11-20T02:00:00Z"), false, true, None),
        (
            Some("2026-11-20T02:00:00Z"),
            true,
            true,
            Some("2026-11-20T12:00:00Z"),
        ),
        (None, true, false, None),
    ] {
        let plan = Plan {
            catch_up,
            ..plan("0 2 * * *")
        };
        let known = Known {
            newest_good: good.map(at),
            interrupted,
        };
        let mut timetable = Timetable::begin(plan, known, now);
        let expected = due.map(|since| Due {
            reason: Reason::CatchUp,
            since: at(since),
        });
        assert_eq!(
            timetable.due(now),
            expected,
            "{good:?} {interrupted} {catch_up}"
        );
        assert_eq!(timetable.due(now), None, "once");
        let next = timetable.next().unwrap();
        assert_eq!(
            (next.at, next.reason),
            (at("2026-11-21T02:00:00Z"), Reason::Schedule)
        );
    }
}

#[test]
fn a_moment_is_served_once() {
    let mut timetable = settled(plan("0 2 * * *"), "2026-11-20T12:00:00Z");
    assert_eq!(timetable.due(at("2026-11-21T01:59:59Z")), None);
    let due = timetable.due(at("2026-11-21T02:00:07Z")).unwrap();
    assert_eq!(
        (due.reason, due.since),
        (Reason::Schedule, at("2026-11-21T02:00:00Z"))
    );
    assert_eq!(timetable.due(at("2026-11-21T02:00:08Z")), None);
}

#[test]
fn a_clock_set_forward_makes_one_run_and_one_set_back_none() {
    let mut timetable = settled(plan("0 2 * * *"), "2026-11-20T12:00:00Z");
    assert!(timetable.due(at("2026-12-24T12:00:00Z")).is_some());
    assert_eq!(timetable.due(at("2026-12-24T12:00:01Z")), None);
    // Back to the truth: what a wrong clock served is not waited for.
    assert_eq!(timetable.due(at("2026-11-20T12:00:02Z")), None);
    assert_eq!(timetable.next().unwrap().at, at("2026-11-21T02:00:00Z"));
    assert!(timetable.due(at("2026-11-21T02:00:00Z")).is_some());
    // A small step back over a moment just served repeats nothing.
    assert_eq!(timetable.due(at("2026-11-21T01:59:58Z")), None);
    assert_eq!(timetable.due(at("2026-11-21T02:00:01Z")), None);
    assert_eq!(timetable.next().unwrap().at, at("2026-11-22T02:00:00Z"));
}

#[test]
fn a_moment_that_finds_a_good_run_at_work_is_passed_over() {
    let mut timetable = settled(plan("@hourly"), "2026-11-20T12:30:00Z");
    assert!(timetable.due(at("2026-11-20T13:00:00Z")).is_some());
    let passed = timetable.finished(Ended::Well, at("2026-11-20T15:10:00Z"));
    assert_eq!(passed, Some(at("2026-11-20T14:00:00Z")));
    assert_eq!(timetable.next().unwrap().at, at("2026-11-20T16:00:00Z"));

    // One that finds a run at work which then fails is not lost.
    assert!(timetable.due(at("2026-11-20T16:00:00Z")).is_some());
    assert_eq!(
        timetable.finished(Ended::Lasting, at("2026-11-20T17:10:00Z")),
        None
    );
    assert!(timetable.due(at("2026-11-20T17:10:00Z")).is_some());
}

#[test]
fn a_passing_fault_is_tried_again_with_growing_pauses() {
    let mut timetable = settled(plan("0 2 * * *"), "2026-11-20T12:00:00Z");
    let mut now = at("2026-11-21T02:00:00Z");
    assert!(timetable.due(now).is_some());
    for pause in [30, 120] {
        timetable.finished(Ended::Passing, now);
        assert_eq!(timetable.due(now), None);
        now += TimeDelta::seconds(pause);
        let due = timetable.due(now).unwrap();
        assert_eq!(due.reason, Reason::Retry);
    }
    timetable.finished(Ended::Passing, now);
    assert_eq!(
        timetable.next().unwrap().at,
        at("2026-11-22T02:00:00Z"),
        "BACKUP_RETRIES=2"
    );

    // A fault that lasts is not tried again, and a success forgets the attempts.
    timetable.finished(Ended::Lasting, now);
    assert_eq!(timetable.next().unwrap().reason, Reason::Schedule);
    timetable.finished(Ended::Passing, now);
    assert_eq!(timetable.next().unwrap().at, now + TimeDelta::seconds(30));
    timetable.finished(Ended::Well, now);
    assert_eq!(timetable.next().unwrap().reason, Reason::Schedule);
}

#[test]
fn the_schedule_goes_before_a_later_retry() {
    let mut timetable = settled(plan("* * * * *"), "2026-11-20T12:00:30Z");
    assert!(timetable.due(at("2026-11-20T12:01:00Z")).is_some());
    timetable.finished(Ended::Passing, at("2026-11-20T12:01:50Z"));
    let next = timetable.next().unwrap();
    assert_eq!(
        (next.at, next.reason),
        (at("2026-11-20T12:02:00Z"), Reason::Schedule)
    );
}

#[test]
fn without_a_schedule_nothing_is_due_but_retries() {
    let mut timetable = settled(
        Plan {
            schedule: None,
            ..plan("@daily")
        },
        "2026-11-20T12:00:00Z",
    );
    assert_eq!(timetable.next(), None);
    timetable.finished(Ended::Passing, at("2026-11-20T12:00:00Z"));
    assert!(timetable.due(at("2026-11-20T12:00:30Z")).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the heartbeat's rhythm, the jitter and the runs' lengths: every run begins within its jitter or right after the run
    /// before it, and every day has exactly one.
    #[test]
    fn a_month_of_days_has_one_run_each(
        jitter in 0_u64..7200,
        beat in 1_i64..600,
        run_seconds in 0_i64..20_000,
        start in 0_i64..86_400,
    ) {
        let plan = Plan { jitter: Duration::from_secs(jitter), ..plan("0 2 * * *") };
        let mut now = at("2026-11-01T00:00:00Z") + TimeDelta::seconds(start);
        let known = Known { newest_good: Some(now), interrupted: false };
        let mut timetable = Timetable::begin(plan, known, now);
        let end = now + TimeDelta::days(30);
        let mut began = Vec::new();
        while now < end {
            if let Some(due) = timetable.due(now) {
                prop_assert_eq!(due.reason, Reason::Schedule);
                let moment = due.since.date_naive().and_hms_opt(2, 0, 0).unwrap().and_utc();
                let late = now - moment;
                prop_assert!(late >= TimeDelta::zero() && late <= TimeDelta::seconds(i64::try_from(jitter).unwrap() + beat));
                began.push(moment.date_naive());
                now += TimeDelta::seconds(run_seconds);
                prop_assert_eq!(timetable.finished(Ended::Well, now), None);
            }
            now += TimeDelta::seconds(beat);
        }
        let mut days = began.clone();
        days.dedup();
        prop_assert_eq!(&days, &began);
        prop_assert!((29..=31).contains(&began.len()), "{} runs", began.len());
    }

    #[test]
    fn jitter_stays_in_bounds_and_differs_between_hosts(most in 60_u64..10_000) {
        let due = at("2026-11-20T02:00:00Z");
        let delays: std::collections::BTreeSet<_> = (0..50).map(|host| jitter(Duration::from_secs(most), &format!("host-{host}"), due)).collect();
        prop_assert!(delays.iter().all(|delay| (0..=i64::try_from(most).unwrap()).contains(&delay.num_seconds())));
        prop_assert!(delays.len() > 10);
        prop_assert_eq!(jitter(Duration::ZERO, "host", due), TimeDelta::zero());
    }
}
