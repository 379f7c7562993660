//! Puts right what a killed restore left on the server.

use std::collections::BTreeSet;
use std::time::Instant;

use super::admin::{Admin, RENAME_WITHIN, RETRY_EVERY};
use super::error::RestoreError;
use super::names::{ORIGIN, application, cut, fresh_name, is_fresh_name, like};
use crate::server::{ServerError, literal};

impl Admin {
    /// Puts back what restores that did not end left of the database `name`, and says what was done. Everything is found by looking at
    /// names and marks on the server.
    pub async fn undo(&self, name: &str) -> Result<Vec<String>, RestoreError> {
        let mut done = Vec::new();
        // A failed statement may have left a transaction open here.
        let _ = self.server.execute("ROLLBACK").await;
        self.end_orphans(name).await?;
        let beginning = cut(name, &format!("_restoring_{ORIGIN}"));
        let of_name = format!(
            "d.datname = {} OR pg_catalog.starts_with(d.datname, {})",
            literal(name),
            literal(&format!("{beginning}_restoring_"))
        );
        for (found, present) in self.databases(&of_name).await? {
            let Some(origin) = present
                .mark
                .clone()
                .or_else(|| (present.of_superuser && is_fresh_name(&found)).then(String::new))
            else {
                continue;
            };
            if found == name {
                if let Some(aside) = &present.aside {
                    let fresh = fresh_name(name, &origin);
                    self.exchange(name, Some(&fresh), aside).await?;
                    self.enable_again(name, present.subscriptions.as_deref())
                        .await?;
                    self.drop(&fresh).await?;
                    done.push(format!("{name} is the database again that it was before the restore from {origin} was cut off"));
                } else {
                    self.drop(name).await?;
                    done.push(format!("{name} was not there before the restore from {origin} was cut off, and is gone"));
                }
                continue;
            }
            if present
                .for_name
                .as_deref()
                .is_none_or(|other| other == name)
            {
                // It may have been closed to be renamed. What tells of that goes last.
                if self.look(name).await?.is_some_and(|present| !present.open) {
                    self.allow_connections(name, true).await?;
                }
                self.enable_again(name, present.subscriptions.as_deref())
                    .await?;
                self.drop(&found).await?;
                done.push(format!("{name} was not touched yet by the restore that was cut off; {found}, which it had begun, is gone"));
            }
        }
        Ok(done)
    }

    /// Names for which restores other than of `name` began databases that are there. A restore elsewhere may be at work on them.
    pub async fn begun(&self, name: &str) -> Result<Vec<String>, ServerError> {
        let restoring = "pg_catalog.strpos(d.datname, '_restoring_') > 0";
        let found = self.databases(restoring).await?;
        let begun = found.into_iter().filter_map(|(fresh, present)| {
            present.mark.as_ref()?;
            is_fresh_name(&fresh).then_some(present.for_name?)
        });
        let others: BTreeSet<String> = begun.filter(|other| other != name).collect();
        Ok(others.into_iter().collect())
    }

    /// Sessions of restores of this database that were killed, or whose connection was lost, may still be at work on the server, those of
    /// this process among them: their last statement is ended first. Only the session that asks is left.
    pub async fn end_orphans(&self, name: &str) -> Result<(), ServerError> {
        let began = Instant::now();
        let query = format!(
            "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
             WHERE application_name LIKE {} AND pid <> pg_catalog.pg_backend_pid()",
            literal(&like(&application("%", name)))
        );
        while self.server.number(&query).await? > 0 && began.elapsed() < RENAME_WITHIN {
            tokio::time::sleep(RETRY_EVERY).await;
        }
        Ok(())
    }
}
