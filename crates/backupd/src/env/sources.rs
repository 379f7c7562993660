//! Sources: Supabase, Keycloak, storage, and what the operator adds to them.

use std::collections::{BTreeMap, BTreeSet};

use catalog::manifest::{Kind, Manifest};
use engine::config::{
    DatabaseRole, DatabaseSource, LABEL_MAX, OtherDatabases, RESERVED_LABELS, ReconcileMode,
    TreeRole, TreeSource, is_label,
};
use postgres::dsn::Dsn;
use postgres::scratch::Fencing;

use super::{Problems, parse, raw};

const SUPABASE: &str = "supabase";
const KEYCLOAK: &str = "keycloak";
const STORAGE: &str = "storage";
const SOURCES: [&str; 3] = [SUPABASE, KEYCLOAK, STORAGE];

/// Databases and trees in the order of a run.
pub fn read(
    vars: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> (Vec<DatabaseSource>, Vec<TreeSource>) {
    let raw: raw::Sources = raw::read(vars);
    let wanted = wanted(raw.backup_sources.as_deref(), problems);
    let mut databases = Vec::new();
    let mut trees = Vec::new();
    if wanted.contains(SUPABASE)
        && let Some(dsn) = supabase(&raw, problems)
    {
        databases.push(database(SUPABASE, DatabaseRole::Supabase, dsn));
    }
    if wanted.contains(KEYCLOAK)
        && let Some(dsn) = keycloak(&raw, problems)
    {
        databases.push(database(KEYCLOAK, DatabaseRole::Keycloak, dsn));
    }
    let mut labels = BTreeSet::new();
    for (label, text) in pairs(
        "BACKUP_EXTRA_DATABASES",
        raw.backup_extra_databases.as_deref(),
        &mut labels,
        problems,
    ) {
        match Dsn::parse(&text) {
            Ok(dsn) => databases.push(database(&label, DatabaseRole::Extra, dsn)),
            Err(error) => problems.say(format!("BACKUP_EXTRA_DATABASES, {label}: {error}")),
        }
    }
    if wanted.contains(STORAGE) {
        match raw.supabase_storage_path.as_deref() {
            None => problems.say(
                "SUPABASE_STORAGE_PATH is missing: set it to the mounted storage directory \
                 (`./volumes/storage` of the Supabase stack), or take `storage` out of BACKUP_SOURCES",
            ),
            Some(text) => trees.extend(
                parse::absolute("SUPABASE_STORAGE_PATH", text, problems).map(|root| TreeSource {
                    label: STORAGE.to_owned(),
                    role: TreeRole::Storage,
                    root,
                }),
            ),
        }
    }
    for (label, text) in pairs(
        "BACKUP_EXTRA_PATHS",
        raw.backup_extra_paths.as_deref(),
        &mut labels,
        problems,
    ) {
        trees.extend(
            parse::absolute("BACKUP_EXTRA_PATHS", &text, problems).map(|root| TreeSource {
                label,
                role: TreeRole::Extra,
                root,
            }),
        );
    }
    (databases, trees)
}

/// What becomes of the other databases of Supabase's server: `BACKUP_DATABASES`. `databases` are those with settings of their own.
pub fn other_databases(
    vars: &BTreeMap<String, String>,
    databases: &[DatabaseSource],
    problems: &mut Problems,
) -> OtherDatabases {
    const NAME: &str = "BACKUP_DATABASES";
    let raw: raw::Sources = raw::read(vars);
    let Some(text) = raw.backup_databases else {
        return OtherDatabases::Told;
    };
    let names: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let others = match names.as_slice() {
        [] => {
            problems.say(format!(
                "{NAME}={text} names no database: use all, none, or names separated by commas"
            ));
            OtherDatabases::Told
        }
        [one] if one == "none" => OtherDatabases::LeftOut,
        [one] if one == "all" => OtherDatabases::All,
        _ => {
            if let Some(word) = names
                .iter()
                .find(|name| ["all", "none"].contains(&name.as_str()))
            {
                problems.say(format!(
                    "{NAME}={text} mixes `{word}` with names: say {word} alone, or names alone (a database called {word} goes into \
                     BACKUP_EXTRA_DATABASES)"
                ));
            }
            OtherDatabases::Named(names)
        }
    };
    let of_server = matches!(others, OtherDatabases::All | OtherDatabases::Named(_));
    let has_server = databases
        .iter()
        .any(|source| source.role == DatabaseRole::Supabase);
    // A DATABASE_URL that is wrong has words of its own.
    if of_server && !has_server && problems.0.is_empty() {
        problems.say(format!(
            "{NAME} is of Supabase's server, and `supabase` is not in BACKUP_SOURCES: name databases in BACKUP_EXTRA_DATABASES"
        ));
    }
    others
}

/// Databases that `BACKUP_DATABASES` brought into a set: by the set's own words of the server that its Supabase database came from, and
/// on today's server of that. A label of another server whose setting is gone is none of them: it must not come over a database here.
pub fn others_of(set: Option<&Manifest>, databases: &[DatabaseSource]) -> Vec<DatabaseSource> {
    let today = databases
        .iter()
        .find(|source| source.role == DatabaseRole::Supabase);
    let (Some(set), Some(today)) = (set, today) else {
        return Vec::new();
    };
    let origins = set
        .artifacts
        .iter()
        .filter(|artifact| artifact.kind == Kind::Database)
        .filter_map(|artifact| Some((&artifact.label, artifact.source.as_ref()?)));
    let Some((_, then)) = origins.clone().find(|(label, _)| *label == SUPABASE) else {
        return Vec::new();
    };
    origins
        .filter(|(_, origin)| (&origin.host, origin.port) == (&then.host, then.port))
        .map(|(label, origin)| {
            database(
                label,
                DatabaseRole::Found,
                today.dsn.to_database(&origin.database),
            )
        })
        .filter(|found| {
            let is_here = |source: &DatabaseSource| {
                source.label == found.label
                    || source.dsn.is_same_server(&found.dsn)
                        && source.dsn.database == found.dsn.database
            };
            !RESERVED_LABELS.contains(&found.label.as_str()) && !databases.iter().any(is_here)
        })
        .collect()
}

/// What follows when files and objects do not agree, and where the buckets lie.
pub fn reconcile(
    vars: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> (ReconcileMode, Option<String>) {
    let raw: raw::Sources = raw::read(vars);
    let mode = parse::choice(
        "BACKUP_RECONCILE",
        raw.backup_reconcile.as_deref(),
        &[
            ("warn", ReconcileMode::Warn),
            ("strict", ReconcileMode::Strict),
            ("off", ReconcileMode::Off),
        ],
        problems,
    );
    let prefix = raw.backup_storage_prefix;
    if let Some(prefix) = prefix.as_deref()
        && prefix.split('/').any(|part| part == "..")
    {
        problems.say(format!(
            "BACKUP_STORAGE_PREFIX={prefix} leads out of the storage tree: name directories below it, as in stub/stub, or / for none"
        ));
    }
    (mode.unwrap_or(ReconcileMode::Warn), prefix)
}

/// A server for drills: `BACKUP_DRILL_URL`.
pub fn drill_url(vars: &BTreeMap<String, String>, problems: &mut Problems) -> Option<Dsn> {
    match Dsn::parse(vars.get("BACKUP_DRILL_URL")?) {
        Ok(dsn) => Some(dsn),
        Err(error) => {
            problems.say(format!("BACKUP_DRILL_URL: {error}"));
            None
        }
    }
}

/// Whether a drill's own server must be fenced: `BACKUP_DRILL_FENCE`.
pub fn drill_fence(vars: &BTreeMap<String, String>, problems: &mut Problems) -> Fencing {
    let value = vars.get("BACKUP_DRILL_FENCE").map(String::as_str);
    let choices = [("on", Fencing::Required), ("off", Fencing::Off)];
    parse::choice("BACKUP_DRILL_FENCE", value, &choices, problems).unwrap_or_default()
}

/// Superusers to restore as, by label: `BACKUP_RESTORE_URLS`.
pub fn restore_urls(
    vars: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Vec<(String, Dsn)> {
    const NAME: &str = "BACKUP_RESTORE_URLS";
    let text = vars.get(NAME).map(String::as_str);
    let mut urls = Vec::new();
    for (label, text) in label_pairs(NAME, text, problems) {
        match Dsn::parse(&text) {
            Ok(dsn) => urls.push((label, dsn)),
            Err(error) => problems.say(format!("{NAME}, {label}: {error}")),
        }
    }
    urls
}

fn database(label: &str, role: DatabaseRole, dsn: Dsn) -> DatabaseSource {
    DatabaseSource {
        label: label.to_owned(),
        role,
        dsn,
    }
}

fn wanted(text: Option<&str>, problems: &mut Problems) -> BTreeSet<&'static str> {
    let Some(text) = text else {
        return SOURCES.into();
    };
    let mut wanted = BTreeSet::new();
    for word in text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        match SOURCES.iter().find(|known| **known == word) {
            Some(known) => {
                wanted.insert(*known);
            }
            None => problems.say(format!(
                "BACKUP_SOURCES names `{word}`, which is no source: use any of {}, separated by commas",
                SOURCES.join(", ")
            )),
        }
    }
    if wanted.is_empty() && problems.0.is_empty() {
        problems.say(format!(
            "BACKUP_SOURCES={text} names no source: use any of {}",
            SOURCES.join(", ")
        ));
    }
    wanted
}

fn supabase(raw: &raw::Sources, problems: &mut Problems) -> Option<Dsn> {
    let (name, text) = match (&raw.session_database_url, &raw.database_url) {
        (Some(text), _) => ("SESSION_DATABASE_URL", text),
        (None, Some(text)) => ("DATABASE_URL", text),
        (None, None) => {
            problems.say(
                "DATABASE_URL is missing: set it to postgres://supabase_admin:PASSWORD@db:5432/postgres, \
                 or take `supabase` out of BACKUP_SOURCES",
            );
            return None;
        }
    };
    Dsn::parse(text)
        .map_err(|error| problems.say(format!("{name}: {error}")))
        .ok()
}

fn keycloak(raw: &raw::Sources, problems: &mut Problems) -> Option<Dsn> {
    let parsed = if let Some((name, text)) = keycloak_url(raw) {
        Dsn::parse_jdbc(&text)
            .map_err(|error| problems.say(format!("{name}: {error}")))
            .ok()
    } else {
        problems.say(
            "KC_DB_URL is missing: set it to jdbc:postgresql://HOST:5432/keycloak (or set KC_DB_URL_HOST), \
             or take `keycloak` out of BACKUP_SOURCES",
        );
        None
    };
    let url_has_user = parsed.as_ref().is_some_and(|dsn| !dsn.user.is_empty());
    let url_has_password = parsed.as_ref().is_some_and(|dsn| dsn.password().is_some());
    if raw.kc_db_username.is_none() && !url_has_user {
        problems.say("KC_DB_USERNAME is missing: set it to the role that owns Keycloak's tables");
    }
    let by_socket = parsed.as_ref().is_some_and(|dsn| dsn.host.starts_with('/'));
    if raw.kc_db_password.is_none() && !url_has_password && !by_socket {
        problems.say("KC_DB_PASSWORD is missing: set it, or KC_DB_PASSWORD_FILE");
    }
    let mut dsn = parsed?.with_credentials(raw.kc_db_username.clone(), raw.kc_db_password.clone());
    if let Some(schema) = &raw.kc_db_schema {
        dsn.schema = Some(schema.clone());
    }
    Some(dsn)
}

/// Keycloak's own two ways to say where its database is: a URL, or its parts.
fn keycloak_url(raw: &raw::Sources) -> Option<(&'static str, String)> {
    if let Some(text) = &raw.kc_db_url {
        return Some(("KC_DB_URL", text.clone()));
    }
    let host = raw.kc_db_url_host.as_deref()?;
    let port = raw.kc_db_url_port.as_deref().unwrap_or("5432");
    let database = raw.kc_db_url_database.as_deref().unwrap_or("keycloak");
    let properties = raw.kc_db_url_properties.as_deref().unwrap_or("");
    let mark = if properties.is_empty() || properties.starts_with('?') {
        ""
    } else {
        "?"
    };
    Some((
        "KC_DB_URL_HOST, KC_DB_URL_PORT, KC_DB_URL_DATABASE and KC_DB_URL_PROPERTIES together",
        format!("jdbc:postgresql://{host}:{port}/{database}{mark}{properties}"),
    ))
}

/// As [`label_pairs`], with labels that nobody else has.
fn pairs(
    name: &str,
    text: Option<&str>,
    labels: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> Vec<(String, String)> {
    let pairs = label_pairs(name, text, problems);
    for (label, _) in &pairs {
        if RESERVED_LABELS.contains(&label.as_str()) || !labels.insert(label.clone()) {
            problems.say(format!(
                "{name}: the label `{label}` is taken: choose another"
            ));
        }
    }
    pairs
}

/// `label=value,label=value`. Only a comma before a label parts two pairs, so that a value may hold commas itself.
fn label_pairs(name: &str, text: Option<&str>, problems: &mut Problems) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in text.unwrap_or_default().split(',') {
        match part.split_once('=') {
            Some((label, value)) if is_label(label.trim()) => {
                pairs.push((label.trim().to_owned(), value.trim().to_owned()));
            }
            _ if part.trim().is_empty() => {}
            _ => match pairs.last_mut() {
                Some((_, value)) => {
                    value.push(',');
                    value.push_str(part);
                }
                None => problems.say(format!(
                    "{name} is not a list of label=value: a label is lower-case letters, digits, - and _, at most {LABEL_MAX}"
                )),
            },
        }
    }
    pairs
}
