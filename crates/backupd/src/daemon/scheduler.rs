//! Begins runs when they are due. The timetable decides; tokio-cron-scheduler wakes this task at the next moment by a one-shot job that
//! is armed anew after each (its repeating jobs keep the UTC offset they were made with, its issue #107), and a heartbeat looks at the
//! clock besides, so that a clock that was set, or a machine that slept, is noticed.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::clock;
use policy::schedule::{Ended, Next, Reason, Timetable};
use tokio::sync::{Notify, mpsc};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::driller::Driller;
use super::runner::Runner;
use super::state::{HEARTBEAT, State};

/// How many coming runs are logged at the start.
const LOGGED_RUNS: usize = 3;

/// The task that begins runs.
pub struct Scheduler {
    pub state: Arc<State>,
    pub runner: Arc<Runner>,
    pub timetable: Timetable,
    pub driller: Arc<Driller>,
    /// When drills are due.
    pub drills: Timetable,
    pub ended: mpsc::UnboundedReceiver<Ended>,
}

impl Scheduler {
    /// Works until cancelled.
    pub async fn keep(mut self, cancel: CancellationToken) -> Result<(), JobSchedulerError> {
        let mut alarm = Alarm::new().await?;
        let mut beats = tokio::time::interval(HEARTBEAT);
        self.log_coming();
        loop {
            while let Ok(ended) = self.ended.try_recv() {
                self.take_note(ended);
            }
            let now = clock::now();
            if !self.runner.is_busy()
                && let Some(due) = self.timetable.due(now)
            {
                if due.reason == Reason::CatchUp {
                    warn!(since = %self.local(due.since), "no good set since: a run begins now");
                }
                self.runner.begin_by_itself(due.reason.name());
            }
            // After a run rather than beside it, where both are due.
            if !self.runner.is_busy() && !self.driller.is_busy() && self.drills.due(now).is_some() {
                self.driller.begin();
            }
            let next = self.timetable.next();
            self.state
                .beat(next, self.drills.next().map(|next| next.at));
            alarm.arm(next, now).await?;
            tokio::select! {
                _ = beats.tick() => {}
                () = alarm.rings() => {}
                Some(ended) = self.ended.recv() => self.take_note(ended),
                () = cancel.cancelled() => return Ok(()),
            }
        }
    }

    fn take_note(&mut self, ended: Ended) {
        if ended == Ended::Well && self.state.service.drills.always {
            self.driller.begin();
        }
        if let Some(passed) = self.timetable.finished(ended, clock::now()) {
            warn!(moment = %self.local(passed), "a run was at work at its moment: passed over");
        }
        if let Some(next) = self.timetable.next() {
            info!(at = %self.local(next.at), reason = next.reason.name(), "next run");
        }
    }

    fn log_coming(&self) {
        let service = &self.state.service;
        let Some(schedule) = &service.schedule else {
            info!("no schedule (BACKUP_SCHEDULE=off): runs are begun by `backupd trigger` alone");
            return;
        };
        let now = clock::now();
        let first = schedule.after(now);
        let coming = std::iter::successors(first, |last| schedule.after(*last)).take(LOGGED_RUNS);
        let coming: Vec<String> = coming.map(|moment| self.local(moment)).collect();
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
                "BACKUP_MAX_AGE_HOURS={} is no longer than the longest pause of BACKUP_SCHEDULE, {} h: health will complain between \
                 runs; set it to {} or more",
                service.max_age.num_hours(),
                longest.num_hours(),
                longest.num_hours() + 2
            );
        }
    }

    fn local(&self, moment: DateTime<Utc>) -> String {
        match &self.state.service.schedule {
            Some(schedule) => moment
                .with_timezone(&schedule.zone())
                .format("%Y-%m-%d %H:%M:%S %Z")
                .to_string(),
            None => moment.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
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
        next: Option<Next>,
        now: DateTime<Utc>,
    ) -> Result<(), JobSchedulerError> {
        let Some(at) = next.map(|next| next.at).filter(|at| *at > now) else {
            return Ok(());
        };
        if self.armed != Some(at) {
            let bell = self.bell.clone();
            // The job's clock has whole seconds; rounded up, it never rings early.
            let seconds = (at - now).num_seconds().unsigned_abs() + 1;
            let job =
                Job::new_one_shot(Duration::from_secs(seconds), move |_, _| bell.notify_one())?;
            self.jobs.add(job).await?;
            self.armed = Some(at);
        }
        Ok(())
    }

    async fn rings(&self) {
        self.bell.notified().await;
    }
}
