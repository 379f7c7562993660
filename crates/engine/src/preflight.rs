//! What must be true before a run begins, asked all at once so that an operator mends everything in one go.
//!
//! A finding either stops the whole run before anything is created, or fails one step of it.

mod databases;
mod others;
mod restorers;
mod room;
mod trees;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use catalog::catalog::Catalog;
use catalog::manifest::Manifest;
use catalog::set::Selector;
use postgres::databases::Databases;
use postgres::outlook::Outlook;
use postgres::server::Facts;
use postgres::tools::Tools;
use rustix::fs::Access;
use stream::blocking::in_place;
use tokio_util::sync::CancellationToken;

pub(crate) use others::{DRILLS_WHERE_IT_IS_AT_WORK, has_vanished};
pub(crate) use room::make_room;
pub(crate) use trees::tree_fault;

use crate::config::{Config, DatabaseSource};
use crate::finding::{Blocks, Check, Fault, Outcome};
use crate::run::RunError;
use crate::space::sample::Glance;
use crate::steps::Failure;

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

/// What a database told.
#[derive(Debug, Clone)]
pub struct DatabaseFacts {
    /// About server, role and content.
    pub facts: Facts,
    /// Version of Keycloak's schema, for Keycloak's database.
    pub keycloak_schema: Option<String>,
    /// Relations of Keycloak's database that its role does not own.
    pub of_others: Vec<String>,
    /// What a dump or a restore will meet.
    pub outlook: Outlook,
    /// Which databases its server has.
    pub neighbours: Databases,
}

impl Preflight {
    /// Sentences for which no run may begin.
    pub fn refusals(&self) -> Vec<String> {
        self.failed(&Blocks::Run)
            .map(|check| format!("{}: {}", check.subject, check.text))
            .collect()
    }

    /// The refusal of the whole run, where something everything needs is wanting.
    pub(crate) fn refused(&self) -> Option<RunError> {
        let reasons = self.refusals();
        let passing = self.failed(&Blocks::Run).all(|check| check.passing);
        (!reasons.is_empty()).then_some(RunError::Refused { reasons, passing })
    }

    /// Whether there is too little room, and nothing else is wrong that everything needs.
    pub(crate) fn lacks_room_alone(&self) -> bool {
        let failed = |check: &&Check| check.outcome == Outcome::Failed;
        let mut failed = self.checks.iter().filter(failed).peekable();
        failed.peek().is_some() && failed.all(|check| matches!(check.fault, Some(Fault::NoRoom(_))))
    }

    /// Looks at the room anew, behind what was freed.
    pub(crate) fn look_at_room_again(&mut self, config: &Config, look: Look) {
        self.checks
            .retain(|check| !matches!(check.fault, Some(Fault::NoRoom(_))));
        room::check(config, look, self);
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

    fn failed<'a>(&'a self, blocks: &'a Blocks) -> impl Iterator<Item = &'a Check> {
        self.checks
            .iter()
            .filter(move |check| check.outcome == Outcome::Failed && check.blocks == *blocks)
    }

    fn pass(&mut self, subject: &str, text: impl Into<String>) {
        self.checks.push(Check::passed(subject, text));
    }

    fn warn(&mut self, subject: &str, text: impl Into<String>, fault: Fault) {
        self.checks.push(Check::warning(subject, text, fault));
    }

    /// A failure; without a fault its sentence has all there is to say.
    fn fail(
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

/// Looks at everything a run needs; changes nothing. Cancelled, it returns what it has found so far.
pub async fn preflight(config: &Config, look: Look, cancel: &CancellationToken) -> Preflight {
    let mut found = Preflight {
        last: last_manifest(config).await,
        ..Preflight::default()
    };
    let directory_usable = in_place(|| check_backup_dir(config, &mut found));
    check_tools(config, cancel, &mut found).await;
    // A server that does not answer is waited for; a signal is not.
    let cancelled = tokio::select! {
        () = databases::check(config, &mut found) => false,
        () = cancel.cancelled() => true,
    };
    if cancelled {
        return found;
    }
    for source in &config.trees {
        trees::check(config, source, look, cancel, &mut found).await;
    }
    if directory_usable {
        let needed = room::needed(config, &found).await;
        found.needed = Some(needed);
        in_place(|| room::check(config, look, &mut found));
    }
    found
}

fn check_backup_dir(config: &Config, found: &mut Preflight) -> bool {
    let dir = &config.backup_dir;
    let subject = "backup directory";
    let Some(text) = backup_dir_fault(dir) else {
        found.pass(subject, format!("{} is writable", dir.display()));
        return true;
    };
    let fault = match (dir.exists(), dir.is_dir()) {
        (false, _) => Some(Fault::NoDirectory(dir.clone())),
        (true, true) => Some(Fault::DirectoryNotWritable(dir.clone())),
        (true, false) => None,
    };
    found.fail(subject, &Blocks::Run, text, fault);
    false
}

/// Why a backup directory cannot be used, with the fix.
pub(crate) fn backup_dir_fault(dir: &Path) -> Option<String> {
    match dir.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some(format!(
                "BACKUP_DIR {} does not exist: create it, or mount the backup volume there",
                dir.display()
            ));
        }
        Err(error) => {
            return Some(format!(
                "BACKUP_DIR {} cannot be looked at: {error}",
                dir.display()
            ));
        }
        Ok(meta) if !meta.is_dir() => {
            return Some(format!("BACKUP_DIR {} is not a directory", dir.display()));
        }
        Ok(_) => {}
    }
    let error =
        rustix::fs::access(dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(format!(
        "BACKUP_DIR {} is not writable: {}; give it to the user backupd runs as (uid {})",
        dir.display(),
        std::io::Error::from(error),
        rustix::process::geteuid().as_raw()
    ))
}

async fn check_tools(config: &Config, cancel: &CancellationToken, found: &mut Preflight) {
    if config.databases.is_empty() {
        return;
    }
    let search = &config.tools;
    match Tools::find(search.bindir.as_deref(), &search.path, cancel).await {
        Ok(tools) => {
            let text = format!(
                "PostgreSQL client {} in {}",
                tools.version.text,
                tools.bindir.display()
            );
            found.pass("tools", text);
            found.tools = Some(tools);
        }
        Err(error) => found.fail("tools", &Blocks::Run, error.to_string(), Fault::NoTools),
    }
}

/// The newest good set's manifest. None where there is none, or where the catalog cannot be read: then the estimate does without it.
async fn last_manifest(config: &Config) -> Option<Arc<Manifest>> {
    let dir = config.backup_dir.clone();
    let finding = move || {
        let catalog = Catalog::open_read_only(&dir).ok()?;
        let latest = catalog.find(&Selector::Latest, crate::clock::now());
        latest.ok()?.entry.manifest.ok()
    };
    tokio::task::spawn_blocking(finding).await.ok()?
}
