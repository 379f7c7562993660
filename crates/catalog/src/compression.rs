//! How a file of a set is compressed.

use serde::{Deserialize, Serialize};
use stream::artifact::Compression as Encoded;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not as a whole.
    None,
    /// A series of gzip members.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl From<Encoded> for Compression {
    fn from(encoded: Encoded) -> Self {
        match encoded {
            Encoded::None => Self::None,
            Encoded::Gzip { .. } => Self::Gzip,
            Encoded::Zstd { .. } => Self::Zstd,
        }
    }
}

impl Compression {
    /// For a reader, to which the level does not matter.
    pub fn decoded(self) -> Encoded {
        match self {
            Self::None => Encoded::None,
            Self::Gzip => Encoded::Gzip { level: 1 },
            Self::Zstd => Encoded::Zstd { level: 1 },
        }
    }
}
