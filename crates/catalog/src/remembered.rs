//! What a daemon remembers between two looks at its directory: manifests and history that it has read and that have not changed since.
//! A thousand sets are then a thousand looks at names and sizes, and as many manifests without what only their own set needs.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::history::{History, Record};
use crate::layout::MANIFEST;
use crate::manifest::{Manifest, ManifestError};
use crate::set::SetId;

/// Empty at first; then as old as the last look.
#[derive(Debug, Default)]
pub struct Remembered {
    manifests: HashMap<SetId, Kept>,
    history: Option<(Stamp, Arc<[Record]>)>,
}

#[derive(Debug)]
struct Kept {
    stamp: Stamp,
    detail: Detail,
    manifest: Arc<Manifest>,
}

/// How much of a manifest is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// What a line about the set tells.
    Brief,
    /// Rows per table and the names of objects besides, which a status page shows.
    Shown,
}

/// By which a file is another than before. Its content is never changed in place by anybody of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Self {
            inode: meta.ino(),
            bytes: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl Remembered {
    /// The manifest of a set in this directory, read where it is not remembered in that detail.
    pub(crate) fn manifest(
        &mut self,
        id: SetId,
        dir: &Path,
        detail: Detail,
    ) -> Result<Arc<Manifest>, ManifestError> {
        let stamp = Stamp::of(&dir.join(MANIFEST)).ok();
        if let Some(kept) = self.manifests.get_mut(&id)
            && Some(kept.stamp) == stamp
            && kept.detail >= detail
        {
            if kept.detail > detail {
                kept.detail = detail;
                reduce(Arc::make_mut(&mut kept.manifest), detail);
            }
            return Ok(kept.manifest.clone());
        }
        let mut manifest = Manifest::of_set(dir, id)?;
        reduce(&mut manifest, detail);
        let manifest = Arc::new(manifest);
        if let Some(stamp) = stamp {
            let kept = Kept {
                stamp,
                detail,
                manifest: manifest.clone(),
            };
            self.manifests.insert(id, kept);
        }
        Ok(manifest)
    }

    /// Forgets the sets that are not there any more.
    pub(crate) fn keep_only(&mut self, ids: &[SetId]) {
        if self.manifests.len() > ids.len() {
            self.manifests.retain(|id, _| ids.contains(id));
        }
    }

    /// The lines of a history, read where they are others than before.
    pub fn history(&mut self, history: &History) -> io::Result<Arc<[Record]>> {
        let stamp = Stamp::of(history.path()).ok();
        if let (Some((then, records)), Some(stamp)) = (&self.history, stamp)
            && *then == stamp
        {
            return Ok(records.clone());
        }
        let records: Arc<[Record]> = history.read()?.into();
        self.history = stamp.map(|stamp| (stamp, records.clone()));
        Ok(records)
    }
}

/// Takes away what is large and not asked for.
fn reduce(manifest: &mut Manifest, detail: Detail) {
    for artifact in &mut manifest.artifacts {
        if let Some(dump) = artifact.dump_mut() {
            dump.census = None;
            dump.properties = None;
        }
    }
    if detail == Detail::Brief {
        for artifact in &mut manifest.artifacts {
            if let Some(dump) = artifact.dump_mut() {
                dump.tables = None;
            }
        }
        for step in &mut manifest.steps {
            step.notes = Vec::new();
        }
        if let Some(storage) = &mut manifest.storage {
            storage.changed = Vec::new();
            storage.reconcile = None;
        }
    }
}
