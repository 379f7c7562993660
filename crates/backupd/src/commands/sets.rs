//! The sets that a command is about.

use std::path::Path;

use catalog::catalog::{Catalog, Entry};
use catalog::set::Selector;

use super::exit::Refusal;
use crate::render;
use crate::settings::Environment;

/// Opens the catalog for reading and finds a set. That `latest` passed over newer ones is said.
pub fn find(environment: &Environment, selector: &Selector) -> Result<Entry, Refusal> {
    let dir = environment.backup_dir()?;
    let found = open(&dir)?.find(selector, engine::clock::now())?;
    if let Some(words) = render::anomaly::passed_over(&found) {
        render::error::note(&words);
    }
    Ok(found.entry)
}

/// Opens a backup directory's catalog for reading.
pub fn open(dir: &Path) -> Result<Catalog, Refusal> {
    Catalog::open_read_only(dir).map_err(|error| {
        Refusal::Unusable(format!(
            "BACKUP_DIR {} cannot be read: {error}",
            dir.display()
        ))
    })
}
