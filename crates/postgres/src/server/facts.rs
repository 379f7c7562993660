//! What a dump of a database will meet.

use serde::Serialize;
use tokio_postgres::SimpleQueryRow;

use super::encoding::{self, SQL_ASCII};
use super::{Server, ServerError};

/// Relations that are named; the rest is counted.
const NAMED: usize = 20;
/// Superusers that are named.
const SUPERUSERS: usize = 5;

/// What a connection tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, none a state"
)]
pub struct Facts {
    /// As `SHOW server_version` begins: `15.18`.
    pub server_version: String,
    /// 150018 for 15.18.
    pub version_num: u32,
    /// Decides which tools can dump it.
    pub major: u32,
    /// The role that is connected.
    pub user: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// Whether row security does not bind it.
    pub bypass_rls: bool,
    /// Size on the server's disk.
    pub database_bytes: u64,
    /// Tables besides the system's, partitioned ones and their partitions counted each.
    pub tables: u64,
    /// Large objects.
    pub large_objects: u64,
    /// Large objects this role may not read: pg_dump fails on the first.
    pub unreadable_large_objects: u64,
    /// User mappings of foreign servers whose options this role cannot see: pg_dump leaves the options out and exits with 0.
    pub hidden_user_mappings: u64,
    /// Subscriptions that pg_dump leaves out because the role is no superuser.
    pub hidden_subscriptions: u64,
    /// Tables and sequences this role may not SELECT, at most 20, as `schema.name`.
    pub unreadable: Vec<String>,
    /// All of them.
    pub unreadable_total: u64,
    /// Tables on which row security binds this role: pg_dump fails on the first.
    pub rls_tables: u64,
    /// Superusers that may log in, at most 5.
    pub superusers: Vec<String>,
    /// Whether password hashes (`pg_authid`) can be read.
    pub can_read_passwords: bool,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Owner of the database.
    pub database_owner: String,
    /// Its encoding, `UTF8`.
    pub encoding: String,
    /// What in a database of `SQL_ASCII` is no UTF-8, and can therefore not be restored: the kind and the name of each, at most 20.
    pub not_utf8: Vec<String>,
    /// Its collation.
    pub collate: String,
    /// Whether the connection goes through a pooler that gives each transaction another session.
    pub transaction_pooler: bool,
    /// Whether the server checks its pages.
    pub data_checksums: bool,
    /// The set from which the database is being restored, or was when that was cut off; empty for a whole one.
    pub restoring: String,
    /// Of the database, `pg_database.oid`: one that is made anew has another.
    pub database_oid: u32,
    /// Of the server, made by `initdb`; none where the role may not ask.
    pub system_identifier: Option<String>,
}

/// One row of plain facts. Names are qualified: the role's `search_path` is its own business.
const SCALARS: &str = "
SELECT pg_catalog.pg_backend_pid(),
  pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1),
  pg_catalog.current_setting('server_version_num'),
  r.rolname, r.rolsuper, r.rolbypassrls,
  pg_catalog.pg_database_size(d.oid),
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata),
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata l
   WHERE NOT r.rolsuper AND NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE')
     AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(l.lomacl) a
       WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))),
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_user_mappings u JOIN pg_catalog.pg_foreign_server s ON s.oid = u.srvid
   WHERE u.umoptions IS NULL AND NOT r.rolsuper
     AND NOT (u.umuser = r.oid AND pg_catalog.has_server_privilege(s.oid, 'USAGE'))
     AND NOT (u.umuser = 0 AND pg_catalog.pg_has_role(s.srvowner, 'USAGE'))),
  (SELECT pg_catalog.count(s.subdbid) FROM pg_catalog.pg_subscription s WHERE s.subdbid = d.oid AND NOT r.rolsuper),
  pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT'),
  pg_catalog.pg_is_in_recovery(),
  pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate,
  pg_catalog.current_setting('data_checksums') = 'on',
  (SELECT pg_catalog.string_agg(s.rolname, E'\\n' ORDER BY s.rolname) FROM pg_catalog.pg_roles s
   WHERE s.rolsuper AND s.rolcanlogin),
  pg_catalog.current_setting('backupd.restoring', true),
  d.oid, pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
WHERE d.datname = pg_catalog.current_database() AND r.rolname = current_user";

/// Where in [`SCALARS`] the encoding is.
const ENCODING: usize = 14;

/// The relations whose data pg_dump reads: not temporary ones, and of extensions' relations only those that extensions registered
/// (`pg_extension.extconfig`, which is how the jobs of pg_cron are dumped). A dropped table's privilege is null.
const RELATIONS: &str = "
WITH dumped AS (
  SELECT c.oid, c.relkind, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
    c.relrowsecurity AND pg_catalog.row_security_active(c.oid) AS bound
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
    AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE E'pg\\\\_%'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
      WHERE x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND x.objid = c.oid
        AND x.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND x.deptype = 'e'
        AND NOT c.oid = ANY (COALESCE(e.extconfig, '{}'))))
SELECT pg_catalog.pg_backend_pid(),
  (SELECT pg_catalog.count(*) FROM dumped WHERE relkind <> 'S'),
  (SELECT pg_catalog.count(*) FROM dumped WHERE relkind <> 'S' AND bound),
  (SELECT pg_catalog.count(*) FROM dumped WHERE NOT readable),
  (SELECT pg_catalog.string_agg(name, E'\\x01' ORDER BY name)
   FROM (SELECT name FROM dumped WHERE NOT readable ORDER BY name LIMIT 20) AS first)";

const BACKEND: &str = "SELECT pg_catalog.pg_backend_pid()";

/// Asked for apart: where the role may not, the whole statement fails.
const SYSTEM: &str = "SELECT system_identifier FROM pg_catalog.pg_control_system()";

/// Reads the columns of a row in their order.
struct Columns<'a> {
    row: &'a SimpleQueryRow,
    next: usize,
}

impl<'a> Columns<'a> {
    fn text(&mut self) -> &'a str {
        self.next += 1;
        self.row
            .try_get(self.next - 1)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    fn number(&mut self) -> u64 {
        self.text().parse().unwrap_or_default()
    }

    fn truth(&mut self) -> bool {
        self.text() == "t"
    }

    fn list(&mut self, separator: char, most: usize) -> Vec<String> {
        let parts = self.text().split(separator).filter(|part| !part.is_empty());
        parts.take(most).map(str::to_owned).collect()
    }
}

impl Facts {
    /// What a dump of the database is written in: UTF-8, into which every encoding converts but SQL_ASCII, which is none. Its bytes are
    /// taken as they are.
    pub fn dump_encoding(&self) -> &str {
        if self.encoding == SQL_ASCII {
            SQL_ASCII
        } else {
            "UTF8"
        }
    }

    /// Asks for them: three questions.
    pub async fn ask(server: &Server) -> Result<Self, ServerError> {
        let scalars = server.rows(SCALARS).await?;
        let relations = server.rows(RELATIONS).await?;
        let backend = server.rows(BACKEND).await?;
        let (Some(scalars), Some(relations)) = (scalars.first(), relations.first()) else {
            return Err(ServerError::Query {
                server: server.dsn.to_string(),
                reason: "it told nothing about its own database and role".to_owned(),
            });
        };
        let mut not_utf8 = Vec::new();
        if scalars.try_get(ENCODING).ok().flatten() == Some(SQL_ASCII) {
            not_utf8 = encoding::not_utf8(server, NAMED).await?;
        }
        let mut scalar = Columns {
            row: scalars,
            next: 0,
        };
        let mut relation = Columns {
            row: relations,
            next: 0,
        };
        let first_backend = scalar.text();
        let backends = [
            Some(relation.text()),
            backend.first().and_then(|row| row.get(0)),
        ];
        let wanders = backends
            .iter()
            .any(|backend| *backend != Some(first_backend));
        let is_shared = is_shared(server, first_backend).await;
        let server_version = scalar.text().to_owned();
        let version_num = u32::try_from(scalar.number()).unwrap_or_default();
        Ok(Self {
            server_version,
            version_num,
            major: version_num / 10_000,
            user: scalar.text().to_owned(),
            superuser: scalar.truth(),
            bypass_rls: scalar.truth(),
            database_bytes: scalar.number(),
            large_objects: scalar.number(),
            unreadable_large_objects: scalar.number(),
            hidden_user_mappings: scalar.number(),
            hidden_subscriptions: scalar.number(),
            can_read_passwords: scalar.truth(),
            in_recovery: scalar.truth(),
            database_owner: scalar.text().to_owned(),
            encoding: scalar.text().to_owned(),
            not_utf8,
            collate: scalar.text().to_owned(),
            data_checksums: scalar.truth(),
            superusers: scalar.list('\n', SUPERUSERS),
            restoring: scalar.text().to_owned(),
            database_oid: u32::try_from(scalar.number()).unwrap_or_default(),
            system_identifier: if scalar.truth() {
                system(server).await
            } else {
                None
            },
            tables: relation.number(),
            rls_tables: relation.number(),
            unreadable_total: relation.number(),
            unreadable: relation.list('\x01', NAMED),
            transaction_pooler: wanders || is_shared,
        })
    }
}

/// Hosted servers may refuse it to whom they grant it.
async fn system(server: &Server) -> Option<String> {
    let rows = server.rows(SYSTEM).await.ok()?;
    let system = rows.first()?.try_get(0).ok()??;
    Some(system.to_owned())
}

/// Whether a second connection is served by the session that serves this one, which is open. A server has one for each; a pooler that is
/// idle gives out the one that it used last.
async fn is_shared(server: &Server, backend: &str) -> bool {
    let asking = async {
        let other = Server::connect(&server.dsn).await?;
        let told = other.rows(BACKEND).await?;
        Ok::<_, ServerError>(told.first().and_then(|row| row.get(0)) == Some(backend))
    };
    // Where there is no room for another connection, nothing is known.
    asking.await.unwrap_or(false)
}
