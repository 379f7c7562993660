//! Trees of files: packed as PAX archives with their attributes, restored beside what is there.

mod back_up;
mod check;
mod read_back;
pub mod restore;
pub(crate) mod sample;

use std::path::Path;

use catalog::artifact::Artifact;
use catalog::drill::DrillReport;
use catalog::manifest::Manifest;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::preflight::Preflight;
use super::product::Product;
use super::proving::{DrillError, DrillRequest};
use super::read_back::{Reading, Report, Unreadable};
use super::verbs::{Kind, OnFailure, Source, Work};
use crate::config::{Config, TreeSource};
use crate::event::Observer;
use crate::space::SourceSize;
pub(crate) use check::check;

impl Source for TreeSource {
    fn label(&self) -> &str {
        &self.label
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::GoOn
    }

    fn estimate<'a>(
        &'a self,
        _config: &'a Config,
        found: &'a Preflight,
    ) -> Work<'a, Option<SourceSize>> {
        Box::pin(async {
            let tree = found.trees.get(&self.label)?;
            Some(SourceSize {
                label: self.label.clone(),
                is_database: false,
                bytes: Some(tree.bytes),
                sampled: (tree.packed > 0).then_some(tree.packed),
            })
        })
    }

    fn expected(&self, found: &Preflight) -> Option<u64> {
        let tree = found.trees.get(&self.label)?;
        tree.is_whole.then_some(tree.bytes)
    }

    fn back_up<'a>(&'a self, context: &'a Context<'a>) -> Work<'a, Product> {
        Box::pin(back_up::perform(self, context))
    }
}

/// Archives, as sets hold them.
pub(crate) struct Trees;

impl Kind for Trees {
    fn read_back<'a>(
        &'a self,
        path: &'a Path,
        artifact: &'a Artifact,
        reading: &'a Reading<'a>,
        report: &'a mut Report,
    ) -> Work<'a, Result<(), Unreadable>> {
        Box::pin(read_back::read_back(path, artifact, reading, report))
    }

    /// Reading an archive back goes through every entry; Storage's is compared with the objects of its database, which that kind does.
    fn prove<'a>(
        &'a self,
        _request: &'a DrillRequest<'a>,
        _manifest: &'a Manifest,
        _report: &'a mut DrillReport,
        _observer: &'a dyn Observer,
        _cancel: &'a CancellationToken,
    ) -> Work<'a, Result<(), DrillError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _request: &'a DrillRequest<'a>) -> Work<'a, Result<(), DrillError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
