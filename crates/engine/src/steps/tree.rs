//! One tree of files: Supabase's storage, or one of the extra paths.

use catalog::manifest::{Artifact, Changed, Kind, Storage, Tree};
use stream::artifact::{ArtifactWriter, Written};
use stream::tar::{PackError, Packed, pack};

use super::{Context, Product, record};
use crate::config::{TreeRole, TreeSource};
use crate::preflight::tree_fault;

pub(super) async fn perform(source: &TreeSource, context: &Context<'_>) -> Product {
    let encoding = context.config.encoding;
    let file = format!("{}{}", source.file_stem(), encoding.compression.extension());
    let (dir, root) = (context.dir.to_owned(), source.root.clone());
    let (meter, cancel) = (context.meter.clone(), context.cancel.clone());
    let packing = tokio::task::spawn_blocking(move || -> Result<(Packed, Written), PackError> {
        let writer =
            ArtifactWriter::create(&dir, &file, encoding, meter).map_err(PackError::Sink)?;
        let (writer, packed, proof) = pack(&root, writer, &cancel)?;
        let written = writer.commit(proof).map_err(PackError::Sink)?;
        Ok((packed, written))
    });
    match packing.await {
        Ok(Ok((packed, written))) => product(source, context, packed, written),
        Ok(Err(error)) => Product::failed(tree_fault(source.setting(), source, &error), None),
        Err(panic) => Product::failed(panic.to_string(), None),
    }
}

fn product(
    source: &TreeSource,
    context: &Context<'_>,
    packed: Packed,
    written: Written,
) -> Product {
    let mut product = Product::default();
    if packed.changed_total > 0 {
        product.notes.push(format!(
            "{} files changed while they were read; the manifest names them",
            packed.changed_total
        ));
    }
    if !packed.skipped.is_empty() {
        product.notes.push(format!(
            "sockets, pipes and devices are left out: {}",
            packed.skipped.join(", ")
        ));
    }
    let kind = match source.role {
        TreeRole::Storage => Kind::Storage,
        TreeRole::Extra => Kind::Files,
    };
    let artifact = record(
        kind,
        &source.label,
        "tar",
        context.config.encoding.compression,
        written,
    );
    product.artifacts.push(Artifact {
        path: Some(source.root.display().to_string()),
        tree: Some(Tree {
            files: packed.files,
            directories: packed.directories,
            symlinks: packed.symlinks,
            hard_links: packed.hard_links,
            bytes: packed.bytes,
        }),
        ..artifact
    });
    let changed = packed
        .changed
        .into_iter()
        .map(|change| Changed {
            path: change.path,
            what: change.what.to_string(),
        })
        .collect();
    match source.role {
        TreeRole::Storage => {
            product.storage = Some(Storage {
                files: packed.files,
                bytes: packed.bytes,
                changed,
                changed_total: packed.changed_total,
            });
        }
        TreeRole::Extra => product.notes.extend(
            changed
                .into_iter()
                .map(|c| format!("{}: {}", c.path, c.what)),
        ),
    }
    product
}
