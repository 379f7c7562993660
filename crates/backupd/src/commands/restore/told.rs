//! What a restore tells: words for people as they come, or one JSON value of the same facts at its end.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use catalog::set::SetId;
use engine::finding::Check;
use engine::restore::NotKept;
use postgres::words::one_line;
use serde::Serialize;
use serde_json::Value;

use crate::cli::Restore;
use crate::commands::exit::Refusal;
use crate::commands::print::{print_json, print_text};
use crate::render;

/// All of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    set: Option<SetId>,
    dry_run: bool,
    undo: bool,
    sources: Vec<Source>,
}

/// One database, tree or object.
#[derive(Debug, Serialize)]
#[allow(
    clippy::struct_field_names,
    reason = "the field of the JSON has the same name everywhere"
)]
pub struct Source {
    source: String,
    into: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Value>,
    obstacles: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<Vec<String>>,
    error: Option<String>,
}

/// How it is with a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing is in the way.
    Planned,
    /// Something is.
    Blocked,
    /// It is back.
    Restored,
    /// It is back, and not all of it.
    Incomplete,
    /// It is not back.
    Failed,
    /// What a restore left that was cut off was put right, or nothing was left.
    Undone,
}

impl Source {
    /// With nothing but its status.
    pub fn new(source: &str, into: impl Into<String>, status: Status) -> Self {
        Self {
            source: source.to_owned(),
            into: into.into(),
            status,
            plan: None,
            obstacles: Vec::new(),
            restored: None,
            undone: None,
            error: None,
        }
    }

    /// A plan, and what is in its way.
    pub fn planned(
        source: &str,
        into: &str,
        plan: Option<Value>,
        stops: &[&Check],
        error: Option<String>,
    ) -> Self {
        let is_free = stops.is_empty() && error.is_none();
        let status = if is_free {
            Status::Planned
        } else {
            Status::Blocked
        };
        Self {
            plan,
            obstacles: stops.iter().copied().cloned().collect(),
            error,
            ..Self::new(source, into, status)
        }
    }

    /// It came back.
    pub fn restored(source: &str, into: &str, what: Value, is_whole: bool) -> Self {
        let status = if is_whole {
            Status::Restored
        } else {
            Status::Incomplete
        };
        Self {
            restored: Some(what),
            ..Self::new(source, into, status)
        }
    }

    /// It did not.
    pub fn failed(source: &str, into: &str, error: &dyn std::error::Error) -> Self {
        Self {
            error: Some(error.to_string()),
            ..Self::new(source, into, Status::Failed)
        }
    }

    /// What was put right, a sentence each.
    pub fn undone(source: &str, into: &str, done: Vec<String>) -> Self {
        Self {
            undone: Some(done),
            ..Self::new(source, into, Status::Undone)
        }
    }
}

/// Tells.
#[derive(Debug)]
pub struct Told {
    json: bool,
    report: Mutex<Report>,
}

impl Told {
    /// Of a restore that was asked for.
    pub fn new(asked: &Restore) -> Self {
        Self {
            json: asked.output.json,
            report: Mutex::new(Report {
                set: None,
                dry_run: asked.dry_run,
                undo: asked.undo,
                sources: Vec::new(),
            }),
        }
    }

    /// The set is known.
    pub fn of_set(&self, set: SetId) {
        self.report().set = Some(set);
    }

    /// Words for people; for machines the facts.
    pub fn say(&self, text: &str, source: Source) -> io::Result<()> {
        self.keep(source);
        if self.json { Ok(()) } else { print_text(text) }
    }

    /// Facts whose words are said elsewhere.
    pub fn keep(&self, source: Source) {
        self.report().sources.push(source);
    }

    /// The archive of a tree, planned or not, is not what it was.
    pub fn block(&self, label: &str, into: &Path, error: &dyn std::error::Error) {
        let mut report = self.report();
        let planned = report.sources.iter_mut();
        match planned.rev().find(|source| source.source == label) {
            Some(source) => {
                source.status = Status::Blocked;
                source.error = Some(error.to_string());
            }
            None => report
                .sources
                .push(Source::failed(label, &shown(into), error)),
        }
    }

    /// The end.
    pub fn end(&self) -> Result<(), Refusal> {
        if self.json {
            print_json(&*self.report())?;
        }
        Ok(())
    }

    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path, for machines and people.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What a restore would end at, a line each.
pub fn in_the_way(stops: &[&Check]) -> String {
    let lines = stops
        .iter()
        .map(|check| format!("  in the way: {}\n", one_line(&check.text)));
    lines.collect()
}

/// Says what could not be kept, which takes nothing back.
pub fn noted(kept: Result<(), NotKept>) {
    if let Err(error) = kept {
        render::error::note(&error.to_string());
    }
}
