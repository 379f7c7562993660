//! What a restore of a database would end at, all of it at once; and what is worth knowing ahead.

use std::collections::BTreeSet;

use catalog::artifact::{Kind, Source};
use postgres::census::available_extensions;
use postgres::dsn::Dsn;
use postgres::restore::RestoreError;
use postgres::restore::admin::Admin;
use postgres::restore::place::{in_the_way, refusals};
use postgres::server::ServerError;
use postgres::words::listed;
use stream::blocking::in_place;

use super::job::PG_CRON;
use super::prepared::unknown;
use super::request::DatabaseRequest;
use crate::finding::{Check, Fault, Place};
use crate::hint;
use crate::source::database::ways::{connect, fault_of};

/// Names in one sentence.
const NAMED: usize = 20;

/// Asks the set's settings and the server. Reads no file of the set, and changes nothing.
pub async fn obstacles(request: &DatabaseRequest<'_>) -> Vec<Check> {
    let label = request.label;
    let manifest = request.entry.manifest.as_ref().ok();
    let artifact = manifest.and_then(|manifest| {
        let mut artifacts = manifest.artifacts.iter();
        artifacts.find(|one| one.kind() == Kind::Database && one.label == label)
    });
    let Some(artifact) = artifact else {
        let text = format!("is not in set {}", request.entry.id);
        return vec![Check::obstacle(label, text, Fault::NotInSet)];
    };
    let mut dsn = request.own.to_database(request.name);
    let obstacle = |dsn: &Dsn, error: &RestoreError| {
        Check::obstacle(label, hint::restore(error), fault_of(label, dsn, error))
    };
    let admin = match connect(&request.dsns, request.name).await {
        Ok(admin) => admin,
        Err(error) => return vec![obstacle(&dsn, &error)],
    };
    // Whoever repairs it does so as the role that can.
    dsn.user.clone_from(&admin.server.dsn().user);
    let asked = async {
        let mut refused = refusals(&admin, request.name, request.beside).await?;
        // What a restore that was cut off left is put right first.
        if is_half_restored(&admin, request.name).await? {
            refused.retain(|refusal| {
                !matches!(
                    refusal,
                    RestoreError::Closed { .. } | RestoreError::Exists { .. }
                )
            });
        }
        let refused = refused.iter().map(|error| obstacle(&dsn, error));
        let mut found: Vec<Check> = refused.collect();
        found.extend(extensions(request, &admin, &dsn).await?);
        let then = artifact.source().and_then(Source::major);
        if let Some(then) = then.filter(|then| *then > admin.major) {
            let text = format!(
                "the dump is of PostgreSQL {then} and this server is {}: a load may end at what only the newer one knows",
                admin.major
            );
            found.push(Check::warning(label, text, Fault::OlderServer(then)));
        }
        if !request.beside
            && !request.force
            && let Err(busy) = in_the_way(&admin, request.name).await
        {
            found.push(Check::warning(
                label,
                hint::restore(&busy),
                fault_of(label, &dsn, &busy),
            ));
        }
        Ok::<_, RestoreError>(found)
    };
    match asked.await {
        Ok(found) => found,
        Err(error) => vec![obstacle(&dsn, &error)],
    }
}

async fn is_half_restored(admin: &Admin, name: &str) -> Result<bool, ServerError> {
    let present = admin.look(name).await?;
    let begun = admin.begun("").await?;
    Ok(present.is_some_and(|present| present.mark.is_some())
        || begun.iter().any(|other| other == name))
}

/// Extensions of the source that the server does not offer; `--keep-going` goes past them.
async fn extensions(
    request: &DatabaseRequest<'_>,
    admin: &Admin,
    dsn: &Dsn,
) -> Result<Option<Check>, RestoreError> {
    let matters = request.table.is_none() && !request.keep_going;
    let manifest = request.entry.manifest().filter(|_| matters);
    let Some(manifest) = manifest else {
        return Ok(None);
    };
    let held = match in_place(|| manifest.censuses(&request.entry.path)) {
        Ok(held) => held,
        Err(error) => {
            let fault = Fault::Damaged(request.entry.id);
            return Ok(Some(Check::warning(request.label, unknown(&error), fault)));
        }
    };
    let Some(census) = held.get(request.label) else {
        return Ok(None);
    };
    let offered: BTreeSet<String> = available_extensions(&admin.server)
        .await?
        .into_iter()
        .collect();
    let is_left_out = |name: &&String| request.beside && *name == PG_CRON.extension;
    let absent: Vec<String> = census
        .extensions()
        .difference(&offered)
        .filter(|name| !is_left_out(name))
        .cloned()
        .collect();
    if absent.is_empty() {
        return Ok(None);
    }
    let text = format!(
        "the server does not have what the source has: {} {}; install it there, or restore with --keep-going",
        if absent.len() == 1 {
            "extension"
        } else {
            "extensions"
        },
        listed(&absent, NAMED)
    );
    let place = Place::of(request.label, dsn);
    let fault = Fault::NoExtension {
        place,
        major: admin.major,
        names: absent,
    };
    Ok(Some(Check::obstacle(request.label, text, fault)))
}
