//! Which names of the environment are ours.

use super::table::SETTINGS;

/// Variables of our Compose files, which are Compose's to read: from the shell, or from `.env`.
const OF_COMPOSE: &[&str] = &[
    "BACKUP_BUILD_CONTEXT",
    "BACKUP_CONTAINER",
    "BACKUP_DB_CONFIG_VOLUME",
    "BACKUP_ENV_FILE",
    "BACKUP_HOST_DIR",
    "BACKUP_IMAGE",
    "BACKUP_KEYCLOAK_NETWORK",
    "BACKUP_MEMORY",
    "BACKUP_NETWORK",
    "BACKUP_PG_MAJOR",
    "BACKUP_PORT",
    "BACKUP_SECRETS_DIR",
    "BACKUP_STACK_DIR",
    "BACKUP_STORAGE_DIR",
    "BACKUP_SUITE",
    "BACKUP_USER",
];

/// The prefix that is ours alone. The other names belong to Supabase and Keycloak, which have more settings than we read.
const PREFIX: &str = "BACKUP_";

/// More edits than this between two names, and they are different words.
const NEAR_EDITS: usize = 6;

/// Whether a variable is one of ours, known or not.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || is_known(name)
}

/// The complaint about a `BACKUP_*` name that is no setting.
pub fn unknown(name: &str) -> Option<String> {
    if !name.starts_with(PREFIX) || is_known(name) {
        return None;
    }
    if OF_COMPOSE.contains(&name) {
        return Some(format!(
            "{name} is for Compose, not for backupd: move it from backup.env to .env"
        ));
    }
    let nearest = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .filter(|known| known.starts_with(PREFIX))
        .min_by_key(|known| strsim::damerau_levenshtein(known, name))
        .filter(|known| strsim::damerau_levenshtein(known, name) <= NEAR_EDITS);
    Some(match nearest {
        Some(known) => format!("{name} is no setting of backupd: did you mean {known}?"),
        None => format!("{name} is no setting of backupd: remove it"),
    })
}

fn is_known(name: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        let by_file = || name.strip_suffix("_FILE") == Some(setting.name);
        name == setting.name || (setting.secret && by_file())
    })
}
