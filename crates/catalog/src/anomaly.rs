//! What may be odd about a set beside those before it, as its manifest keeps it: data, which whoever shows it has the words for. What is
//! odd is decided by `policy::anomaly`.

use serde::{Deserialize, Serialize};

use crate::artifact::Compression;
use crate::identity::Identity;
use crate::set::SetId;

/// What is odd about a set beside those before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Anomaly {
    /// The source is another one.
    AnotherSource {
        /// Its label.
        source: String,
        /// The set it was compared with.
        since: SetId,
        /// What that set's source was.
        was: Identity,
        /// What it is now.
        is: Identity,
    },
    /// Of a source as a whole there is much less.
    SourceFell {
        /// Its label.
        source: String,
        /// The set it was compared with.
        since: SetId,
        /// Of what.
        of: Quantity,
        /// How much there was.
        was: u64,
        /// How much there is.
        is: u64,
    },
    /// Of a table there is much less.
    TableFell {
        /// Its source's label.
        source: String,
        /// The set it was compared with.
        since: SetId,
        /// `schema.table`, with `#` for digits that differ between tables that are counted together.
        table: String,
        /// Rows or bytes.
        of: Quantity,
        /// How much there was.
        was: u64,
        /// How much there is.
        is: u64,
    },
    /// What could be compressed cannot any more, as ciphertext cannot.
    Incompressible {
        /// The source's label.
        source: String,
        /// The set it was compared with.
        since: SetId,
        /// What its file was before and after compression.
        was: Written,
        /// What it is.
        is: Written,
    },
    /// The sets before could not be read.
    NotCompared {
        /// In the system's words.
        why: String,
    },
    /// One that a newer backupd found.
    #[serde(other)]
    Unknown,
}

impl Anomaly {
    /// The label of its source.
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::AnotherSource { source, .. }
            | Self::SourceFell { source, .. }
            | Self::TableFell { source, .. }
            | Self::Incompressible { source, .. } => Some(source),
            Self::NotCompared { .. } | Self::Unknown => None,
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Of tables.
    Rows,
    /// That a dump has data of.
    Tables,
    /// Of rows as a dump writes them, of large objects, or of files.
    Bytes,
    /// Large objects.
    LargeObjects,
    /// Regular files.
    Files,
    /// Rows of `storage.objects` that should have a file.
    Objects,
    /// One that a newer backupd counts.
    #[serde(other)]
    Unknown,
}

/// A file before and after compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// How it is compressed.
    pub compression: Compression,
    /// Before.
    pub raw_bytes: u64,
    /// After.
    pub bytes: u64,
}

impl Written {
    /// What compression spared.
    pub fn spared(&self) -> u64 {
        self.raw_bytes.saturating_sub(self.bytes)
    }
}
