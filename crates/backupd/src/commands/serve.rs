//! `backupd serve`: the daemon.

use engine::clock;

use super::exit::{Exit, Refusal};
use crate::daemon;
use crate::settings::Environment;
use crate::signals::Signals;

pub async fn execute(environment: &Environment, signals: &Signals) -> Result<Exit, Refusal> {
    let service = environment.service(clock::now())?;
    environment.logging()?.install();
    match daemon::serve(service, &signals.token).await {
        // To be stopped is how a daemon ends well.
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Refusal::Unusable(error.to_string())),
    }
}
