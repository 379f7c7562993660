//! What a database carries that `pg_dump` of its content leaves out: how it was made, whose it is, its settings (its own, and those of roles
//! in it), privileges, comment. Data, asked from the catalogs and kept as such; statements are built from it, every name and value quoted.

mod file;

pub(crate) use file::{Reading, grantee, setting, words};

use serde::{Deserialize, Serialize};

use crate::server::{Server, ServerError, ident, literal};

/// The tablespace of a database that was given none.
const DEFAULT_TABLESPACE: &str = "pg_default";
/// Settings whose value is a list of quoted names (`GUC_LIST_QUOTE`, PostgreSQL's `src/bin/pg_dump/dumputils.c`); extensions can have none.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The properties of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseProperties {
    /// `UTF8`.
    pub encoding: Option<String>,
    /// `libc`, `icu` or `builtin`; none of servers before 15.
    pub locale_provider: Option<String>,
    /// `LC_COLLATE`.
    pub collate: Option<String>,
    /// `LC_CTYPE`.
    pub ctype: Option<String>,
    /// The provider's own locale.
    pub locale: Option<String>,
    /// ICU's rules.
    pub icu_rules: Option<String>,
    /// Its tablespace.
    pub tablespace: Option<String>,
    /// The role it belongs to.
    pub owner: Option<String>,
    /// -1 for none.
    pub connection_limit: i32,
    /// Whether others may copy it.
    pub is_template: bool,
    /// Whether it takes connections.
    pub allow_connections: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// Its settings, and those of roles in it.
    pub settings: Vec<Setting>,
    /// Its privileges; none when they never were touched.
    pub acl: Option<Vec<Grant>>,
    /// Its security labels.
    pub labels: Vec<Label>,
}

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Of this role in the database; of the database, or of all roles, without.
    pub role: Option<String>,
    /// Its name.
    pub name: String,
    /// Its value, which of few settings is a list.
    pub values: Vec<String>,
}

/// Privileges that one role gave to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// None for everybody.
    pub grantee: Option<String>,
    /// Who gave them.
    pub grantor: String,
    /// `CREATE`, `CONNECT`, `TEMPORARY`.
    pub privileges: Vec<String>,
    /// Whether the grantee may give them on.
    pub grantable: bool,
}

/// A security label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The module it is for.
    pub provider: String,
    /// The label.
    pub label: String,
}

impl Setting {
    /// Of a line of `pg_db_role_setting.setconfig`.
    pub(crate) fn of_catalog(role: Option<String>, line: &str) -> Self {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let is_list = LISTS.iter().any(|list| name.eq_ignore_ascii_case(list));
        let values = is_list.then(|| list(value)).flatten();
        Self {
            role,
            name: name.to_owned(),
            values: values.unwrap_or_else(|| vec![value.to_owned()]),
        }
    }

    /// The statement that gives it; `whose` begins with `ALTER`.
    pub(crate) fn statement(&self, whose: &str) -> String {
        let values: Vec<String> = self.values.iter().map(|value| literal(value)).collect();
        format!("{whose} SET {} TO {}", ident(&self.name), values.join(", "))
    }
}

/// The names of a list as the server keeps it: parted by commas, quoted where they must be.
fn list(value: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = value.trim();
    loop {
        let mut name = String::new();
        if let Some(mut body) = rest.strip_prefix('"') {
            loop {
                let (before, after) = body.split_once('"')?;
                name.push_str(before);
                let Some(more) = after.strip_prefix('"') else {
                    rest = after.trim_start();
                    break;
                };
                name.push('"');
                body = more;
            }
        } else {
            let end = rest
                .find(|c: char| c == ',' || c.is_ascii_whitespace())
                .unwrap_or(rest.len());
            name.push_str(&rest[..end]);
            rest = rest[end..].trim_start();
            if name.is_empty() {
                return None;
            }
        }
        names.push(name);
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// As the catalogs tell it; settings are lines of `setconfig` yet.
#[derive(Deserialize)]
struct Told {
    #[serde(flatten)]
    properties: DatabaseProperties,
    lines: Vec<(Option<String>, String)>,
}

impl DatabaseProperties {
    /// Asks for those of the database that is connected, in whatever snapshot the connection has.
    pub async fn ask(server: &Server) -> Result<Self, ServerError> {
        let told: Told = server.shared_json(QUESTION).await?;
        let lines = told.lines.into_iter();
        Ok(Self {
            settings: lines
                .map(|(role, line)| Setting::of_catalog(role, &line))
                .collect(),
            ..told.properties
        })
    }

    /// The statement that makes a database of this name as this one was made.
    pub fn creation(&self, name: &str) -> String {
        let mut statement = format!("CREATE DATABASE {} WITH TEMPLATE = template0", ident(name));
        let provider = self.locale_provider.as_deref();
        let own = match provider {
            Some("builtin") => "BUILTIN_LOCALE",
            _ => "ICU_LOCALE",
        };
        let options = [
            ("ENCODING", &self.encoding),
            ("LOCALE_PROVIDER", &self.locale_provider),
            ("LC_COLLATE", &self.collate),
            ("LC_CTYPE", &self.ctype),
            (own, &self.locale),
            ("ICU_RULES", &self.icu_rules),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                statement.push_str(&format!(" {option} = {}", literal(value)));
            }
        }
        if let Some(tablespace) = &self.tablespace
            && tablespace != DEFAULT_TABLESPACE
        {
            statement.push_str(&format!(" TABLESPACE = {}", ident(tablespace)));
        }
        statement
    }

    /// The statements that give a database of this name its owner, settings, privileges, comment and labels.
    pub fn statements(&self, name: &str) -> Vec<String> {
        let database = ident(name);
        let mut statements = Vec::new();
        if let Some(owner) = &self.owner {
            statements.push(format!(
                "ALTER DATABASE {database} OWNER TO {}",
                ident(owner)
            ));
        }
        statements.extend(self.settings.iter().map(|setting| {
            setting.statement(&match &setting.role {
                Some(role) => format!("ALTER ROLE {} IN DATABASE {database}", ident(role)),
                None => format!("ALTER DATABASE {database}"),
            })
        }));
        statements.extend(self.grants(&database));
        if let Some(comment) = &self.comment {
            statements.push(format!(
                "COMMENT ON DATABASE {database} IS {}",
                literal(comment)
            ));
        }
        statements.extend(
            self.labels
                .iter()
                .map(|label| label.statement(&format!("DATABASE {database}"))),
        );
        statements
    }

    fn grants(&self, database: &str) -> Vec<String> {
        let Some(acl) = &self.acl else {
            return Vec::new();
        };
        let owner = self.owner.as_deref().unwrap_or_default();
        let mut statements = vec![format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC")];
        if !owner.is_empty() {
            statements.push(format!(
                "REVOKE ALL ON DATABASE {database} FROM {}",
                ident(owner)
            ));
        }
        // The owner's grants first: others' rest on them.
        let mut sorted: Vec<&Grant> = acl.iter().collect();
        sorted.sort_by_key(|grant| grant.grantor != owner);
        for grant in sorted {
            let to = grant
                .grantee
                .as_deref()
                .map_or_else(|| "PUBLIC".to_owned(), ident);
            let on = if grant.grantable {
                " WITH GRANT OPTION"
            } else {
                ""
            };
            // Words of ours, whatever the data says.
            let known = PRIVILEGES
                .iter()
                .filter(|known| grant.privileges.iter().any(|one| one == *known));
            let privileges: Vec<&str> = known.copied().collect();
            if privileges.is_empty() {
                continue;
            }
            let text = format!(
                "GRANT {} ON DATABASE {database} TO {to}{on}",
                privileges.join(", ")
            );
            // What a superuser grants is the owner's grant, unless the superuser speaks as another.
            statements.push(if grant.grantor == owner || owner.is_empty() {
                text
            } else {
                format!(
                    "SET SESSION AUTHORIZATION {}; {text}; RESET SESSION AUTHORIZATION",
                    ident(&grant.grantor)
                )
            });
        }
        statements
    }

    /// The statements that give it its limits, which would be in the way while it is loaded.
    pub fn limits(&self, name: &str) -> Vec<String> {
        let database = ident(name);
        vec![
            format!(
                "ALTER DATABASE {database} CONNECTION LIMIT {}",
                self.connection_limit
            ),
            format!("ALTER DATABASE {database} IS_TEMPLATE {}", self.is_template),
            format!(
                "ALTER DATABASE {database} ALLOW_CONNECTIONS {}",
                self.allow_connections
            ),
        ]
    }
}

impl Label {
    /// The statement that gives it; `on` is the object.
    pub(crate) fn statement(&self, on: &str) -> String {
        format!(
            "SECURITY LABEL FOR {} ON {on} IS {}",
            ident(&self.provider),
            literal(&self.label)
        )
    }
}

/// What may be granted on a database.
const PRIVILEGES: [&str; 3] = ["CREATE", "CONNECT", "TEMPORARY"];

/// Columns that servers have had since 15, 16 or 17 are read from the row as a whole.
const QUESTION: &str = "
SELECT pg_catalog.jsonb_build_object(
  'encoding', pg_catalog.pg_encoding_to_char(d.encoding),
  'locale_provider', CASE r.whole ->> 'datlocprovider' WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END,
  'collate', d.datcollate, 'ctype', d.datctype,
  'locale', COALESCE(r.whole ->> 'datlocale', r.whole ->> 'daticulocale'),
  'icu_rules', r.whole ->> 'daticurules',
  'tablespace', (SELECT t.spcname FROM pg_catalog.pg_tablespace t WHERE t.oid = d.dattablespace),
  'owner', pg_catalog.pg_get_userbyid(d.datdba),
  'connection_limit', d.datconnlimit, 'is_template', d.datistemplate, 'allow_connections', d.datallowconn,
  'comment', pg_catalog.shobj_description(d.oid, 'pg_database'),
  'settings', '[]'::jsonb,
  'lines', COALESCE((
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.rolname, c.line) ORDER BY a.rolname NULLS FIRST, c.position)
    FROM pg_catalog.pg_db_role_setting s CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) WITH ORDINALITY c (line, position)
    LEFT JOIN pg_catalog.pg_roles a ON a.oid = s.setrole
    WHERE s.setdatabase = d.oid AND (s.setrole = 0 OR a.oid IS NOT NULL)
      -- Marks of restores are of this server.
      AND c.line NOT LIKE 'backupd.%'), '[]'),
  'acl', CASE WHEN d.datacl IS NOT NULL THEN COALESCE((
    SELECT pg_catalog.jsonb_agg(g.entry ORDER BY g.position) FROM (
      SELECT pg_catalog.min(x.position) AS position, pg_catalog.jsonb_build_object(
        'grantee', CASE WHEN x.grantee <> 0 THEN pg_catalog.pg_get_userbyid(x.grantee) END,
        'grantor', pg_catalog.pg_get_userbyid(x.grantor), 'grantable', x.is_grantable,
        'privileges', pg_catalog.jsonb_agg(x.privilege_type ORDER BY x.position)) AS entry
      FROM pg_catalog.aclexplode(d.datacl) WITH ORDINALITY x (grantor, grantee, privilege_type, is_grantable, position)
      GROUP BY x.grantee, x.grantor, x.is_grantable) g), '[]') END,
  'labels', COALESCE((
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('provider', l.provider, 'label', l.label) ORDER BY l.provider)
    FROM pg_catalog.pg_shseclabel l
    WHERE l.objoid = d.oid AND l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass), '[]'))
FROM pg_catalog.pg_database d CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(d)) r (whole)
WHERE d.datname = pg_catalog.current_database()";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart_as_the_server_keeps_them() {
        let table = [
            ("search_path=\"$user\", public", vec!["$user", "public"]),
            ("search_path=\"\"", vec![""]),
            ("search_path=\"a \"\" b, c\",d", vec!["a \" b, c", "d"]),
            // Not a list of names: as it is.
            ("search_path=\"a", vec!["\"a"]),
            ("DateStyle=SQL, DMY", vec!["SQL, DMY"]),
            ("app.x=a=b\n--", vec!["a=b\n--"]),
        ];
        for (line, values) in table {
            assert_eq!(Setting::of_catalog(None, line).values, values, "{line}");
        }
    }

    #[test]
    fn every_name_and_value_is_quoted() {
        let hostile = "x'; DROP ROLE y; -- \" \\";
        let properties = DatabaseProperties {
            encoding: Some(hostile.to_owned()),
            owner: Some(hostile.to_owned()),
            tablespace: Some(hostile.to_owned()),
            comment: Some(hostile.to_owned()),
            settings: vec![Setting {
                role: Some(hostile.to_owned()),
                name: hostile.to_owned(),
                values: vec![hostile.to_owned(), String::new()],
            }],
            acl: Some(vec![Grant {
                grantee: Some(hostile.to_owned()),
                grantor: hostile.to_owned(),
                privileges: vec!["CONNECT".to_owned(), hostile.to_owned()],
                grantable: true,
            }]),
            labels: vec![Label {
                provider: hostile.to_owned(),
                label: hostile.to_owned(),
            }],
            ..DatabaseProperties::default()
        };
        let mut statements = properties.statements(hostile);
        statements.push(properties.creation(hostile));
        statements.extend(properties.limits(hostile));
        for statement in statements {
            let rest = statement
                .replace("\"x'; DROP ROLE y; -- \"\" \\\"", "NAME")
                .replace("E'x''; DROP ROLE y; -- \" \\\\'", "TEXT");
            assert!(!rest.contains("DROP"), "{rest}");
        }
    }
}
