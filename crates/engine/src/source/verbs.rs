//! What can be done with a source, and with what a set holds of one, whatever its kind.

use std::path::Path;
use std::pin::Pin;

use catalog::artifact::Artifact;
use catalog::drill::DrillReport;
use catalog::manifest::Manifest;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::preflight::Preflight;
use super::product::Product;
use super::proving::{DrillError, DrillRequest};
use super::read_back::{Reading, Report, Unreadable};
use crate::config::Config;
use crate::event::Observer;
use crate::space::SourceSize;

/// Work that a kind of source does.
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One source, as a run works with it.
pub(crate) trait Source: Send + Sync {
    /// Its step's name, and the beginning of its files' names.
    fn label(&self) -> &str;

    /// What follows when its step fails.
    fn on_failure(&self) -> OnFailure;

    /// What the next artifact will be estimated by; none where nothing is known.
    fn estimate<'a>(
        &'a self,
        config: &'a Config,
        found: &'a Preflight,
    ) -> Work<'a, Option<SourceSize>>;

    /// Bytes that its step will read, where that is known.
    fn expected(&self, found: &Preflight) -> Option<u64>;

    /// Turns it into artifacts in the set's directory.
    fn back_up<'a>(&'a self, context: &'a Context<'a>) -> Work<'a, Product>;
}

/// What follows a failed step. The run is failed either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// The data steps after it are skipped: without the Supabase database the rest is no recovery point.
    SkipData,
    /// The data steps after it are made all the same: one lost source must not cost the others their backup.
    GoOn,
}

/// A kind of source, as the artifacts of a set know it.
pub(crate) trait Kind: Send + Sync {
    /// Reads an artifact, and tells the report what is not as the manifest says.
    fn read_back<'a>(
        &'a self,
        path: &'a Path,
        artifact: &'a Artifact,
        reading: &'a Reading<'a>,
        report: &'a mut Report,
    ) -> Work<'a, Result<(), Unreadable>>;

    /// Brings back what a set holds of this kind where nobody works with it, and compares it with its source. Reading it back has gone
    /// before.
    fn prove<'a>(
        &'a self,
        request: &'a DrillRequest<'a>,
        manifest: &'a Manifest,
        report: &'a mut DrillReport,
        observer: &'a dyn Observer,
        cancel: &'a CancellationToken,
    ) -> Work<'a, Result<(), DrillError>>;

    /// Removes what a proof that was cut off left.
    fn clear<'a>(&'a self, request: &'a DrillRequest<'a>) -> Work<'a, Result<(), DrillError>>;
}
