//! Sources: Supabase, Keycloak, storage, and what the operator adds to them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use catalog::artifact::Kind;
use catalog::manifest::Manifest;
use engine::config::{
    DatabaseRole, DatabaseSource, OtherDatabases, RESERVED_LABELS, TreeRole, TreeSource,
};
use postgres::dsn::Dsn;

use super::parse::jdbc_or_dsn;
use super::reader::Reader;
use super::setting::Setting;
use super::table::{
    BACKUP_DATABASES, BACKUP_EXTRA_DATABASES, BACKUP_EXTRA_PATHS, BACKUP_SOURCES, DATABASE_URL,
    KC_DB_PASSWORD, KC_DB_SCHEMA, KC_DB_URL, KC_DB_URL_DATABASE, KC_DB_URL_HOST, KC_DB_URL_PORT,
    KC_DB_URL_PROPERTIES, KC_DB_USERNAME, SESSION_DATABASE_URL, SUPABASE_STORAGE_PATH,
};
use super::wanted::{KEYCLOAK, STORAGE, SUPABASE};

/// Databases and trees in the order of a run.
pub fn read(reader: &mut Reader<'_>) -> (Vec<DatabaseSource>, Vec<TreeSource>) {
    let wanted = reader.read(&BACKUP_SOURCES).unwrap_or_default();
    let mut databases = Vec::new();
    let mut trees = Vec::new();
    if wanted.contains(SUPABASE)
        && let Some(dsn) = supabase(reader)
    {
        databases.push(database(SUPABASE, DatabaseRole::Supabase, dsn));
    }
    if wanted.contains(KEYCLOAK)
        && let Some(dsn) = keycloak(reader)
    {
        databases.push(database(KEYCLOAK, DatabaseRole::Keycloak, dsn));
    }
    let mut labels = BTreeSet::new();
    for (label, dsn) in labelled(&BACKUP_EXTRA_DATABASES, &mut labels, reader) {
        databases.push(database(&label, DatabaseRole::Extra, dsn));
    }
    let tree = |label: String, role, root: PathBuf| TreeSource { label, role, root };
    if wanted.contains(STORAGE)
        && let Some(root) = reader.read(&SUPABASE_STORAGE_PATH)
    {
        trees.push(tree(STORAGE.to_owned(), TreeRole::Storage, root));
    }
    for (label, root) in labelled(&BACKUP_EXTRA_PATHS, &mut labels, reader) {
        trees.push(tree(label, TreeRole::Extra, root));
    }
    (databases, trees)
}

/// What becomes of the other databases of Supabase's server. `databases` are those with settings of their own.
pub fn other_databases(databases: &[DatabaseSource], reader: &mut Reader<'_>) -> OtherDatabases {
    let others = reader
        .read(&BACKUP_DATABASES)
        .unwrap_or(OtherDatabases::Told);
    let of_server = matches!(others, OtherDatabases::All | OtherDatabases::Named(_));
    let has_server = databases
        .iter()
        .any(|source| source.role == DatabaseRole::Supabase);
    // A DATABASE_URL that is wrong has words of its own.
    if of_server && !has_server && reader.problems.is_empty() {
        reader.problems.say(format!(
            "{} is of Supabase's server, and `supabase` is not in BACKUP_SOURCES: name databases in BACKUP_EXTRA_DATABASES",
            BACKUP_DATABASES.name
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
        .filter(|artifact| artifact.kind() == Kind::Database)
        .filter_map(|artifact| Some((&artifact.label, artifact.source()?)));
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

fn database(label: &str, role: DatabaseRole, dsn: Dsn) -> DatabaseSource {
    DatabaseSource {
        label: label.to_owned(),
        role,
        dsn,
    }
}

fn supabase(reader: &mut Reader<'_>) -> Option<Dsn> {
    if reader.is_set(&SESSION_DATABASE_URL) {
        reader.read(&SESSION_DATABASE_URL)
    } else {
        reader.read(&DATABASE_URL)
    }
}

fn keycloak(reader: &mut Reader<'_>) -> Option<Dsn> {
    let by_parts = !reader.is_set(&KC_DB_URL) && reader.is_set(&KC_DB_URL_HOST);
    let parsed = if by_parts {
        keycloak_by_parts(reader)
    } else {
        reader.read(&KC_DB_URL)
    };
    let has_user = parsed.as_ref().is_some_and(|dsn| !dsn.user.is_empty());
    let has_password = parsed
        .as_ref()
        .is_some_and(|dsn| dsn.password().is_some() || dsn.host.starts_with('/'));
    let mut unless = |known: bool, setting: &Setting<String>| {
        let is_asked = !known || reader.is_set(setting);
        is_asked.then(|| reader.read(setting)).flatten()
    };
    let user = unless(has_user, &KC_DB_USERNAME);
    let password = unless(has_password, &KC_DB_PASSWORD);
    let mut dsn = parsed?.with_credentials(user, password);
    if let Some(schema) = reader.read(&KC_DB_SCHEMA) {
        dsn.schema = Some(schema);
    }
    Some(dsn)
}

/// Keycloak's other way to say where its database is.
fn keycloak_by_parts(reader: &mut Reader<'_>) -> Option<Dsn> {
    let host = reader.read(&KC_DB_URL_HOST)?;
    let (port, database) = (
        reader.read(&KC_DB_URL_PORT)?,
        reader.read(&KC_DB_URL_DATABASE)?,
    );
    let properties = reader.read(&KC_DB_URL_PROPERTIES).unwrap_or_default();
    let mark = if properties.is_empty() || properties.starts_with('?') {
        ""
    } else {
        "?"
    };
    let url = format!("jdbc:postgresql://{host}:{port}/{database}{mark}{properties}");
    jdbc_or_dsn(&url)
        .map_err(|fault| {
            reader.problems.say(format!(
                "KC_DB_URL_HOST, KC_DB_URL_PORT, KC_DB_URL_DATABASE and KC_DB_URL_PROPERTIES together: {fault}"
            ));
        })
        .ok()
}

/// Labels and their values, with labels that nobody else has.
fn labelled<T>(
    setting: &Setting<Vec<(String, T)>>,
    labels: &mut BTreeSet<String>,
    reader: &mut Reader<'_>,
) -> Vec<(String, T)> {
    let pairs = reader.read(setting).unwrap_or_default();
    for (label, _) in &pairs {
        if RESERVED_LABELS.contains(&label.as_str()) || !labels.insert(label.clone()) {
            reader.problems.say(format!(
                "{}: the label `{label}` is taken: choose another",
                setting.name
            ));
        }
    }
    pairs
}
