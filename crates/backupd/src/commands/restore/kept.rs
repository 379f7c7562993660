//! What a restore keeps in the history. One in place is kept before names change, for whoever is killed behind that says no more; its end
//! settles it, or what the next restore or `--undo` finds.

use std::sync::atomic::{AtomicBool, Ordering};

use catalog::accepted::Accepted;
use catalog::catalog::Catalog;
use catalog::history::{Happening, History};
use catalog::set::SetId;
use engine::clock;
use engine::event::{Event, Observer};

use crate::commands::exit::Refusal;
use crate::render;
use crate::settings::Environment;

/// A restore in place, which passes events on.
pub struct InPlace<'a> {
    environment: &'a Environment,
    listener: &'a dyn Observer,
    set: SetId,
    source: &'a str,
    into: String,
    told: AtomicBool,
}

impl<'a> InPlace<'a> {
    pub fn new(
        environment: &'a Environment,
        listener: &'a dyn Observer,
        set: SetId,
        source: &'a str,
        into: String,
    ) -> Self {
        Self {
            environment,
            listener,
            set,
            source,
            into,
            told: AtomicBool::new(false),
        }
    }

    /// Keeps its end.
    pub fn end(&self, duration_ms: u64, error: Option<String>) -> Result<(), Refusal> {
        let is_well = error.is_none();
        let kept = append(
            self.environment,
            &Happening::Restored {
                set: self.set,
                source: self.source.to_owned(),
                into: self.into.clone(),
                in_place: true,
                duration_ms,
                error,
            },
        )?;
        if let Err(error) = kept {
            let forgotten = if is_well && !self.told.load(Ordering::Relaxed) {
                "; sets with an anomaly that this restore ended would be good ones when they are accepted: remove them by hand"
            } else {
                ""
            };
            render::error::note(&format!(
                "the history could not be written: {error}{forgotten}"
            ));
        }
        Ok(())
    }
}

impl Observer for InPlace<'_> {
    fn on(&self, event: &Event) {
        match event {
            Event::Exchanging => {
                let restoring = Happening::Restoring {
                    set: self.set,
                    source: self.source.to_owned(),
                    into: self.into.clone(),
                };
                // The end has words for it where that cannot be kept either.
                let is_told = matches!(append(self.environment, &restoring), Ok(Ok(())));
                self.told.store(is_told, Ordering::Relaxed);
            }
            Event::PutBack => settle(self.environment, self.source, &self.into, Some(false)),
            _ => {}
        }
        self.listener.on(event);
    }
}

/// Keeps what was found of an earlier restore in place: `Some` where it had left something, and whether what it restored is in use.
pub fn settle(environment: &Environment, source: &str, into: &str, left: Option<bool>) {
    // Without a history nothing is to be settled in it.
    let Ok(dir) = environment.backup_dir() else {
        return;
    };
    let Ok(history) = History::open(&dir) else {
        return;
    };
    let settled = history
        .settle(clock::now(), source, into, left)
        .and_then(|lost| {
            if lost.is_empty() {
                return Ok(());
            }
            let (catalog, restored) = (Catalog::open_read_only(&dir)?, history.restored()?);
            let anomalies = |set| {
                let manifest = catalog.manifest(set);
                manifest.map_or(Vec::new(), |manifest| manifest.anomalies)
            };
            Accepted::update(&dir, |accepted| {
                accepted.unmend(&lost, &restored, anomalies);
            })
        });
    if let Err(error) = settled {
        render::error::note(&format!(
            "the history does not say how an earlier restore of {source} ended: {error}"
        ));
    }
}

/// Keeps a restore that is none in place in the history, where there is one.
pub fn remember(environment: &Environment, happening: &Happening) -> Result<(), Refusal> {
    if let Err(error) = append(environment, happening)? {
        render::error::note(&format!("the history could not be written: {error}"));
    }
    Ok(())
}

fn append(
    environment: &Environment,
    happening: &Happening,
) -> Result<std::io::Result<()>, Refusal> {
    let dir = environment.backup_dir()?;
    Ok(match History::open(&dir) {
        Ok(history) => history.append(clock::now(), happening),
        // A copy that cannot be written to has none.
        Err(_) => Ok(()),
    })
}
