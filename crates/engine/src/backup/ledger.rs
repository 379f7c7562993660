//! A run's steps as they happen: what each took and how it ended.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use catalog::catalog::PartialSet;
use catalog::manifest::{StepRecord, StepStatus};
use stream::artifact::Meter;
use tokio_util::sync::CancellationToken;

use crate::caught::caught;
use crate::clock;
use crate::config::Config;
use crate::event::{Event, Observer};
use crate::finding::Outcome as CheckOutcome;
use crate::progress::{StepLimit, millis, tell, warn};
use crate::source::reconcile::Reconciler;
use crate::source::{Context, Failure, Preflight, Product, Source, back_up};

/// The record of a run's steps, told to the observer as it grows.
pub(crate) struct Ledger<'a> {
    pub observer: &'a dyn Observer,
    pub records: Vec<StepRecord>,
    /// Whether every failure so far may pass by itself.
    pub passing: bool,
    objects: Mutex<Option<Reconciler>>,
    open: Option<(String, chrono::DateTime<chrono::Utc>, Instant)>,
}

impl<'a> Ledger<'a> {
    pub fn new(observer: &'a dyn Observer) -> Self {
        Self {
            observer,
            records: Vec::new(),
            passing: true,
            objects: Mutex::default(),
            open: None,
        }
    }

    pub fn begin(&mut self, name: &str) {
        self.open = Some((name.to_owned(), clock::now(), Instant::now()));
        self.observer.on(&Event::StepStarted {
            step: name.to_owned(),
        });
    }

    pub fn end(&mut self, failure: Option<Failure>, notes: Vec<String>) {
        let Some((name, started_at, began)) = self.open.take() else {
            return;
        };
        let status = if failure.is_some() {
            StepStatus::Failed
        } else if notes.is_empty() {
            StepStatus::Succeeded
        } else {
            StepStatus::Warning
        };
        self.passing &= failure.as_ref().is_none_or(|failure| failure.passing);
        for note in &notes {
            warn(self.observer, &name, note.clone());
        }
        self.push(StepRecord {
            name,
            status,
            started_at,
            duration_ms: millis(began.elapsed()),
            exit_code: failure.as_ref().and_then(|failure| failure.exit_code),
            error: failure.map(|failure| failure.message),
            notes,
        });
    }

    pub fn skip(&mut self, name: &str, why: &str) {
        self.push(StepRecord {
            name: name.to_owned(),
            status: StepStatus::Skipped,
            started_at: clock::now(),
            duration_ms: 0,
            exit_code: None,
            error: Some(format!("skipped: {why}")),
            notes: Vec::new(),
        });
    }

    fn push(&mut self, record: StepRecord) {
        self.observer.on(&Event::StepFinished {
            record: record.clone(),
        });
        self.records.push(record);
    }

    /// Preflight, as it is done by `looking`.
    pub async fn preflight<E>(
        &mut self,
        looking: impl Future<Output = Result<Preflight, E>>,
    ) -> Result<Preflight, E> {
        self.begin("preflight");
        let found = looking.await?;
        let notes = found
            .checks
            .iter()
            .filter(|check| check.outcome == CheckOutcome::Warning)
            .map(|check| format!("{}: {}", check.subject, check.text))
            .collect();
        let refusals = found.refusals();
        let failure = (!refusals.is_empty()).then(|| Failure {
            message: refusals.join("; "),
            ..Failure::default()
        });
        self.end(failure, notes);
        Ok(found)
    }

    /// The storage step may have been skipped: what waited for it goes before the set is complete.
    pub fn forget_objects(&mut self) {
        self.objects = Mutex::default();
    }

    pub async fn data_step(
        &mut self,
        config: &Config,
        found: &Preflight,
        partial: &PartialSet,
        source: &dyn Source,
        cancel: &CancellationToken,
    ) -> Product {
        let step = source.label();
        self.begin(step);
        let meter = Arc::new(Meter::default());
        let limit = StepLimit::new(config.step_timeout, cancel);
        let context = Context {
            config,
            preflight: found,
            dir: &partial.dir,
            meter: meter.clone(),
            objects: &self.objects,
            cancel: &limit.token,
            observer: self.observer,
        };
        let expected = source.expected(found);
        let observer = self.observer;
        let mut product = limit
            .watch(caught(back_up(source, &context)), || {
                tell(observer, step, &meter, expected);
            })
            .await
            .unwrap_or_else(|words| {
                let mut product = Product::default();
                product.fail(words, None);
                product
            });
        if let (Some(failure), Some(words)) = (&mut product.failure, limit.expired()) {
            failure.message = words;
            failure.passing = false;
        }
        if let Some(result) = product
            .storage
            .as_ref()
            .and_then(|storage| storage.reconcile.clone())
        {
            observer.on(&Event::Reconciled {
                result: Box::new(result),
            });
        }
        self.end(product.failure.clone(), std::mem::take(&mut product.notes));
        product
    }
}
