//! A roles file, read into data: `pg_dumpall --roles-only` with the properties of a database behind it (0.1.0), or backupd's own form. A
//! statement of any other form is an error that names it.

use super::form::{CHECKS, inner};
use super::{Attributes, Membership, ParameterGrant, Role, RolesScript};
use crate::properties::{DatabaseProperties, Label, Reading, grantee, setting, words};
use crate::sql::Unreadable;
use crate::sql::reader::Reader;
use crate::sql::script::{Item, items, outline, statement};

/// Settings of the session that such files begin with.
const OF_SESSION: [&str; 16] = [
    "default_transaction_read_only",
    "client_encoding",
    "standard_conforming_strings",
    "escape_string_warning",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "check_function_bodies",
    "xmloption",
    "client_min_messages",
    "row_security",
    "default_tablespace",
    "default_table_access_method",
    "search_path",
    "default_with_oids",
];
/// Why a roles file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolesFileError {
    /// As text.
    #[error("the roles file cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// As roles.
    #[error("the roles file holds a statement that is not of a roles file: {0}")]
    Statement(String),
}

impl RolesScript {
    /// Reads a roles file. Nothing of its text is ever run.
    pub fn read(text: &str) -> Result<Self, RolesFileError> {
        let mut script = Self::default();
        let mut database = Reading::default();
        for item in items(text)? {
            let Item::Statement(statement) = item else {
                continue;
            };
            let taken = script
                .take(&statement)
                .or_else(|| database.statement(&statement))
                .or_else(|| of_session(statement.clone()));
            if taken.is_none() {
                return Err(RolesFileError::Statement(outline(&statement)));
            }
        }
        script.database = DatabaseProperties::from_roles_file(text);
        Ok(script)
    }

    fn take(&mut self, start: &Reader<'_>) -> Option<()> {
        let mut reader = start.clone();
        if reader.keyword("DO") {
            let text = reader.string()?;
            if text.starts_with(CHECKS) {
                return Some(());
            }
            return self.take(&statement(inner(&text)?)?);
        }
        self.new_role(start.clone())
            .or_else(|| self.alteration(start.clone()))
            .or_else(|| self.membership(start.clone()))
            .or_else(|| self.parameter(start.clone()))
            .or_else(|| self.words(start.clone()))
    }

    fn role(&mut self, name: &str) -> Option<&mut Role> {
        self.roles.iter_mut().find(|role| role.name == name)
    }

    /// `CREATE ROLE name`; twice is not what these programs write.
    fn new_role(&mut self, mut reader: Reader<'_>) -> Option<()> {
        if !reader.keywords(&["CREATE", "ROLE"]) {
            return None;
        }
        let name = reader.name()?;
        if !reader.is_at_end() || self.role(&name).is_some() {
            return None;
        }
        self.roles.push(Role {
            name,
            ..Role::default()
        });
        Some(())
    }

    /// `ALTER ROLE name WITH attributes`, once, and `ALTER ROLE name SET setting`, of roles that the file creates.
    fn alteration(&mut self, mut reader: Reader<'_>) -> Option<()> {
        if !reader.keywords(&["ALTER", "ROLE"]) {
            return None;
        }
        let of_all = {
            let mut ahead = reader.clone();
            (ahead.keywords(&["ALL", "SET"])).then_some(ahead)
        };
        if let Some(mut reader) = of_all {
            let setting = setting(&mut reader, None)?;
            self.settings_of_all.push(setting);
            return reader.is_at_end().then_some(());
        }
        let name = reader.name()?;
        let role = self.role(&name)?;
        if reader.keyword("SET") {
            let setting = setting(&mut reader, None)?;
            role.settings.push(setting);
            return reader.is_at_end().then_some(());
        }
        if !reader.keyword("WITH") || role.attributes.is_some() {
            return None;
        }
        role.attributes = Some(attributes(&mut reader)?);
        Some(())
    }

    /// `GRANT role TO member [WITH …] [GRANTED BY grantor]`.
    fn membership(&mut self, mut reader: Reader<'_>) -> Option<()> {
        if !reader.keyword("GRANT") {
            return None;
        }
        let role = reader.name()?;
        if !reader.keyword("TO") {
            return None;
        }
        let mut one = Membership {
            role,
            member: reader.name()?,
            admin: false,
            inherit: None,
            set: None,
            grantor: None,
        };
        if reader.keyword("WITH") {
            loop {
                let option = reader.one_of(&["ADMIN", "INHERIT", "SET"])?;
                let on = reader.one_of(&["OPTION", "TRUE", "FALSE"])? != "FALSE";
                match option {
                    "ADMIN" => one.admin = on,
                    "INHERIT" => one.inherit = Some(on),
                    _ => one.set = Some(on),
                }
                if !reader.keyword(",") {
                    break;
                }
            }
        }
        if reader.keywords(&["GRANTED", "BY"]) {
            one.grantor = Some(reader.name()?);
        }
        if !reader.is_at_end() {
            return None;
        }
        self.memberships.push(one);
        Some(())
    }

    /// `GRANT privileges ON PARAMETER name TO role`. What is revoked there is the owner's own, which is as good as before.
    fn parameter(&mut self, mut reader: Reader<'_>) -> Option<()> {
        let gives = reader.one_of(&["GRANT", "REVOKE"])? == "GRANT";
        let (mut set, mut alter_system) = (false, false);
        loop {
            match reader.one_of(&["ALL", "SET", "ALTER"])? {
                "ALL" => (set, alter_system) = (true, true),
                "SET" => set = true,
                _ => alter_system = reader.keyword("SYSTEM").then_some(true)?,
            }
            if !reader.keyword(",") {
                break;
            }
        }
        if !reader.keywords(&["ON", "PARAMETER"]) {
            return None;
        }
        let parameter = reader.dotted()?;
        let (grantee, grantable) = grantee(&mut reader, if gives { "TO" } else { "FROM" })?;
        if gives {
            self.parameters.push(ParameterGrant {
                parameter,
                set,
                alter_system,
                grantee,
                grantable,
            });
        }
        Some(())
    }

    /// `COMMENT ON ROLE`, `SECURITY LABEL … ON ROLE`.
    fn words(&mut self, mut reader: Reader<'_>) -> Option<()> {
        let (name, provider, text) = words(&mut reader, "ROLE")?;
        let role = self.role(&name)?;
        match provider {
            Some(provider) => role.labels.push(Label {
                provider,
                label: text,
            }),
            None => role.comment = Some(text),
        }
        Some(())
    }
}

fn attributes(reader: &mut Reader<'_>) -> Option<Attributes> {
    let mut read = Attributes {
        superuser: false,
        inherit: true,
        create_role: false,
        create_db: false,
        login: false,
        replication: false,
        bypass_rls: false,
        connection_limit: -1,
        password: None,
        valid_until: None,
    };
    while !reader.is_at_end() {
        let word = reader.one_of(&[
            "SUPERUSER",
            "NOSUPERUSER",
            "INHERIT",
            "NOINHERIT",
            "CREATEROLE",
            "NOCREATEROLE",
            "CREATEDB",
            "NOCREATEDB",
            "LOGIN",
            "NOLOGIN",
            "REPLICATION",
            "NOREPLICATION",
            "BYPASSRLS",
            "NOBYPASSRLS",
            "CONNECTION",
            "PASSWORD",
            "VALID",
        ])?;
        let on = !word.starts_with("NO");
        match word.trim_start_matches("NO") {
            "SUPERUSER" => read.superuser = on,
            "INHERIT" => read.inherit = on,
            "CREATEROLE" => read.create_role = on,
            "CREATEDB" => read.create_db = on,
            "LOGIN" => read.login = on,
            "REPLICATION" => read.replication = on,
            "BYPASSRLS" => read.bypass_rls = on,
            "CONNECTION" => {
                reader.keyword("LIMIT").then_some(())?;
                read.connection_limit = reader.number()?;
            }
            "PASSWORD" => read.password = Some(reader.string()?),
            _ => {
                reader.keyword("UNTIL").then_some(())?;
                read.valid_until = Some(reader.string()?);
            }
        }
    }
    Some(read)
}

/// What sets up the session that a file is loaded in, and means nothing to a reader.
fn of_session(mut reader: Reader<'_>) -> Option<()> {
    if reader.keywords(&["SELECT", "pg_catalog"]) {
        // `SELECT pg_catalog.set_config('search_path', '', false)`.
        return (reader.keyword(".") && reader.keyword("set_config")).then_some(());
    }
    if !reader.keyword("SET") {
        return None;
    }
    let name = reader.name()?;
    OF_SESSION.contains(&name.as_str()).then_some(())
}
