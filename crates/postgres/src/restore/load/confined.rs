//! Functions of ordinary roles, confined to what their owners may do until all is compared. A load is a superuser's, and statements of
//! a dump run functions as whoever loads it: `CREATE TABLE` calls those of generated columns and partition keys to plan their expressions,
//! and a CHECK that is added behind the rows (of a whole row, or of a domain) is tried on every row. So each such function is SECURITY
//! DEFINER from the moment it has its owner; in one of these nobody can change the role. The server calls
//! them even to plan a question about a table whose indexes do: so they stay so until the caller has asked its own.

use super::Loader;
use super::session;
use crate::restore::error::RestoreError;

/// How pg_dump gives routines their owners begins so.
const ROUTINES: [&str; 2] = ["ALTER FUNCTION ", "ALTER PROCEDURE "];
/// Those of roles that are no superusers, which still run as whoever calls them. Aggregates have functions of their own.
const UNCONFINED: &str = "
SELECT p.oid::pg_catalog.regprocedure FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
WHERE p.oid >= 16384 AND p.prokind <> 'a' AND NOT p.prosecdef AND NOT r.rolsuper";

impl Loader<'_> {
    /// Runs a statement of no class. A routine that has its owner by it is confined before anything can call it.
    pub(super) async fn plain(&mut self, statement: &str) -> Result<(), RestoreError> {
        self.alone(statement).await?;
        if !ROUTINES.iter().any(|begin| statement.starts_with(begin)) {
            return Ok(());
        }
        for routine in self.main.names(UNCONFINED).await? {
            session::run(
                &self.main,
                &format!("ALTER ROUTINE {routine} SECURITY DEFINER"),
            )
            .await?;
            let release = format!("ALTER ROUTINE {routine} SECURITY INVOKER");
            self.loaded.held.releases.push(release);
        }
        Ok(())
    }
}
