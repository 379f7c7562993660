//! Room for the next set: how much it needs, what must remain, and what retention would free.

use catalog::catalog::Catalog;
use catalog::history::History;

use crate::clock;
use crate::config::Config;
use crate::event::Observer;
use crate::finding::{Blocks, Fault};
use crate::keep::prune::{Pruned, decide, prune};
use crate::source::{Look, Preflight, sources};
use crate::space;

/// Bytes that the next set will need, by the last one, or by samples.
pub(super) async fn needed(config: &Config, found: &Preflight) -> u64 {
    let mut sizes = Vec::new();
    for source in sources(config, &found.others) {
        sizes.extend(source.estimate(config, found).await);
    }
    space::estimate(&sizes, found.last.as_deref())
}

/// Whether there is as much.
pub(super) fn check(config: &Config, look: Look, found: &mut Preflight) {
    let subject = "free space";
    let Some(needed) = found.needed else {
        return;
    };
    let dir = &config.backup_dir;
    let room = match space::room(dir) {
        Ok(room) => room,
        Err(error) => return found.fail(subject, &Blocks::Run, error.to_string(), None),
    };
    let remains = config.min_free.of(room.total);
    let words = format!(
        "about {} needed{}",
        space::human(needed),
        if remains > 0 {
            format!(
                ", and {} to remain (BACKUP_MIN_FREE)",
                space::human(remains)
            )
        } else {
            String::new()
        }
    );
    let free = space::human(room.free);
    let short = needed.saturating_add(remains).saturating_sub(room.free);
    if short == 0 {
        return found.pass(subject, format!("{free} free, {words}"));
    }
    let fault = Fault::NoRoom(dir.clone());
    let text = format!("{} has {free} free, {words}", dir.display());
    match look {
        Look::Run { ignore_space: true } => {
            found.warn(subject, format!("{text}: gone on with all the same"), fault);
        }
        Look::Whole if let_go(config).is_some_and(|bytes| bytes >= short) => {
            let text = format!("{text}: the next run first removes what retention lets go");
            found.warn(subject, text, fault);
        }
        Look::Whole | Look::Run { .. } => {
            let text = format!(
                "{text}: free some space, enlarge the volume, or keep fewer sets; --ignore-space of `backupd run` and `backupd trigger` goes \
                 on all the same"
            );
            found.fail(subject, &Blocks::Run, text, fault);
        }
    }
}

/// Bytes of the sets that retention lets go now; none where nobody can say.
fn let_go(config: &Config) -> Option<u64> {
    let catalog = Catalog::open_read_only(&config.backup_dir).ok()?;
    let entries = catalog.list().ok()?;
    let decided = decide(&entries, &config.retention, clock::now());
    let bytes = decided.decisions.iter().filter(|decision| !decision.keep);
    let bytes = bytes.filter_map(|decision| entries.iter().find(|entry| entry.id == decision.id));
    Some(bytes.map(|entry| entry.bytes).sum())
}

/// Removes what retention lets go, where that makes the room that is wanting. The caller holds the lock.
pub(crate) fn make_room(
    config: &Config,
    look: Look,
    found: &mut Preflight,
    catalog: &Catalog,
    history: &History,
    observer: &dyn Observer,
) -> std::io::Result<Option<Pruned>> {
    let (Some(needed), Ok(room)) = (found.needed, space::room(&config.backup_dir)) else {
        return Ok(None);
    };
    let wanted = needed.saturating_add(config.min_free.of(room.total));
    let short = wanted.saturating_sub(room.free);
    if let_go(config).is_none_or(|bytes| bytes < short) {
        return Ok(None);
    }
    let pruned = prune(catalog, history, &config.retention, clock::now(), observer)?;
    found
        .checks
        .retain(|check| !matches!(check.fault, Some(Fault::NoRoom(_))));
    check(config, look, found);
    Ok(Some(pruned))
}
