//! One instant of a database, held open: what is asked here and what a dump with the same snapshot holds are of the same moment
//! (`pg_export_snapshot`, PostgreSQL manual 9.28.5).

use crate::dsn::Dsn;
use crate::server::{Server, ServerError};

/// A snapshot, as long as this lives.
pub struct Snapshot {
    server: Server,
    id: String,
}

impl Snapshot {
    /// Opens a transaction that only reads, and exports its snapshot.
    pub async fn open(dsn: &Dsn) -> Result<Self, ServerError> {
        let server = Server::connect(dsn).await?.patient();
        server
            .execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .await?;
        let mut ids = server
            .names("SELECT pg_catalog.pg_export_snapshot()")
            .await?;
        Ok(Self {
            server,
            id: ids.pop().unwrap_or_default(),
        })
    }

    /// Its name, for `pg_dump --snapshot`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The transaction that holds it.
    pub fn server(&self) -> &Server {
        &self.server
    }
}
