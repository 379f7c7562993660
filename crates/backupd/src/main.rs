//! The door: people and machines come in here, settings are read here, and exit codes leave from here.

mod cli;
mod commands;
mod daemon;
mod outcome;
mod render;
mod settings;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Worker threads of the runtime. They only wait and pass bytes on; compression, hashing and packing have threads of their own.
const RUNTIME_THREADS: usize = 2;

/// What was left behind when a command has ended has this long to end, too: a read that was cancelled.
const LEFT_OVER: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let environment = settings::Environment::read();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(commands::dispatch(cli.command, environment));
            // Dropped, it would wait for every read of a disk that hangs. What is left reads, or can be killed at any moment.
            runtime.shutdown_timeout(LEFT_OVER);
            code
        }
        Err(error) => {
            render::error::print("backupd could not start", &error);
            commands::Exit::Failed.into()
        }
    }
}
