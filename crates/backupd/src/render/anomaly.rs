//! Anomalies in words.

use std::path::Path;

use catalog::anomaly::{Anomaly, Quantity, Written};
use catalog::catalog::Found;
use catalog::set::SetId;
use engine::backup::strangers::named;
use engine::finding::Fault;
use engine::space::human;
use postgres::words::one_line;

use super::remedy::{Where, remedy};

/// Anomalies that are told in one line.
const TOLD: usize = 3;

/// What was found, in a sentence of one line: tables have their names from users.
pub fn words(anomaly: &Anomaly) -> String {
    one_line(&sentence(anomaly))
}

fn sentence(anomaly: &Anomaly) -> String {
    match anomaly {
        Anomaly::AnotherSource {
            source,
            since,
            was,
            is,
        } => format!(
            "{source} is another source than in {since}: it was {} and is {}",
            named(was),
            named(is)
        ),
        Anomaly::SourceFell {
            source,
            since,
            of,
            was,
            is,
        } => format!(
            "{source} has {} where {since} has {}",
            amount(*of, *is),
            amount(*of, *was)
        ),
        Anomaly::TableFell {
            source,
            since,
            table,
            of,
            was,
            is,
        } => format!(
            "{source}: {table} has {} where {since} has {}",
            amount(*of, *is),
            amount(*of, *was)
        ),
        Anomaly::Incompressible {
            source,
            since,
            was,
            is,
        } => format!(
            "{source} hardly compresses any more, as ciphertext: {} where {since} has {}",
            written(*is),
            written(*was)
        ),
        Anomaly::NotCompared { why } => {
            format!("it could not be compared with the sets before: {why}")
        }
        Anomaly::Unknown => {
            "something that this version does not know; a newer backupd found it".to_owned()
        }
    }
}

/// The first of them.
pub fn in_short(found: &[Anomaly]) -> String {
    let mut told: Vec<String> = found.iter().take(TOLD).map(words).collect();
    if found.len() > TOLD {
        told.push(format!("and {} more", found.len() - TOLD));
    }
    told.join("; ")
}

/// What is told behind a run that ended with an anomaly.
pub fn what_follows(set: SetId) -> String {
    format!(
        "BUT SOMETHING IS ODD ABOUT IT (the anomalies above). Until somebody has judged, `latest` passes over it, and retention removes \
         nothing that is older.\n  if data were lost: backupd restore --dry-run\n  if all is as it should be: backupd accept {set}\n"
    )
}

/// That a set could not be looked at, and what that holds.
pub fn held(dir: &Path, set: SetId, why: &str, at: Where) -> String {
    let aside = remedy(&Fault::Unread(dir.to_owned(), set), at).lines;
    format!(
        "{set} could not be looked at ({why}): retention removes neither it nor any older set; where that stays so, move it aside: `{}`",
        aside.join("; ")
    )
}

/// That `latest` is not the newest good set.
pub fn passed_over(found: &Found) -> Option<String> {
    let newest = found.passed_over.last()?;
    let more = match found.passed_over.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} before it)"),
    };
    Some(format!(
        "latest is {}: the newer set {newest}{more} has an anomaly that nobody has accepted; see `backupd show {newest}`",
        found.entry.id
    ))
}

fn amount(of: Quantity, count: u64) -> String {
    let (one, many) = match of {
        Quantity::Bytes => return human(count),
        Quantity::Rows => ("row", "rows"),
        Quantity::Tables => ("table", "tables"),
        Quantity::LargeObjects => ("large object", "large objects"),
        Quantity::Files => ("file", "files"),
        Quantity::Objects => ("object", "objects"),
        Quantity::Unknown => ("", ""),
    };
    let noun = if count == 1 { one } else { many };
    format!("{count} {noun}")
}

fn written(file: Written) -> String {
    format!("{} out of {}", human(file.bytes), human(file.raw_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fell(table: &str, was: u64, is: u64) -> Anomaly {
        Anomaly::TableFell {
            source: "supabase".to_owned(),
            since: "20261120T020000Z".parse().unwrap(),
            table: table.to_owned(),
            of: Quantity::Rows,
            was,
            is,
        }
    }

    #[test]
    fn anomalies_say_what_was_and_what_is() {
        assert_eq!(
            words(&fell("public.orders", 12_000, 1)),
            "supabase: public.orders has 1 row where 20261120T020000Z has 12000 rows"
        );
        let forged = words(&fell("\"a\".\"b\nerror: c\u{1b}[1A\"", 2000, 0));
        assert!(forged.starts_with("supabase: \"a\".\"b?error: c?[1A\" has 0 rows"));
        let all: Vec<Anomaly> = (0..5).map(|_| fell("a.b", 2000, 0)).collect();
        assert!(in_short(&all).ends_with("; and 2 more"));
        let ciphertext = Anomaly::Incompressible {
            source: "storage".to_owned(),
            since: "20261120T020000Z".parse().unwrap(),
            was: Written {
                compression: catalog::compression::Compression::Gzip,
                raw_bytes: 10 << 20,
                bytes: 2 << 20,
            },
            is: Written {
                compression: catalog::compression::Compression::Gzip,
                raw_bytes: 10 << 20,
                bytes: 10 << 20,
            },
        };
        assert_eq!(
            words(&ciphertext),
            "storage hardly compresses any more, as ciphertext: 10.0 MiB out of 10.0 MiB where 20261120T020000Z has 2.0 MiB out of 10.0 MiB"
        );
    }
}
