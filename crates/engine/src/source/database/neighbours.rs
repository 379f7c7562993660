//! Databases of the stack's servers that have no setting of their own: taken into the set (`BACKUP_DATABASES`), or named as left out.

use std::collections::BTreeSet;

use catalog::artifact::Kind;
use postgres::databases::{Databases, Unusual, is_empty};
use postgres::dsn::Dsn;
use postgres::server::{Server, ServerError};
use postgres::words::listed;
use stream::digest::sha256_hex;

use super::facts::DatabaseFacts;
use crate::config::{
    Config, DatabaseRole, DatabaseSource, LABEL_MAX, OtherDatabases, RESERVED_LABELS, is_label,
};
use crate::finding::{Blocks, Check, Fault, Outcome};
use crate::source::preflight::Preflight;

/// Of a drill's server.
pub(crate) const DRILLS_WHERE_IT_IS_AT_WORK: &str = "BACKUP_DRILL_URL is a server that is backed up itself: drills load whole databases onto it, run their users' code there, and prove \
     nothing of another machine; name a server of its own";
/// Databases that are named in one sentence.
const NAMED: usize = 20;
/// Every server has it, and most leave it empty: then it is nobody's data.
const MAINTENANCE: &str = "postgres";
/// Hexadecimal digits that tell labels apart which are made of names that no label can be.
const DIGITS: usize = 8;

/// The sources that `BACKUP_DATABASES` adds, each with a label made of its name.
pub(super) fn sources(config: &Config, found: &Preflight) -> Vec<DatabaseSource> {
    let Some((supabase, told)) = supabase(config, found) else {
        return Vec::new();
    };
    let (names, role) = match &config.others {
        OtherDatabases::Told | OtherDatabases::LeftOut => return Vec::new(),
        OtherDatabases::All => (&told.neighbours.names, DatabaseRole::Found),
        OtherDatabases::Named(names) => (names, DatabaseRole::Extra),
    };
    let covered = covered(config, found);
    let mut taken: BTreeSet<String> = RESERVED_LABELS.map(str::to_owned).into();
    taken.extend(config.databases.iter().map(|source| source.label.clone()));
    taken.extend(config.trees.iter().map(|tree| tree.label.clone()));
    let mut sources: Vec<DatabaseSource> = Vec::new();
    for name in names {
        let is_covered = covered.contains(&(told.neighbours.server.clone(), name.clone()));
        if is_covered || sources.iter().any(|source| source.dsn.database == *name) {
            continue;
        }
        let label = label(name, &taken);
        taken.insert(label.clone());
        sources.push(DatabaseSource {
            label,
            role,
            dsn: supabase.dsn.to_database(name),
        });
    }
    sources
}

/// Warns of databases that are in no set, by server.
pub(super) async fn check_left_out(config: &Config, found: &mut Preflight) {
    if config.others == OtherDatabases::LeftOut {
        return;
    }
    let covered = covered(config, found);
    let mut seen = BTreeSet::new();
    for source in &config.databases {
        let Some(told) = found.databases.get(&source.label) else {
            continue;
        };
        let server = told.neighbours.server.clone();
        if !seen.insert(server.clone()) {
            continue;
        }
        let unusual = told.neighbours.unusual.iter();
        let unusual: Vec<String> = unusual
            .filter(|(name, _)| !covered.contains(&(server.clone(), name.clone())))
            .map(|(name, what)| match what {
                Unusual::Template => {
                    format!("{name} (a template: name it in BACKUP_EXTRA_DATABASES)")
                }
                Unusual::Closed => {
                    format!(
                        "{name} (takes no connections: ALTER DATABASE … ALLOW_CONNECTIONS true)"
                    )
                }
            })
            .collect();
        let mut names = told.neighbours.names.clone();
        names.retain(|name| !covered.contains(&(server.clone(), name.clone())));
        if names.iter().any(|name| name == MAINTENANCE) && is_bare(source).await {
            names.retain(|name| name != MAINTENANCE);
        }
        if !unusual.is_empty() {
            let text = format!(
                "in no set, not by BACKUP_DATABASES=all either: {}; BACKUP_DATABASES=none says that this is meant",
                listed(&unusual, NAMED)
            );
            let fault = Fault::InNoSet { of_supabase: false };
            found.warn(&source.label, text, fault);
        }
        if names.is_empty() {
            continue;
        }
        let of_supabase = supabase(config, found)
            .is_some_and(|(_, supabase)| supabase.neighbours.server == server);
        let fix = if of_supabase {
            "BACKUP_DATABASES=all takes every one, BACKUP_DATABASES=NAME,NAME those it names, none says that this is meant"
        } else {
            "name what is wanted in BACKUP_EXTRA_DATABASES"
        };
        let what = if names.len() == 1 {
            "a database of this server is"
        } else {
            "databases of this server are"
        };
        let text = format!("{what} in no set: {}; {fix}", listed(&names, NAMED));
        found.warn(&source.label, text, Fault::InNoSet { of_supabase });
    }
}

/// Warns of a server for drills that is backed up itself. One that does not answer is a drill's affair.
pub(super) async fn check_drill_server(url: &Dsn, found: &mut Preflight) {
    let Ok(server) = Server::connect(url).await else {
        return;
    };
    let Ok(told) = Databases::of(&server).await else {
        return;
    };
    let mut sources = found.databases.iter();
    let same = sources.find(|(_, facts)| facts.neighbours.server == told.server);
    if let Some((label, _)) = same {
        let text = format!("{DRILLS_WHERE_IT_IS_AT_WORK} (that of {label})");
        let check = Check::new("drills", Outcome::Warning, Blocks::Run, text, None);
        found.checks.push(check);
    }
}

/// With `all`, says which databases the newest good set holds and the server no longer has.
pub(super) fn check_gone(config: &Config, found: &mut Preflight) {
    let (OtherDatabases::All, Some((supabase, told))) = (&config.others, supabase(config, found))
    else {
        return;
    };
    let Some(last) = found.last.clone() else {
        return;
    };
    let mut gone = Vec::new();
    for artifact in &last.artifacts {
        let Some(origin) = artifact
            .source()
            .filter(|_| artifact.kind() == Kind::Database)
        else {
            continue;
        };
        let of_server =
            (origin.host.as_str(), origin.port) == (&supabase.dsn.host, supabase.dsn.port);
        if of_server && !told.neighbours.names.contains(&origin.database) {
            gone.push(origin.database.clone());
        }
    }
    if gone.is_empty() {
        return;
    }
    let label = supabase.label.clone();
    let text = format!(
        "set {} holds what this server no longer has: {}",
        last.set,
        listed(&gone, NAMED)
    );
    found.warn(&label, text, Fault::Gone);
}

/// Whether a database that was found is there no more. Any other fault is no answer.
pub(crate) async fn has_vanished(source: &DatabaseSource) -> bool {
    source.role == DatabaseRole::Found
        && matches!(
            Server::connect(&source.dsn).await,
            Err(ServerError::UnknownDatabase { .. })
        )
}

fn supabase<'a>(
    config: &'a Config,
    found: &'a Preflight,
) -> Option<(&'a DatabaseSource, &'a DatabaseFacts)> {
    let source = config
        .databases
        .iter()
        .find(|source| source.role == DatabaseRole::Supabase)?;
    Some((source, found.databases.get(&source.label)?))
}

/// Server and name of each database that the set will hold; a server has one name here, whatever its addresses.
fn covered(config: &Config, found: &Preflight) -> BTreeSet<(String, String)> {
    let sources = config.databases.iter().chain(&found.others);
    sources
        .filter_map(|source| {
            let told = found.databases.get(&source.label)?;
            Some((told.neighbours.server.clone(), source.dsn.database.clone()))
        })
        .collect()
}

/// Whether the maintenance database is as empty as it was made; not, where this role may not look.
async fn is_bare(source: &DatabaseSource) -> bool {
    match Server::connect(&source.dsn.to_database(MAINTENANCE)).await {
        Ok(server) => is_empty(&server).await.unwrap_or(false),
        Err(_) => false,
    }
}

/// The name itself where it can be a label that nobody else has; otherwise what of it can be, and a hash of it, so that the same
/// database has the same label in every set.
fn label(name: &str, taken: &BTreeSet<String>) -> String {
    if is_label(name) && !taken.contains(name) {
        return name.to_owned();
    }
    let readable: String = name
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' => c,
            _ => '_',
        })
        .take(LABEL_MAX - DIGITS - 1)
        .collect();
    let mut hash = sha256_hex(name);
    loop {
        let label = format!("{readable}-{}", &hash[..DIGITS]);
        if !taken.contains(&label) {
            return label;
        }
        hash = sha256_hex(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_database_has_a_label_of_its_own_that_is_one() {
        let mut taken: BTreeSet<String> = RESERVED_LABELS.map(str::to_owned).into();
        let long = "x".repeat(63);
        let names = [
            "_supabase",
            "storage",
            "Storage",
            "a/../b",
            "größe",
            "",
            "keycloak",
            &long,
            "storage-1dcd0dd2",
            "x y",
            "x_y",
        ];
        for name in names {
            let label = label(name, &taken);
            assert!(is_label(&label), "{name}: {label}");
            assert!(taken.insert(label.clone()), "{name}: {label} is taken");
        }
        assert!(taken.contains("_supabase") && taken.contains("x_y"));
        // Somebody who makes a database of such a name gains nothing by it.
        let first = label("storage", &taken);
        taken.insert(first.clone());
        assert_ne!(label("storage", &taken), first);
    }
}
