//! A file tree, into a directory of its own. Nothing that is there is touched.

use stream::blocking::in_place;
use stream::durable;
use tokio_util::sync::CancellationToken;

use super::error::RestoreError;
use super::request::{Restored, TreeRequest, find};
use super::target::check_target;
use super::unpacking::{named, unpack_checked};

/// Restores a tree.
pub async fn restore_tree(
    request: TreeRequest<'_>,
    cancel: &CancellationToken,
) -> Result<Restored, RestoreError> {
    let artifact = find(request.entry, request.label)?.clone();
    in_place(|| check_target(&request, &artifact))?;
    let aside = durable::aside(request.to);
    let restored = unpack_checked(&request, &artifact, &aside, None, cancel).await?;
    in_place(|| named(durable::rename_new(&aside, request.to), request.to, &aside))?;
    Ok(restored)
}
