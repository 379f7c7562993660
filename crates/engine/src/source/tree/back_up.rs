//! One tree of files: Supabase's storage, or one of the extra paths.

use postgres::words::counted;
use std::path::Path;

use archive::{Listed, Lister, PackError, Packed, Packing, pack};
use catalog::artifact::{Archive, Content, Tree};
use catalog::storage::{Changed, Storage};
use stream::artifact::{ArtifactWriter, Written};

use super::check::tree_fault;
use crate::config::{DatabaseRole, ReconcileMode, TreeRole, TreeSource};
use crate::source::context::Context;
use crate::source::product::{Product, record};
use crate::source::reconcile::Reconciler;
use catalog::layout::tree::Names;

/// Objects that a warning names; the manifest has more.
const NAMED: usize = 5;

pub(super) async fn perform(source: &TreeSource, context: &Context<'_>) -> Product {
    let encoding = context.config.encoding;
    let file = format!("{}{}", source.file_stem(), encoding.compression.extension());
    let (dir, root) = (context.dir.to_owned(), source.root.clone());
    let (meter, cancel) = (context.meter.clone(), context.cancel.clone());
    let mut objects = if source.is_storage() {
        context.exchange_objects(None)
    } else {
        None
    };
    let may_be_empty = context.preflight.empty.contains(&source.label);
    let packing = tokio::task::spawn_blocking(move || {
        let writer =
            ArtifactWriter::create(&dir, &file, encoding, meter).map_err(PackError::Sink)?;
        let mut spilled = Ok(());
        let mut lister = objects.as_mut().map(|objects| {
            |listed: Listed<'_>| {
                if spilled.is_ok() {
                    spilled = objects.file(listed);
                }
            }
        });
        let names = Names::of(&root);
        let left_out = |below: &Path| names.is_aside(below);
        let packing = Packing {
            lister: lister.as_mut().map(|lister| lister as Lister<'_>),
            left_out: Some(&left_out),
            may_be_empty,
        };
        let (writer, packed, proof) = pack(&root, writer, packing, &cancel)?;
        let written = writer.commit(proof).map_err(PackError::Sink)?;
        Ok((packed, written, spilled.map(|()| objects)))
    });
    let (packed, written, objects) = match packing.await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => {
            return Product::failed(tree_fault(source.setting(), source, &error), None);
        }
        Err(panic) => return Product::failed(panic.to_string(), None),
    };
    let mut product = product(source, context, packed, written);
    if source.is_storage() {
        match objects {
            Ok(Some(objects)) => reconcile(objects, context, &mut product).await,
            Ok(None) if context.config.reconcile == ReconcileMode::Strict => not_compared(
                &"they were not read, or there are none in this run (the step supabase tells of it)",
                context,
                &mut product,
            ),
            Ok(None) => {}
            Err(error) => not_compared(&error, context, &mut product),
        }
    }
    product
}

/// What was not compared passes only where differences would.
fn not_compared(why: &dyn std::fmt::Display, context: &Context<'_>, product: &mut Product) {
    let words = format!("the files were not compared with storage.objects: {why}");
    judged(words, context, product);
}

/// A fault of the comparison is a warning, or the step's failure.
fn judged(words: String, context: &Context<'_>, product: &mut Product) {
    if context.config.reconcile == ReconcileMode::Strict {
        product.fail(format!("{words} (BACKUP_RECONCILE=strict)"), None);
    } else {
        product.notes.push(words);
    }
}

/// Compares the archive with the objects of the dump's snapshot.
async fn reconcile(objects: Reconciler, context: &Context<'_>, product: &mut Product) {
    let config = context.config;
    let supabase = config
        .databases
        .iter()
        .find(|source| source.role == DatabaseRole::Supabase);
    let result = match objects.finish(supabase.map(|source| &source.dsn)).await {
        Ok(result) => result,
        Err(error) => return not_compared(&error, context, product),
    };
    let words: Vec<String> = result
        .faults()
        .iter()
        .filter(|(_, faults)| faults.total > 0)
        .map(|(what, faults)| {
            let first = faults.names.iter().take(NAMED).cloned().collect::<Vec<_>>();
            let more = if faults.total > NAMED as u64 {
                ", …"
            } else {
                ""
            };
            format!("{}: {}{more}", faults.told(what), first.join(", "))
        })
        .collect();
    if !words.is_empty() {
        let words = format!(
            "{} of {} in the database not in the storage tree as they should be: {}",
            result.objects - result.matched - result.deleted_meanwhile.total,
            counted(result.objects, "object"),
            words.join("; ")
        );
        judged(words, context, product);
    }
    if let Some(storage) = &mut product.storage {
        storage.reconcile = Some(result);
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
    if packed.outside_links_total > 0 {
        let (names, total) = (&packed.outside_links, packed.outside_links_total);
        product.notes.push(format!(
            "{} out of the tree, which a restore refuses unless told --allow-outside-links: {}{}",
            if total == 1 {
                "a symbolic link leads".to_owned()
            } else {
                format!("{total} symbolic links lead")
            },
            names[..names.len().min(NAMED)].join(", "),
            if total > NAMED as u64 { ", …" } else { "" }
        ));
    }
    if !packed.skipped.is_empty() {
        product
            .notes
            .push(format!("left out: {}", packed.skipped.join(", ")));
    }
    let archive = Archive {
        path: Some(source.root.display().to_string()),
        tree: Some(Tree {
            files: packed.files,
            directories: packed.directories,
            symlinks: packed.symlinks,
            hard_links: packed.hard_links,
            bytes: packed.bytes,
            attributes: Some(packed.attributes.to_string()),
        }),
    };
    let kind = match source.role {
        TreeRole::Storage => Content::Storage(archive),
        TreeRole::Extra => Content::Files(archive),
    };
    let compression = context.config.encoding.compression;
    product.keep(
        record(kind, &source.label, "tar", compression, written),
        |_| (),
    );
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
                reconcile: None,
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
