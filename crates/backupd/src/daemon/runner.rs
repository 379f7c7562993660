//! The daemon's runs: each a task of its own that nobody has to wait for, told to whoever listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use catalog::set::SetId;
use engine::backup::{Finished, Origin, RunError, Turn, run};
use engine::caught::caught;

use engine::{Event, Observer, clock};
use policy::schedule::Ended;
use std::sync::OnceLock;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::driller::Driller;
use super::name::Name;
use super::state::State;
use crate::outcome::Outcome;
use crate::render::progress::Progress;

/// A listener that falls this many events behind misses the oldest: more than a minute of progress.
const EVENTS: usize = 512;

/// One thing a listener is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// Something happened.
    Event(Event),
    /// The run is over; nothing follows.
    Ended(Arc<Outcome>),
}

/// Begins runs.
pub struct Runner {
    state: Arc<State>,
    log: Progress,
    cancel: CancellationToken,
    tasks: TaskTracker,
    /// Runs that are at work or wait for their turn.
    active: AtomicUsize,
    /// Whether a run of this daemon has made a good set: from then on its runs by themselves are not careful.
    has_run: AtomicBool,
    /// To the scheduler.
    ended: mpsc::UnboundedSender<(Name, Ended)>,
    /// What drills every good set, where that is wanted.
    driller: Arc<Driller>,
}

impl Runner {
    /// Runs are cancelled by `cancel` and counted by `tasks`; their ends are told through `ended`.
    pub fn new(
        state: Arc<State>,
        driller: Arc<Driller>,
        cancel: CancellationToken,
        tasks: TaskTracker,
        ended: mpsc::UnboundedSender<(Name, Ended)>,
    ) -> Self {
        Self {
            state,
            log: Progress::logged(),
            cancel,
            tasks,
            active: AtomicUsize::new(0),
            has_run: AtomicBool::new(false),
            ended,
            driller,
        }
    }

    /// Whether a run is at work or waits for its turn.
    pub fn is_busy(&self) -> bool {
        self.active.load(Ordering::SeqCst) > 0
    }

    /// Begins a run, or lets it wait for its turn. It goes on whether somebody listens or not.
    pub fn begin(
        self: &Arc<Self>,
        trigger: &str,
        turn: Turn,
        ignore_space: bool,
    ) -> broadcast::Receiver<Told> {
        let origin = Origin {
            ignore_space,
            ..Origin::here(trigger, env!("CARGO_PKG_VERSION"))
        };
        self.start(origin, turn)
    }

    /// Begins a run that nobody asked for. The first waits for a person where the sets here are of other sources.
    pub fn begin_by_itself(self: &Arc<Self>, reason: &str) {
        let origin = Origin {
            careful: !self.has_run.load(Ordering::SeqCst),
            ..Origin::here(reason, env!("CARGO_PKG_VERSION"))
        };
        // Its end comes back through `ended`; nobody needs to listen to it here.
        drop(self.start(origin, Turn::Wait));
    }

    fn start(self: &Arc<Self>, origin: Origin, turn: Turn) -> broadcast::Receiver<Told> {
        let (tell, listen) = broadcast::channel(EVENTS);
        let runner = self.clone();
        self.active.fetch_add(1, Ordering::SeqCst);
        self.tasks.spawn(async move {
            let config = &runner.state.service.config;
            let teller = Teller {
                runner: &runner,
                tell: &tell,
                run: OnceLock::new(),
            };
            let running = run(config, &origin, turn, &teller, &runner.cancel);
            let ended = caught(running).await;
            let ended = ended.map_err(RunError::Defect).flatten();
            runner.state.live.ended(teller.run.get().copied());
            runner.state.refresh().await;
            if let Some(how) = how(&ended) {
                if how == Ended::Well {
                    runner.has_run.store(true, Ordering::SeqCst);
                    if runner.state.service.drills.always {
                        runner.driller.begin();
                    }
                }
                // The scheduler ends only together with the daemon.
                let _ = runner.ended.send((Name::Run, how));
            }
            if let Err(error) = &ended {
                tracing::error!("{error}");
            }
            runner.active.fetch_sub(1, Ordering::SeqCst);
            let outcome = Outcome::of(ended, &config.backup_dir);
            // Nobody may be listening.
            let _ = tell.send(Told::Ended(Arc::new(outcome)));
        });
        listen
    }
}

/// What the scheduler makes of a run's end; nothing of one that was not made.
fn how(ended: &Result<Finished, RunError>) -> Option<Ended> {
    match ended {
        // Another set would not be better: what failed behind it is told by health.
        Ok(finished) if finished.is_good() => Some(Ended::Well),
        Ok(Finished { passing: true, .. }) | Err(RunError::Refused { passing: true, .. }) => {
            Some(Ended::Passing)
        }
        Ok(_)
        | Err(
            RunError::Refused { .. }
            | RunError::Directory { .. }
            | RunError::Strangers { .. }
            | RunError::Defect(_),
        ) => Some(Ended::Lasting),
        Err(RunError::Locked(_) | RunError::Interrupted) => None,
    }
}

/// Passes a run's events on: to the log, to what is known live, to who listens.
struct Teller<'a> {
    runner: &'a Runner,
    tell: &'a broadcast::Sender<Told>,
    run: OnceLock<SetId>,
}

impl Observer for Teller<'_> {
    fn on(&self, event: &Event) {
        if let Event::RunStarted { run, .. } = event {
            let _ = self.run.set(*run); // It starts once.
        }
        self.runner.log.on(event);
        self.runner.state.live.on(event, clock::now());
        let _ = self.tell.send(Told::Event(event.clone())); // Nobody may be listening.
    }
}
