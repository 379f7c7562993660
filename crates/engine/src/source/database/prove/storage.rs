//! The archive of Storage against the objects that came back.

use std::sync::Arc;

use archive::{Listed, walk};
use catalog::artifact::Kind;
use catalog::drill::{DatabaseDrill, StorageDrill};
use catalog::layout;

use postgres::restore::RestoreError;
use postgres::server::Server;
use stream::artifact::Meter;
use stream::read::ArtifactReader;
use tokio_util::sync::CancellationToken;

use super::one::Drill;
use crate::event::{Event, Observer};
use crate::progress::tell_while;
use crate::source::reconcile::{Layout, LayoutSource, ReconcileError, Reconciler};
use crate::stack::objects::ObjectsError;

impl Drill<'_> {
    /// The archive's files against the objects that came back, as they were compared when the set was made.
    pub(super) async fn check_storage(
        &self,
        server: &Server,
        found: &mut DatabaseDrill,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<Option<StorageDrill>, RestoreError> {
        let mut artifacts = self.manifest.artifacts.iter();
        let archive = artifacts.find(|artifact| artifact.kind() == Kind::Storage);
        let then = self.manifest.storage.as_ref();
        let (Some(archive), Some(then)) =
            (archive, then.and_then(|storage| storage.reconcile.as_ref()))
        else {
            return Ok(None);
        };
        let layout = LayoutSource::Known(Layout {
            prefix: then.prefix.clone(),
            versioned: then.versioned,
        });
        let failed = |what: &'static str| {
            move |error: std::io::Error| RestoreError::Io {
                what,
                source: error,
            }
        };
        let dir = layout::private(self.request.backup_dir);
        server.execute("BEGIN").await?;
        let objects = Reconciler::begin(&dir, server, layout).await;
        server.execute("COMMIT").await?;
        let lost = "objects could not be compared";
        if let Err(ReconcileError::Objects(unlike @ ObjectsError::Unlike(_))) = &objects {
            found
                .not_proven
                .push(format!("storage.objects, compared with no file: {unlike}"));
            return Ok(None);
        }
        let objects = objects.map_err(|error| failed(lost)(std::io::Error::other(error)))?;
        let Some(mut objects) = objects else {
            return Ok(None);
        };
        let step = "drill storage";
        observer.on(&Event::StepStarted {
            step: step.to_owned(),
        });
        let meter = Arc::new(Meter::default());
        let (path, compression) = (
            self.request.entry.path.join(&archive.file),
            archive.compression.decoded(),
        );
        let (counted, token) = (meter.clone(), cancel.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let mut reader = ArtifactReader::open(&path, compression, counted)?;
            let mut spilled = Ok(());
            let mut lister = |listed: Listed<'_>| {
                if spilled.is_ok() {
                    spilled = objects.file(listed);
                }
            };
            walk(&mut reader, Some(&mut lister), &token)?;
            spilled.map(|()| objects)
        });
        let read = tell_while(reading, observer, step, &meter, Some(archive.raw_bytes)).await;
        let objects = match read.map_err(std::io::Error::other).flatten() {
            Ok(objects) => objects,
            // What cannot be read is no less a finding than what differs.
            Err(error) => {
                return Ok(Some(StorageDrill {
                    differences: vec![format!("{}: {error}", archive.file)],
                    ..StorageDrill::default()
                }));
            }
        };
        let now = objects
            .finish(None)
            .await
            .map_err(|error| failed(lost)(std::io::Error::other(error)))?;
        let mut differences = then.new_faults(&now);
        if now.files != then.files {
            differences.push(format!(
                "{} files are in the archive, {} were packed",
                now.files, then.files
            ));
        }
        Ok(Some(StorageDrill {
            files: now.files,
            objects: now.objects,
            matched: now.matched,
            hashed: now.hashed,
            differences,
        }))
    }
}
