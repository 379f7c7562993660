//! Whether something that fell has fallen as far before and risen again by itself: then it does so in its seasons.

use super::Settings;
use catalog::set::SetId;

/// How much there was in a set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// The set.
    pub set: SetId,
    /// How much.
    pub value: u64,
    /// Whether a fall to here may have been an ordinary one.
    pub ordinary: bool,
}

/// Whether `is` is no further down than some fall before from which it rose again. `points` are oldest first. A rise behind one of
/// the sets after which a restore was made is none: what it mended was no season.
pub(super) fn fell_before(
    points: &[Point],
    is: u64,
    settings: &Settings,
    restored: &[SetId],
) -> bool {
    let mut highest = 0;
    let highest_before: Vec<u64> = points
        .iter()
        .map(|point| {
            let before = highest;
            highest = highest.max(point.value);
            before
        })
        .collect();
    let mut highest_after = 0;
    for (at, point) in points.iter().enumerate().rev() {
        let fell = settings.is_lost(highest_before[at], point.value);
        let rose = settings.is_lost(highest_after, point.value);
        if point.ordinary && fell && rose && !settings.is_lost(point.value, is) {
            return true;
        }
        let before = at.checked_sub(1).map(|before| points[before].set);
        let was_restored = restored
            .iter()
            .any(|last| before.is_some_and(|before| before <= *last) && *last < point.set);
        highest_after = if was_restored {
            0
        } else {
            highest_after.max(point.value)
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn points(values: &[u64]) -> Vec<Point> {
        let first: SetId = "20260101T020000Z".parse().unwrap();
        let days = values.iter().zip(0..);
        days.map(|(value, day)| Point {
            set: SetId::at(first.time() + TimeDelta::days(day)),
            value: *value,
            ordinary: true,
        })
        .collect()
    }

    #[test]
    fn what_fell_and_rose_may_fall_as_far_again() {
        let half = Settings {
            drop_percent: 50,
            ignore: Vec::new(),
        };
        let before = |values: &[u64], is| fell_before(&points(values), is, &half, &[]);
        assert!(before(&[100, 10, 100], 10));
        assert!(before(&[100, 10, 100], 5), "half below the lowest");
        assert!(!before(&[100, 10, 100], 4));
        assert!(!before(&[1, 10, 100], 10), "it only grew");
        assert!(!before(&[100, 10, 15], 1), "it has not risen");
        assert!(before(&[100, 0, 60, 0, 80], 0));
        assert!(!before(&[], 0));
        let mut odd = points(&[100, 0, 100]);
        odd[1].ordinary = false;
        assert!(!fell_before(&odd, 0, &half, &[]));
    }

    #[test]
    fn a_rise_by_a_restore_is_no_season() {
        let half = Settings {
            drop_percent: 50,
            ignore: Vec::new(),
        };
        let known = points(&[100, 0, 0, 100, 100]);
        let after = |day: usize| known[day].set;
        let restored = [after(2)];
        assert!(!fell_before(&known, 0, &half, &restored));
        let long_ago = [after(0)];
        assert!(fell_before(&known, 0, &half, &long_ago));
    }
}
