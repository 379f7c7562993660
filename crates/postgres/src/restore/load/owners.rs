//! Constraints whose making evaluates users' code: a check of a table or domain that is made behind its rows, and a foreign key where casts of ordinary roles,
//! keys of partitions or indexes with functions take part. They are made as
//! their owner.
//!
//! Where the server lacks the role that owned something, it would belong to the superuser who loads, and its code would run as a superuser.
//! It is given to a role that PostgreSQL brings and that may do nothing.

use super::loader::Loader;
use super::session;
use crate::restore::error::RestoreError;
use crate::restore::fault::LoadFault;
use crate::server::{ServerError, ident, literal};
use crate::sql::reader::Reader;
use crate::sql::{Kind, QualifiedName};

/// Has no privileges and no members but the owner of the database that one is in, who is a superuser here.
const NOBODY: &str = "pg_database_owner";
/// SQLSTATE of a role, a type and the like that is not there.
const UNDEFINED_OBJECT: &str = "42704";

impl Loader<'_> {
    /// Gives to nobody what a statement would have given to a role that the server lacks. Says whether it was that.
    pub(super) async fn gives_to_nobody(
        &self,
        fault: &LoadFault,
        statement: &str,
    ) -> Result<bool, LoadFault> {
        let lacks = |fault: &LoadFault| fault.code.as_deref() == Some(UNDEFINED_OBJECT);
        let Some(until) = until_new_owner(statement).filter(|_| lacks(fault)) else {
            return Ok(false);
        };
        match session::run(&self.main, &format!("{until} {NOBODY}")).await {
            // Then it is not the role that is missing, and nothing is there to be owned.
            Err(fault) if lacks(&fault) || fault.is_of_missing_object() => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Whether a foreign key's making may evaluate code of ordinary roles.
    pub(super) fn acts_in(&self, table: &QualifiedName, other: Option<&QualifiedName>) -> bool {
        self.late
            || self.casts
            || [Some(table), other]
                .into_iter()
                .flatten()
                .any(|table| self.contained.contains_key(table))
    }

    /// Runs a statement when everything before it is done, as whom it is safe.
    pub(super) async fn one_by_one(
        &mut self,
        kind: &Kind,
        statement: &str,
    ) -> Result<(), RestoreError> {
        let (name, other) = match kind {
            Kind::Check(name) | Kind::DomainCheck(name) => (name, None),
            Kind::ForeignKey(table, other) if self.acts_in(table, other.as_ref()) => {
                (table, other.as_ref())
            }
            _ => return self.alone(statement).await,
        };
        self.drain().await?;
        self.ready_for_rows().await?;
        let Some(owner) = self
            .ordinary_owner(name, matches!(kind, Kind::DomainCheck(_)))
            .await?
        else {
            return self.alone(statement).await;
        };
        let lent = self.lend_children(&owner, name).await?;
        let done = self.as_owner(&owner, other, statement).await;
        for (child, whose) in lent {
            session::run(&self.main, &give(&child, &whose)).await?;
        }
        self.follow(statement, done).await
    }

    /// Tables below one of a role's that belong to others: to alter a table is to alter those, which only their owner may. So they are the
    /// role's as long as its statement runs; through its own table it has their rows anyway. Gives each with whose it was. One that has
    /// privileges already keeps its owner: they would not come back as they were.
    async fn lend_children(
        &self,
        owner: &str,
        table: &QualifiedName,
    ) -> Result<Vec<(String, String)>, RestoreError> {
        let question = format!(
            "WITH RECURSIVE below (oid) AS (
               SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = pg_catalog.to_regclass({})
               UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below b ON i.inhparent = b.oid)
             SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), r.rolname FROM below b JOIN pg_catalog.pg_class c ON c.oid = b.oid
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
             WHERE r.rolname <> {} AND c.relacl IS NULL AND c.relkind IN ('r', 'p', 'f') ORDER BY c.oid",
            literal(&table.to_string()),
            literal(owner)
        );
        let rows = self.main.rows(&question).await?;
        let mut lent = Vec::new();
        for row in &rows {
            let text = |at| row.get(at).unwrap_or_default().to_owned();
            let (child, whose): (String, String) = (text(0), text(1));
            session::run(&self.main, &give(&child, owner)).await?;
            lent.push((child, whose));
        }
        Ok(lent)
    }

    async fn as_owner(
        &self,
        owner: &str,
        other: Option<&QualifiedName>,
        statement: &str,
    ) -> Result<(), LoadFault> {
        let Some(container) = &self.container else {
            return Ok(());
        };
        let whom = ident(owner);
        // To refer to a table takes a privilege; the rows are compared as that table's owner.
        let lacks = match other {
            Some(other) => !self.may_refer(owner, other).await,
            None => false,
        };
        let grant = |word: &str, to: &str| {
            let other = other.map(ToString::to_string).unwrap_or_default();
            format!("{word} REFERENCES ON {other} {to} {whom}")
        };
        if lacks {
            session::run(&self.main, &grant("GRANT", "TO")).await?;
        }
        let done = container.define(&self.main, owner, statement).await;
        if lacks {
            session::run(&self.main, &grant("REVOKE", "FROM")).await?;
        }
        done
    }

    async fn may_refer(&self, owner: &str, other: &QualifiedName) -> bool {
        let question = format!(
            "SELECT pg_catalog.has_table_privilege({}, {}, 'REFERENCES')::pg_catalog.int4",
            literal(owner),
            literal(&other.to_string())
        );
        // A table that is not there is told by the statement itself.
        self.main.number(&question).await.is_ok_and(|may| may > 0)
    }

    /// The owner of a table or domain, where that is no superuser.
    async fn ordinary_owner(
        &self,
        name: &QualifiedName,
        is_domain: bool,
    ) -> Result<Option<String>, ServerError> {
        let owned = if is_domain {
            "pg_catalog.pg_type o JOIN pg_catalog.pg_roles r ON r.oid = o.typowner WHERE o.oid = pg_catalog.to_regtype"
        } else {
            "pg_catalog.pg_class o JOIN pg_catalog.pg_roles r ON r.oid = o.relowner WHERE o.oid = pg_catalog.to_regclass"
        };
        let question = format!(
            "SELECT r.rolname FROM {owned}({}) AND NOT r.rolsuper",
            literal(&name.to_string())
        );
        Ok(self.main.names(&question).await?.pop())
    }
}

/// The statement that makes a table, whose name is quoted, a role's.
fn give(table: &str, role: &str) -> String {
    format!("ALTER TABLE {table} OWNER TO {}", ident(role))
}

/// What stands before the role in `ALTER … OWNER TO role;`.
fn until_new_owner(statement: &str) -> Option<&str> {
    let mut words = Reader::of(statement);
    if !words.keyword("ALTER") {
        return None;
    }
    let to = loop {
        words.find(|word| word.is("OWNER"))?;
        if let Some(to) = words.peek().filter(|word| word.is("TO")) {
            break to.at + to.text.len();
        }
    };
    words.next();
    let _role = words.next()?;
    (words.keyword(";") && words.is_at_end()).then_some(&statement[..to])
}

#[cfg(test)]
mod tests {
    use super::until_new_owner;

    #[test]
    fn a_new_owner_is_the_role_behind_the_keywords() {
        for (statement, until) in [
            (
                "ALTER FUNCTION a.f(integer, \"b OWNER TO c\") OWNER TO \"x OWNER TO y\";",
                Some("ALTER FUNCTION a.f(integer, \"b OWNER TO c\") OWNER TO"),
            ),
            (
                "ALTER TABLE \"owner\".\"to\" OWNER TO postgres;",
                Some("ALTER TABLE \"owner\".\"to\" OWNER TO"),
            ),
            (
                "ALTER OPERATOR a.= (oid, oid) OWNER TO planter;",
                Some("ALTER OPERATOR a.= (oid, oid) OWNER TO"),
            ),
            ("ALTER TABLE a OWNER TO b, ADD c integer;", None),
            ("ALTER TABLE a ENABLE ROW LEVEL SECURITY;", None),
            ("COMMENT ON TABLE a IS 'OWNER TO b';", None),
        ] {
            assert_eq!(until_new_owner(statement), until, "{statement}");
        }
    }
}
