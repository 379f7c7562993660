//! Runs what calls users' code as the role whose code it is, and not as the superuser who loads.
//!
//! `SET ROLE` is no fence, as what it runs can say `RESET ROLE`. PostgreSQL has one for its own maintenance, the *security-restricted
//! operation*: no change of role, no trigger and no cursor that runs later as somebody else, no temporary object. A materialized view is
//! refreshed in it as its owner, so a statement goes in as the query of a view that the role owns, by a function that executes it.
//!
//! What runs there may change what is its role's: a trigger, an index or a statistics object that it makes on another table, or on the
//! view, would be run by the superuser who brings rows or plans a query. So an event trigger of ours lets ordinary roles define nothing
//! as long as the schema is there, but for the one statement that is theirs to run. A dump gives privileges in their grantor's name, and
//! those make nothing that anybody runs.

use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::LoadFault;
use crate::server::{Server, ServerError, ident, literal};

/// Views of ours so far: connections do not meet.
static VIEWS: AtomicU64 = AtomicU64::new(0);

/// A schema of ours in a database that is loaded, with what is needed there.
#[derive(Debug, Clone)]
pub(super) struct Container {
    schema: String,
}

impl Container {
    /// Makes the schema. Its name is nobody's, and is not known before.
    pub async fn open(server: &Server) -> Result<Self, ServerError> {
        let names = server
            .names("SELECT 'backupd_' || pg_catalog.gen_random_uuid()")
            .await?;
        let schema = ident(&names.concat());
        server
            .execute(&format!(
                "CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO PUBLIC;
                 CREATE FUNCTION {schema}.act(statement pg_catalog.text) RETURNS pg_catalog.int8 LANGUAGE plpgsql AS $$
                   DECLARE done pg_catalog.int8; BEGIN EXECUTE statement; GET DIAGNOSTICS done = ROW_COUNT; RETURN done; END $$;
                 CREATE TABLE {schema}.permits ();
                 CREATE FUNCTION {schema}.take_permit() RETURNS pg_catalog.void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
                   BEGIN DELETE FROM {schema}.permits;
                     IF NOT FOUND THEN RAISE insufficient_privilege USING MESSAGE = 'nothing is defined by users'' code while a dump is loaded'; END IF;
                   END $$;
                 CREATE FUNCTION {schema}.guard() RETURNS pg_catalog.event_trigger LANGUAGE plpgsql SET search_path = '' AS $$
                   BEGIN IF TG_TAG NOT IN ('GRANT', 'REVOKE') AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER) THEN
                     PERFORM {schema}.take_permit(); END IF; END $$;
                 GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO PUBLIC;
                 CREATE EVENT TRIGGER {schema} ON ddl_command_start EXECUTE FUNCTION {schema}.guard();
                 ALTER EVENT TRIGGER {schema} ENABLE ALWAYS"
            ))
            .await?;
        Ok(Self { schema })
    }

    /// The schema, as SQL names it.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Takes the schema away.
    pub async fn close(self, server: &Server) -> Result<(), ServerError> {
        server
            .execute(&format!("DROP SCHEMA {} CASCADE", self.schema))
            .await
    }

    /// Runs a statement that defines something as a role.
    pub async fn define(
        &self,
        server: &Server,
        role: &str,
        statement: &str,
    ) -> Result<(), LoadFault> {
        let permits = format!("{}.permits", self.schema);
        let ours = async |sql: String| {
            let done = server.client().batch_execute(&sql).await;
            done.map_err(|error| LoadFault::of(&sql, &error))
        };
        ours(format!("INSERT INTO {permits} DEFAULT VALUES")).await?;
        let done = self.act(server, role, statement).await;
        ours(format!("DELETE FROM {permits}")).await?;
        done.map(|_| ())
    }

    /// Runs a statement as a role; gives the rows that it wrote.
    pub async fn act(
        &self,
        server: &Server,
        role: &str,
        statement: &str,
    ) -> Result<u64, LoadFault> {
        let schema = &self.schema;
        let view = format!("{schema}.v{}", VIEWS.fetch_add(1, Ordering::Relaxed));
        let batch = format!(
            "CREATE MATERIALIZED VIEW {view} AS SELECT {schema}.act({}) AS n WITH NO DATA;
             ALTER MATERIALIZED VIEW {view} OWNER TO {}; REFRESH MATERIALIZED VIEW {view}; SELECT n FROM {view};
             DROP MATERIALIZED VIEW {view}",
            literal(statement),
            ident(role)
        );
        let answers = server.client().simple_query(&batch).await;
        let answers = answers.map_err(|error| LoadFault::of(statement, &error))?;
        let number = answers.iter().find_map(|answer| match answer {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        Ok(number.unwrap_or_default())
    }
}
