//! Users' code in a load. A check, a generated column, a domain, a cast or an index calls functions of ordinary roles while rows are
//! written or tables are made, and would run them as the superuser who loads. So each function of a role that is no superuser is made
//! SECURITY DEFINER as soon as it has its owner, and gets back what it was before anybody else sees the database: meanwhile it runs as
//! that role, and PostgreSQL lets nobody change the role within it (`SET ROLE` and `SET SESSION AUTHORIZATION` are refused there).
//!
//! A dump's grants come at its end. Until then everybody may look names up in the schemas that it makes, so that such a function finds
//! what it calls; nobody else can connect to the database yet.

use super::{LoadFault, Loader, session};
use crate::restore::error::RestoreError;
use crate::server::ident;
use crate::sql::words::{Words, take_name};

/// Functions and procedures of ordinary roles that run as their caller.
const UNCONFINED: &str = "
SELECT p.oid::pg_catalog.regprocedure FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
WHERE p.oid >= 16384 AND p.prokind IN ('f', 'p') AND NOT p.prosecdef AND NOT r.rolsuper";

impl Loader<'_> {
    /// What follows a statement that went well.
    pub(super) async fn confine(&mut self, statement: &str) -> Result<(), RestoreError> {
        let gives_owner = ["ALTER FUNCTION ", "ALTER PROCEDURE "];
        if gives_owner.iter().any(|begin| statement.starts_with(begin)) {
            for routine in self.main.names(UNCONFINED).await? {
                self.confined(&format!("ALTER ROUTINE {routine} SECURITY DEFINER"))
                    .await?;
                let back = format!("ALTER ROUTINE {routine} SECURITY INVOKER");
                self.loaded.held.unconfine.push(back);
            }
        } else if let Some(schema) = made_schema(statement) {
            let schema = ident(&schema);
            self.confined(&format!("GRANT USAGE ON SCHEMA {schema} TO PUBLIC"))
                .await?;
            self.open_schemas.push(schema);
        }
        Ok(())
    }

    /// The dump's own grants begin.
    pub(super) async fn close_schemas(&mut self) -> Result<(), RestoreError> {
        for schema in std::mem::take(&mut self.open_schemas) {
            self.confined(&format!("REVOKE USAGE ON SCHEMA {schema} FROM PUBLIC"))
                .await?;
        }
        Ok(())
    }

    async fn confined(&self, statement: &str) -> Result<(), RestoreError> {
        session::run(&self.main, statement)
            .await
            .map_err(|fault: LoadFault| fault.into())
    }
}

/// The schema that a statement makes.
fn made_schema(statement: &str) -> Option<String> {
    let rest = statement.strip_prefix("CREATE SCHEMA ")?;
    take_name(&mut Words::of(rest).peekable()).map(|name| name.name)
}
