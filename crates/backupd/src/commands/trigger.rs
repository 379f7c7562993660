//! `backupd trigger`: a run by the daemon, watched from here.

use engine::{Event, Observer};

use super::exit::{Exit, Refusal};
use super::print::print_text;
use super::run;
use crate::cli::Trigger;
use crate::daemon::control::{Answer, Client, ClientError, Request};
use crate::render::progress::Progress;
use crate::settings::Environment;
use crate::signals::Signals;

pub async fn execute(
    asked: &Trigger,
    environment: &Environment,
    signals: &Signals,
) -> Result<Exit, Refusal> {
    let socket = environment.control_socket()?;
    let request = Request::Trigger {
        wait: asked.wait,
        ignore_space: asked.ignore_space,
    };
    let mut client = Client::ask(&socket, &request).await?;
    // Without waiting, only a refusal is of interest.
    let progress = if asked.no_wait {
        None
    } else {
        Some(Progress::start(&environment.logging()?))
    };
    let clear = || {
        if let Some(progress) = &progress {
            progress.clear();
        }
    };
    loop {
        let answer = tokio::select! {
            answer = client.next() => answer,
            () = signals.token.cancelled() => {
                clear();
                crate::render::error::note("the run goes on in the daemon: see `backupd status`");
                return Ok(Exit::Interrupted(signals.exit_code()));
            }
        };
        match answer {
            Ok(Answer::Event(Event::RunStarted { run, .. })) if asked.no_wait => {
                print_text(&format!("{run}\n"))?;
                return Ok(Exit::Done);
            }
            Ok(Answer::Event(event)) => {
                if let Some(progress) = &progress {
                    progress.on(&event);
                }
            }
            Ok(Answer::Ended(outcome)) => {
                clear();
                return run::say(&outcome, asked.output.json, signals);
            }
            Ok(Answer::Report(_) | Answer::Refused(_)) => {}
            Err(error) => {
                clear();
                return Err(ClientError::into(error));
            }
        }
    }
}
