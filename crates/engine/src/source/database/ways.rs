//! Ways to a database's server for whoever restores.

use postgres::dsn::Dsn;
use postgres::remark::About;
use postgres::restore::RestoreError;
use postgres::restore::admin::Admin;

use crate::config::DatabaseSource;
use crate::finding::{Fault, NoAnswer, Place};

/// Ways to a database's server, the likeliest first: the first that is a superuser's is taken. `urls` are superusers by label
/// (`BACKUP_RESTORE_URLS`).
pub fn ways_in(
    source: &DatabaseSource,
    urls: &[(String, Dsn)],
    databases: &[DatabaseSource],
) -> Vec<Dsn> {
    let own = urls.iter().filter(|(label, _)| *label == source.label);
    let mut ways: Vec<Dsn> = own.map(|(_, dsn)| dsn.clone()).collect();
    ways.push(source.dsn.clone());
    // Supabase's superuser is one for Keycloak's database too, where both are of one server.
    let neighbours = databases.iter().map(|other| &other.dsn);
    ways.extend(
        neighbours
            .filter(|dsn| dsn.is_same_server(&source.dsn))
            .cloned(),
    );
    ways
}

/// Which fault keeps a database from being restored.
pub(crate) fn fault_of(label: &str, dsn: &Dsn, error: &RestoreError) -> Fault {
    let place = Place::of(label, dsn);
    match error {
        RestoreError::Server(error) => Fault::Server(place, NoAnswer::from(error)),
        RestoreError::NotAllowed { able, .. } => Fault::MayNotRestore {
            place,
            able: able.clone(),
        },
        RestoreError::Busy { .. } => Fault::Clients,
        RestoreError::Closed { .. } => Fault::Closed(place),
        RestoreError::Prepared { literals, .. } => {
            let names = literals.clone();
            Fault::Database(place, About::Prepared { names })
        }
        RestoreError::Standby { .. } => Fault::Database(place, About::Standby),
        _ => Fault::Server(place, NoAnswer::Other),
    }
}

/// The first way in that is a superuser's; else why the first is not.
pub(crate) async fn connect(dsns: &[Dsn], name: &str) -> Result<Admin, RestoreError> {
    let mut first = None;
    for dsn in dsns {
        match Admin::connect(dsn, name).await {
            Ok(admin) => return Ok(admin),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(RestoreError::Interrupted))
}
