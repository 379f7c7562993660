//! Who may restore a database: asked while the sun shines. It stops no backup.

use super::ways::{connect, fault_of, ways_in};
use crate::config::{Config, DatabaseSource};
use crate::hint;
use crate::source::preflight::Preflight;

/// Warns where nobody that the settings name may.
pub(super) async fn check(config: &Config, source: &DatabaseSource, found: &mut Preflight) {
    let label = source.label.as_str();
    let ways = ways_in(source, &config.restore_urls, &config.databases);
    if let Err(error) = connect(&ways, &source.dsn.database).await {
        let why = hint::restore(&error);
        let text = format!("backups are made, and nobody could restore them: {why}");
        found.warn(label, text, fault_of(label, &source.dsn, &error));
    }
}
