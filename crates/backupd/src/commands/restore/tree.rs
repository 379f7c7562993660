//! `backupd restore --to`: a set's tree, into a directory of its own.

use std::sync::Arc;

use catalog::catalog::Entry;
use engine::restore::tree::{RestoreError, TreeRequest, restore_tree};
use stream::artifact::Meter;
use stream::tar::OutsideLinks;

use crate::cli::Restore;
use crate::commands::{Exit, Refusal, print_text};
use crate::render::{self, set::bytes};
use crate::signals::Signals;

pub async fn execute(
    asked: &Restore,
    entry: &Entry,
    label: &str,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let to = asked.to.clone().unwrap_or_default();
    let request = TreeRequest {
        entry,
        label,
        to: &to,
        without_xattrs: asked.without_xattrs,
        outside_links: if asked.allow_outside_links {
            OutsideLinks::Allowed
        } else {
            OutsideLinks::Refused
        },
        meter: Arc::new(Meter::default()),
    };
    match restore_tree(request, &signals.token).await {
        Ok(restored) => {
            let walked = restored.walked;
            print_text(&format!(
                "{}: {} of {} is back: {} files, {}, {} directories, {} links\n",
                to.display(),
                label,
                entry.id,
                walked.files,
                bytes(walked.bytes),
                walked.directories,
                walked.symlinks + walked.hard_links
            ))?;
            if restored.unkept_total > 0 {
                render::error::note(&format!(
                    "{} extended attribute(s) were not kept, the first: {}",
                    restored.unkept_total,
                    restored.unkept.first().map_or("", String::as_str)
                ));
            }
            Ok(Exit::Done)
        }
        Err(error) => {
            render::error::say(&error.to_string());
            if error.is_outside_link() {
                render::error::note(
                    "where the tree had such links when it was packed, say --allow-outside-links",
                );
            }
            Ok(match error {
                RestoreError::Different { .. } => Exit::Different,
                RestoreError::Interrupted => Exit::Interrupted(signals.exit_code()),
                _ => Exit::Failed,
            })
        }
    }
}
