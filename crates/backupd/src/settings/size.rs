//! Sizes: bytes with a unit, or a part of a file system.

use engine::space::MinFree;

/// Units as they are written, and their bytes.
const UNITS: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Bytes (`500MB`, `2GiB`, `0`), or a part of the file system (`5%`).
pub fn min_free(value: &str) -> Result<MinFree, String> {
    parsed(value).ok_or_else(|| {
        "is no size: use bytes with a unit (500MB, 2GiB), a part of the file system (5%) or 0"
            .to_owned()
    })
}

fn parsed(text: &str) -> Option<MinFree> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim_end().parse().ok()?;
        return (0.0..100.0)
            .contains(&percent)
            .then_some(MinFree::Percent(percent));
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let bytes = match unit.as_str() {
        // Of something, a bare number would be a riddle: bytes, or megabytes?
        "" if digits.trim() != "0" => return None,
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    let count: u64 = digits.trim_end().parse().ok()?;
    count.checked_mul(bytes).map(MinFree::Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_by_table() {
        for (text, size) in [
            ("0", Some(MinFree::Bytes(0))),
            ("500MB", Some(MinFree::Bytes(500_000_000))),
            ("2GiB", Some(MinFree::Bytes(2 << 30))),
            ("2 gib", Some(MinFree::Bytes(2 << 30))),
            ("1024b", Some(MinFree::Bytes(1024))),
            ("5%", Some(MinFree::Percent(5.0))),
            ("0.5 %", Some(MinFree::Percent(0.5))),
            ("100%", None),
            ("-1%", None),
            ("NaN%", None),
            ("500", None),
            ("MB", None),
            ("1.5GB", None),
            ("-1MB", None),
            ("5 potatoes", None),
            ("99999999999999TB", None),
            ("€", None),
            ("", None),
        ] {
            assert_eq!(parsed(text), size, "{text}");
        }
    }
}
