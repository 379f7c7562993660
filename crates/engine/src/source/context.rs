//! What a source's step works with.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use stream::artifact::Meter;
use tokio_util::sync::CancellationToken;

use super::preflight::Preflight;
use super::reconcile::Reconciler;
use crate::config::Config;
use crate::event::Observer;

/// What a step works with.
pub(crate) struct Context<'a> {
    pub config: &'a Config,
    pub preflight: &'a Preflight,
    /// The set's directory, still `.partial`.
    pub dir: &'a Path,
    /// Counts bytes for whoever shows progress.
    pub meter: Arc<Meter>,
    /// Supabase's objects, which its dump's snapshot tells and the storage archive is compared with.
    pub objects: &'a Mutex<Option<Reconciler>>,
    pub cancel: &'a CancellationToken,
    pub observer: &'a dyn Observer,
}

impl Context<'_> {
    /// Keeps the objects, or takes them.
    pub fn exchange_objects(&self, objects: Option<Reconciler>) -> Option<Reconciler> {
        // A panic elsewhere leaves a plain value behind.
        let mut kept = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *kept, objects)
    }
}
