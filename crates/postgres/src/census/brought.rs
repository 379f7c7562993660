//! What extensions brought, as it is now. No dump holds it: creating an extension brings it again, but not what an event trigger added or
//! altered meanwhile (a service's event triggers do, for pg_graphql and pg_net).

use serde::{Deserialize, Serialize};

use crate::server::{Server, ServerError};

const BROUGHT: &str = include_str!("brought.sql");

/// An extension of a database. Of functions of ordinary roles nothing is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// Its version: another brings other things.
    pub version: String,
    /// A digest of the names of its members, how its functions run, and what is given on its schemas.
    pub digest: String,
    /// Its functions that run in a way of their own, and those in schemas that it did not bring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routines: Vec<Routine>,
    /// Privileges on its schemas of which some were given while an extension was created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
}

/// A function or procedure of an extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routine {
    /// `net.http_get(text,jsonb)`.
    pub signature: String,
    /// A superuser.
    pub owner: String,
    /// `SECURITY DEFINER`.
    pub definer: bool,
    /// `search_path=net`, as the server keeps it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<String>,
    /// The statement that makes it, where it lies in a schema that is not the extension's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
}

/// A privilege on a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The schema.
    pub schema: String,
    /// None for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `USAGE` or `CREATE`.
    pub privilege: String,
    /// Whether it may be given on.
    pub grantable: bool,
}

/// Every extension of a database by name. The `search_path` must be empty.
pub async fn brought(server: &Server) -> Result<Vec<(String, Brought)>, ServerError> {
    let rows = server.rows(BROUGHT).await?;
    let extension = |row: &tokio_postgres::SimpleQueryRow| {
        let text = |at: usize| row.get(at).unwrap_or_default();
        // What the server tells as JSON is of these forms, or is not there.
        let brought = Brought {
            version: text(1).to_owned(),
            digest: super::short_digest(text(2)),
            routines: serde_json::from_str(text(3)).unwrap_or_default(),
            given: serde_json::from_str(text(4)).unwrap_or_default(),
        };
        (text(0).to_owned(), brought)
    };
    Ok(rows.iter().map(extension).collect())
}
