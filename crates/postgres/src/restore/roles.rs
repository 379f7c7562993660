//! Roles on their way back: those that are missing are created, those that are there keep their attributes and passwords unless these
//! are asked for, and get their settings and memberships back.
//!
//! A roles file is read into data, and only statements of known forms are read at all; what the server is told is built from the data,
//! every name and value quoted.

mod ask;
mod file;
mod form;

use std::collections::BTreeSet;

use serde::Deserialize;

use super::error::RestoreError;
use crate::properties::{DatabaseProperties, Label, Setting};
use crate::server::{Server, ServerError, ident, literal};

pub use file::RolesFileError;

/// The roles of a server.
#[derive(Debug, Clone, Default)]
pub struct RolesScript {
    pub(crate) roles: Vec<Role>,
    /// In an order in which whoever grants may do so.
    pub(crate) memberships: Vec<Membership>,
    pub(crate) parameters: Vec<ParameterGrant>,
    /// Settings of all roles in all databases.
    pub(crate) settings_of_all: Vec<Setting>,
    /// The database whose dump it belongs to, as far as the file tells of it. Newer sets keep this in the manifest.
    pub database: Option<DatabaseProperties>,
}

/// One role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub name: String,
    pub attributes: Option<Attributes>,
    pub settings: Vec<Setting>,
    pub comment: Option<String>,
    pub labels: Vec<Label>,
}

/// What a role is and may.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an attribute of its own, none a state"
)]
pub(crate) struct Attributes {
    pub superuser: bool,
    pub inherit: bool,
    pub create_role: bool,
    pub create_db: bool,
    pub login: bool,
    pub replication: bool,
    pub bypass_rls: bool,
    pub connection_limit: i32,
    /// As `pg_authid` keeps it.
    pub password: Option<String>,
    pub valid_until: Option<String>,
}

/// Without the password.
impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words(false))
    }
}

/// One role's membership in another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Membership {
    pub role: String,
    pub member: String,
    pub admin: bool,
    /// Since PostgreSQL 16.
    pub inherit: Option<bool>,
    /// Since PostgreSQL 16.
    pub set: Option<bool>,
    pub grantor: Option<String>,
}

/// Privileges on a setting of the server (PostgreSQL 15).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ParameterGrant {
    pub parameter: String,
    pub set: bool,
    pub alter_system: bool,
    /// None for everybody.
    pub grantee: Option<String>,
    pub grantable: bool,
}

impl Attributes {
    /// As they follow `ALTER ROLE name WITH`.
    fn words(&self, with_password: bool) -> String {
        let flags = [
            ("SUPERUSER", self.superuser),
            ("INHERIT", self.inherit),
            ("CREATEROLE", self.create_role),
            ("CREATEDB", self.create_db),
            ("LOGIN", self.login),
            ("REPLICATION", self.replication),
            ("BYPASSRLS", self.bypass_rls),
        ];
        let mut words: Vec<String> = flags
            .iter()
            .map(|(word, on)| format!("{}{word}", if *on { "" } else { "NO" }))
            .collect();
        words.push(format!("CONNECTION LIMIT {}", self.connection_limit));
        if let Some(password) = self.password.as_ref().filter(|_| with_password) {
            words.push(format!("PASSWORD {}", literal(password)));
        }
        if let Some(until) = &self.valid_until {
            words.push(format!("VALID UNTIL {}", literal(until)));
        }
        words.join(" ")
    }
}

impl Role {
    fn attributes_statement(&self) -> Option<String> {
        let attributes = self.attributes.as_ref()?;
        Some(format!(
            "ALTER ROLE {} WITH {}",
            ident(&self.name),
            attributes.words(true)
        ))
    }

    fn setting_statements(&self) -> impl Iterator<Item = String> {
        let whose = format!("ALTER ROLE {}", ident(&self.name));
        self.settings
            .iter()
            .map(move |setting| setting.statement(&whose))
    }

    /// Comment and labels.
    fn words_statements(&self) -> impl Iterator<Item = String> {
        let on = format!("ROLE {}", ident(&self.name));
        let comment = self
            .comment
            .iter()
            .map(|comment| format!("COMMENT ON {on} IS {}", literal(comment)));
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|label| label.statement(&on))
            .collect();
        comment.collect::<Vec<_>>().into_iter().chain(labels)
    }
}

impl Membership {
    /// One statement, which gives the membership even where its grantor is one no more.
    fn statement(&self) -> String {
        let mut options = Vec::new();
        if self.admin {
            options.push("ADMIN OPTION".to_owned());
        }
        for (name, option) in [("INHERIT", self.inherit), ("SET", self.set)] {
            options
                .extend(option.map(|on| format!("{name} {}", if on { "TRUE" } else { "FALSE" })));
        }
        let mut grant = format!("GRANT {} TO {}", ident(&self.role), ident(&self.member));
        if !options.is_empty() {
            grant.push_str(&format!(" WITH {}", options.join(", ")));
        }
        match &self.grantor {
            None => grant,
            Some(grantor) => format!(
                "DO {}",
                literal(&format!(
                    "BEGIN {grant} GRANTED BY {}{}{grant}; END",
                    ident(grantor),
                    form::GRANTS
                ))
            ),
        }
    }
}

impl ParameterGrant {
    fn statement(&self) -> Option<String> {
        let privileges = match (self.set, self.alter_system) {
            (true, true) => "ALL",
            (true, false) => "SET",
            (false, true) => "ALTER SYSTEM",
            (false, false) => return None,
        };
        let to = self
            .grantee
            .as_deref()
            .map_or_else(|| "PUBLIC".to_owned(), ident);
        let on = if self.grantable {
            " WITH GRANT OPTION"
        } else {
            ""
        };
        Some(format!(
            "GRANT {privileges} ON PARAMETER {} TO {to}{on}",
            ident(&self.parameter)
        ))
    }
}

impl RolesScript {
    /// Names of the roles.
    pub fn names(&self) -> Vec<&str> {
        self.roles.iter().map(|role| role.name.as_str()).collect()
    }

    /// Creates the roles that are missing, with their attributes, passwords, settings, comments, and the memberships and privileges on
    /// settings of the server that involve them: all of it in one transaction, or nothing.
    pub async fn create(&self, server: &Server, missing: &[String]) -> Result<(), RestoreError> {
        if missing.is_empty() {
            return Ok(());
        }
        let statements = self.for_created(missing);
        server.execute("BEGIN").await?;
        for statement in &statements {
            if let Err(source) = server.execute(statement).await {
                // The error on its way says more than a failed rollback would.
                let _ = server.execute("ROLLBACK").await;
                return Err(failed(statement, source));
            }
        }
        server.execute("COMMIT").await?;
        Ok(())
    }

    /// The roles that a server lacks.
    pub async fn missing(&self, server: &Server) -> Result<Vec<String>, ServerError> {
        let names = "SELECT rolname FROM pg_catalog.pg_roles";
        let present: BTreeSet<String> = server.names(names).await?.into_iter().collect();
        let names = self.names().into_iter().map(str::to_owned);
        Ok(names.filter(|name| !present.contains(name)).collect())
    }

    fn for_created(&self, created: &[String]) -> Vec<String> {
        let is_created = |name: &String| created.contains(name);
        let roles = || self.roles.iter().filter(|role| is_created(&role.name));
        let mut statements: Vec<String> = roles()
            .map(|role| format!("CREATE ROLE {}", ident(&role.name)))
            .collect();
        statements.extend(roles().filter_map(Role::attributes_statement));
        statements.extend(roles().flat_map(Role::setting_statements));
        statements.extend(roles().flat_map(Role::words_statements));
        statements.extend(
            self.memberships
                .iter()
                .filter(|one| is_created(&one.role) || is_created(&one.member))
                .map(Membership::statement),
        );
        statements.extend(
            self.parameters
                .iter()
                .filter(|one| one.grantee.as_ref().is_some_and(is_created))
                .filter_map(ParameterGrant::statement),
        );
        statements
    }

    /// The statements for roles that were there before [`Self::create`] created the others: settings and memberships; with
    /// `overwrite` also attributes and passwords. They change what the very next connection needs, so they come last of all.
    pub fn for_present(&self, created: &[String], overwrite: bool) -> Vec<String> {
        let (mut statements, attributes) = self.parts_for_present(created, overwrite);
        statements.extend(attributes);
        statements
    }

    /// The same, attributes and passwords apart.
    fn parts_for_present(&self, created: &[String], overwrite: bool) -> (Vec<String>, Vec<String>) {
        let is_created = |name: &String| created.contains(name);
        let roles = || self.roles.iter().filter(|role| !is_created(&role.name));
        let mut statements: Vec<String> = roles().flat_map(Role::setting_statements).collect();
        statements.extend(
            self.memberships
                .iter()
                .filter(|one| !is_created(&one.role) && !is_created(&one.member))
                .map(Membership::statement),
        );
        if !overwrite {
            return (statements, Vec::new());
        }
        statements.extend(roles().flat_map(Role::words_statements));
        statements.extend(
            self.parameters
                .iter()
                .filter(|one| !one.grantee.as_ref().is_some_and(is_created))
                .filter_map(ParameterGrant::statement),
        );
        statements.extend(
            self.settings_of_all
                .iter()
                .map(|setting| setting.statement("ALTER ROLE ALL")),
        );
        // Superusers first: whoever runs these may be one that is none afterwards.
        let is_superuser = |role: &&Role| role.attributes.as_ref().is_some_and(|one| one.superuser);
        let (superusers, others): (Vec<&Role>, Vec<&Role>) = roles().partition(is_superuser);
        let attributes = superusers.into_iter().chain(others);
        (
            statements,
            attributes.filter_map(Role::attributes_statement).collect(),
        )
    }

    /// As SQL that psql loads without an error on any server of the same major or a newer one: roles are created where they are missing,
    /// and so is the database; everything else is set whatever was there. [`Self::read`] reads it.
    pub(crate) fn to_sql(&self, database: &DatabaseProperties, name: &str) -> String {
        let mut statements: Vec<String> = self
            .roles
            .iter()
            .map(|role| {
                let (before, after) = form::CREATES;
                let creation = format!("CREATE ROLE {}", ident(&role.name));
                format!("DO {}", literal(&format!("{before}{creation}{after}")))
            })
            .collect();
        let (given, attributes) = self.parts_for_present(&[], true);
        statements.extend(given);
        statements.push(form::where_missing(database, name));
        statements.extend(form::unless_other(database, name));
        statements.extend(database.statements(name));
        statements.extend(database.limits(name));
        // Last: whoever loads this may be one that is no superuser afterwards.
        statements.extend(attributes);
        let mut text = String::new();
        for statement in statements {
            text.push_str(&statement);
            text.push_str(if statement.ends_with(form::EXECUTES) {
                "\n"
            } else {
                ";\n"
            });
        }
        text
    }

    /// The statement that makes a database of this name as the dumped one was made, from `template0`.
    pub fn creation(&self, name: &str) -> Option<String> {
        Some(self.database.as_ref()?.creation(name))
    }

    /// The database's owner.
    pub fn owner(&self) -> Option<&str> {
        self.database.as_ref()?.owner.as_deref()
    }

    /// Statements that give a database its settings, privileges, owner and comment.
    pub fn statements(&self, name: &str) -> Vec<String> {
        let database = self.database.iter();
        database.flat_map(|one| one.statements(name)).collect()
    }

    /// Statements that give a database its limits, which would be in the way while it is loaded.
    pub fn limits(&self, name: &str) -> Vec<String> {
        let database = self.database.iter();
        database.flat_map(|one| one.limits(name)).collect()
    }
}

pub(super) fn failed(statement: &str, source: ServerError) -> RestoreError {
    // Passwords and settings are nobody's business in a message.
    let statement = match statement.split_once("E'") {
        Some((before, _)) => format!("{} …", before.trim_end()),
        None => statement.to_owned(),
    };
    RestoreError::Statement { statement, source }
}

#[cfg(test)]
mod tests;
