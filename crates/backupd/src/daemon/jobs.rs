//! What the daemon begins by itself. The scheduler knows no kinds: a new one is one more in the list.

use std::sync::Arc;
use std::time::Duration;

use engine::backup::Origin;
use engine::clock;
use policy::schedule::{Due, Known, Plan, Timetable};
use tracing::{info, warn};

use super::driller::Driller;
use super::name::Name;
use super::runner::Runner;
use super::state::State;

/// Something that begins when its moment comes.
pub struct Job {
    pub name: Name,
    pub timetable: Timetable,
    /// Whether nothing that is at work forbids it.
    pub may_begin: Box<dyn Fn() -> bool + Send>,
    /// Begins it, and returns at once.
    pub begin: Box<dyn Fn(Due) + Send>,
}

/// All of them. Where several are due, the first begins.
pub fn jobs(state: &Arc<State>, runner: &Arc<Runner>, driller: &Arc<Driller>) -> Vec<Job> {
    let (runs, busy, drills) = (runner.clone(), runner.clone(), driller.clone());
    let both = (runner.clone(), driller.clone());
    vec![
        Job {
            name: Name::Run,
            timetable: runs_of(state),
            may_begin: Box::new(move || !busy.is_busy()),
            begin: Box::new(move |due| runs.begin_by_itself(due.reason.name())),
        },
        Job {
            name: Name::Drill,
            timetable: drills_of(state),
            // After a run rather than beside it.
            may_begin: Box::new(move || !both.0.is_busy() && !both.1.is_busy()),
            begin: Box::new(move |_| drills.begin()),
        },
    ]
}

fn runs_of(state: &State) -> Timetable {
    let now = clock::now();
    let service = &state.service;
    let survey = state.survey();
    let plan = Plan {
        schedule: service.schedule.clone(),
        jitter: service.jitter,
        host: Origin::here("", "").host,
        catch_up: service.catch_up,
        retries: service.retries,
    };
    let known = Known {
        newest_good: survey.newest_made(now).map(|entry| entry.id.time()),
        interrupted: survey.was_interrupted(),
    };
    Timetable::begin(plan, known, now)
}

/// Drills are tried once at their moment; one that was missed is made up for, as runs are.
fn drills_of(state: &State) -> Timetable {
    let service = &state.service;
    let plan = Plan {
        schedule: service.drills.schedule.clone(),
        jitter: Duration::ZERO,
        host: String::new(),
        catch_up: service.catch_up,
        retries: 0,
    };
    let survey = state.survey();
    let last = survey.last_drill.as_ref();
    let known = Known {
        // Before the first there is nothing to make up for.
        newest_good: Some(last.map_or_else(clock::now, |drill| drill.ended_at)),
        interrupted: false,
    };
    Timetable::begin(plan, known, clock::now())
}

/// How many coming runs are logged at the start.
const LOGGED_RUNS: usize = 3;

/// Says when runs will be, and what of their schedule does not go with other settings.
pub fn log_coming(state: &State) {
    let service = &state.service;
    let Some(schedule) = &service.schedule else {
        info!("no schedule (BACKUP_SCHEDULE=off): runs are begun by `backupd trigger` alone");
        return;
    };
    let now = clock::now();
    let first = schedule.after(now);
    let coming = std::iter::successors(first, |last| schedule.after(*last)).take(LOGGED_RUNS);
    let coming: Vec<String> = coming.map(|moment| state.local(moment)).collect();
    let jitter = Some(service.jitter.as_secs()).filter(|seconds| *seconds > 0);
    info!(
        at = coming.join(", "),
        within_seconds = jitter,
        "coming runs"
    );
    if let Some((_, longest)) = schedule.pauses(now)
        && longest >= service.max_age
    {
        warn!(
            "BACKUP_MAX_AGE_HOURS={} is no longer than the longest pause of BACKUP_SCHEDULE, {} h: health will complain between runs; \
             set it to {} or more",
            service.max_age.num_hours(),
            longest.num_hours(),
            longest.num_hours() + 2
        );
    }
}
