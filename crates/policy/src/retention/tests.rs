//! Retention by table and by property.

use super::*;
use proptest::prelude::*;

fn set(text: &str, good: bool) -> Candidate {
    Candidate {
        id: text.parse().unwrap(),
        good,
        odd: false,
        unread: false,
        complete: good,
        removable: true,
        servers: Vec::new(),
    }
}

fn policy(days: Option<u32>) -> Policy {
    Policy {
        days,
        last: 0,
        daily: 0,
        weekly: 0,
        monthly: 0,
        min: 1,
    }
}

fn kept(sets: &[Candidate], policy: &Policy, now: &str) -> Vec<String> {
    plan(sets, policy, now.parse::<SetId>().unwrap().time())
        .into_iter()
        .filter(|decision| decision.keep)
        .map(|decision| decision.id.to_string())
        .collect()
}

#[test]
fn days_count_hours_not_midnights() {
    let sets = [
        set("20261113T020000Z", true),
        set("20261113T020001Z", true),
        set("20261120T020000Z", true),
    ];
    assert_eq!(
        kept(&sets, &policy(Some(7)), "20261120T020000Z"),
        ["20261113T020001Z", "20261120T020000Z"]
    );
}

#[test]
fn the_newest_good_set_stays_however_old() {
    let sets = [
        set("20200101T000000Z", true),
        set("20200102T000000Z", true),
        set("20261120T000000Z", false),
    ];
    let left = kept(&sets, &policy(Some(7)), "20261120T020000Z");
    assert_eq!(left, ["20200102T000000Z", "20261120T000000Z"]);
}

#[test]
fn a_failed_set_counts_for_no_rule() {
    let sets = [
        set("20261101T000000Z", true),
        set("20261102T000000Z", true),
        set("20261103T000000Z", false),
    ];
    let two = Policy {
        last: 2,
        ..policy(None)
    };
    assert_eq!(
        kept(&sets, &two, "20261201T000000Z"),
        ["20261101T000000Z", "20261102T000000Z"]
    );
}

#[test]
fn periods_without_a_set_do_not_count() {
    let sets = [
        set("20260105T010000Z", true),
        set("20260105T230000Z", true),
        set("20260301T010000Z", true),
        set("20261120T010000Z", true),
    ];
    let daily = Policy {
        daily: 3,
        ..policy(None)
    };
    assert_eq!(
        kept(&sets, &daily, "20261120T020000Z"),
        ["20260105T230000Z", "20260301T010000Z", "20261120T010000Z"]
    );
    let monthly = Policy {
        monthly: 2,
        ..policy(None)
    };
    assert_eq!(
        kept(&sets, &monthly, "20261120T020000Z"),
        ["20260301T010000Z", "20261120T010000Z"]
    );
    // 2026-12-28 … 2027-01-03 is one ISO week over two years.
    let turn = [
        set("20261229T000000Z", true),
        set("20270102T000000Z", true),
        set("20270105T000000Z", true),
    ];
    let weekly = Policy {
        weekly: 2,
        ..policy(None)
    };
    assert_eq!(
        kept(&turn, &weekly, "20270106T000000Z"),
        ["20270102T000000Z", "20270105T000000Z"]
    );
}

#[test]
fn sets_of_the_future_and_sets_not_ours_stay() {
    let mut foreign = set("20200101T000000Z", false);
    foreign.removable = false;
    let sets = [
        foreign,
        set("20261120T000000Z", true),
        set("20300101T000000Z", true),
    ];
    // The newest set that the clock allows stays, too old for the rule or not.
    assert_eq!(kept(&sets, &policy(Some(1)), "20261121T000000Z").len(), 3);
    assert_eq!(kept(&sets, &policy(Some(1)), "20261120T010000Z").len(), 3);
}

#[test]
fn nothing_goes_behind_an_open_anomaly_and_what_comes_after_goes_by_the_rules() {
    let mut sets = vec![
        set("20261101T000000Z", true),
        set("20261102T000000Z", false),
        set("20261103T000000Z", true),
        set("20261104T000000Z", true),
        set("20261105T000000Z", true),
        set("20261106T000000Z", true),
    ];
    sets[2].odd = true;
    let last = Policy {
        last: 1,
        ..policy(None)
    };
    let now = "20261201T000000Z";
    let left = kept(&sets, &last, now);
    assert_eq!(
        left,
        [
            "20261101T000000Z",
            "20261102T000000Z",
            "20261103T000000Z",
            "20261106T000000Z"
        ]
    );
    // Open ones count for no rule: the newest set to count on stays.
    sets[5].odd = true;
    assert_eq!(kept(&sets, &last, now).len(), 6);
    for set in &mut sets {
        set.odd = false;
    }
    assert_eq!(kept(&sets, &last, now), ["20261106T000000Z"]);
}

prop_compose! {
    fn any_sets()(sets in proptest::collection::btree_map(0_i64..200_000_000, (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1), 0_u8..3), 0..40)) -> Vec<Candidate> {
        sets.into_iter().map(|(second, (good, removable, odd, system))| Candidate {
            complete: good,
            id: SetId::at(DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()),
            good,
            odd,
            unread: false,
            removable: removable || good,
            servers: vec![("supabase".to_owned(), system.to_string())],
        }).collect()
    }
}

prop_compose! {
    fn any_policy()(days in proptest::option::of(0_u32..400), last in 0_u32..6, daily in 0_u32..6, weekly in 0_u32..6, monthly in 0_u32..6, min in 0_u32..5) -> Policy {
        Policy { days, last, daily, weekly, monthly, min }
    }
}

proptest! {
    #[test]
    fn enough_good_sets_stay_and_the_newest_among_them(sets in any_sets(), policy in any_policy(), at in 1_600_000_000_i64..2_000_000_000) {
        let now = DateTime::from_timestamp(at, 0).unwrap();
        let decisions = plan(&sets, &policy, now);
        prop_assert_eq!(decisions.len(), sets.len());
        let allowed = |set: &&Candidate| set.id.counts(set.good, set.odd, now);
        let goods: Vec<SetId> = sets.iter().filter(allowed).map(|set| set.id).collect();
        let keeps: Vec<SetId> = decisions.iter().filter(|d| d.keep && goods.contains(&d.id)).map(|d| d.id).collect();
        prop_assert!(keeps.len() >= goods.len().min(policy.min.max(1) as usize));
        prop_assert_eq!(keeps.iter().max(), goods.iter().max());
        prop_assert!(decisions.iter().all(|decision| !decision.reasons.is_empty()));
    }

    #[test]
    fn a_set_from_the_future_stays_and_changes_no_other_sets_fate(sets in any_sets(), policy in any_policy(), at in 1_600_000_000_i64..2_000_000_000) {
        let now = DateTime::from_timestamp(at, 0).unwrap();
        let of_the_future = |id: SetId| id.is_from_the_future(now);
        // An open anomaly holds retention whatever its date.
        let sets: Vec<Candidate> = sets.into_iter().map(|set| Candidate { odd: set.odd && !of_the_future(set.id), ..set }).collect();
        let decisions = plan(&sets, &policy, now);
        prop_assert!(decisions.iter().filter(|d| of_the_future(d.id)).all(|d| d.keep));
        let present: Vec<Candidate> = sets.iter().filter(|set| !of_the_future(set.id)).cloned().collect();
        let others: Vec<Decision> = decisions.into_iter().filter(|d| !of_the_future(d.id)).collect();
        prop_assert_eq!(plan(&present, &policy, now), others);
    }

    #[test]
    fn the_set_just_made_stays_whatever_the_clock_did(sets in any_sets(), policy in any_policy(), at in 1_600_000_000_i64..2_000_000_000) {
        let now = DateTime::from_timestamp(at, 0).unwrap();
        // As `Catalog::begin` names it.
        let newest = sets.iter().map(|set| set.id).filter(|id| !id.is_from_the_future(now)).max();
        let made = SetId::at(now).max(newest.map_or(SetId::at(now), SetId::next));
        let sets: Vec<Candidate> = sets.into_iter().chain([Candidate { id: made, good: true, odd: false, unread: false, complete: true, removable: true, servers: Vec::new() }]).collect();
        prop_assert!(plan(&sets, &policy, now).iter().any(|decision| decision.id == made && decision.keep));
    }

    #[test]
    fn an_open_anomaly_holds_everything_older(sets in any_sets(), policy in any_policy(), at in 1_600_000_000_i64..2_000_000_000) {
        let now = DateTime::from_timestamp(at, 0).unwrap();
        if let Some(last) = sets.iter().filter(|set| set.good && set.odd).map(|set| set.id).max() {
            let decisions = plan(&sets, &policy, now);
            prop_assert!(decisions.iter().all(|decision| decision.keep || decision.id > last));
        }
    }

    #[test]
    fn the_newest_set_of_each_server_stays(sets in any_sets(), policy in any_policy(), at in 1_600_000_000_i64..2_000_000_000) {
        let now = DateTime::from_timestamp(at, 0).unwrap();
        let decisions = plan(&sets, &policy, now);
        for set in sets.iter().filter(|set| set.id.counts(set.good, set.odd, now)) {
            let kept = decisions.iter().filter(|d| d.keep && d.id >= set.id).map(|d| d.id);
            let mut of_kept = kept.filter_map(|id| sets.iter().find(|one| one.id == id && one.good));
            prop_assert!(of_kept.any(|one| one.servers == set.servers), "{} and all newer ones of its server", set.id);
        }
    }

    #[test]
    fn what_is_kept_is_kept_again(sets in any_sets(), policy in any_policy(), at in 1_600_000_000_i64..2_000_000_000) {
        let now = DateTime::from_timestamp(at, 0).unwrap();
        let decisions = plan(&sets, &policy, now);
        let left: Vec<Candidate> = sets.iter().filter(|set| decisions.iter().any(|d| d.id == set.id && d.keep)).cloned().collect();
        prop_assert!(plan(&left, &policy, now).iter().all(|decision| decision.keep));
    }

    #[test]
    fn the_order_of_sets_does_not_matter(sets in any_sets(), policy in any_policy()) {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut other = sets.clone();
        other.reverse();
        prop_assert_eq!(plan(&sets, &policy, now), plan(&other, &policy, now));
    }
}

#[test]
fn while_no_set_is_good_those_with_all_their_files_stay() {
    let damaged = |text| Candidate {
        complete: true,
        ..set(text, false)
    };
    let sets = [
        damaged("20260101T000000Z"),
        set("20260102T000000Z", false),
        damaged("20260103T000000Z"),
    ];
    assert_eq!(
        kept(&sets, &policy(Some(7)), "20261120T020000Z"),
        ["20260101T000000Z", "20260103T000000Z"]
    );
    let mut sets = sets.to_vec();
    sets.push(set("20261120T000000Z", true));
    assert_eq!(
        kept(&sets, &policy(Some(7)), "20261120T020000Z"),
        ["20261120T000000Z"]
    );
}

#[test]
fn what_could_not_be_looked_at_stays_with_everything_older() {
    let unread = Candidate {
        unread: true,
        complete: true,
        ..set("20260103T000000Z", false)
    };
    let sets = [
        set("20260101T000000Z", true),
        set("20260102T000000Z", false),
        unread,
        set("20260104T000000Z", true),
        set("20260105T000000Z", true),
    ];
    let now = "2026-06-01T00:00:00Z".parse().unwrap();
    let kept: Vec<bool> = plan(&sets, &policy(None), now)
        .iter()
        .map(|decision| decision.keep)
        .collect();
    assert_eq!(kept, [true, true, true, false, true]);
}

#[test]
fn the_last_set_of_a_server_that_is_left_stays_with_the_reason() {
    let of = |text, servers: &[(&str, &str)]| Candidate {
        servers: servers
            .iter()
            .map(|(label, system)| ((*label).to_owned(), (*system).to_owned()))
            .collect(),
        ..set(text, true)
    };
    let sets = [
        of("20260101T000000Z", &[("supabase", "1"), ("keycloak", "7")]),
        of("20260102T000000Z", &[("supabase", "1"), ("keycloak", "7")]),
        of("20260103T000000Z", &[("supabase", "2")]),
        of("20260104T000000Z", &[("supabase", "2")]),
    ];
    let now = "2026-11-20T00:00:00Z".parse().unwrap();
    let decisions = plan(&sets, &policy(Some(7)), now);
    let kept: Vec<bool> = decisions.iter().map(|decision| decision.keep).collect();
    assert_eq!(kept, [false, true, false, true]);
    assert_eq!(
        decisions[1].reasons,
        [
            "the last of supabase on server 1",
            "the last of keycloak on server 7"
        ]
    );
}
