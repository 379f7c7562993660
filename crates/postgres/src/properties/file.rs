//! The properties of a database out of a roles file: sets of 0.1.0 kept them nowhere else.

use super::{DatabaseProperties, Grant, Label, PRIVILEGES, Setting};
use crate::sql::reader::Reader;
use crate::sql::script::{Item, items, statement};

/// What `GRANT … ON DATABASE` may name besides [`PRIVILEGES`].
const TEMPORARY: &str = "TEMP";

impl DatabaseProperties {
    /// Reads them from a roles file; none where it holds none. What the file says is data here, and never run.
    pub fn from_roles_file(text: &str) -> Option<Self> {
        let mut reading = Reading::default();
        for item in items(text).ok()? {
            match item {
                Item::Statement(statement) => {
                    // What is not about the database is somebody else's.
                    let _ = reading.statement(&statement);
                }
                // 0.1.0 made a comment of the creation, which pg_dump writes on one line.
                Item::Comment(line) if line.starts_with("CREATE DATABASE ") => {
                    if let Some(statement) = statement(line) {
                        // Not understood, it is a comment as any other.
                        let _ = reading.statement(&statement);
                    }
                }
                Item::Comment(_) => {}
            }
        }
        reading.finish()
    }
}

/// A file's statements about a database, as they come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    found: Option<DatabaseProperties>,
    /// Who grants (`SET SESSION AUTHORIZATION`).
    speaker: Option<String>,
}

impl Reading {
    /// What was found.
    pub fn finish(self) -> Option<DatabaseProperties> {
        self.found
    }

    /// Takes a statement, if it is about a database and in a form that is known.
    pub fn statement(&mut self, start: &Reader<'_>) -> Option<()> {
        let mut reader = start.clone();
        if reader.keyword("SELECT") {
            // backupd's own form: the creation as the text that psql executes where the database is missing.
            return self.creation(statement(&reader.string()?)?);
        }
        if reader.keywords(&["SET", "SESSION", "AUTHORIZATION"]) {
            let speaker = reader.string().or_else(|| reader.name());
            self.speaker = speaker.filter(|name| name != "default");
            return Some(());
        }
        if reader.keywords(&["RESET", "SESSION", "AUTHORIZATION"]) {
            self.speaker = None;
            return Some(());
        }
        self.creation(start.clone())
            .or_else(|| self.alteration(start.clone()))
            .or_else(|| self.setting_of_role(start.clone()))
            .or_else(|| self.grant(start.clone()))
            .or_else(|| self.words(start.clone()))
    }

    fn found(&mut self) -> &mut DatabaseProperties {
        self.found.get_or_insert_with(|| DatabaseProperties {
            connection_limit: -1,
            allow_connections: true,
            ..DatabaseProperties::default()
        })
    }

    /// `CREATE DATABASE name WITH option = value …`: every option is known, or nothing of it is taken.
    fn creation(&mut self, mut reader: Reader<'_>) -> Option<()> {
        if !reader.keywords(&["CREATE", "DATABASE"]) {
            return None;
        }
        reader.name()?;
        reader.keyword("WITH");
        let mut made = DatabaseProperties::default();
        while !reader.is_at_end() {
            let option = reader.one_of(&[
                "TEMPLATE",
                "ENCODING",
                "LOCALE_PROVIDER",
                "LOCALE",
                "LC_COLLATE",
                "LC_CTYPE",
                "ICU_LOCALE",
                "BUILTIN_LOCALE",
                "ICU_RULES",
                "COLLATION_VERSION",
                "TABLESPACE",
            ])?;
            reader.keyword("=");
            let value = reader.string().or_else(|| reader.name())?;
            match option {
                "ENCODING" => made.encoding = Some(value),
                "LOCALE_PROVIDER" => made.locale_provider = Some(value),
                "LOCALE" => {
                    made.collate = Some(value.clone());
                    made.ctype = Some(value);
                }
                "LC_COLLATE" => made.collate = Some(value),
                "LC_CTYPE" => made.ctype = Some(value),
                "ICU_LOCALE" | "BUILTIN_LOCALE" => made.locale = Some(value),
                "ICU_RULES" => made.icu_rules = Some(value),
                "TABLESPACE" => made.tablespace = Some(value),
                _ => {}
            }
        }
        let found = self.found();
        *found = DatabaseProperties {
            encoding: made.encoding,
            locale_provider: made.locale_provider,
            collate: made.collate,
            ctype: made.ctype,
            locale: made.locale,
            icu_rules: made.icu_rules,
            tablespace: made.tablespace,
            ..std::mem::take(found)
        };
        Some(())
    }

    fn alteration(&mut self, mut reader: Reader<'_>) -> Option<()> {
        if !reader.keywords(&["ALTER", "DATABASE"]) {
            return None;
        }
        reader.name()?;
        if reader.keywords(&["OWNER", "TO"]) {
            self.found().owner = Some(reader.name()?);
        } else if reader.keyword("SET") {
            let setting = setting(&mut reader, None)?;
            self.found().settings.push(setting);
        } else if reader.keywords(&["CONNECTION", "LIMIT"]) {
            reader.keyword("=");
            self.found().connection_limit = reader.number()?;
        } else if reader.keyword("IS_TEMPLATE") {
            self.found().is_template = truth(&mut reader)?;
        } else if reader.keyword("ALLOW_CONNECTIONS") {
            self.found().allow_connections = truth(&mut reader)?;
        } else {
            return None;
        }
        reader.is_at_end().then_some(())
    }

    fn setting_of_role(&mut self, mut reader: Reader<'_>) -> Option<()> {
        if !reader.keywords(&["ALTER", "ROLE"]) {
            return None;
        }
        let role = reader.name()?;
        if !reader.keywords(&["IN", "DATABASE"]) {
            return None;
        }
        reader.name()?;
        if !reader.keyword("SET") {
            return None;
        }
        let setting = setting(&mut reader, Some(role))?;
        self.found().settings.push(setting);
        reader.is_at_end().then_some(())
    }

    /// Privileges are told as changes to what every database has; kept is what comes of them.
    fn grant(&mut self, mut reader: Reader<'_>) -> Option<()> {
        let gives = match reader.one_of(&["GRANT", "REVOKE"])? {
            "GRANT" => "TO",
            _ => "FROM",
        };
        let mut privileges = Vec::new();
        loop {
            let word = reader.one_of(&["ALL", TEMPORARY, "CREATE", "CONNECT", "TEMPORARY"])?;
            match word {
                "ALL" => {
                    reader.keyword("PRIVILEGES");
                    privileges.extend(PRIVILEGES);
                }
                TEMPORARY => privileges.push("TEMPORARY"),
                word => privileges.push(word),
            }
            if !reader.keyword(",") {
                break;
            }
        }
        if !reader.keywords(&["ON", "DATABASE"]) {
            return None;
        }
        reader.name()?;
        let (grantee, grantable) = grantee(&mut reader, gives)?;
        let owner = self.found().owner.clone().unwrap_or_default();
        let grantor = self.speaker.clone().unwrap_or_else(|| owner.clone());
        let acl = self.found().acl.get_or_insert_with(|| untouched(&owner));
        if gives == "TO" {
            acl.push(Grant {
                grantee,
                grantor,
                privileges: privileges.into_iter().map(str::to_owned).collect(),
                grantable,
            });
        } else {
            for grant in acl.iter_mut().filter(|grant| grant.grantee == grantee) {
                grant
                    .privileges
                    .retain(|held| !privileges.contains(&held.as_str()));
            }
            acl.retain(|grant| !grant.privileges.is_empty());
        }
        Some(())
    }

    /// Its comment and labels.
    fn words(&mut self, mut reader: Reader<'_>) -> Option<()> {
        match words(&mut reader, "DATABASE")? {
            (_, Some(provider), label) => self.found().labels.push(Label { provider, label }),
            (_, None, comment) => self.found().comment = Some(comment),
        }
        Some(())
    }
}

/// What a database's privileges are before anybody changes them (PostgreSQL manual, 5.8).
fn untouched(owner: &str) -> Vec<Grant> {
    let grant = |grantee: Option<&str>, privileges: &[&str]| Grant {
        grantee: grantee.map(str::to_owned),
        grantor: owner.to_owned(),
        privileges: privileges.iter().map(|&one| one.to_owned()).collect(),
        grantable: false,
    };
    vec![
        grant(None, &["CONNECT", "TEMPORARY"]),
        grant(Some(owner), &PRIVILEGES),
    ]
}

fn truth(reader: &mut Reader<'_>) -> Option<bool> {
    reader.keyword("=");
    reader.one_of(&["true", "false"]).map(|word| word == "true")
}

/// `name TO 'value', …`, behind `SET`.
pub(crate) fn setting(reader: &mut Reader<'_>, role: Option<String>) -> Option<Setting> {
    let name = reader.dotted()?;
    if !(reader.keyword("TO") || reader.keyword("=")) {
        return None;
    }
    let mut values = vec![reader.string()?];
    while reader.keyword(",") {
        values.push(reader.string()?);
    }
    Some(Setting { role, name, values })
}

/// `TO grantee [WITH GRANT OPTION]`, or `FROM grantee`, at the end; none for everybody.
pub(crate) fn grantee(reader: &mut Reader<'_>, to: &str) -> Option<(Option<String>, bool)> {
    if !reader.keyword(to) {
        return None;
    }
    let grantee = if reader.keyword("PUBLIC") {
        None
    } else {
        Some(reader.name()?)
    };
    let grantable = reader.keywords(&["WITH", "GRANT", "OPTION"]);
    reader.is_at_end().then_some((grantee, grantable))
}

/// `COMMENT ON object name IS 'words'` or `SECURITY LABEL FOR provider ON object name IS 'words'`: name, provider and words.
pub(crate) fn words(
    reader: &mut Reader<'_>,
    object: &str,
) -> Option<(String, Option<String>, String)> {
    let provider = if reader.keywords(&["SECURITY", "LABEL", "FOR"]) {
        Some(reader.string().or_else(|| reader.name())?)
    } else if reader.keyword("COMMENT") {
        None
    } else {
        return None;
    };
    reader.keywords(&["ON", object]).then_some(())?;
    let name = reader.name()?;
    reader.keyword("IS").then_some(())?;
    let words = reader.string()?;
    reader.is_at_end().then_some((name, provider, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_0_1_0_is_read_as_data() {
        let text = "-- of the database app\nALTER ROLE mallory SET search_path TO E'public\\\\\n-- CREATE DATABASE x; CREATE USER y';\n\
            -- CREATE DATABASE \"my db\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8';\n\
            ALTER DATABASE \"my db\" OWNER TO \"o p\";\n\\restrict x\nALTER DATABASE \"my db\" SET search_path TO 'a', 'b';\n\
            ALTER DATABASE \"my db\" CONNECTION LIMIT = 5;\nALTER ROLE a IN DATABASE \"my db\" SET y TO 'z';\n\
            REVOKE CONNECT,TEMPORARY ON DATABASE \"my db\" FROM PUBLIC;\nGRANT CONNECT ON DATABASE \"my db\" TO a WITH GRANT OPTION;\n\
            COMMENT ON DATABASE \"my db\" IS 'it''s';\n";
        let found = DatabaseProperties::from_roles_file(text).unwrap();
        assert_eq!(
            found.creation("new"),
            "CREATE DATABASE \"new\" WITH TEMPLATE = template0 ENCODING = E'UTF8' LOCALE_PROVIDER = E'libc' \
             LC_COLLATE = E'C.UTF-8' LC_CTYPE = E'C.UTF-8'"
        );
        assert_eq!(
            found.statements("new"),
            [
                "ALTER DATABASE \"new\" OWNER TO \"o p\"",
                "ALTER DATABASE \"new\" SET \"search_path\" TO E'a', E'b'",
                "ALTER ROLE \"a\" IN DATABASE \"new\" SET \"y\" TO E'z'",
                "REVOKE ALL ON DATABASE \"new\" FROM PUBLIC",
                "REVOKE ALL ON DATABASE \"new\" FROM \"o p\"",
                "GRANT CREATE, CONNECT, TEMPORARY ON DATABASE \"new\" TO \"o p\"",
                "GRANT CONNECT ON DATABASE \"new\" TO \"a\" WITH GRANT OPTION",
                "COMMENT ON DATABASE \"new\" IS E'it''s'",
            ]
        );
        assert_eq!(found.connection_limit, 5);
    }

    #[test]
    fn a_creation_that_says_more_than_is_known_is_not_taken() {
        for line in [
            "-- CREATE DATABASE x; CREATE USER y SUPERUSER;",
            "-- CREATE DATABASE x WITH ENCODING = pg_read_file('x');",
            "-- CREATE DATABASE x WITH OWNER = y;",
        ] {
            assert_eq!(DatabaseProperties::from_roles_file(line), None, "{line}");
        }
        let own = "SELECT E'CREATE DATABASE \"x\" WITH TEMPLATE = template0 ENCODING = E''UTF8''' WHERE NOT EXISTS (SELECT) \\gexec\n";
        assert_eq!(
            DatabaseProperties::from_roles_file(own).unwrap().encoding,
            Some("UTF8".to_owned())
        );
    }
}
