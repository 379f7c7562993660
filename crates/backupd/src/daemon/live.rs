//! What goes on right now, as the events of the run at work tell it.

use std::sync::Mutex;

use catalog::manifest::StepRecord;
use catalog::set::SetId;
use chrono::{DateTime, Utc};
use engine::Event;
use serde::{Deserialize, Serialize};

/// The run at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// Its id.
    pub run: SetId,
    /// Who asked for it.
    pub trigger: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The step at work.
    pub step: Option<String>,
    /// Bytes that this step has taken from its source.
    pub raw_bytes: u64,
    /// Bytes that it has written.
    pub written_bytes: u64,
    /// What the first is expected to reach, where that is known.
    pub expected_bytes: Option<u64>,
    /// Whose lock it waits for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// The steps that have ended.
    pub steps: Vec<StepRecord>,
}

/// The run at work, or none.
#[derive(Debug, Default)]
pub struct Live {
    current: Mutex<Option<Current>>,
}

impl Live {
    /// Takes note of an event.
    pub fn on(&self, event: &Event, now: DateTime<Utc>) {
        let mut current = self.lock();
        if let Event::RunStarted { run, trigger } = event {
            *current = Some(Current {
                run: *run,
                trigger: trigger.clone(),
                started_at: now,
                step: None,
                raw_bytes: 0,
                written_bytes: 0,
                expected_bytes: None,
                waiting: None,
                steps: Vec::new(),
            });
        }
        let Some(current) = current.as_mut() else {
            return;
        };
        match event {
            Event::StepStarted { step } => {
                current.step = Some(step.clone());
                current.raw_bytes = 0;
                current.written_bytes = 0;
                current.expected_bytes = None;
                current.waiting = None;
            }
            Event::Waiting { text, .. } => current.waiting = Some(text.clone()),
            Event::GoesOn { .. } => current.waiting = None,
            Event::Progress {
                raw,
                written,
                expected,
                ..
            } => {
                current.raw_bytes = *raw;
                current.written_bytes = *written;
                current.expected_bytes = *expected;
            }
            Event::StepFinished { record } => {
                current.steps.push(record.clone());
                current.step = None;
                current.waiting = None;
            }
            _ => {}
        }
    }

    /// Takes note of the end of a run, unless the next has begun already.
    pub fn ended(&self, run: Option<SetId>) {
        let mut current = self.lock();
        if current.as_ref().map(|current| current.run) == run {
            *current = None;
        }
    }

    /// The run at work.
    pub fn current(&self) -> Option<Current> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        // A panic elsewhere leaves plain values behind, which are as good as before.
        self.current
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
