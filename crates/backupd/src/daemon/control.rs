//! The control socket: a Unix socket for its owner alone, over which commands in the same container ask for runs and for the state.
//!
//! A request is one line of JSON; the answer is lines of JSON until the daemon closes. Nothing else starts a run from outside.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::backup::Turn;
use engine::{Event, clock};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::runner::{Runner, Told};
use super::state::{Report, State};
use crate::outcome::Outcome;

/// A request is a line of some dozen bytes.
const REQUEST_BYTES: u64 = 4096;
/// Whoever connects asks at once.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// For its owner alone.
const SOCKET_MODE: u32 = 0o600;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// A run now; `wait` for its turn when another is at work.
    Trigger {
        wait: bool,
        /// Whatever room there seems to be.
        #[serde(default)]
        ignore_space: bool,
    },
    /// The state.
    Status,
}

/// A line of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tell", content = "what", rename_all = "snake_case")]
pub enum Answer {
    /// Something happened in the run.
    Event(Event),
    /// The run is over.
    Ended(Box<Outcome>),
    /// The state.
    Report(Box<Report>),
    /// The request was not understood.
    Refused(String),
}

/// Binds the socket. What a killed daemon left is replaced; where a living one answers, this is refused.
pub async fn bind(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another backupd answers there",
        ));
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        stream::durable::create_dir_private(parent)?;
    }
    // Under another name until nobody else can open it.
    let aside = PathBuf::from(format!("{}.new", path.display()));
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&aside)?;
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    stream::durable::rename(&aside, path)?;
    Ok(listener)
}

/// Answers until cancelled.
pub async fn serve(
    listener: UnixListener,
    state: Arc<State>,
    runner: Arc<Runner>,
    cancel: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => return,
        };
        match accepted {
            Ok((connection, _)) => {
                let (state, runner) = (state.clone(), runner.clone());
                tokio::spawn(async move {
                    if let Err(error) = answer(connection, &state, &runner).await {
                        // A caller that went away: what it asked for goes on.
                        debug!("control socket: {error}");
                    }
                });
            }
            Err(error) => {
                warn!("control socket: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(connection: UnixStream, state: &State, runner: &Arc<Runner>) -> io::Result<()> {
    let (read, mut write) = connection.into_split();
    let mut line = String::new();
    let mut limited = BufReader::new(read.take(REQUEST_BYTES));
    tokio::time::timeout(REQUEST_WITHIN, limited.read_line(&mut line)).await??;
    match serde_json::from_str(&line) {
        Ok(Request::Status) => {
            state.refresh().await;
            let report = Box::new(state.report(clock::now()));
            tell(&mut write, &Answer::Report(report)).await
        }
        Ok(Request::Trigger { wait, ignore_space }) => {
            let turn = if wait { Turn::Wait } else { Turn::AtOnce };
            let mut told = runner.begin("trigger", turn, ignore_space);
            loop {
                match told.recv().await {
                    Ok(Told::Event(event)) => tell(&mut write, &Answer::Event(event)).await?,
                    Ok(Told::Ended(outcome)) => {
                        let outcome = Box::new(Outcome::clone(&outcome));
                        return tell(&mut write, &Answer::Ended(outcome)).await;
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        }
        Err(error) => tell(&mut write, &Answer::Refused(error.to_string())).await,
    }
}

async fn tell(write: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// The asking side.
pub struct Client {
    lines: tokio::io::Lines<BufReader<UnixStream>>,
}

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at {} ({source}): is `backupd serve` running in this container, and is BACKUP_CONTROL_SOCKET the same?", path.display())]
    NoDaemon { path: PathBuf, source: io::Error },
    /// It went away.
    #[error("the daemon ended before it answered: `backupd status` and its log say more")]
    Gone,
    /// It did not understand.
    #[error("the daemon refused: {0}")]
    Refused(String),
    /// It said something that is not understood.
    #[error("the daemon's answer cannot be read ({0}): are both of the same version?")]
    Strange(#[from] serde_json::Error),
}

impl Client {
    /// Connects and asks.
    pub async fn ask(path: &Path, request: &Request) -> Result<Self, ClientError> {
        let lost = |source| ClientError::NoDaemon {
            path: path.to_owned(),
            source,
        };
        let mut connection = UnixStream::connect(path).await.map_err(lost)?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        connection.write_all(&line).await.map_err(lost)?;
        Ok(Self {
            lines: BufReader::new(connection).lines(),
        })
    }

    /// The next line of the answer.
    pub async fn next(&mut self) -> Result<Answer, ClientError> {
        match self.lines.next_line().await {
            Ok(Some(line)) => match serde_json::from_str(&line)? {
                Answer::Refused(why) => Err(ClientError::Refused(why)),
                answer => Ok(answer),
            },
            Ok(None) | Err(_) => Err(ClientError::Gone),
        }
    }
}
