//! What is going on: a moving line on a terminal, log lines without one.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catalog::drill::DrillVerdict;
use catalog::manifest::StepStatus;
use engine::space::human;
use engine::{Event, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{error, info, warn};

use super::set::status;
use crate::settings::{LogFormat, Logging};

/// How often the moving line is drawn anew between events, so that its clock runs.
const TICK: Duration = Duration::from_millis(250);

/// Shows a use-case's events.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Whose lock is waited for: shown instead of bytes that do not move.
    waiting: Mutex<Option<String>>,
}

impl Progress {
    /// Begins to show. With a terminal and text logs, steps are lines and progress a moving line; otherwise all are log lines.
    pub fn start(logging: &Logging) -> Self {
        let terminal = std::io::stderr().is_terminal() && logging.format == LogFormat::Text;
        logging.install();
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix:10} {msg}  {elapsed}")
            {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            waiting: Mutex::default(),
        }
    }

    /// Shows events as log lines only; logging is installed already.
    pub fn logged() -> Self {
        Self {
            bar: None,
            waiting: Mutex::default(),
        }
    }

    /// Takes the moving line away.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Prints above the moving line.
    fn above(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<String>> {
        // A panic elsewhere leaves a plain value behind.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moving(&self, step: &str, raw: u64, written: u64, expected: Option<u64>) {
        let Some(bar) = &self.bar else { return };
        if let Some(text) = self.waiting().as_ref() {
            bar.set_message(text.clone());
            return;
        }
        let rate = raw
            .checked_div(bar.elapsed().as_millis().try_into().unwrap_or(u64::MAX))
            .unwrap_or(0)
            * 1000;
        let whole = expected
            .filter(|expected| *expected > 0)
            .map(|expected| {
                format!(
                    " of {} ({} %)",
                    human(expected),
                    (raw * 100 / expected).min(100)
                )
            })
            .unwrap_or_default();
        let stored = if written > 0 {
            format!(", {} stored", human(written))
        } else {
            String::new()
        };
        bar.set_prefix(step.to_owned());
        bar.set_message(format!("{}{whole}, {}/s{stored}", human(raw), human(rate)));
    }
}

impl Observer for Progress {
    fn on(&self, event: &Event) {
        match event {
            Event::RunWaiting { by } => self.above(|| info!(by, "waiting for another to end")),
            Event::RunStarted { run, trigger } => info!(%run, trigger, "run started"),
            Event::LeftoversRemoved { names } => self.above(|| {
                warn!(
                    names = names.join(" "),
                    "removed what a killed run left behind"
                );
            }),
            Event::SetBegun { set } => info!(%set, "set begun"),
            Event::StepStarted { step } => {
                *self.waiting() = None;
                // A moving line says it.
                if self.bar.is_none() {
                    info!(step, "step started");
                }
                if let Some(bar) = &self.bar {
                    bar.reset();
                    bar.set_prefix(step.clone());
                    bar.set_message("…");
                    bar.enable_steady_tick(TICK);
                }
            }
            Event::Progress {
                step,
                raw,
                written,
                expected,
            } => {
                self.moving(step, *raw, *written, *expected);
            }
            Event::Waiting { step, text } => {
                *self.waiting() = Some(text.clone());
                self.above(|| warn!(step, "{text}"));
            }
            Event::GoesOn { step } => {
                *self.waiting() = None;
                self.above(|| info!(step, "step goes on: it has its lock"));
            }
            Event::Warning { step, text } => self.above(|| warn!(step, "{text}")),
            Event::StepFinished { record } => self.above(|| {
                let duration_ms = record.duration_ms;
                let words = record.error.as_deref().unwrap_or_default();
                match record.status {
                    StepStatus::Failed => error!(step = record.name, duration_ms, "step failed: {words}"),
                    StepStatus::Skipped => warn!(step = record.name, "step {words}"),
                    StepStatus::Succeeded | StepStatus::Warning => {
                        info!(step = record.name, duration_ms, "step succeeded");
                    }
                }
            }),
            Event::RunFinished {
                set,
                status: how,
                bytes: size,
                duration_ms,
            } => self.above(|| {
                let set = set.map(|set| set.to_string()).unwrap_or_default();
                info!(
                    set,
                    status = status(*how),
                    bytes = size,
                    duration_ms,
                    "run finished"
                );
            }),
            Event::Reconciled { result } => self.above(|| {
                info!(
                    objects = result.objects,
                    files = result.files,
                    matched = result.matched,
                    missing = result.missing.total,
                    size_mismatch = result.size_mismatch.total,
                    content_mismatch = result.content_mismatch.total,
                    extra = result.extra.total,
                    deleted_meanwhile = result.deleted_meanwhile.total,
                    "files compared with storage.objects"
                );
            }),
            Event::Drilled { report } => self.above(|| {
                let duration_ms = report.duration_ms;
                let verdict = report.verdict.name();
                let set = report.set;
                if report.verdict == DrillVerdict::Failed {
                    let differences = report.differences();
                    let first = differences.first().map_or("", String::as_str);
                    error!(%set, verdict, duration_ms, differences = differences.len(), "drill failed: {first}");
                } else {
                    info!(%set, verdict, duration_ms, not_proven = report.not_proven().len(), "drill ended");
                }
            }),
            Event::Anomalies { set, found } => self.above(|| {
                for anomaly in found {
                    error!(%set, "anomaly: {}", super::anomaly::words(anomaly));
                }
            }),
            // The step's name and the command's words say it.
            Event::Exchanging | Event::PutBack | Event::NothingLeft => {}
            Event::SetRemoved { set } => self.above(|| info!(%set, "retention removed a set")),
        }
    }
}
