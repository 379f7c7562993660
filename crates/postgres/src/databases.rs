//! The databases of a server, and which of them are only there because backupd made them.

use crate::server::{Server, ServerError};

/// The first oid that objects of users have (`FirstNormalObjectId`, PostgreSQL manual 74.2).
const FIRST_OF_USERS: u32 = 16_384;

/// What a server says of its databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Databases {
    /// When the server started, to the microsecond: the same for all its addresses, and different for every other server.
    pub server: String,
    /// Databases that take connections, but templates and what backupd itself keeps aside or restores into, sorted.
    pub names: Vec<String>,
}

impl Databases {
    /// Asks a server.
    pub async fn of(server: &Server) -> Result<Self, ServerError> {
        let started = server
            .names("SELECT pg_catalog.pg_postmaster_start_time()")
            .await?;
        // -2 is the mark of one whose DROP was cut off: nobody can connect to it.
        let mut names = server
            .names(
                "SELECT datname FROM pg_catalog.pg_database WHERE NOT datistemplate AND datallowconn AND datconnlimit <> -2",
            )
            .await?;
        names.retain(|name| !is_backupds(name));
        names.sort();
        Ok(Self {
            server: started.into_iter().next().unwrap_or_default(),
            names,
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

/// Whether a name is one that backupd gives: of a restore at work, of a database that a restore moved aside, of a drill's copy.
fn is_backupds(name: &str) -> bool {
    let of_restore = |word: &str| {
        name.rsplit_once(word)
            .is_some_and(|(_, rest)| begins_with_set(rest))
    };
    name.starts_with("backupd_drill_") || of_restore("_restoring_") || of_restore("_before_")
}

/// `20261120T020000Z`, or that with `_2` behind it.
fn begins_with_set(text: &str) -> bool {
    let (set, number) = text.split_once('_').unwrap_or((text, "0"));
    set.len() == 16
        && set.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_backupd_are_its_own() {
        for name in [
            "postgres_restoring_20261120T020000Z",
            "postgres_before_20261120T020000Z",
            "postgres_before_20261120T020000Z_2",
            "backupd_drill_supabase_20261120T020000Z",
        ] {
            assert!(is_backupds(name), "{name}");
        }
        for name in [
            "_supabase",
            "life_before_2026",
            "postgres_before_20261120T020000Z_",
            "postgres_before_20261120T020000Z_new",
            "x_restoring_20261120_020000Z",
        ] {
            assert!(!is_backupds(name), "{name}");
        }
    }
}
