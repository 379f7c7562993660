//! What is told of a database that is back, and what becomes of the one before.

use postgres::restore::admin::Admin;
use postgres::restore::compare::tables_of_others;
use postgres::restore::drop_statement;
use postgres::restore::subscriptions::enabled_by_hand;
use postgres::server::{Server, ServerError};

use super::job::Progress;
use super::request::{DatabaseRequest, RestoredDatabase};
use crate::config::DatabaseRole;
use crate::stack::keycloak;

/// What is told of a database that is back: its workers, Keycloak's version, subscriptions, and the one before.
pub(super) async fn settle(
    request: &DatabaseRequest<'_>,
    admin: &Admin,
    done: &Progress,
    restored: &mut RestoredDatabase,
) {
    restored.notes.extend(gone(
        &admin.missing_workers(request.name, &done.workers).await,
    ));
    restored
        .notes
        .extend(about_subscriptions(request, admin).await);
    if request.role == DatabaseRole::Keycloak && request.table.is_none() {
        match about_keycloak(request, admin).await {
            Ok(notes) => restored.notes.extend(notes),
            Err(error) => restored
                .notes
                .push(format!("Keycloak's schema could not be looked at: {error}")),
        }
    }
    if let Some(aside) = done.aside.clone() {
        keep_or_drop(request, admin, aside, restored).await;
    }
    if let Some(aside) = &restored.aside {
        let by_hand = admin.drop_by_hand(aside).await;
        restored.drop = Some(by_hand.unwrap_or_else(|_| drop_statement(aside)));
    }
}

/// Subscriptions are disabled: whose turn it is to take rows from their slots.
async fn about_subscriptions(request: &DatabaseRequest<'_>, admin: &Admin) -> Option<String> {
    let subscriptions = admin.subscriptions(request.name).await.unwrap_or_default();
    if subscriptions.is_empty() {
        return None;
    }
    let named = subscriptions.join(", ");
    if request.beside {
        return Some(format!(
            "subscriptions came back disabled: {named}; leave them so as long as those of another database take from the same slots"
        ));
    }
    let lines: Vec<String> = subscriptions
        .iter()
        .map(|name| enabled_by_hand(name))
        .collect();
    Some(format!(
        "subscriptions came back disabled: {named}; those of the database before, if any, are disabled too, because both name one slot. When \
         the restored one is to follow its publisher again: {} Rows that the publisher sent to the database before since the set are not \
         sent again: where that matters, TRUNCATE the subscribed tables first, and say copy_data = true, which copies them whole",
        lines.join(" ")
    ))
}

/// Keycloak's version, and tables that belong to another role than it connects by: as they did in the source.
async fn about_keycloak(
    request: &DatabaseRequest<'_>,
    admin: &Admin,
) -> Result<Vec<String>, ServerError> {
    let server = Server::connect(&admin.server.dsn().to_database(request.name)).await?;
    let schema = request.dsns.first().and_then(|dsn| dsn.schema.as_deref());
    let mut notes = vec![match keycloak::schema_version(&server, schema).await? {
        Some(version) => {
            format!("Keycloak's schema is of version {version}: start that version")
        }
        None => "no Keycloak schema version was found (table migration_model)".to_owned(),
    }];
    let others = tables_of_others(&server, &request.own.user).await?;
    if !others.is_empty() {
        notes.push(format!(
            "tables do not belong to {} (KC_DB_USERNAME), as in the source: {}",
            &request.own.user,
            others.join(", ")
        ));
    }
    Ok(notes)
}

/// The restore is done: what becomes of the database before. What fails here is told, and fails nothing.
async fn keep_or_drop(
    request: &DatabaseRequest<'_>,
    admin: &Admin,
    aside: String,
    restored: &mut RestoredDatabase,
) {
    let slots = admin.slots(&aside).await.unwrap_or_default();
    if !request.drop_old || !restored.faults.is_empty() {
        if !slots.is_empty() {
            restored.notes.push(format!(
                "replication slots stay with the database before: {}; services that use them by name need them dropped (SELECT \
                 pg_drop_replication_slot('…')), and so does its end",
                slots.join(", ")
            ));
        }
        restored.aside = Some(aside);
        return;
    }
    let dropped = match admin.drop_slots(&slots).await {
        Ok(()) => admin.drop(&aside).await,
        Err(error) => Err(error),
    };
    match dropped {
        Ok(()) => restored
            .notes
            .push(format!("{aside}, the database before, was dropped")),
        Err(error) => {
            restored.notes.push(format!(
                "{aside}, the database before, could not be dropped: {error}"
            ));
            restored.aside = Some(aside);
        }
    }
}

/// What to do about workers that did not come back.
pub(super) fn gone(workers: &[String]) -> Option<String> {
    (!workers.is_empty()).then(|| {
        format!(
            "{} did not come back by itself: restart the database server, or what it does (pg_cron's jobs) will not be done",
            workers.join(", ")
        )
    })
}
