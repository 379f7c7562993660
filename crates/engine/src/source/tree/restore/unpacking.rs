//! An archive, unpacked into a directory that is not there and compared with its manifest on the way.

use std::io;
use std::path::Path;
use std::sync::Arc;

use archive::{Selection, unpack};
use catalog::artifact::Artifact;
use postgres::words::counted;
use stream::blocking::in_place;
use stream::{directory, durable};
use tokio_util::sync::CancellationToken;

use super::archive::Archive;
use super::error::RestoreError;
use super::request::{Restored, TreeRequest};

/// The last step: a name. Without it nothing stays.
pub(super) fn named<T>(done: io::Result<T>, to: &Path, aside: &Path) -> Result<T, RestoreError> {
    done.map_err(|error| {
        // What cannot be removed lies beside the target under a name that says what it is.
        let _ = directory::remove(aside);
        RestoreError::Target {
            path: to.to_owned(),
            fault: format!("could not get its name: {error}"),
        }
    })
}

/// Which entries are unpacked.
pub(super) type Wanted = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// Unpacks into a directory that is not there, compares what was read with the manifest, and makes it survive a power cut. On a fault
/// nothing of it stays.
pub(super) async fn unpack_checked(
    request: &TreeRequest<'_>,
    artifact: &Artifact,
    directory: &Path,
    wanted: Option<Wanted>,
    cancel: &CancellationToken,
) -> Result<Restored, RestoreError> {
    let fault = |fault: String| RestoreError::Target {
        path: request.to.to_owned(),
        fault,
    };
    let (archive, target, token) = (
        Archive::of(request, artifact),
        directory.to_owned(),
        cancel.clone(),
    );
    let outside_links = request.outside_links;
    let filling = move || {
        let wanted = wanted
            .as_deref()
            .map(|wanted| wanted as &dyn Fn(&Path) -> bool);
        let selection = Selection {
            outside_links,
            wanted,
        };
        archive.read(
            |reader| unpack(reader, &target, selection, &token),
            |unpacked| &unpacked.walked,
        )
    };
    let done = match tokio::task::spawn_blocking(filling).await {
        Ok(done) => done,
        Err(panic) => Err(fault(panic.to_string())),
    };
    let done = done.and_then(|unpacked| {
        if unpacked.unkept_total > 0 && !request.without_xattrs {
            return Err(fault(format!(
                "cannot keep {}, where content types are: {}; restore as another user or elsewhere, or say \
                 --without-xattrs",
                counted(unpacked.unkept_total, "extended attribute"),
                unpacked.unkept.first().cloned().unwrap_or_default()
            )));
        }
        in_place(|| durable::sync_tree(directory))
            .map_err(|error| fault(format!("could not be written to the disk: {error}")))?;
        Ok(unpacked)
    });
    match done {
        Ok(unpacked) => Ok(Restored {
            walked: unpacked.walked,
            unkept: unpacked.unkept,
            unkept_total: unpacked.unkept_total,
            foreign_owners: unpacked.foreign_owners,
        }),
        Err(error) => {
            // What cannot be removed lies beside the target under a name that says what it is.
            let _ = in_place(|| directory::remove(directory));
            Err(if cancel.is_cancelled() {
                RestoreError::Interrupted
            } else {
                error
            })
        }
    }
}
