//! Objects of the database against files of the archive. Both sides are spilled into partitions by a hash of the file's path, and joined
//! one partition after the other, so that memory is bounded by a partition whatever the number of objects.

mod layout;
mod spill;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use archive::Listed;
use catalog::storage::Reconcile;
use postgres::dsn::Dsn;
use postgres::server::{Server, ServerError};
use stream::blocking::in_place;

pub use layout::Layout;

use crate::stack::objects::{Object, Objects, ObjectsError};
use layout::find_layout;
use spill::{File, PARTITIONS, Partitions, Spill};

/// Why files were not compared with objects.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The objects.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The room for it.
    #[error("objects and files could not be written aside: {0}")]
    Io(#[from] io::Error),
}

impl From<ServerError> for ReconcileError {
    fn from(error: ServerError) -> Self {
        Self::Objects(error.into())
    }
}

/// A comparison in the making: it has the objects, and waits for the files.
pub struct Reconciler {
    spill: Spill,
    layout: Layout,
    objects: u64,
    files: u64,
}

impl Reconciler {
    /// Reads the objects of a database, in the transaction that is open; none where it has no table of them. `layout` says how files lie
    /// below the root, or where to look for it.
    pub async fn begin(
        dir: &Path,
        server: &Server,
        layout: LayoutSource<'_>,
    ) -> Result<Option<Self>, ReconcileError> {
        let Some(mut rows) = Objects::open(server).await? else {
            return Ok(None);
        };
        let mut batch = rows.next().await?;
        let layout = match layout {
            LayoutSource::Known(layout) => layout,
            LayoutSource::Find { root, prefix } => in_place(|| find_layout(root, prefix, &batch)),
        };
        let mut reconciler = Self {
            spill: in_place(|| Spill::begin(dir))?,
            layout,
            objects: 0,
            files: 0,
        };
        while !batch.is_empty() {
            reconciler.objects += batch.len() as u64;
            in_place(|| reconciler.spill.objects(&reconciler.layout, &batch))?;
            batch = rows.next().await?;
        }
        Ok(Some(reconciler))
    }

    /// Takes a file of the archive.
    pub fn file(&mut self, listed: Listed<'_>) -> io::Result<()> {
        self.files += 1;
        self.spill.file(listed)
    }

    /// Joins both. Where `live` is given, what seems wrong is asked there again: rows that are gone or changed by now are no fault.
    pub async fn finish(self, live: Option<&Dsn>) -> Result<Reconcile, ReconcileError> {
        let mut result = Reconcile {
            prefix: self.layout.prefix.clone(),
            versioned: self.layout.versioned,
            objects: self.objects,
            files: self.files,
            ..Reconcile::default()
        };
        let partitions = in_place(|| self.spill.close())?;
        let mut now = None;
        for partition in 0..PARTITIONS {
            let faulty = in_place(|| {
                join(
                    partitions.objects(partition)?,
                    partitions.files(partition)?,
                    &mut result,
                )
            })?;
            if faulty.is_empty() {
                continue;
            }
            if let (None, Some(dsn)) = (&now, live) {
                now = Some(read_again(dsn, &self.layout, &partitions).await?);
            }
            let there = match now.as_ref().and_then(Option::as_ref) {
                Some(now) => {
                    let objects = in_place(|| now.objects(partition))?.into_iter();
                    Some(objects.map(|(_, object)| object).collect())
                }
                None => None,
            };
            judge(faulty, there.as_ref(), &mut result);
        }
        Ok(result)
    }
}

/// Where a layout comes from.
pub enum LayoutSource<'a> {
    /// It is known.
    Known(Layout),
    /// It is found below a root, or below the prefix that is configured.
    Find {
        /// The tree's root.
        root: &'a Path,
        /// `BACKUP_STORAGE_PREFIX`.
        prefix: Option<&'a str>,
    },
}

#[derive(Clone, Copy)]
enum Fault {
    Missing,
    Size,
    Content,
}

/// Joins one partition; what is wrong is returned with its objects, the rest is counted.
fn join(
    objects: Vec<(Vec<u8>, Object)>,
    files: impl Iterator<Item = io::Result<File>>,
    result: &mut Reconcile,
) -> io::Result<Vec<(Object, Fault)>> {
    let mut expected: HashMap<Vec<u8>, Object> = objects.into_iter().collect();
    let mut faulty = Vec::new();
    for file in files {
        let file = file?;
        let Some(object) = expected.remove(&file.path) else {
            result.extra.add(String::from_utf8_lossy(&file.path));
            continue;
        };
        match (file.content, object.size, object.md5) {
            (Some((size, _)), Some(wanted), _) if size != wanted => {
                faulty.push((object, Fault::Size));
            }
            (Some((_, md5)), _, Some(wanted)) if md5 != wanted => {
                faulty.push((object, Fault::Content));
            }
            (content, _, wanted) => {
                result.matched += 1;
                result.hashed += u64::from(content.is_some() && wanted.is_some());
            }
        }
    }
    faulty.extend(
        expected
            .into_values()
            .map(|object| (object, Fault::Missing)),
    );
    faulty.sort_by(|(a, _), (b, _)| (&a.bucket, &a.name).cmp(&(&b.bucket, &b.name)));
    Ok(faulty)
}

/// The objects that are there now, by the same partitions. A server that is gone, or has something else of that name by now, tells nothing;
/// then every fault counts.
async fn read_again(
    dsn: &Dsn,
    layout: &Layout,
    beside: &Partitions,
) -> Result<Option<Partitions>, io::Error> {
    let mut spill = in_place(|| beside.another())?;
    let reading = async {
        let server = Server::connect(dsn).await?;
        server.execute("BEGIN READ ONLY").await?;
        let Some(mut rows) = Objects::open(&server).await? else {
            return Ok(());
        };
        loop {
            let batch = rows.next().await?;
            if batch.is_empty() {
                return Ok(());
            }
            in_place(|| spill.objects(layout, &batch))?;
        }
    };
    match reading.await {
        Ok(()) => in_place(|| spill.close()).map(Some),
        Err(ReconcileError::Objects(error)) => {
            tracing::debug!(%error, "objects were not asked for again");
            Ok(None)
        }
        Err(ReconcileError::Io(error)) => Err(error),
    }
}

/// Where it is known what is `there` now, faults of other objects are none.
fn judge(faulty: Vec<(Object, Fault)>, there: Option<&HashSet<Object>>, result: &mut Reconcile) {
    for (object, fault) in faulty {
        let list = match fault {
            _ if there.is_some_and(|there| !there.contains(&object)) => {
                &mut result.deleted_meanwhile
            }
            Fault::Missing => &mut result.missing,
            Fault::Size => &mut result.size_mismatch,
            Fault::Content => &mut result.content_mismatch,
        };
        list.add(format!("{}/{}", object.bucket, object.name));
    }
}
