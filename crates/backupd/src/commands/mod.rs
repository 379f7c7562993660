//! One file a subcommand: each takes settings, asks the engine, and prints what came of it.

mod accept;
mod check;
mod doctor;
mod drill;
mod exit;
mod health;
mod list;
mod print;
mod prune;
mod restore;
mod run;
mod serve;
mod sets;
mod settings;
mod show;
mod status;
mod trigger;
mod verify;

use std::process::ExitCode;

pub use exit::Exit;

use crate::cli::Command;
use crate::render;
use crate::settings::Environment;
use crate::signals::Signals;

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
