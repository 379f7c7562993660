//! One file of a set, as its manifest tells of it.

use serde::{Deserialize, Serialize};

use crate::census::Census;
use crate::compression::Compression;
use crate::identity::Identity;
use crate::name::PlainName;

/// One file of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Flat")]
pub struct Artifact {
    /// Its name in the set.
    pub file: PlainName,
    /// What it is, and holds.
    #[serde(flatten)]
    pub content: Content,
    /// Of its source; a plain name too.
    pub label: String,
    /// What tells its source from another of the same label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The program that made it, with its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// `plain`, `custom` or `tar`.
    pub format: String,
    /// How the file as a whole is compressed.
    pub compression: Compression,
    /// On disk.
    pub bytes: u64,
    /// Before compression.
    pub raw_bytes: u64,
    /// Of the file on disk, in hex.
    pub sha256: String,
}

/// What an artifact is, with what is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    /// A dump of one database.
    Database(Box<Dump>),
    /// Roles, and settings of a database.
    Roles(Roles),
    /// Supabase Storage's files.
    Storage(Archive),
    /// An extra path.
    Files(Archive),
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A dump of one database.
    Database,
    /// Roles, and settings of a database.
    Roles,
    /// Supabase Storage's files.
    Storage,
    /// An extra path.
    Files,
}

/// A dump of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dump {
    /// The database it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Rows per table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables: Option<Vec<TableRows>>,
    /// Large objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<LargeObjects>,
    /// What the database held in the snapshot that was dumped, in sets that were made before `census.json.gz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub census: Option<Census>,
    /// What the dumped database carries besides its content: encoding and locale, owner, settings, privileges, comment. Written and
    /// read by the crate that knows servers.
    #[serde(rename = "database", skip_serializing_if = "Option::is_none")]
    pub properties: Option<serde_json::Value>,
}

/// Roles of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Roles {
    /// The database beside whose dump they lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Whether password hashes are among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passwords_included: Option<bool>,
}

/// An archive of a tree of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// The directory it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<Tree>,
}

impl Artifact {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.content {
            Content::Database(_) => Kind::Database,
            Content::Roles(_) => Kind::Roles,
            Content::Storage(_) => Kind::Storage,
            Content::Files(_) => Kind::Files,
        }
    }

    /// The dump that it is.
    pub fn dump(&self) -> Option<&Dump> {
        match &self.content {
            Content::Database(dump) => Some(dump),
            Content::Roles(_) | Content::Storage(_) | Content::Files(_) => None,
        }
    }

    /// The dump that it is.
    pub fn dump_mut(&mut self) -> Option<&mut Dump> {
        match &mut self.content {
            Content::Database(dump) => Some(dump),
            Content::Roles(_) | Content::Storage(_) | Content::Files(_) => None,
        }
    }

    /// Rows per table of the dump that it is.
    pub fn tables(&self) -> Option<&[TableRows]> {
        self.dump()?.tables.as_deref()
    }

    /// The database that it came from.
    pub fn source(&self) -> Option<&Source> {
        match &self.content {
            Content::Database(dump) => dump.source.as_ref(),
            Content::Roles(roles) => roles.source.as_ref(),
            Content::Storage(_) | Content::Files(_) => None,
        }
    }

    /// The archive that it is.
    pub fn archive(&self) -> Option<&Archive> {
        match &self.content {
            Content::Storage(archive) | Content::Files(archive) => Some(archive),
            Content::Database(_) | Content::Roles(_) => None,
        }
    }

    /// What the archive that it is holds.
    pub fn tree(&self) -> Option<&Tree> {
        self.archive()?.tree.as_ref()
    }

    /// Whether the roles file that it is holds password hashes.
    pub fn has_passwords(&self) -> Option<bool> {
        match &self.content {
            Content::Roles(roles) => roles.passwords_included,
            Content::Database(_) | Content::Storage(_) | Content::Files(_) => None,
        }
    }
}

/// An artifact as it is written: serde's `flatten` would hold all of it in memory twice to read it.
#[derive(Deserialize)]
struct Flat {
    file: PlainName,
    kind: Kind,
    label: PlainName,
    source: Option<Source>,
    path: Option<String>,
    identity: Option<Identity>,
    tool: Option<String>,
    format: String,
    compression: Compression,
    bytes: u64,
    raw_bytes: u64,
    sha256: String,
    tables: Option<Vec<TableRows>>,
    large_objects: Option<LargeObjects>,
    census: Option<Census>,
    database: Option<serde_json::Value>,
    tree: Option<Tree>,
    passwords_included: Option<bool>,
}

impl From<Flat> for Artifact {
    fn from(flat: Flat) -> Self {
        let archive = Archive {
            path: flat.path,
            tree: flat.tree,
        };
        let content = match flat.kind {
            Kind::Database => Content::Database(Box::new(Dump {
                source: flat.source,
                tables: flat.tables,
                large_objects: flat.large_objects,
                census: flat.census,
                properties: flat.database,
            })),
            Kind::Roles => Content::Roles(Roles {
                source: flat.source,
                passwords_included: flat.passwords_included,
            }),
            Kind::Storage => Content::Storage(archive),
            Kind::Files => Content::Files(archive),
        };
        Self {
            file: flat.file,
            content,
            label: flat.label.into(),
            identity: flat.identity,
            tool: flat.tool,
            format: flat.format,
            compression: flat.compression,
            bytes: flat.bytes,
            raw_bytes: flat.raw_bytes,
            sha256: flat.sha256,
        }
    }
}

/// A database an artifact came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name, address or socket directory.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Its name.
    pub database: String,
    /// The role that read it.
    pub user: String,
    /// `15.8`.
    pub server_version: String,
    /// `pg_database_size` when the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_bytes: Option<u64>,
}

impl Source {
    /// Major version of its server.
    pub fn major(&self) -> Option<u32> {
        self.server_version.split('.').next()?.parse().ok()
    }
}

/// Rows of a table in a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// `schema.table`, quoted as the dump quotes it.
    pub table: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of their lines in a plain dump, without newlines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Of all of them, in any order: the sum modulo 2^128 of XXH3 of each row's line, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Large objects of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    /// How many.
    pub count: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Of all of them, in any order: the sum modulo 2^128 of XXH3 of `OID:` and each one's content in hex.
    pub digest: String,
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Regular files.
    pub files: u64,
    /// Directories, the root among them.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Sum of the files' sizes.
    pub bytes: u64,
    /// Digest of names, sizes, modes, owners and extended attributes, in any order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<String>,
}
