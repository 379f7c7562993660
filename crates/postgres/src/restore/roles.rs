//! The roles artifact on its way back: roles that are missing are created, memberships are added, and the database gets its own
//! properties. Roles that are there keep their passwords and attributes unless they are asked for, and get their settings back.

use std::collections::BTreeSet;

use super::error::RestoreError;
use super::load::OnError;
use super::statements::{Statement, Word};
use crate::server::{Server, ident};

/// A roles artifact, read.
#[derive(Debug, Clone, Default)]
pub struct RolesScript {
    roles: Vec<Statement>,
    properties: Vec<Statement>,
    creation: Option<Statement>,
}

/// What became of roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolesRestored {
    /// Those that were missing.
    pub created: Vec<String>,
    /// Those that were there.
    pub kept: Vec<String>,
    /// Statements that failed and were gone over, in the server's words.
    pub errors: Vec<String>,
}

impl RolesScript {
    /// Reads the artifact's text.
    pub fn read(text: &str) -> Self {
        let mut script = Self::default();
        for statement in Statement::split(text) {
            if named_database(&statement).is_some() {
                script.properties.push(statement);
            } else if !statement.begins(&["SET"]) && !statement.begins(&["SELECT"]) {
                script.roles.push(statement);
            }
        }
        // The creation is a comment there: encoding and locale for whoever makes the database.
        script.creation = text
            .lines()
            .find_map(|line| line.strip_prefix("-- CREATE DATABASE "))
            .and_then(|rest| Statement::split(&format!("CREATE DATABASE {rest}")).pop());
        script
    }

    /// The statement that makes a database of this name as the dumped one was made, from `template0`.
    pub fn creation(&self, name: &str) -> Option<String> {
        Some(self.creation.as_ref()?.with(2, &ident(name)))
    }

    /// The database's owner.
    pub fn owner(&self) -> Option<&str> {
        let statement = self
            .properties
            .iter()
            .find(|statement| statement.find(&["OWNER", "TO"]).is_some())?;
        statement.words.last().map(|word| word.value.as_str())
    }

    /// Names of the roles it creates.
    pub fn names(&self) -> Vec<&str> {
        self.roles
            .iter()
            .filter(|statement| statement.begins(&["CREATE", "ROLE"]))
            .filter_map(|statement| Some(statement.words.get(2)?.value.as_str()))
            .collect()
    }

    /// Brings roles back: all or none, or as many as it can.
    pub async fn restore_roles(
        &self,
        server: &Server,
        overwrite: bool,
        on_error: OnError,
    ) -> Result<RolesRestored, RestoreError> {
        let names = "SELECT rolname FROM pg_catalog.pg_roles";
        let present: BTreeSet<String> = server.names(names).await?.into_iter().collect();
        let mut restored = RolesRestored::default();
        for name in self.names() {
            let list = if present.contains(name) {
                &mut restored.kept
            } else {
                &mut restored.created
            };
            list.push(name.to_owned());
        }
        server.execute("BEGIN").await?;
        for statement in &self.roles {
            server.execute("SAVEPOINT statement").await?;
            match self
                .restore_one(server, statement, &present, overwrite)
                .await
            {
                Ok(()) => {}
                Err(error) if on_error == OnError::GoOn => {
                    server.execute("ROLLBACK TO statement").await?;
                    restored.errors.push(error.to_string());
                }
                Err(error) => {
                    // The error on its way says more than a failed rollback would.
                    let _ = server.execute("ROLLBACK").await;
                    return Err(error);
                }
            }
        }
        server.execute("COMMIT").await?;
        Ok(restored)
    }

    async fn restore_one(
        &self,
        server: &Server,
        statement: &Statement,
        present: &BTreeSet<String>,
        overwrite: bool,
    ) -> Result<(), RestoreError> {
        let creates = statement.begins(&["CREATE", "ROLE"]);
        let shapes = statement.begins(&["ALTER", "ROLE"]) && statement.find(&["WITH"]) == Some(3);
        let is_there = |word: &Word| present.contains(&word.value);
        if statement.words.get(2).is_some_and(is_there) && (creates || (shapes && !overwrite)) {
            return Ok(());
        }
        let failed = |source| RestoreError::Statement {
            statement: without_values(statement),
            source,
        };
        let Some(grantor) = statement.find(&["GRANTED", "BY"]) else {
            return server.execute(statement.text()).await.map_err(failed);
        };
        // The grantor of then may not be one here; the membership is what counts.
        server.execute("SAVEPOINT backupd").await.map_err(failed)?;
        if server.execute(statement.text()).await.is_ok() {
            return Ok(());
        }
        server
            .execute("ROLLBACK TO backupd")
            .await
            .map_err(failed)?;
        server
            .execute(statement.before(grantor))
            .await
            .map_err(failed)
    }

    /// Gives a database its settings, privileges, owner and comment: all of them, or those that can be given, with the errors of others.
    pub async fn restore_properties(
        &self,
        server: &Server,
        name: &str,
        on_error: OnError,
    ) -> Result<Vec<String>, RestoreError> {
        let mut errors = Vec::new();
        for statement in self
            .properties
            .iter()
            .filter(|statement| !is_limit(statement))
        {
            match run_for(server, statement, name).await {
                Err(error) if on_error == OnError::GoOn => errors.push(error.to_string()),
                done => done?,
            }
        }
        Ok(errors)
    }

    /// Gives a database its limits, which would be in the way while it is loaded.
    pub async fn restore_limits(&self, server: &Server, name: &str) -> Result<(), RestoreError> {
        for statement in self
            .properties
            .iter()
            .filter(|statement| is_limit(statement))
        {
            run_for(server, statement, name).await?;
        }
        Ok(())
    }
}

async fn run_for(server: &Server, statement: &Statement, name: &str) -> Result<(), RestoreError> {
    let Some(at) = named_database(statement) else {
        return Ok(());
    };
    let text = statement.with(at, &ident(name));
    server
        .execute(&text)
        .await
        .map_err(|source| RestoreError::Statement {
            statement: without_values(statement),
            source,
        })
}

/// Where the name of the database stands that a statement is about.
fn named_database(statement: &Statement) -> Option<usize> {
    let at = if statement.begins(&["ALTER", "DATABASE"]) {
        2
    } else {
        let on = statement.find(&["ON", "DATABASE"]);
        on.or_else(|| statement.find(&["IN", "DATABASE"]))? + 2
    };
    (at < statement.words.len()).then_some(at)
}

/// A statement for a message: passwords and settings are nobody's business there.
fn without_values(statement: &Statement) -> String {
    let secret = statement
        .find(&["PASSWORD"])
        .or_else(|| statement.find(&["SET"]).and(statement.find(&["TO"])));
    match secret {
        Some(at) => format!("{} …", statement.before(at)),
        None => statement.text().to_owned(),
    }
}

fn is_limit(statement: &Statement) -> bool {
    statement.begins(&["ALTER", "DATABASE"])
        && statement.words.get(3).is_some_and(|word| {
            ["CONNECTION", "IS_TEMPLATE", "ALLOW_CONNECTIONS"]
                .iter()
                .any(|keyword| word.is(keyword))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_sorted_and_renamed() {
        let script = RolesScript::read(
            "SET x = 1;\nCREATE ROLE a;\nALTER ROLE a WITH LOGIN PASSWORD 'b';\nGRANT a TO b GRANTED BY c;\n\
            -- CREATE DATABASE \"my db\" WITH TEMPLATE = template0 ENCODING = 'UTF8';\nALTER DATABASE \"my db\" OWNER TO \"o p\";\n\
            ALTER DATABASE \"my db\" CONNECTION LIMIT = 5;\nALTER ROLE a IN DATABASE \"my db\" SET y TO 'z';\n\
            GRANT ALL ON DATABASE \"my db\" TO a;\n",
        );
        assert_eq!(script.names(), ["a"]);
        assert_eq!(script.owner(), Some("o p"));
        assert_eq!(script.roles.len(), 3);
        assert_eq!(
            script.creation("new").unwrap(),
            "CREATE DATABASE \"new\" WITH TEMPLATE = template0 ENCODING = 'UTF8'"
        );
        assert_eq!(script.properties.len(), 4);
        assert!(is_limit(&script.properties[1]));
    }
}
