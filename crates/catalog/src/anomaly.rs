//! Whether a good set is what its source was, or something happened to the source: another server behind the address, most rows gone,
//! ciphertext where text was. Pure: the vitals of the sets that count, those of the new one and the settings in; anomalies out, as data
//! that whoever shows them has the words for.
//!
//! Tables whose names differ in digits alone (partitions by day, chunks) are counted together, so that they may come and go.

mod fall;
mod judge;
mod pattern;
mod vitals;

use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::set::SetId;

pub use judge::{Known, judge, made_anew};
pub use pattern::{EMPTIED_BY_SERVICES, NoPattern, Pattern};
pub use vitals::{SourceVitals, TableVitals, Vitals, Written};

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

impl Quantity {
    /// Of a source, less than this is too little to tell anything: a new stack, a trial.
    fn floor(self) -> u64 {
        match self {
            Self::Rows => 100,
            Self::Bytes => MIB,
            Self::Tables | Self::LargeObjects | Self::Files | Self::Objects => 10,
            Self::Unknown => u64::MAX,
        }
    }

    /// Of one table, which is emptied more easily than a source.
    fn table_floor(self) -> u64 {
        match self {
            Self::Rows => 1000,
            _ => MIB,
        }
    }
}

const MIB: u64 = 1024 * 1024;

/// What is an anomaly.
#[derive(Debug, Clone)]
pub struct Settings {
    /// To lose more than this is one, in percent (`BACKUP_ANOMALY_DROP_PERCENT`).
    pub drop_percent: u8,
    /// What does not count besides [`EMPTIED_BY_SERVICES`] (`BACKUP_ANOMALY_IGNORE`).
    pub ignore: Vec<Pattern>,
}

impl Settings {
    /// Half of it gone.
    pub const DROP_PERCENT: u8 = 50;

    /// Whether `is` is more than the set percentage below `was`.
    fn is_lost(&self, was: u64, is: u64) -> bool {
        let kept = 100_u128.saturating_sub(u128::from(self.drop_percent));
        u128::from(is) * 100 < u128::from(was) * kept
    }
}

#[cfg(test)]
mod tests;
