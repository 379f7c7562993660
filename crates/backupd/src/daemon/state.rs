//! What the daemon knows: the last survey of the backup directory, the run at work, the next one, and the verdict on it all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use catalog::accepted::Stranger;
use catalog::anomaly::Anomaly;
use catalog::catalog::Entry;
use catalog::drill::DrillVerdict;
use catalog::remembered::Remembered;
use catalog::set::SetId;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use engine::backup::strangers::waits;
use engine::clock;
use engine::keep::survey::{LastDrill, LastRun, Probe, RunResult, Survey, survey};
use policy::schedule::{Next, Schedule};
use policy::verdict::{self, Drills, Situation, Verdict, span};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::live::{Current, Live};
use super::name::Name;
use crate::render::anomaly::{held, in_short};
use crate::render::remedy::Where;
use crate::settings::Service;

/// How often the backup directory is asked without a reason: what other processes did there shows within this.
const SURVEY_EVERY: Duration = Duration::from_secs(30);
/// A directory that has not answered for this long hangs: a lost network file system.
const SURVEY_OVERDUE: TimeDelta = TimeDelta::seconds(150);
/// The scheduler's heartbeat; a stall is told after several missed ones.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
const MAX_SILENCE: TimeDelta = TimeDelta::seconds(90);
/// A first run has this long to become a good set.
const FIRST_RUN_GRACE: TimeDelta = TimeDelta::hours(6);

/// What the daemon knows.
pub struct State {
    /// Its settings.
    pub service: Service,
    /// What goes on.
    pub live: Live,
    survey: Mutex<Arc<Survey>>,
    remembered: Mutex<Remembered>,
    next: Mutex<BTreeMap<Name, Next>>,
    drilling: AtomicBool,
    started: Instant,
    started_at: DateTime<Utc>,
    /// Seconds from `started` to the scheduler's last heartbeat.
    heartbeat: AtomicU64,
    ask: Notify,
    answered: Notify,
}

/// All of it, for machines: the answer of `/health` and of `status --json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Health, with reasons.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// backupd's version.
    pub backupd: String,
    /// The schedule with its time zone; none without.
    pub schedule: Option<String>,
    /// The zone that people are told times in: the schedule's.
    #[serde(default)]
    pub timezone: String,
    /// The run at work.
    pub current_run: Option<Current>,
    /// The run that ended last.
    pub last_run: Option<LastRun>,
    /// The newest good set to count on: what `latest` means.
    pub last_good: Option<GoodSet>,
    /// Good sets with an anomaly that nobody has accepted, oldest first.
    #[serde(default)]
    pub anomalies: Vec<OddSet>,
    /// Sources that are others than the sets', for which the daemon waits.
    #[serde(default)]
    pub waiting: BTreeMap<String, Stranger>,
    /// When the next run begins.
    pub next_run: Option<NextRun>,
    /// Whether a drill is at work.
    pub drilling: bool,
    /// The drill that ended last.
    pub last_drill: Option<LastDrill>,
    /// The last one that did not fail.
    pub last_proof: Option<LastDrill>,
    /// When the next drill begins.
    pub next_drill: Option<DateTime<Utc>>,
    /// Age of the scheduler's heartbeat.
    pub heartbeat_age_seconds: i64,
    /// Sets and room.
    pub disk: Disk,
}

/// A good set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GoodSet {
    /// Its id.
    pub set: SetId,
    /// Since its run began.
    pub age_seconds: i64,
    /// On disk.
    pub bytes: u64,
}

/// A good set with an open anomaly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OddSet {
    /// Its id.
    pub set: SetId,
    /// What is odd about it.
    pub found: Vec<Anomaly>,
}

/// The next run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NextRun {
    /// When.
    pub at: DateTime<Utc>,
    /// `schedule`, `catch-up` or `retry`.
    pub reason: String,
}

/// Sets and room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    /// Good sets.
    pub good_sets: usize,
    /// Good sets dated later than the clock allows, which count for nothing.
    #[serde(default)]
    pub future_sets: usize,
    /// All sets.
    pub sets: usize,
    /// Bytes of all sets.
    pub set_bytes: u64,
    /// Bytes that can still be written.
    pub free_bytes: u64,
}

impl State {
    /// Begins with a first survey, which may block.
    pub fn new(service: Service) -> Self {
        let (config, now) = (&service.config, clock::now());
        let mut remembered = Remembered::default();
        let first = survey(
            &config.backup_dir,
            &config.retention,
            now,
            Probe::Write,
            &mut remembered,
        );
        Self::of(service, first, remembered, now)
    }

    /// What a daemon with these settings would know by this survey.
    pub fn of(service: Service, first: Survey, remembered: Remembered, now: DateTime<Utc>) -> Self {
        Self {
            service,
            live: Live::default(),
            survey: Mutex::new(Arc::new(first)),
            remembered: Mutex::new(remembered),
            next: Mutex::default(),
            drilling: AtomicBool::new(false),
            started: Instant::now(),
            started_at: now,
            heartbeat: AtomicU64::new(0),
            ask: Notify::new(),
            answered: Notify::new(),
        }
    }

    /// The last survey.
    pub fn survey(&self) -> Arc<Survey> {
        lock(&self.survey).clone()
    }

    /// Asks the backup directory again and again, until cancelled.
    pub async fn keep_surveying(self: Arc<Self>, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SURVEY_EVERY) => {}
                () = self.ask.notified() => {}
                () = cancel.cancelled() => return,
            }
            // Writing wakes a disk. While nothing is amiss, runs are proof enough.
            let probe = match self.survey().fault {
                None => Probe::Ask,
                Some(_) => Probe::Write,
            };
            let state = self.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let config = &state.service.config;
                let mut remembered = lock(&state.remembered);
                survey(
                    &config.backup_dir,
                    &config.retention,
                    clock::now(),
                    probe,
                    &mut remembered,
                )
            });
            // A panic in there leaves the old survey, whose age is then told.
            if let Ok(told) = asked.await {
                *lock(&self.survey) = Arc::new(told);
            }
            self.answered.notify_waiters();
        }
    }

    /// Asks the backup directory now; returns when it has answered, or soon after where it hangs.
    pub async fn refresh(&self) {
        let asked = clock::now();
        let told = async {
            loop {
                let answered = self.answered.notified();
                if self.survey().taken_at >= asked {
                    return;
                }
                self.ask.notify_one();
                answered.await;
            }
        };
        // Where the directory hangs, its age says so.
        let _ = tokio::time::timeout(HEARTBEAT, told).await;
    }

    /// The scheduler is alive.
    pub fn beat(&self, next: BTreeMap<Name, Next>) {
        *lock(&self.next) = next;
        self.heartbeat
            .store(self.started.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn next(&self, job: Name) -> Option<Next> {
        lock(&self.next).get(&job).copied()
    }

    /// A moment as people here tell it: in the schedule's zone.
    pub fn local(&self, moment: DateTime<Utc>) -> String {
        match &self.service.schedule {
            Some(schedule) => moment
                .with_timezone(&schedule.zone())
                .format("%Y-%m-%d %H:%M:%S %Z")
                .to_string(),
            None => moment.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        }
    }

    /// A drill has begun, or ended.
    pub fn set_drilling(&self, drilling: bool) {
        self.drilling.store(drilling, Ordering::SeqCst);
    }

    /// Everything, as of now.
    pub fn report(&self, now: DateTime<Utc>) -> Report {
        let survey = self.survey();
        let silence = self.silence();
        let newest = survey.newest_good(now);
        Report {
            verdict: verdict::judge(&self.situation(&survey, silence, now)),
            backupd: env!("CARGO_PKG_VERSION").to_owned(),
            schedule: self.service.schedule.as_ref().map(ToString::to_string),
            timezone: self
                .service
                .schedule
                .as_ref()
                .map_or(Tz::UTC, Schedule::zone)
                .to_string(),
            current_run: self.live.current(),
            last_run: survey.last_run.clone(),
            last_good: newest.map(|entry| GoodSet {
                set: entry.id,
                age_seconds: (now - entry.id.time()).num_seconds().max(0),
                bytes: entry.bytes,
            }),
            anomalies: survey
                .odd()
                .map(|entry| OddSet {
                    set: entry.id,
                    found: entry.anomalies().to_vec(),
                })
                .collect(),
            waiting: survey.waiting.clone(),
            next_run: self.next(Name::Run).map(|next| NextRun {
                at: next.at,
                reason: next.reason.name().to_owned(),
            }),
            drilling: self.drilling.load(Ordering::SeqCst),
            last_drill: survey.last_drill.clone(),
            last_proof: survey.last_proof.clone(),
            next_drill: self.next(Name::Drill).map(|next| next.at),
            heartbeat_age_seconds: silence.num_seconds(),
            disk: Disk {
                good_sets: survey.good(now),
                future_sets: survey.future_sets(now),
                sets: survey.sets.len(),
                set_bytes: survey.bytes(),
                free_bytes: survey.free,
            },
        }
    }

    /// Every fault, each with what it is of.
    pub fn faults(&self, now: DateTime<Utc>) -> Vec<verdict::Fault> {
        verdict::faults(&self.situation(&self.survey(), self.silence(), now))
    }

    fn situation(&self, survey: &Survey, silence: TimeDelta, now: DateTime<Utc>) -> Situation {
        let failure = survey
            .last_run
            .as_ref()
            .filter(|run| run.result == RunResult::Failed)
            .map(|run| {
                run.error
                    .clone()
                    .unwrap_or_else(|| "see its log".to_owned())
            });
        let overdue = now - survey.taken_at;
        let hangs = (overdue > SURVEY_OVERDUE).then(|| {
            format!(
                "BACKUP_DIR {} has not answered for {}",
                self.service.config.backup_dir.display(),
                span(overdue)
            )
        });
        Situation {
            now,
            newest_good: survey.newest_good(now).map(|entry| entry.id.time()),
            future_sets: survey.future_sets(now),
            odd: self.odd(survey),
            last_failure: failure,
            first_set_by: self.first_set_by(survey),
            max_age: self.service.max_age,
            silence,
            max_silence: MAX_SILENCE,
            directory_fault: hangs.or_else(|| survey.fault.clone()),
            drills: self.drills(survey),
        }
    }

    /// What waits for a person, in sentences.
    fn odd(&self, survey: &Survey) -> Vec<String> {
        let dir = &self.service.config.backup_dir;
        let waits = (!survey.waiting.is_empty()).then(|| waits(dir, &survey.waiting));
        let open: Vec<&Entry> = survey.odd().collect();
        let odd = open.last().map(|entry| {
            let more = match open.len() - 1 {
                0 => String::new(),
                1 => ", and one set more".to_owned(),
                more => format!(", and {more} sets more"),
            };
            format!(
                "an anomaly is open: {}: {}{more}; see `backupd show {0}`; put a set before it back, or say that all is as it should be by \
                 `backupd accept`",
                entry.id,
                in_short(entry.anomalies())
            )
        });
        let unread = survey
            .unread()
            .map(|(set, why)| held(dir, set, why, Where::here()));
        waits.into_iter().chain(odd).chain(unread).collect()
    }

    fn drills(&self, survey: &Survey) -> Drills {
        let failed = survey
            .last_drill
            .as_ref()
            .filter(|drill| drill.verdict == DrillVerdict::Failed);
        // Whoever brought drills has time for the first.
        let since = survey
            .served_since
            .get(env!("CARGO_PKG_VERSION"))
            .copied()
            .unwrap_or(self.started_at);
        let proof = survey.last_proof.as_ref().map(|drill| drill.ended_at);
        Drills {
            last_failure: failed.map(|drill| {
                let first = drill
                    .differences
                    .first()
                    .map_or("see its report", String::as_str);
                match drill.differences.len() {
                    0 | 1 => format!("{}: {first}", drill.set),
                    count => format!("{}: {first}, and {} more", drill.set, count - 1),
                }
            }),
            proven: proof.is_some(),
            proof_or_since: Some(proof.unwrap_or(since)),
            max_age: self.service.drills.max_age,
        }
    }

    /// The first run begins when backupd first comes here, or at its first moment.
    fn first_set_by(&self, survey: &Survey) -> DateTime<Utc> {
        let since = survey.since.unwrap_or(self.started_at);
        let first_moment = match &self.service.schedule {
            Some(schedule) if !self.service.catch_up => schedule.after(since),
            _ => None,
        };
        first_moment.unwrap_or(since) + FIRST_RUN_GRACE
    }

    fn silence(&self) -> TimeDelta {
        let last = Duration::from_secs(self.heartbeat.load(Ordering::Relaxed));
        TimeDelta::from_std(self.started.elapsed().saturating_sub(last)).unwrap_or(TimeDelta::MAX)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic elsewhere leaves plain values behind, which are as good as before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
