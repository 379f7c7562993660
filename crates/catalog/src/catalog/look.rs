//! What a look at a set's names and sizes tells. What the disk refuses to tell is no word against a set.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::layout::{CENSUS, SUMS};
use crate::manifest::{Manifest, ManifestError};

/// What is wanting.
pub(super) struct Lack {
    /// In words.
    pub words: String,
    /// Whether the disk refused to tell, so that nothing is known.
    pub is_unread: bool,
    /// Whether all that was backed up is there: what is wanting is of use to a drill alone.
    pub is_beside_the_data: bool,
}

/// What names and sizes beside the manifest find wanting.
pub(super) fn lacking(path: &Path, manifest: &Manifest) -> Option<Lack> {
    let missing = |file: &str| format!("{file} is missing");
    let sums = look(path, SUMS, missing(SUMS), |_| true);
    let sized = |(file, written): (&str, u64)| {
        let words = format!("{file} has not the size it was written with");
        look(path, file, words, |bytes| bytes == written)
    };
    let artifacts = manifest.artifacts.iter();
    let mut artifacts = artifacts.map(|artifact| (artifact.file.as_str(), artifact.bytes));
    sums.or_else(|| artifacts.find_map(sized)).or_else(|| {
        let census = manifest.census.as_ref()?;
        Some(Lack {
            is_beside_the_data: true,
            ..sized((CENSUS, census.bytes))?
        })
    })
}

fn look(dir: &Path, file: &str, wrong: String, is_right: impl Fn(u64) -> bool) -> Option<Lack> {
    match fs::symlink_metadata(dir.join(file)) {
        Ok(meta) if meta.is_file() && is_right(meta.size()) => None,
        Ok(_) => Some(Lack {
            words: wrong,
            is_unread: false,
            is_beside_the_data: false,
        }),
        Err(error) => Some(Lack {
            words: format!("{file}: {error}"),
            is_unread: is_refused(&error),
            is_beside_the_data: false,
        }),
    }
}

/// Whether the disk refused to give the manifest.
pub(super) fn is_unread(manifest: &Result<Arc<Manifest>, ManifestError>) -> bool {
    matches!(manifest, Err(ManifestError::Unreadable(error)) if is_refused(error))
}

/// Whether the system refused, other than by saying that nothing is there.
fn is_refused(error: &io::Error) -> bool {
    error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound
}

/// Why a run did not make a good set.
pub(super) fn failure(manifest: &Manifest) -> Option<String> {
    (!manifest.is_good()).then(|| {
        manifest
            .first_error()
            .unwrap_or_else(|| "its run did not succeed".to_owned())
    })
}

/// Sum of the sizes of a directory's files; what cannot be looked at counts nothing.
pub(super) fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|meta| meta.size())
        .sum()
}
