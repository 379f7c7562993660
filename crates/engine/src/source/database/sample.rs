//! What the first dump of a database will take, by a sample of its rows: bounded in bytes and time, so that it costs a run next to nothing.

use std::time::Duration;

use postgres::dsn::Dsn;
use postgres::sample;
use stream::artifact::Compression;

/// A sample that takes longer is given up: the estimate does without.
const WITHIN: Duration = Duration::from_secs(5);
/// A dump's text over the bytes of a table on the server's disk, at most: `bytea` is written in hexadecimal.
const TEXT_OVER_TABLE: f64 = 2.0;
/// What a dump has besides rows: some hundred statements a mebibyte, compressed.
const STATEMENTS_BYTES: u64 = 512 * 1024;

/// A database's dump; none where it could not be sampled.
pub async fn of_database(dsn: &Dsn, compression: Compression) -> Option<u64> {
    let taken = tokio::time::timeout(WITHIN, sample::take(dsn)).await.ok()?;
    let sample = taken
        .inspect_err(|error| tracing::debug!(%error, "no sample of a database"))
        .ok()?;
    let packing = move || of_rows(&sample, compression).ok();
    tokio::task::spawn_blocking(packing).await.ok()?
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate: the error of f64 is far below its own, and every factor is positive"
)]
fn of_rows(sample: &sample::Sample, compression: Compression) -> std::io::Result<u64> {
    let (mut needed, mut known, mut text, mut packed) = (0_f64, 0, 0_u64, 0_u64);
    for table in &sample.tables {
        let (raw, small) = (table.text.len() as u64, compression.size_of(&table.text)?);
        text += raw;
        packed += small;
        known += table.bytes;
        needed += match (table.is_whole, raw) {
            (true, _) | (_, 0) => small as f64,
            (false, raw) => table.bytes as f64 * TEXT_OVER_TABLE * small as f64 / raw as f64,
        };
    }
    let ratio = if text == 0 {
        1.0
    } else {
        packed as f64 / text as f64
    };
    let rest = sample.bytes.saturating_sub(known) as f64;
    Ok(needed as u64 + (rest * TEXT_OVER_TABLE * ratio) as u64 + STATEMENTS_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GZIP: Compression = Compression::Gzip { level: 2 };

    #[test]
    fn rows_are_estimated_by_what_some_of_them_become() {
        let table = |bytes, text: &str, is_whole| sample::Table {
            bytes,
            text: text.into(),
            is_whole,
        };
        let words = "some words of a table\n".repeat(20_000);
        let small = sample::Sample {
            bytes: 3_000_000,
            tables: vec![table(3_000_000, &words, true)],
        };
        // All rows were read: what they become is known.
        assert!(of_rows(&small, GZIP).unwrap() < STATEMENTS_BYTES + 30_000);
        let mut state = 1_u64;
        let noise: String = (0..200_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                char::from_digit(u32::try_from(state >> 60).unwrap(), 16).unwrap()
            })
            .collect();
        let large = sample::Sample {
            bytes: 100_000_000,
            tables: vec![table(90_000_000, &noise, false)],
        };
        let needed = of_rows(&large, GZIP).unwrap();
        assert!((95_000_000..130_000_000).contains(&needed), "{needed}");
        assert_eq!(
            of_rows(&sample::Sample::default(), GZIP).unwrap(),
            STATEMENTS_BYTES
        );
    }
}
