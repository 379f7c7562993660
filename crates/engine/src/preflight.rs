//! What must be true before a run begins, asked all at once so that an operator mends everything in one go.
//!
//! A finding either stops the whole run before anything is created, or fails one step of it.

mod databases;
mod others;
mod restorers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use archive::{PackError, Tree, measure};
use catalog::catalog::Catalog;
use catalog::manifest::Manifest;
use catalog::set::Selector;
use postgres::databases::Databases;
use postgres::outlook::Outlook;
use postgres::server::Facts;
use postgres::tools::Tools;
use postgres::words::counted;
use rustix::fs::Access;
use tokio_util::sync::CancellationToken;

pub(crate) use others::{DRILLS_WHERE_IT_IS_AT_WORK, has_vanished};

use crate::config::{Config, DatabaseSource, TreeRole, TreeSource};
use crate::finding::{Blocks, Check, Fault, Outcome};
use crate::run::RunError;
use crate::space::{self, SourceSize};
use crate::steps::Failure;
use catalog::layout::tree::{CutOff, Names, cut_off};

/// Directories in which other programs keep *their* storage format under Supabase's storage volume. An archive of them taken live
/// is no backup.
const FOREIGN_STORES: [(&str, &str); 2] = [(".minio.sys", "MinIO"), (".rustfs.sys", "RustFS")];

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
    /// What each readable tree holds, by label.
    pub trees: BTreeMap<String, Tree>,
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
pub async fn preflight(config: &Config, cancel: &CancellationToken) -> Preflight {
    let mut found = Preflight::default();
    let directory_usable = check_backup_dir(config, &mut found);
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
        check_tree(config, source, cancel, &mut found).await;
    }
    if directory_usable {
        check_space(config, &mut found);
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

async fn check_tree(
    config: &Config,
    source: &TreeSource,
    cancel: &CancellationToken,
    found: &mut Preflight,
) {
    let label = source.label.as_str();
    let blocks = Blocks::Step(label.to_owned());
    let setting = source.setting();
    let root = source.root.clone();
    if let Some(text) = holds_backup_dir(&root, &config.backup_dir) {
        found.fail(label, &blocks, format!("{setting} {text}"), None);
        return;
    }
    if source.role == TreeRole::Storage
        && let Some(text) = foreign_store(&root)
    {
        found.fail(label, &blocks, format!("{setting} {text}"), None);
        return;
    }
    if source.role == TreeRole::Storage
        && let Some((outcome, text)) = left_by_a_restore(&root)
    {
        let fault = Some(Fault::TreeHalfRestored);
        let text = format!("{setting} {text}");
        let check = Check::new(label, outcome, blocks.clone(), text, fault);
        found.checks.push(check);
        if outcome == Outcome::Failed {
            return;
        }
    }
    let token = cancel.clone();
    let measured = tokio::task::spawn_blocking(move || {
        let names = Names::of(&root);
        measure(&root, Some(&|below| names.is_aside(below)), &token)
    })
    .await;
    match measured {
        Ok(Ok(tree)) => {
            let text = format!(
                "{} holds {}, {}",
                source.root.display(),
                counted(tree.files, "file"),
                space::human(tree.bytes)
            );
            found.pass(label, text);
            found.trees.insert(label.to_owned(), tree);
        }
        Ok(Err(error)) => {
            let text = tree_fault(setting, source, &error);
            let fault = match error {
                PackError::RootMissing { .. } | PackError::RootEmpty { .. } => {
                    Some(Fault::NoTree(source.root.clone()))
                }
                PackError::Unreadable { .. } => Some(Fault::TreeUnreadable(source.root.clone())),
                _ => None,
            };
            found.fail(label, &blocks, text, fault);
        }
        Err(panic) => found.fail(label, &blocks, panic.to_string(), None),
    }
}

/// A tree's fault with the setting that names it and what to do.
pub(crate) fn tree_fault(setting: &str, source: &TreeSource, error: &PackError) -> String {
    let fix = match error {
        PackError::RootMissing { .. } | PackError::RootEmpty { .. } => {
            ": is the volume mounted, and is this the directory the storage service writes to?"
        }
        PackError::Unreadable { .. } => {
            ": run backupd as a user that may read them, or give it the capability DAC_READ_SEARCH"
        }
        _ => "",
    };
    format!("{setting}={}: {error}{fix}", source.root.display())
}

fn holds_backup_dir(root: &Path, backup_dir: &Path) -> Option<String> {
    let inside = backup_dir
        .canonicalize()
        .ok()?
        .starts_with(root.canonicalize().ok()?);
    inside.then(|| {
        format!(
            "{} holds BACKUP_DIR {}: every set would swallow the ones before it; keep them apart",
            root.display(),
            backup_dir.display()
        )
    })
}

/// What a restore that is at work, or was cut off, means for a set of its tree.
fn left_by_a_restore(root: &Path) -> Option<(Outcome, String)> {
    const UNDO: &str = "`backupd restore --undo --only storage`";
    let shown = root.display();
    match cut_off(root) {
        Ok(None) => None,
        Ok(Some(CutOff::Unpacking(set))) => Some((
            Outcome::Warning,
            format!(
                "{shown} was not touched by a restore from {set} that did not end: {UNDO} removes what it had unpacked"
            ),
        )),
        Ok(Some(CutOff::Changing(set))) => Some((
            Outcome::Failed,
            format!(
                "{shown} is half restored from {set}: wait for the restore to end, or put back what was there before by {UNDO}"
            ),
        )),
        Err(error) => Some((
            Outcome::Failed,
            format!("{shown} cannot be looked at: {error}"),
        )),
    }
}

fn foreign_store(root: &Path) -> Option<String> {
    let below = std::fs::read_dir(root)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    for dir in std::iter::once(root.to_owned()).chain(below) {
        for (mark, name) in FOREIGN_STORES {
            if dir.join(mark).exists() {
                return Some(format!(
                    "{} is {name}'s data directory ({mark} is there), not Supabase's file backend: an archive of it taken while \
                     {name} runs is no backup; back up the bucket through {name} itself and take `storage` out of BACKUP_SOURCES",
                    dir.display()
                ));
            }
        }
    }
    None
}

fn check_space(config: &Config, found: &mut Preflight) {
    let databases = found.databases.iter().map(|(label, told)| SourceSize {
        label: label.clone(),
        is_database: true,
        bytes: told.facts.database_bytes,
    });
    let trees = found.trees.iter().map(|(label, tree)| SourceSize {
        label: label.clone(),
        is_database: false,
        bytes: tree.bytes,
    });
    let sizes: Vec<SourceSize> = databases.chain(trees).collect();
    let needed = space::estimate(&sizes, last_manifest(config).as_deref());
    let subject = "free space";
    match space::free(&config.backup_dir) {
        Ok(free) if free < needed => found.fail(
            subject,
            &Blocks::Run,
            format!(
                "{} has {} free and this set needs about {}: free some space, enlarge the volume, or keep fewer sets",
                config.backup_dir.display(),
                space::human(free),
                space::human(needed)
            ),
            Fault::NoRoom(config.backup_dir.clone()),
        ),
        Ok(free) => found.pass(
            subject,
            format!(
                "{} free, about {} needed",
                space::human(free),
                space::human(needed)
            ),
        ),
        Err(error) => found.fail(subject, &Blocks::Run, error.to_string(), None),
    }
}

/// The newest good set's manifest. None where there is none, or where the catalog cannot be read: then the estimate does without it.
fn last_manifest(config: &Config) -> Option<Arc<Manifest>> {
    let catalog = Catalog::open_read_only(&config.backup_dir).ok()?;
    catalog
        .find(&Selector::Latest, crate::clock::now())
        .ok()?
        .entry
        .manifest
        .ok()
}
