//! What a restore holds and leaves in the backup directory: the lock while it is at work, and what the sets are of from then on.

use catalog::accepted::Accepted;
use catalog::catalog::Catalog;
use catalog::identity::Identity;
use catalog::lock::Lock;
use engine::clock;

use crate::commands::exit::Refusal;
use crate::render;
use crate::settings::Environment;

/// What was restored into is what the sets are of from now on: no run takes it for a stranger.
pub fn know(
    environment: &Environment,
    sources: impl IntoIterator<Item = (String, Identity)>,
) -> Result<(), Refusal> {
    let dir = environment.backup_dir()?;
    let kept = Accepted::update(&dir, |accepted| {
        for (label, identity) in sources {
            accepted.know(&label, identity);
        }
    });
    // A copy that cannot be written to has no runs, and was told of.
    if let Err(error) = kept
        && Catalog::open(&dir).is_ok()
    {
        render::error::note(&format!(
            "the next run will take what was restored for another source: {error}"
        ));
    }
    Ok(())
}

/// No run may take a half-restored database for a whole one. A backup directory that cannot be written to (a copy on another machine)
/// has no runs.
pub fn lock(environment: &Environment) -> Result<Option<Lock>, Refusal> {
    let dir = environment.backup_dir()?;
    if Catalog::open(&dir).is_err() {
        render::error::note(&format!(
            "{} cannot be written to: no lock is taken, and nothing is kept in its history",
            dir.display()
        ));
        return Ok(None);
    }
    Ok(Some(Lock::acquire(&dir, clock::now(), "a restore")?))
}
