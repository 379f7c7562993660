//! Users' code while a dump makes tables. PostgreSQL evaluates some of it then, as whoever makes them, who is a superuser: it folds calls
//! with constant arguments in keys of partitions and in generated columns, and it checks the values of domains in bounds of partitions
//! and in first states of aggregates. So functions of ordinary roles have another body, which returns a constant, and their domains have no
//! checks, from the moment at which they get their owner until all tables are made.
//!
//! From then on ordinary code runs where PostgreSQL runs it as its owner (indexes, materialized views, statistics), or where
//! [`contain`](crate::restore::contain) does. A dump's grants come at its end: until then everybody may look names up in the schemas
//! that it makes, so that such code finds what it calls, and nobody but their owners may call SECURITY DEFINER functions.

use std::sync::Arc;

use super::loader::Loader;
use super::made::made_schema;
use super::{contained, session};
use crate::restore::contain::Container;
use crate::restore::error::RestoreError;
use crate::server::{ident, literal};

/// What a function that is asleep does: it returns a value that most expressions can go on with, as one that is all constant is no key of
/// partitions.
const BODY: &str = "'BEGIN RETURN ' || CASE t.typcategory WHEN 'N' THEN '1' WHEN 'S' THEN $$'1'$$ WHEN 'B' THEN 'true'
    WHEN 'D' THEN $$'2000-01-01'$$ WHEN 'T' THEN $$'1 s'$$ WHEN 'A' THEN $$'{}'$$ ELSE 'NULL' END || '; END'";
/// The kind of a domain's check that is not made: none of PostgreSQL's.
const NO_CHECK: char = '-';
/// The first server that keeps bodies in a parsed form.
const PARSED_SINCE: u32 = 14;

impl Loader<'_> {
    /// What follows a statement that went well.
    pub(super) async fn made(&mut self, statement: &str) -> Result<(), RestoreError> {
        if statement.starts_with("ALTER FUNCTION ") {
            self.functions_asleep().await
        } else if statement.starts_with("ALTER DOMAIN ") {
            self.domains_asleep().await
        } else if let Some(schema) = made_schema(statement) {
            self.open_schema(ident(&schema)).await
        } else {
            Ok(())
        }
    }

    /// All that is there.
    pub(super) async fn all_asleep(&mut self) -> Result<(), RestoreError> {
        self.functions_asleep().await?;
        self.domains_asleep().await
    }

    async fn functions_asleep(&mut self) -> Result<(), RestoreError> {
        let Some(container) = self.asleep.as_ref().map(Container::schema) else {
            return Ok(());
        };
        let (kept, cleared) = if self.parsed_bodies() {
            (", p.prosqlbody", ", prosqlbody = NULL")
        } else {
            ("", "")
        };
        let sql = format!(
            "INSERT INTO {container}.bodies
             SELECT p.oid, p.prolang, p.prosrc{kept} FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
               JOIN pg_catalog.pg_language l ON l.oid = p.prolang
             WHERE p.oid >= 16384 AND p.prokind = 'f' AND NOT r.rolsuper AND l.lanname NOT IN ('c', 'internal')
               AND p.oid NOT IN (SELECT b.oid FROM {container}.bodies b);
             UPDATE pg_catalog.pg_proc p SET prosrc = {BODY},
               prolang = (SELECT l.oid FROM pg_catalog.pg_language l WHERE l.lanname = 'plpgsql'){cleared}
             FROM {container}.bodies b, pg_catalog.pg_type t
             WHERE b.oid = p.oid AND t.oid = p.prorettype AND (p.prosrc, p.prolang) = (b.prosrc, b.prolang)"
        );
        self.ours(&sql).await
    }

    async fn domains_asleep(&mut self) -> Result<(), RestoreError> {
        if self.asleep.is_none() {
            return Ok(());
        }
        let sql = format!(
            "UPDATE pg_catalog.pg_constraint k SET contype = '{NO_CHECK}'
             FROM pg_catalog.pg_type t JOIN pg_catalog.pg_roles r ON r.oid = t.typowner
             WHERE t.oid = k.contypid AND k.contype = 'c' AND t.oid >= 16384 AND NOT r.rolsuper"
        );
        self.ours(&sql).await
    }

    /// Makes what [`Self::made`] keeps bodies in.
    pub(super) async fn begin_sleep(&mut self) -> Result<(), RestoreError> {
        let container = Container::open(&self.main).await?;
        let parsed = if self.parsed_bodies() {
            ", p.prosqlbody"
        } else {
            ""
        };
        let sql = format!(
            "CREATE TABLE {}.bodies AS SELECT p.oid, p.prolang, p.prosrc{parsed} FROM pg_catalog.pg_proc p WITH NO DATA",
            container.schema()
        );
        self.asleep = Some(container);
        self.ours(&sql).await
    }

    /// Everything is made, and rows or what rests on them follows. Keys of partitions that were folded meanwhile are read anew.
    pub(super) async fn wake(&mut self) -> Result<(), RestoreError> {
        let Some(container) = self.asleep.take() else {
            return Ok(());
        };
        self.drain().await?;
        self.give_back_bodies(&container).await?;
        let definers = format!(
            "SELECT p.oid::pg_catalog.regprocedure FROM pg_catalog.pg_proc p
             WHERE p.oid >= 16384 AND p.prosecdef AND pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE')
               AND p.pronamespace <> {}::pg_catalog.regnamespace",
            literal(container.schema())
        );
        for routine in self.main.names(&definers).await? {
            self.ours(&format!("REVOKE EXECUTE ON ROUTINE {routine} FROM PUBLIC"))
                .await?;
            self.closed_routines.push(routine);
        }
        self.contains(container).await
    }

    async fn give_back_bodies(&self, container: &Container) -> Result<(), RestoreError> {
        let parsed = if self.parsed_bodies() {
            ", prosqlbody = b.prosqlbody"
        } else {
            ""
        };
        let sql = format!(
            "UPDATE pg_catalog.pg_proc p SET prolang = b.prolang, prosrc = b.prosrc{parsed} FROM {}.bodies b WHERE b.oid = p.oid;
             UPDATE pg_catalog.pg_constraint SET contype = 'c' WHERE contype = '{NO_CHECK}';
             UPDATE pg_catalog.pg_class SET relname = relname WHERE relkind = 'p'",
            container.schema()
        );
        self.ours(&sql).await
    }

    /// Runs statements about what is there while users' code is asleep: to attach a partition's index to its root's, both are folded by
    /// whoever attaches them. In a session of its own: what another has folded is not what this one finds.
    pub(super) async fn in_sleep(&mut self, statements: &[&str]) -> Result<(), RestoreError> {
        if statements.is_empty() {
            return Ok(());
        }
        self.main = Arc::new(session::connect(self.request.dsn).await?);
        self.servers[0] = self.main.clone();
        self.ready().await?;
        self.begin_sleep().await?;
        self.all_asleep().await?;
        for statement in statements {
            let done = session::run(&self.main, statement).await;
            self.follow(statement, done).await?;
        }
        if let Some(container) = self.asleep.take() {
            self.give_back_bodies(&container).await?;
            container.close(&self.main).await?;
        }
        Ok(())
    }

    /// Everything is made that the first rows need.
    pub(super) async fn ready_for_rows(&mut self) -> Result<(), RestoreError> {
        self.drain().await?;
        self.wake().await?;
        if self.container.is_none() {
            let container = Container::open(&self.main).await?;
            self.contains(container).await?;
        }
        Ok(())
    }

    async fn contains(&mut self, container: Container) -> Result<(), RestoreError> {
        self.contained = contained::tables(&self.main, container.schema()).await?;
        let casts = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
            JOIN pg_catalog.pg_roles r ON r.oid = p.proowner WHERE NOT r.rolsuper";
        self.casts = self.main.number(casts).await? > 0;
        self.container = Some(container);
        Ok(())
    }

    /// Creates an extension, or says something of one. What its script gives on a schema is given for good, and kept by the server as the
    /// extension's own (`pg_init_privs`): the schemas are closed meanwhile, and opened again where it did not open them.
    pub(super) async fn extension(&mut self, statement: &str) -> Result<(), RestoreError> {
        if !statement.starts_with("CREATE ") {
            return self.alone(statement).await;
        }
        self.drain().await?;
        let schemas = self.open_schemas.clone();
        self.close_schemas().await?;
        self.alone(statement).await?;
        for schema in schemas {
            let question = format!(
                "SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace WHERE oid = {}::pg_catalog.regnamespace
                   AND pg_catalog.has_schema_privilege('public', oid, 'USAGE')",
                literal(&schema)
            );
            if self.main.number(&question).await? == 0 {
                self.open_schema(schema).await?;
            }
        }
        Ok(())
    }

    /// Everybody may look into it.
    async fn open_schema(&mut self, schema: String) -> Result<(), RestoreError> {
        self.ours(&format!("GRANT USAGE ON SCHEMA {schema} TO PUBLIC"))
            .await?;
        self.open_schemas.push(schema);
        Ok(())
    }

    async fn close_schemas(&mut self) -> Result<(), RestoreError> {
        for schema in std::mem::take(&mut self.open_schemas) {
            self.ours(&format!("REVOKE USAGE ON SCHEMA {schema} FROM PUBLIC"))
                .await?;
        }
        Ok(())
    }

    /// The dump's own grants begin.
    pub(super) async fn give_back_privileges(&mut self) -> Result<(), RestoreError> {
        self.close_schemas().await?;
        for routine in std::mem::take(&mut self.closed_routines) {
            self.ours(&format!("GRANT EXECUTE ON ROUTINE {routine} TO PUBLIC"))
                .await?;
        }
        Ok(())
    }

    /// Runs statements of ours.
    pub(super) async fn ours(&self, statements: &str) -> Result<(), RestoreError> {
        session::ours(&self.main, statements)
            .await
            .map_err(RestoreError::from)
    }

    fn parsed_bodies(&self) -> bool {
        self.request.server_major >= PARSED_SINCE
    }
}
