//! What is said of a directory whose sets are of other sources.

use std::collections::BTreeMap;
use std::path::Path;

use catalog::accepted::Stranger;
use catalog::identity::Identity;

/// What a daemon says that waits.
pub fn waits(dir: &Path, strangers: &BTreeMap<String, Stranger>) -> String {
    let sources: Vec<String> = strangers
        .iter()
        .map(|(label, stranger)| {
            format!(
                "{label} was {} in {} and is {} now",
                named(&stranger.was),
                stranger.since,
                named(&stranger.is)
            )
        })
        .collect();
    format!(
        "the sets in {} are of another source, so nothing is backed up by itself: {}. To put a set back: `backupd restore`; to go on \
         with what is there now: `backupd trigger`, or `backupd accept --all`",
        dir.display(),
        sources.join("; ")
    )
}

/// An identity as people compare it.
pub fn named(identity: &Identity) -> String {
    match identity {
        Identity::Server { system, .. } => format!("server {system}"),
        Identity::Directory { inode, born } => format!("the directory {inode} made at {born}"),
        Identity::Unknown => "a source that this backupd does not know".to_owned(),
    }
}
