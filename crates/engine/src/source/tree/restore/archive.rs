//! An archive of a set, read whole: its digest, and what it holds, are compared with the manifest.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use archive::{UnpackError, Walked, inspect};
use catalog::artifact::Artifact;
use stream::artifact::Meter;
use stream::read::ArtifactReader;
use tokio_util::sync::CancellationToken;

use super::error::RestoreError;
use super::request::{TreeRequest, find};

/// An archive, and what its manifest says of it.
pub(super) struct Archive {
    path: PathBuf,
    artifact: Artifact,
    meter: Arc<Meter>,
}

/// Whether a restore would take the archive: asked before anything else is restored. Changes nothing.
pub async fn check_archive(
    request: &TreeRequest<'_>,
    cancel: &CancellationToken,
) -> Result<(), RestoreError> {
    let artifact = find(request.entry, request.label)?;
    let archive = Archive::of(request, artifact);
    let (links, token) = (request.outside_links, cancel.clone());
    let reading = move || archive.read(|reader| inspect(reader, links, &token), |walked| walked);
    let done = match tokio::task::spawn_blocking(reading).await {
        Ok(done) => done,
        Err(panic) => Err(RestoreError::Unusable {
            set: request.entry.id.to_string(),
            reason: panic.to_string(),
        }),
    };
    done.map(drop).map_err(|error| {
        if cancel.is_cancelled() {
            RestoreError::Interrupted
        } else {
            error
        }
    })
}

impl Archive {
    pub fn of(request: &TreeRequest<'_>, artifact: &Artifact) -> Self {
        Self {
            path: request.entry.path.join(&artifact.file),
            artifact: artifact.clone(),
            meter: request.meter.clone(),
        }
    }

    /// Does something with it from its beginning to its end.
    pub fn read<T>(
        self,
        with: impl FnOnce(&mut ArtifactReader) -> Result<T, UnpackError>,
        counts: impl FnOnce(&T) -> &Walked,
    ) -> Result<T, RestoreError> {
        let artifact = &self.artifact;
        let different = |reason: String| RestoreError::Different {
            file: artifact.file.to_string(),
            reason,
        };
        let unreadable = |error: io::Error| different(format!("it cannot be read whole: {error}"));
        let mut reader =
            ArtifactReader::open(&self.path, artifact.compression.decoded(), self.meter)
                .map_err(unreadable)?;
        let done = with(&mut reader).map_err(|source| match source {
            UnpackError::Source(error) => unreadable(error),
            source => RestoreError::Unpack {
                file: artifact.file.to_string(),
                source,
            },
        })?;
        let back = reader.finish().map_err(unreadable)?;
        if back.sha256 != artifact.sha256 || back.raw_bytes != artifact.raw_bytes {
            return Err(different("its digest is another".to_owned()));
        }
        let Some(tree) = artifact.tree() else {
            return Ok(done);
        };
        let walked = counts(&done);
        let held = (
            tree.files,
            tree.directories,
            tree.symlinks,
            tree.hard_links,
            tree.bytes,
        );
        let came = (
            walked.files,
            walked.directories,
            walked.symlinks,
            walked.hard_links,
            walked.bytes,
        );
        if held == came {
            Ok(done)
        } else {
            Err(different(format!(
                "files, directories, symbolic links, hard links and bytes are {came:?}, not {held:?}"
            )))
        }
    }
}
