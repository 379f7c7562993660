//! Whether a good set is what its source was, or something happened to the source: another server behind the address, most rows gone,
//! ciphertext where text was. Pure: the vitals of the sets that count, those of the new one and the settings in; anomalies out, as data
//! that whoever shows them has the words for.
//!
//! Tables whose names differ in digits alone (partitions by day, chunks) are counted together, so that they may come and go.

mod fall;
mod judge;
mod pattern;
mod vitals;

use catalog::anomaly::Quantity;

pub use judge::{Known, judge, made_anew};
pub use pattern::{EMPTIED_BY_SERVICES, NoPattern, Pattern};
pub use vitals::{SourceVitals, TableVitals, Vitals};

const MIB: u64 = 1024 * 1024;

/// Of a source, less than this is too little to tell anything: a new stack, a trial.
fn floor(of: Quantity) -> u64 {
    match of {
        Quantity::Rows => 100,
        Quantity::Bytes => MIB,
        Quantity::Tables | Quantity::LargeObjects | Quantity::Files | Quantity::Objects => 10,
        Quantity::Unknown => u64::MAX,
    }
}

/// Of one table, which is emptied more easily than a source.
fn table_floor(of: Quantity) -> u64 {
    match of {
        Quantity::Rows => 1000,
        _ => MIB,
    }
}

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
