//! One file a subcommand: each takes settings, asks the engine, and prints what came of it.

mod accept;
mod check;
mod doctor;
mod drill;
mod health;
mod list;
mod prune;
mod restore;
mod run;
mod serve;
mod settings;
mod show;
mod status;
mod trigger;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use catalog::catalog::{Catalog, Entry, FindError};
use catalog::set::Selector;
use postgres::words::printable;
use serde::Serialize;

use crate::cli::Command;
use crate::render;
use crate::settings::{Environment, Problems};
use crate::signals::Signals;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Usage or settings.
    Settings,
    /// Another run holds the lock.
    Locked,
    /// Verification found a difference, or a run an anomaly.
    Different,
    /// Ended by a signal; the code the shell expects.
    Interrupted(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Settings => 2,
            Exit::Locked => 3,
            Exit::Different => 4,
            Exit::Interrupted(code) => code,
        })
    }
}

/// Runs a subcommand to its end.
pub async fn dispatch(command: Command, environment: Environment) -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            render::error::print("backupd cannot listen for signals", &error);
            return Exit::Failed.into();
        }
    };
    let ended = match command {
        Command::Serve => serve::execute(&environment, &signals).await,
        Command::Trigger(asked) => trigger::execute(&asked, &environment, &signals).await,
        Command::Status(output) => status::execute(&output, &environment).await,
        Command::Health(arguments) => health::execute(&arguments, &environment).await,
        Command::Run(asked) => Box::pin(run::execute(&asked, &environment, &signals)).await,
        Command::Check(output) => check::execute(&output, &environment, &signals).await,
        Command::Doctor(asked) => Box::pin(doctor::execute(&asked, &environment, &signals)).await,
        Command::List(output) => list::execute(&output, &environment),
        Command::Show(asked) => show::execute(&asked, &environment),
        Command::Verify(asked) => verify::execute(&asked, &environment, &signals).await,
        Command::Restore(asked) => restore::execute(&asked, &environment, &signals).await,
        Command::Prune(asked) => prune::execute(&asked, &environment),
        Command::Accept(asked) => accept::execute(&asked, &environment),
        Command::Settings(output) => settings::execute(&output, &environment),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(refusal) => {
            refusal.print();
            refusal.exit().into()
        }
    }
}

/// Why a command could not do its work at all.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Settings are wrong.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// The set was not found.
    #[error(transparent)]
    NotFound(#[from] FindError),
    /// Another run is at work.
    #[error(transparent)]
    Lock(#[from] catalog::lock::LockError),
    /// The daemon gives no answer.
    #[error(transparent)]
    Daemon(#[from] crate::daemon::control::ClientError),
    /// The set cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Refusal {
    fn print(&self) {
        // A reader that closed the pipe (`backupd list | head -1`) has what it wanted.
        if !matches!(self, Self::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe) {
            render::error::say(&self.to_string());
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Settings(_) | Self::Usage(_) => Exit::Settings,
            Self::Lock(catalog::lock::LockError::Held { .. }) => Exit::Locked,
            _ => Exit::Failed,
        }
    }
}

/// Opens the catalog for reading and finds a set. That `latest` passed over newer ones is said.
fn find(environment: &Environment, selector: &Selector) -> Result<Entry, Refusal> {
    let dir = environment.backup_dir()?;
    let found = open(&dir)?.find(selector, engine::clock::now())?;
    if let Some(words) = render::anomaly::passed_over(&found) {
        render::error::note(&words);
    }
    Ok(found.entry)
}

fn open(dir: &std::path::Path) -> Result<Catalog, Refusal> {
    Catalog::open_read_only(dir).map_err(|error| {
        Refusal::Unusable(format!(
            "BACKUP_DIR {} cannot be read: {error}",
            dir.display()
        ))
    })
}

/// Prints a value as JSON on standard output.
fn print_json(value: &impl Serialize) -> Result<(), std::io::Error> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// Prints text on standard output; unlike `print!`, a closed pipe is an error and no panic. Names in it that hold line breaks must have
/// lost them before ([`postgres::words::one_line`]).
fn print_text(text: &str) -> Result<(), std::io::Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(printable(text).as_bytes())?;
    out.flush()
}
