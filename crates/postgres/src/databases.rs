//! The databases of a server, but those that a restore makes or keeps aside.

use crate::restore::marks::{MARK, MARK_KEPT, MARK_NAME};
use crate::server::{Server, ServerError};

/// The first oid that objects of users have (`FirstNormalObjectId`, PostgreSQL manual 74.2).
const FIRST_OF_USERS: u32 = 16_384;

/// A setting of database `d` itself; a comparison follows.
const OF_DATABASE: &str = "pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
  WHERE s.setdatabase = d.oid AND s.setrole = 0 AND c";

/// What a server says of its databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Databases {
    /// When the server started, to the microsecond: the same for all its addresses, and different for every other server.
    pub server: String,
    /// Databases that take connections, but templates and what a restore keeps aside or restores into, sorted.
    pub names: Vec<String>,
    /// Users' others: templates, and those that take no connections. Each with what it is; sorted.
    pub unusual: Vec<(String, Unusual)>,
}

/// Why a database is not taken for one with data in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unusual {
    /// `datistemplate`; it can be dumped.
    Template,
    /// Not `datallowconn`: nobody can read it.
    Closed,
}

impl Databases {
    /// Asks a server.
    pub async fn of(server: &Server) -> Result<Self, ServerError> {
        let started = server
            .names("SELECT pg_catalog.pg_postmaster_start_time()")
            .await?;
        // -2 is the mark of one whose DROP was cut off: nobody can connect to it. A name tells nothing: anybody may have given it.
        let found: Vec<(String, bool, bool)> = server
            .shared_json(&format!(
                "SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_array(d.datname, d.datistemplate, d.datallowconn)), '[]')
                 FROM pg_catalog.pg_database d
                 WHERE d.datname NOT IN ('template0', 'template1') AND d.datconnlimit <> -2
                   AND NOT EXISTS (SELECT FROM {OF_DATABASE} = '{MARK_KEPT}=' || d.datname)
                   AND (NOT EXISTS (SELECT FROM {OF_DATABASE} LIKE '{MARK}=%')
                     OR EXISTS (SELECT FROM {OF_DATABASE} = '{MARK_NAME}=' || d.datname))",
            ))
            .await?;
        let (mut names, mut unusual) = (Vec::new(), Vec::new());
        for (name, is_template, takes_connections) in found {
            match (is_template, takes_connections) {
                (_, false) => unusual.push((name, Unusual::Closed)),
                (true, true) => unusual.push((name, Unusual::Template)),
                (false, true) => names.push(name),
            }
        }
        names.sort();
        unusual.sort();
        Ok(Self {
            server: started.into_iter().next().unwrap_or_default(),
            names,
            unusual,
        })
    }
}

/// Whether a database holds nothing but what every new one has: no schema, relation, function or large object of a user.
pub async fn is_empty(server: &Server) -> Result<bool, ServerError> {
    let of_users = [
        "pg_class",
        "pg_proc",
        "pg_namespace",
        "pg_extension",
        "pg_largeobject_metadata",
    ]
    .map(|table| {
        format!("NOT EXISTS (SELECT FROM pg_catalog.{table} WHERE oid >= {FIRST_OF_USERS})")
    })
    .join(" AND ");
    let answer = server.names(&format!("SELECT {of_users}")).await?;
    Ok(answer.first().is_some_and(|answer| answer == "t"))
}
