//! How a dump is loaded.

use std::collections::BTreeSet;

use super::feed::Source;
use crate::dsn::Dsn;
use crate::sql::QualifiedName;

/// What follows a statement that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The load fails with it.
    Stop,
    /// The load goes on, and tells it in the end.
    GoOn,
}

/// What is loaded of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Only {
    /// All of it.
    Everything,
    /// No rows, and nothing that rests on them.
    Schema,
    /// The rows of these tables, and their keys.
    Tables(BTreeSet<QualifiedName>),
}

/// An extension that is created later, and the schema that it brings.
#[derive(Debug, Clone, Copy)]
pub struct Later {
    /// Its name.
    pub extension: &'static str,
    /// Its schema.
    pub schema: &'static str,
}

/// How a dump is loaded.
pub struct LoadRequest<'a> {
    /// The dump.
    pub source: Source,
    /// The database, as a superuser.
    pub dsn: &'a Dsn,
    /// The server's major version.
    pub server_major: u32,
    /// Connections.
    pub jobs: u8,
    /// What of it.
    pub only: Only,
    /// Extensions that this server cannot have: they are not created.
    pub absent: BTreeSet<String>,
    /// What is put off.
    pub later: Option<Later>,
    /// What follows an error.
    pub on_error: OnError,
    /// Whether tablespaces that the server lacks are made, in its own directory: a server that is thrown away has none.
    pub makes_tablespaces: bool,
}
