//! Begins jobs when they are due. Timetables decide; tokio-cron-scheduler wakes this task at the next moment by a one-shot job that is
//! armed anew after each (its repeating jobs keep the UTC offset they were made with, its issue #107), and a heartbeat looks at the clock
//! besides, so that a clock that was set, or a machine that slept, is noticed.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::clock;
use policy::schedule::{Ended, Reason};
use tokio::sync::{Notify, mpsc};
use tokio_cron_scheduler::{Job as OneShot, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::jobs::Job;
use super::name::Name;
use super::state::{HEARTBEAT, State};

/// The task that begins jobs.
pub struct Scheduler {
    pub state: Arc<State>,
    /// In the order in which they begin where several are due.
    pub jobs: Vec<Job>,
    /// How jobs ended.
    pub ended: mpsc::UnboundedReceiver<(Name, Ended)>,
}

impl Scheduler {
    /// Works until cancelled.
    pub async fn keep(mut self, cancel: CancellationToken) -> Result<(), JobSchedulerError> {
        let mut alarm = Alarm::new().await?;
        let mut beats = tokio::time::interval(HEARTBEAT);
        loop {
            while let Ok((job, ended)) = self.ended.try_recv() {
                self.take_note(job, ended);
            }
            let now = clock::now();
            for job in &mut self.jobs {
                if (job.may_begin)()
                    && let Some(due) = job.timetable.due(now)
                {
                    if due.reason == Reason::CatchUp {
                        warn!(job = %job.name, since = %self.state.local(due.since), "its moment was missed: it begins now");
                    }
                    (job.begin)(due);
                }
            }
            let coming = self.jobs.iter();
            let coming = coming.filter_map(|job| Some((job.name, job.timetable.next()?)));
            let coming: Vec<_> = coming.collect();
            let next = coming.iter().map(|(_, next)| next.at).min();
            self.state.beat(coming.into_iter().collect());
            alarm.arm(next, now).await?;
            tokio::select! {
                _ = beats.tick() => {}
                () = alarm.rings() => {}
                Some((job, ended)) = self.ended.recv() => self.take_note(job, ended),
                () = cancel.cancelled() => return Ok(()),
            }
        }
    }

    fn take_note(&mut self, name: Name, ended: Ended) {
        let Some(job) = self.jobs.iter_mut().find(|job| job.name == name) else {
            return;
        };
        if let Some(passed) = job.timetable.finished(ended, clock::now()) {
            let moment = self.state.local(passed);
            warn!(job = %name, %moment, "it was at work at its moment: passed over");
        }
        if let Some(next) = job.timetable.next() {
            let at = self.state.local(next.at);
            info!(job = %name, %at, reason = next.reason.name(), "next");
        }
    }
}

/// Rings at the next moment.
struct Alarm {
    jobs: JobScheduler,
    bell: Arc<Notify>,
    armed: Option<DateTime<Utc>>,
}

impl Alarm {
    async fn new() -> Result<Self, JobSchedulerError> {
        let jobs = JobScheduler::new().await?;
        jobs.start().await?;
        Ok(Self {
            jobs,
            bell: Arc::new(Notify::new()),
            armed: None,
        })
    }

    /// Sets it to the next moment. An earlier setting rings for nothing.
    async fn arm(
        &mut self,
        next: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<(), JobSchedulerError> {
        let Some(at) = next.filter(|at| *at > now) else {
            return Ok(());
        };
        if self.armed != Some(at) {
            let bell = self.bell.clone();
            // The job's clock has whole seconds; rounded up, it never rings early.
            let seconds = (at - now).num_seconds().unsigned_abs() + 1;
            let job =
                OneShot::new_one_shot(Duration::from_secs(seconds), move |_, _| bell.notify_one())?;
            self.jobs.add(job).await?;
            self.armed = Some(at);
        }
        Ok(())
    }

    async fn rings(&self) {
        self.bell.notified().await;
    }
}
