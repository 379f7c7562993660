//! The daemon's drills: each a task of its own, one at a time, of the newest good set. They give way to runs by their priority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use catalog::catalog::Catalog;
use catalog::set::Selector;
use engine::caught::caught;
use engine::clock;
use engine::prove::drill::drill;
use engine::source::proving::{DrillError, DrillRequest};
use postgres::tools::Tools;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::state::State;
use crate::render::anomaly::passed_over;
use crate::render::progress::Progress;

/// Begins drills.
pub struct Driller {
    state: Arc<State>,
    cancel: CancellationToken,
    tasks: TaskTracker,
    busy: AtomicBool,
}

impl Driller {
    /// Drills are cancelled by `cancel` and counted by `tasks`.
    pub fn new(state: Arc<State>, cancel: CancellationToken, tasks: TaskTracker) -> Self {
        Self {
            state,
            cancel,
            tasks,
            busy: AtomicBool::new(false),
        }
    }

    /// Whether a drill is at work.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// Begins a drill, unless one is at work or there is no good set.
    pub fn begin(self: &Arc<Self>) {
        if self.state.survey().newest_good(clock::now()).is_none()
            || self.busy.swap(true, Ordering::SeqCst)
        {
            return;
        }
        let driller = self.clone();
        self.tasks.spawn(async move {
            driller.state.set_drilling(true);
            match caught(driller.perform()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => error!("drill: {error}"),
                Err(words) => error!("drill: {words}"),
            }
            driller.state.set_drilling(false);
            driller.state.refresh().await;
            driller.busy.store(false, Ordering::SeqCst);
        });
    }

    async fn perform(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let service = &self.state.service;
        let config = &service.config;
        let found =
            Catalog::open_read_only(&config.backup_dir)?.find(&Selector::Latest, clock::now())?;
        if let Some(words) = passed_over(&found) {
            warn!("drill: {words}");
        }
        let entry = found.entry;
        let search = &config.tools;
        let tools = Tools::find(search.bindir.as_deref(), &search.path, &self.cancel).await?;
        info!(set = %entry.id, "drill started");
        let request = DrillRequest {
            backup_dir: &config.backup_dir,
            entry: &entry,
            tools: &tools,
            url: service.drills.url.as_ref(),
            fencing: service.drills.fencing,
            time_limit: config.step_timeout,
        };
        match drill(&request, &Progress::logged(), &self.cancel).await {
            Ok(_) | Err(DrillError::Interrupted) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
