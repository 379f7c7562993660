//! Questions whose answers tell a person whether this is their stack.

use std::collections::BTreeMap;

use catalog::drill::DatabaseDrill;
use postgres::extension;
use postgres::server::{Server, ServerError};

use super::one::Drill;

/// What somebody would ask of a stack that came back: the question, and the table that answers it by its rows.
const QUESTIONS: [(&str, &str); 5] = [
    ("users of Supabase", "auth.users"),
    ("buckets", "storage.buckets"),
    ("objects", "storage.objects"),
    ("realms of Keycloak", "realm"),
    ("users of Keycloak", "user_entity"),
];
/// Supabase's extension for secrets.
const VAULT: &str = "supabase_vault";
const SECRETS: &str = "vault.secrets";
const DECRYPTED_SECRETS: &str = "vault.decrypted_secrets";

impl Drill<'_> {
    /// Questions whose answers tell a person whether this is their stack.
    pub(super) async fn answer(
        &self,
        server: &Server,
        rows: &BTreeMap<String, u64>,
        found: &mut DatabaseDrill,
    ) -> Result<(), ServerError> {
        for (question, table) in QUESTIONS {
            if let Some(rows) = rows.get(&self.in_schema(table)) {
                found.answers.insert(question.to_owned(), rows.to_string());
            }
        }
        let secrets = rows.get(SECRETS).copied().unwrap_or_default();
        if self.request.url.is_none() && secrets > 0 {
            self.open_vault(server, secrets, found).await?;
        }
        Ok(())
    }

    /// One of Supabase's secrets is decrypted, by the extension's own view of its own table alone: any other of that name is a user's
    /// code.
    async fn open_vault(
        &self,
        server: &Server,
        secrets: u64,
        found: &mut DatabaseDrill,
    ) -> Result<(), ServerError> {
        for relation in [SECRETS, DECRYPTED_SECRETS] {
            if !extension::owns(server, VAULT, relation).await? {
                return Ok(());
            }
        }
        let decrypted = server
            .number(
                &format!("SELECT pg_catalog.count(*) FROM (SELECT decrypted_secret FROM {DECRYPTED_SECRETS} LIMIT 1) AS one
                 WHERE decrypted_secret IS NOT NULL"),
            )
            .await;
        match decrypted {
            Ok(1) => {
                found.answers.insert(
                    "Vault".to_owned(),
                    format!("one of {secrets} secrets was decrypted"),
                );
            }
            Ok(_) => found.not_proven.push(format!(
                "Vault: {secrets} secrets came back, the first is empty"
            )),
            Err(error) => found.not_proven.push(format!(
                "Vault: {secrets} secrets came back, and none could be decrypted here: {error}"
            )),
        }
        Ok(())
    }

    /// Keycloak's tables lie in one schema, which the dump names.
    fn in_schema(&self, table: &str) -> String {
        if table.contains('.') {
            return table.to_owned();
        }
        let tables = self.artifact.tables().unwrap_or_default();
        let suffix = format!(".{table}");
        let found = tables.iter().find(|rows| rows.table.ends_with(&suffix));
        found.map_or_else(|| format!("public.{table}"), |rows| rows.table.clone())
    }
}
