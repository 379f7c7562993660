//! What must be true before a run begins, asked all at once so that an operator mends everything in one go.
//!
//! A finding either stops the whole run before anything is created, or fails one step of it.

use std::sync::Arc;

use catalog::catalog::Catalog;
use catalog::manifest::Manifest;
use catalog::set::Selector;
use postgres::tools::Tools;
use stream::blocking::in_place;
use tokio_util::sync::CancellationToken;

use super::room;
use crate::config::Config;
use crate::directory::backup_dir_fault;
use crate::finding::{Blocks, Fault};
use crate::source::{self, Look, Preflight};

/// Looks at everything a run needs; changes nothing. Cancelled, it returns what it has found so far.
pub async fn preflight(config: &Config, look: Look, cancel: &CancellationToken) -> Preflight {
    let mut found = Preflight {
        last: last_manifest(config).await,
        ..Preflight::default()
    };
    let directory_usable = in_place(|| check_backup_dir(config, &mut found));
    check_tools(config, cancel, &mut found).await;
    if !source::check(config, look, cancel, &mut found).await {
        return found;
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
