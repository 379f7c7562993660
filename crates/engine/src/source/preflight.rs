//! What was found before a run begins: findings, and what sources and the last set told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::manifest::Manifest;
use postgres::tools::Tools;

pub use super::database::facts::DatabaseFacts;
use super::product::Failure;
use super::tree::sample::Glance;
use crate::config::DatabaseSource;
use crate::finding::{Blocks, Check, Fault, Outcome};

/// How closely preflight looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Every name of every tree is read: for whoever asks what a run would meet.
    Whole,
    /// What a run needs. Its steps walk the trees, and say what cannot be read.
    Run {
        /// Whether it goes on where there seems to be too little room.
        ignore_space: bool,
    },
}

/// All findings, and what was learnt on the way.
#[derive(Debug, Default)]
pub struct Preflight {
    /// In the order they were made.
    pub checks: Vec<Check>,
    /// PostgreSQL's programs, unless they were not found.
    pub tools: Option<Tools>,
    /// What each reachable database told, by label.
    pub databases: BTreeMap<String, DatabaseFacts>,
    /// Databases of Supabase's server that are dumped besides (`BACKUP_DATABASES`).
    pub others: Vec<DatabaseSource>,
    /// What each readable tree holds, by label; in a run what it held in the last set, or what a glance at it told.
    pub trees: BTreeMap<String, Glance>,
    /// Trees that are empty, and should be, by label.
    pub empty: BTreeSet<String>,
    /// The newest good set's manifest, where there is one and it can be read.
    pub last: Option<Arc<Manifest>>,
    /// Bytes that the next set will need.
    pub needed: Option<u64>,
}

impl Preflight {
    /// Sentences for which no run may begin.
    pub fn refusals(&self) -> Vec<String> {
        self.failed(&Blocks::Run)
            .map(|check| format!("{}: {}", check.subject, check.text))
            .collect()
    }

    /// Whether there is too little room, and nothing else is wrong that everything needs.
    pub(crate) fn lacks_room_alone(&self) -> bool {
        let failed = |check: &&Check| check.outcome == Outcome::Failed;
        let mut failed = self.checks.iter().filter(failed).peekable();
        failed.peek().is_some() && failed.all(|check| matches!(check.fault, Some(Fault::NoRoom(_))))
    }

    /// Why the named step cannot be done.
    pub(crate) fn blocked(&self, step: &str) -> Option<Failure> {
        let blocks = Blocks::Step(step.to_owned());
        let reasons: Vec<&str> = self
            .failed(&blocks)
            .map(|check| check.text.as_str())
            .collect();
        (!reasons.is_empty()).then(|| Failure {
            message: reasons.join("; "),
            exit_code: None,
            passing: self.failed(&blocks).all(|check| check.passing),
        })
    }

    /// Whether any check failed.
    pub fn has_failures(&self) -> bool {
        self.checks
            .iter()
            .any(|check| check.outcome == Outcome::Failed)
    }

    pub(crate) fn failed<'a>(&'a self, blocks: &'a Blocks) -> impl Iterator<Item = &'a Check> {
        self.checks
            .iter()
            .filter(move |check| check.outcome == Outcome::Failed && check.blocks == *blocks)
    }

    pub(crate) fn pass(&mut self, subject: &str, text: impl Into<String>) {
        self.checks.push(Check::passed(subject, text));
    }

    pub(crate) fn warn(&mut self, subject: &str, text: impl Into<String>, fault: Fault) {
        self.checks.push(Check::warning(subject, text, fault));
    }

    /// A failure; without a fault its sentence has all there is to say.
    pub(crate) fn fail(
        &mut self,
        subject: &str,
        blocks: &Blocks,
        text: impl Into<String>,
        fault: impl Into<Option<Fault>>,
    ) {
        let (outcome, blocks, fault) = (Outcome::Failed, blocks.clone(), fault.into());
        self.checks
            .push(Check::new(subject, outcome, blocks, text, fault));
    }
}
