//! The door: people and machines come in here, settings are read here, and exit codes leave from here.

mod cli;
mod commands;
mod daemon;
mod outcome;
mod render;
mod settings;
mod signals;

use std::process::ExitCode;

use clap::Parser;

/// Worker threads of the runtime. They only wait and pass bytes on; compression, hashing and packing have threads of their own.
const RUNTIME_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let environment = settings::Environment::read();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(commands::dispatch(cli.command, environment)),
        Err(error) => {
            render::error::print("backupd could not start", &error);
            commands::Exit::Failed.into()
        }
    }
}
