//! Work as it goes on: its progress is told, and it ends when its time is up.

use std::time::{Duration, Instant};

use stream::artifact::Meter;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Observer};

/// How often a step's progress is told: often enough to look alive, seldom enough to cost nothing.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// A step's time limit: a child of the run's token that is cancelled when time is up.
pub(crate) struct StepLimit {
    pub token: CancellationToken,
    limit: Option<Duration>,
    outer: CancellationToken,
}

impl StepLimit {
    pub fn new(limit: Option<Duration>, cancel: &CancellationToken) -> Self {
        Self {
            token: cancel.child_token(),
            limit,
            outer: cancel.clone(),
        }
    }

    /// Does the work, telling progress, and cancels it when its time is up. Waits for the work to end either way.
    pub async fn watch<T>(&self, work: impl Future<Output = T>, progress: impl Fn()) -> T {
        let mut work = std::pin::pin!(work);
        let mut ticks = tokio::time::interval(PROGRESS_EVERY);
        let began = Instant::now();
        loop {
            tokio::select! {
                done = &mut work => {
                    progress();
                    return done;
                }
                _ = ticks.tick() => {
                    progress();
                    if self.limit.is_some_and(|limit| began.elapsed() >= limit) {
                        self.token.cancel();
                    }
                }
            }
        }
    }

    /// The failure's words when the time was up.
    pub fn expired(&self) -> Option<String> {
        let limit = self.limit?;
        (self.token.is_cancelled() && !self.outer.is_cancelled()).then(|| {
            format!(
                "not done within {} s (BACKUP_STEP_TIMEOUT)",
                limit.as_secs()
            )
        })
    }
}

/// Does the work, telling its progress.
pub async fn tell_while<T>(
    work: impl Future<Output = T>,
    observer: &dyn Observer,
    step: &str,
    meter: &Meter,
    expected: Option<u64>,
) -> T {
    let unlimited = StepLimit::new(None, &CancellationToken::new());
    unlimited
        .watch(work, || tell(observer, step, meter, expected))
        .await
}

pub(crate) fn tell(observer: &dyn Observer, step: &str, meter: &Meter, expected: Option<u64>) {
    observer.on(&Event::Progress {
        step: step.to_owned(),
        raw: meter.raw(),
        written: meter.written(),
        expected,
    });
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn warn(observer: &dyn Observer, step: &str, text: String) {
    observer.on(&Event::Warning {
        step: step.to_owned(),
        text,
    });
}
