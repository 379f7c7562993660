//! Subscriptions of databases that change places. Two databases with the same subscription take rows from one slot of the publisher, and
//! what one was given the other never gets: that of the database which is moved aside is disabled before, and enabled again where that
//! database is put back.

use super::admin::Admin;
use super::error::RestoreError;
use super::marks::MARK_SUBSCRIPTIONS;
use crate::server::{Server, ServerError, ident, literal};

/// Event triggers are not to take what is done here for somebody's work.
const UNSEEN: &str = "SET session_replication_role = replica";

impl Admin {
    /// Subscriptions of a database.
    pub async fn subscriptions(&self, name: &str) -> Result<Vec<String>, ServerError> {
        let query = format!(
            "SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
             WHERE d.datname = {} ORDER BY s.subname",
            literal(name)
        );
        self.server.names(&query).await
    }

    /// Disables what takes rows into the database `name`. The database `fresh`, which is to take its place, is marked with them first.
    pub(super) async fn disable_subscriptions(
        &self,
        name: &str,
        fresh: &str,
    ) -> Result<(), RestoreError> {
        let enabled = format!(
            "SELECT s.oid FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
             WHERE d.datname = {} AND s.subenabled ORDER BY s.oid",
            literal(name)
        );
        let oids = self.server.names(&enabled).await?.join(",");
        if oids.is_empty() {
            return Ok(());
        }
        let mark = format!(
            "ALTER DATABASE {} SET {MARK_SUBSCRIPTIONS} TO {}",
            ident(fresh),
            literal(&oids)
        );
        self.server.execute(&mark).await?;
        self.alter_marked(name, &oids, "DISABLE").await
    }

    /// Enables the marked ones in a database that was put back.
    pub(super) async fn enable_again(
        &self,
        name: &str,
        marked: Option<&str>,
    ) -> Result<(), RestoreError> {
        match marked {
            Some(oids) => self.alter_marked(name, oids, "ENABLE").await,
            None => Ok(()),
        }
    }

    async fn alter_marked(&self, name: &str, oids: &str, how: &str) -> Result<(), RestoreError> {
        let inside = Server::connect(&self.server.dsn().to_database(name)).await?;
        inside.execute(UNSEEN).await?;
        let named = format!(
            "SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
             WHERE d.datname = pg_catalog.current_database() AND s.subslotname IS NOT NULL
               AND s.oid::pg_catalog.text = ANY (pg_catalog.string_to_array({}, ','))",
            literal(oids)
        );
        for subscription in inside.names(&named).await? {
            inside
                .execute(&format!(
                    "ALTER SUBSCRIPTION {} {how}",
                    ident(&subscription)
                ))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn detach_subscriptions(&self, name: &str) -> Result<(), ServerError> {
        let subscriptions = self.subscriptions(name).await?;
        if subscriptions.is_empty() {
            return Ok(());
        }
        self.allow_connections(name, true).await?;
        let inside = Server::connect(&self.server.dsn().to_database(name)).await?;
        for subscription in subscriptions {
            let [disable, leave_slot, drop] = detach(&subscription);
            // One that has no slot already needs no detaching; the last statement tells whatever is wrong.
            for statement in [disable, leave_slot] {
                let _ = inside.execute(&statement).await;
            }
            inside.execute(&drop).await?;
        }
        Ok(())
    }
}

/// Takes a subscription out of its database, and leaves the publisher's slot alone.
pub(super) fn detach(subscription: &str) -> [String; 3] {
    let subscription = ident(subscription);
    [
        format!("ALTER SUBSCRIPTION {subscription} DISABLE"),
        format!("ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE)"),
        format!("DROP SUBSCRIPTION {subscription}"),
    ]
}

/// What a person types to let a restored subscription take rows again. One that was dumped knows no table before it is refreshed.
pub fn enabled_by_hand(subscription: &str) -> String {
    let subscription = ident(subscription);
    format!(
        "ALTER SUBSCRIPTION {subscription} ENABLE; ALTER SUBSCRIPTION {subscription} REFRESH PUBLICATION WITH (copy_data = false);"
    )
}
