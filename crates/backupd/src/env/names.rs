//! Every setting by name, and the nearest one to a name that is none.

/// A setting of backupd.
pub struct Setting {
    /// Its name in the environment.
    pub name: &'static str,
    /// Whether it may hold a secret; then `NAME_FILE` is read too.
    pub secret: bool,
}

const fn plain(name: &'static str) -> Setting {
    Setting {
        name,
        secret: false,
    }
}

const fn secret(name: &'static str) -> Setting {
    Setting { name, secret: true }
}

/// All settings, in the order of docs/configuration.md.
pub const SETTINGS: &[Setting] = &[
    secret("DATABASE_URL"),
    secret("SESSION_DATABASE_URL"),
    secret("KC_DB_URL"),
    plain("KC_DB_URL_HOST"),
    plain("KC_DB_URL_PORT"),
    plain("KC_DB_URL_DATABASE"),
    plain("KC_DB_URL_PROPERTIES"),
    plain("KC_DB_SCHEMA"),
    secret("KC_DB_USERNAME"),
    secret("KC_DB_PASSWORD"),
    plain("SUPABASE_STORAGE_PATH"),
    plain("BACKUP_DIR"),
    plain("BACKUP_SOURCES"),
    plain("BACKUP_DATABASES"),
    secret("BACKUP_EXTRA_DATABASES"),
    plain("BACKUP_EXTRA_PATHS"),
    plain("BACKUP_STORAGE_PREFIX"),
    plain("BACKUP_RECONCILE"),
    plain("BACKUP_DUMP_FORMAT"),
    plain("BACKUP_COMPRESSION"),
    plain("BACKUP_COMPRESSION_LEVEL"),
    plain("BACKUP_THREADS"),
    plain("BACKUP_RETENTION_DAYS"),
    plain("BACKUP_KEEP_LAST"),
    plain("BACKUP_KEEP_DAILY"),
    plain("BACKUP_KEEP_WEEKLY"),
    plain("BACKUP_KEEP_MONTHLY"),
    plain("BACKUP_RETENTION_MIN"),
    plain("BACKUP_MIN_FREE"),
    plain("BACKUP_ANOMALY_DROP_PERCENT"),
    plain("BACKUP_ANOMALY_IGNORE"),
    plain("BACKUP_STEP_TIMEOUT"),
    plain("BACKUP_LOCK_TIMEOUT"),
    plain("BACKUP_PG_BINDIR"),
    plain("BACKUP_SCHEDULE"),
    plain("BACKUP_TIMEZONE"),
    plain("BACKUP_JITTER"),
    plain("BACKUP_CATCH_UP"),
    plain("BACKUP_RETRIES"),
    plain("BACKUP_MAX_AGE_HOURS"),
    plain("BACKUP_HTTP_ADDR"),
    plain("BACKUP_HTTP_HOSTS"),
    plain("BACKUP_CONTROL_SOCKET"),
    secret("BACKUP_RESTORE_URLS"),
    plain("BACKUP_DRILL"),
    plain("BACKUP_DRILL_SCHEDULE"),
    secret("BACKUP_DRILL_URL"),
    plain("BACKUP_DRILL_FENCE"),
    plain("BACKUP_MAX_DRILL_AGE_DAYS"),
    plain("BACKUP_LOG"),
    plain("BACKUP_LOG_FORMAT"),
];

/// The prefix that is ours alone. The other names belong to Supabase and Keycloak, which have more settings than we read.
const PREFIX: &str = "BACKUP_";

/// More edits than this between two names, and they are different words.
const NEAR_EDITS: usize = 6;

/// Whether a variable is one of ours, known or not.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || SETTINGS.iter().any(|setting| matches(setting, name))
}

/// The complaint about a `BACKUP_*` name that is no setting.
pub fn unknown(name: &str) -> Option<String> {
    if !name.starts_with(PREFIX) || SETTINGS.iter().any(|setting| matches(setting, name)) {
        return None;
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

fn matches(setting: &Setting, name: &str) -> bool {
    name == setting.name
        || (setting.secret
            && name
                .strip_suffix("_FILE")
                .is_some_and(|stem| stem == setting.name))
}
