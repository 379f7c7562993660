//! A database's step with an eye on its locks: a wait is told while it lasts, has an end, and its failure names who was in the way.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postgres::dsn::Dsn;
use postgres::locks::{LockWait, LockWatch};
use postgres::server::ServerError;

use super::back_up;
use crate::config::DatabaseSource;
use crate::event::{Event, Observer};
use crate::source::context::Context;
use crate::source::product::{Failure, Product};

/// How often the server is asked. A look costs it a millisecond.
const EVERY: Duration = Duration::from_secs(1);
/// Shorter waits are everyday business.
const TOLD_AFTER: Duration = Duration::from_secs(5);
/// pg_dump gives up by itself at its limit. This much later, whatever else waits is ended.
const GRACE: Duration = Duration::from_secs(2);

/// Time to end sessions that still wait, when a step was cut off.
const END: Duration = Duration::from_secs(2);

/// The wait that was seen last, unless it is over.
type Seen = Mutex<Option<Waiting>>;

struct Waiting {
    wait: LockWait,
    since: Instant,
    told: Option<String>,
}

/// Does the step of a database.
pub(super) async fn perform(source: &DatabaseSource, context: &Context<'_>) -> Product {
    let mut source = source.clone();
    // By it the server's sessions of this step are known.
    source.dsn.application = format!("backupd run {} {}", std::process::id(), source.label);
    let token = context.cancel.child_token();
    let inner = Context {
        cancel: &token,
        meter: context.meter.clone(),
        ..*context
    };
    let watch = Watch {
        dsn: &source.dsn,
        step: &source.label,
        limit: context.config.lock_timeout,
        observer: context.observer,
        seen: Seen::default(),
    };
    let mut product = {
        let mut work = Box::pin(back_up::perform(&source, &inner));
        tokio::select! {
            product = &mut work => product,
            () = watch.until_too_long() => {
                token.cancel();
                work.await
            }
        }
    };
    if token.is_cancelled() {
        watch.end_waiting().await;
    }
    if let Some(failure) = &mut product.failure
        && !context.cancel.is_cancelled()
        && let Some(message) = watch.given_up()
    {
        *failure = Failure {
            message,
            exit_code: failure.exit_code,
            // Somebody else's transaction ends by itself, as a rule.
            passing: true,
        };
    }
    product
}

struct Watch<'a> {
    dsn: &'a Dsn,
    step: &'a str,
    limit: Option<Duration>,
    observer: &'a dyn Observer,
    seen: Seen,
}

impl Watch<'_> {
    /// Looks again and again, and returns when a wait has lasted too long.
    async fn until_too_long(&self) {
        let mut connection = None;
        loop {
            tokio::time::sleep(EVERY).await;
            match self.look(&mut connection).await {
                Ok(wait) => {
                    if self.note(wait) {
                        return;
                    }
                }
                Err(error) => {
                    // The step has words of its own for a server that is gone.
                    tracing::debug!(%error, "locks could not be looked at");
                    connection = None;
                }
            }
        }
    }

    async fn look(
        &self,
        connection: &mut Option<LockWatch>,
    ) -> Result<Option<LockWait>, ServerError> {
        let watch = match connection.take() {
            Some(watch) => watch,
            None => LockWatch::connect(self.dsn).await?,
        };
        connection.insert(watch).look().await
    }

    /// Keeps what was seen and tells it in time; says whether it has lasted too long.
    fn note(&self, wait: Option<LockWait>) -> bool {
        let mut seen = self.seen();
        let before = seen.take();
        let was_told = before.as_ref().is_some_and(|before| before.told.is_some());
        let Some(wait) = wait else {
            if was_told {
                self.observer.on(&Event::GoesOn {
                    step: self.step.to_owned(),
                });
            }
            return false;
        };
        // Another lock is another wait: pg_dump takes many, one after the other.
        let same =
            |before: &Waiting| before.wait.pid == wait.pid && before.wait.wanted == wait.wanted;
        let (since, told) = match before {
            Some(before) if same(&before) => (before.since, before.told),
            _ => (begun(wait.waited), None),
        };
        let mut waiting = Waiting { wait, since, told };
        let words = words(&waiting.wait);
        if since.elapsed() >= TOLD_AFTER && waiting.told.as_ref() != Some(&words) {
            self.observer.on(&Event::Waiting {
                step: self.step.to_owned(),
                text: words.clone(),
            });
            waiting.told = Some(words);
        }
        *seen = Some(waiting);
        self.limit
            .is_some_and(|limit| since.elapsed() >= limit + GRACE)
    }

    fn seen(&self) -> MutexGuard<'_, Option<Waiting>> {
        // A panic elsewhere leaves a plain value behind.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failure's words, where the step failed because it waited for as long as it may.
    fn given_up(&self) -> Option<String> {
        let limit = self.limit?;
        let seen = self.seen();
        let waiting = seen.as_ref()?;
        // A wait is seen a little after it began.
        (waiting.since.elapsed() + GRACE + EVERY >= limit).then(|| {
            format!(
                "no lock on {} within {} s (BACKUP_LOCK_TIMEOUT), blocked by {}: end that transaction, or run again when it has ended",
                waiting.wait.wanted,
                limit.as_secs(),
                waiting.wait.holders
            )
        })
    }

    /// Ends what still waits on the server, of a step that was cut off. They end with their lock in any case, so this is not waited
    /// for long.
    async fn end_waiting(&self) {
        let end = async { LockWatch::connect(self.dsn).await?.end_waiting().await };
        let ended = tokio::time::timeout(END, end).await;
        if let Ok(Err(error)) = ended {
            tracing::debug!(%error, "sessions that wait could not be ended");
        }
    }
}

/// When a wait began; now, where the server does not say.
fn begun(waited: Option<Duration>) -> Instant {
    let now = Instant::now();
    now.checked_sub(waited.unwrap_or_default()).unwrap_or(now)
}

fn words(wait: &LockWait) -> String {
    format!(
        "waiting for a lock on {}, blocked by {}",
        wait.wanted, wait.holders
    )
}
