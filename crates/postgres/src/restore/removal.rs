//! Drops databases, whatever is in the way of it.

use std::time::Instant;

use super::admin::{Admin, RENAME_WITHIN, RETRY_EVERY};
use super::names::drop_statement;
use super::subscriptions::detach;
use crate::server::{ServerError, ident, literal};

impl Admin {
    /// Drops the databases whose names begin so: the caller's own, by a beginning that nobody else has.
    pub async fn sweep(&self, prefix: &str) -> Result<(), ServerError> {
        let condition = format!("pg_catalog.starts_with(d.datname, {})", literal(prefix));
        for name in self.databases(&condition).await?.into_keys() {
            self.drop(&name).await?;
        }
        Ok(())
    }

    /// Drops a database with whatever sessions there are. Subscriptions in it would forbid that, disabled ones too: they are taken
    /// out first, without touching the publisher's slot.
    pub async fn drop(&self, name: &str) -> Result<(), ServerError> {
        let began = Instant::now();
        loop {
            let dropped = async {
                self.detach_subscriptions(name).await?;
                self.unmark_template(name).await?;
                self.server.execute(&drop_statement(name)).await
            };
            match dropped.await {
                Err(ServerError::Unavailable { .. }) if began.elapsed() < RENAME_WITHIN => {
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                done => return done,
            }
        }
    }

    /// What a person types into psql to drop a database: that of [`Self::drop`].
    pub async fn drop_by_hand(&self, name: &str) -> Result<String, ServerError> {
        let mut lines = Vec::new();
        let subscriptions = self.subscriptions(name).await?;
        if !subscriptions.is_empty() {
            lines.push(format!("\\connect {}", ident(name)));
            for subscription in &subscriptions {
                lines.extend(detach(subscription).map(|statement| format!("{statement};")));
            }
            lines.push(format!("\\connect {}", ident(&self.server.dsn().database)));
        }
        lines.extend(
            self.template_unmarked(name)
                .await?
                .map(|statement| format!("{statement};")),
        );
        lines.push(format!("{};", drop_statement(name)));
        Ok(lines.join("\n"))
    }

    /// A template cannot be dropped.
    async fn unmark_template(&self, name: &str) -> Result<(), ServerError> {
        match self.template_unmarked(name).await? {
            Some(unmark) => self.server.execute(&unmark).await,
            None => Ok(()),
        }
    }

    /// The statement that makes a template an ordinary database.
    async fn template_unmarked(&self, name: &str) -> Result<Option<String>, ServerError> {
        let is_template = format!(
            "SELECT datname FROM pg_catalog.pg_database WHERE datistemplate AND datname = {}",
            literal(name)
        );
        let found = self.server.names(&is_template).await?;
        let unmark = format!("ALTER DATABASE {} IS_TEMPLATE false", ident(name));
        Ok((!found.is_empty()).then_some(unmark))
    }
}
