//! Where an object's file lies below the storage root: `PREFIX/bucket/name/version`, or without the version. The prefix is two
//! directories in a stock stack (`stub/stub`: global bucket and tenant), and anything else in others.

use std::fs;
use std::path::{Path, PathBuf};

use crate::stack::objects::Object;

/// Objects that are looked for in every candidate.
const SAMPLE: usize = 200;
/// Directories between the root and the buckets.
const DEEPEST: usize = 2;
/// Candidates that are tried: a root holds one or two such directories, unless the buckets themselves lie there.
const CANDIDATES: usize = 200;

/// How files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Directories between the root and the buckets, joined by `/`; empty for none.
    pub prefix: String,
    /// Whether an object's name is a directory and its version the file.
    pub versioned: bool,
}

impl Layout {
    /// The path of an object's file below the root.
    pub fn path(&self, object: &Object) -> Vec<u8> {
        let mut path = String::with_capacity(self.prefix.len() + object.name.len() + 64);
        for part in [self.prefix.as_str(), &object.bucket, &object.name] {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(part);
        }
        if let Some(version) = object.version.as_ref().filter(|_| self.versioned) {
            path.push('/');
            path.push_str(version);
        }
        path.into_bytes()
    }
}

/// The layout under which most of the first objects have a file.
pub(super) fn find_layout(root: &Path, prefix: Option<&str>, objects: &[Object]) -> Layout {
    let prefixes = match prefix {
        Some(prefix) => vec![prefix.trim_matches(['/', '.']).to_owned()],
        None => candidates(root),
    };
    let sample = &objects[..objects.len().min(SAMPLE)];
    let hits = |layout: &Layout| {
        let there = |object: &&Object| {
            let path = String::from_utf8_lossy(&layout.path(object)).into_owned();
            fs::symlink_metadata(root.join(path)).is_ok_and(|meta| meta.is_file())
        };
        sample.iter().filter(there).count()
    };
    let layouts = prefixes.into_iter().flat_map(|prefix| {
        [true, false].map(|versioned| Layout {
            prefix: prefix.clone(),
            versioned,
        })
    });
    let mut best: Option<(usize, Layout)> = None;
    for layout in layouts {
        let hits = hits(&layout);
        if best.as_ref().is_none_or(|(most, _)| hits > *most) {
            best = Some((hits, layout));
        }
    }
    let stock = || Layout {
        prefix: String::new(),
        versioned: true,
    };
    best.map_or_else(stock, |(_, layout)| layout)
}

/// Directories below the root by which it could be, the deepest first: where nothing is found, a stock stack's is the likeliest.
fn candidates(root: &Path) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut level = vec![PathBuf::new()];
    for _ in 0..DEEPEST {
        let below = |parent: &PathBuf| {
            let entries = fs::read_dir(root.join(parent))
                .into_iter()
                .flatten()
                .flatten();
            let directories =
                entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            directories
                .map(|entry| parent.join(entry.file_name()))
                .collect::<Vec<_>>()
        };
        level = level.iter().flat_map(below).take(CANDIDATES).collect();
        found.extend(
            level
                .iter()
                .filter_map(|path| path.to_str().map(str::to_owned)),
        );
    }
    found.reverse();
    found
}
