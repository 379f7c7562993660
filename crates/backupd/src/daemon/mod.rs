//! `backupd serve`: the scheduler, the control socket and the status server, and how they end.
//!
//! One signal ends everything: a run at work is cancelled, its children end, its unfinished set goes, its callers are told, and then
//! the process ends.

pub mod control;
mod driller;
mod hosts;
mod http;
mod jobs;
mod live;
mod metrics;
mod name;
mod page;
mod plot;
mod runner;
mod scheduler;
pub mod state;

use std::sync::Arc;
use std::time::Duration;

use engine::keep::sweep::{begin_service, tidy};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::settings::Service;
use driller::Driller;
use jobs::{jobs, log_coming};
use runner::Runner;
use scheduler::Scheduler;
use state::State;

/// Callers of the control socket have this long to take the last words of a cancelled run.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A cancelled run ends within moments, unless a disk hangs; then the process does not wait for it. Shorter than the `stop_grace_period`
/// of our Compose file, at whose end it would be killed.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Why the daemon could not begin, or could not go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum ServeError {
    /// The status server's address.
    #[error("BACKUP_HTTP_ADDR={addr} cannot be listened on: {source}; is another program there?")]
    Http {
        addr: std::net::SocketAddr,
        source: std::io::Error,
    },
    /// The control socket.
    #[error(
        "BACKUP_CONTROL_SOCKET={path} cannot be made: {source}; is its directory there and writable (a tmpfs in a read-only container)?"
    )]
    Control {
        path: String,
        source: std::io::Error,
    },
    /// Signals.
    #[error("signals cannot be listened for: {0}")]
    Signals(std::io::Error),
    /// The scheduler.
    #[error("the scheduler stopped: {0}")]
    Scheduler(#[from] tokio_cron_scheduler::JobSchedulerError),
}

/// Serves until cancelled. Settings are right; logging is installed.
pub async fn serve(service: Service, cancel: &CancellationToken) -> Result<(), ServeError> {
    let http_addr = service.http_addr;
    let http = TcpListener::bind(http_addr)
        .await
        .map_err(|source| ServeError::Http {
            addr: http_addr,
            source,
        })?;
    let socket = service.control_socket.clone();
    let control = control::bind(&socket)
        .await
        .map_err(|source| ServeError::Control {
            path: socket.display().to_string(),
            source,
        })?;
    let hangups = signal(SignalKind::hangup()).map_err(ServeError::Signals)?;
    begin_history(&service);
    let state = Arc::new(State::new(service));
    info!(
        version = env!("CARGO_PKG_VERSION"),
        backups = %state.service.config.backup_dir.display(),
        http = %http_addr,
        control = %socket.display(),
        "backupd serves"
    );

    let tasks = TaskTracker::new();
    let (tell_ended, ended) = mpsc::unbounded_channel();
    let driller = Arc::new(Driller::new(state.clone(), cancel.clone(), tasks.clone()));
    let runner = Arc::new(Runner::new(
        state.clone(),
        driller.clone(),
        cancel.clone(),
        tasks.clone(),
        tell_ended,
    ));
    // These go on answering while a run at work is being ended.
    let answering = CancellationToken::new();
    tokio::spawn(state.clone().keep_surveying(answering.clone()));
    tokio::spawn(http::serve(http, state.clone(), answering.clone()));
    tokio::spawn(control::serve(
        control,
        state.clone(),
        runner.clone(),
        answering.clone(),
    ));
    tokio::spawn(answer_hangups(hangups, answering.clone()));
    if std::process::id() == 1 {
        tokio::spawn(stream::orphans::reap(answering.clone()));
    }
    log_coming(&state);
    let scheduler = Scheduler {
        jobs: jobs(&state, &runner, &driller),
        state,
        ended,
    };
    let kept = scheduler.keep(cancel.clone()).await;

    tasks.close();
    if !tasks.is_empty() {
        info!("stopping: the run at work is being ended");
        if tokio::time::timeout(ENDS_WITHIN, tasks.wait())
            .await
            .is_err()
        {
            warn!(
                "the run at work does not end: a disk or a server hangs. It is left; the next start clears up behind it"
            );
        }
        tokio::time::sleep(LAST_WORDS).await;
    }
    answering.cancel();
    // Whoever starts next would replace it anyway.
    let _ = std::fs::remove_file(&socket);
    info!("backupd stopped");
    Ok(kept?)
}

/// Cleans up after a killed run and writes the start into history. A directory that does not let this be is health's to complain of.
fn begin_history(service: &Service) {
    let dir = &service.config.backup_dir;
    match engine::prove::drill::sweep_unless_busy(dir) {
        Ok(false) => {}
        Ok(true) => warn!("removed what a killed drill left behind"),
        Err(error) => warn!("what a killed drill left behind could not be removed: {error}"),
    }
    match tidy(dir) {
        Ok(names) if names.is_empty() => {}
        Ok(names) => warn!(
            names = names.join(" "),
            "removed what a killed run left behind"
        ),
        Err(error) => warn!("BACKUP_DIR {}: {error}", dir.display()),
    }
    if let Err(error) = begin_service(dir, env!("CARGO_PKG_VERSION")) {
        warn!("the history cannot be written: {error}");
    }
}

/// SIGHUP means "read your settings anew" to many daemons; a process's environment cannot change.
async fn answer_hangups(mut hangups: tokio::signal::unix::Signal, cancel: CancellationToken) {
    loop {
        tokio::select! {
            heard = hangups.recv() => match heard {
                Some(()) => warn!("SIGHUP: nothing is reloaded; settings come from the environment: change them and recreate the container"),
                None => return,
            },
            () = cancel.cancelled() => return,
        }
    }
}
