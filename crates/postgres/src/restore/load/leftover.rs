//! What an extension's script makes and lets go (`ALTER EXTENSION … DROP FUNCTION`, as `supabase_vault` does): it is no member any more, so
//! a dump holds it, and in the new database the script has made it already. So is what an extension's own event trigger makes for a table of
//! the dump (`pgsodium`, for a security label). What the dump holds takes its place.

use super::loader::Loader;
use super::session;
use crate::restore::error::RestoreError;
use crate::restore::fault::LoadFault;
use crate::server::literal;
use crate::sql::QualifiedName;

/// What can be replaced: how a dump makes it, the SQLSTATE of one that is there, and whether one of this name is an extension's.
const REPLACED: [(&str, &str, &str); 3] = [
    ("CREATE FUNCTION ", "42723", OF_FUNCTIONS),
    ("CREATE PROCEDURE ", "42723", OF_FUNCTIONS),
    ("CREATE VIEW ", "42P07", OF_VIEWS),
];
const OF_FUNCTIONS: &str = "pg_catalog.pg_proc o JOIN pg_catalog.pg_namespace n ON n.oid = o.pronamespace
    WHERE n.nspname = $schema AND o.proname = $name AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass";
const OF_VIEWS: &str = "pg_catalog.pg_class o JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
    WHERE n.nspname = $schema AND o.relname = $name AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass";

impl Loader<'_> {
    /// Runs a statement that failed once more, as a replacement, where it makes what an extension let go. Says whether it went well.
    pub(super) async fn replaces(
        &self,
        fault: &LoadFault,
        statement: &str,
    ) -> Result<bool, RestoreError> {
        let code = fault.code.as_deref();
        if statement.starts_with("CREATE TRIGGER ") && code == Some("42710") {
            return Ok(self.replace(statement).await);
        }
        let Some((made, question)) = REPLACED.iter().find_map(|(begin, duplicate, question)| {
            let made = statement.strip_prefix(begin)?;
            (code == Some(*duplicate)).then_some((made, question))
        }) else {
            return Ok(false);
        };
        let Some(name) = QualifiedName::read(made) else {
            return Ok(false);
        };
        let of_extensions = question
            .replace("$schema", &literal(&name.schema))
            .replace("$name", &literal(&name.name));
        let members = format!(
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend d, {of_extensions} AND d.objid = o.oid AND d.deptype = 'e'"
        );
        if self.main.number(&members).await? > 0 {
            return Ok(false);
        }
        Ok(self.replace(statement).await)
    }

    async fn replace(&self, statement: &str) -> bool {
        let replacement = statement.replacen("CREATE ", "CREATE OR REPLACE ", 1);
        session::run(&self.main, &replacement).await.is_ok()
    }
}
