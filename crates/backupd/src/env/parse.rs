//! Single values: numbers, choices, durations, paths. Each says the setting's name, the value's fault and the fix.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use catalog::anomaly;
use catalog::retention::Policy;
use postgres::dump::DumpFormat;
use stream::artifact::{Compression, Encoding};

use super::{Problems, raw};

/// A step that takes longer is stuck: a day is more than a terabyte's dump takes.
const DEFAULT_STEP_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// A migration's lock lasts seconds; one that is held for longer was forgotten, and nobody is told of it by waiting.
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const DEFAULT_RETENTION_DAYS: u32 = 7;
/// libdeflate's level 2: four times as fast as `gzip -6` and smaller; level 4 gains half a percent and costs a tenth more time
/// (docs/configuration.md).
const DEFAULT_GZIP_LEVEL: u8 = 2;
const DEFAULT_ZSTD_LEVEL: u8 = 3;
/// In the custom format pg_dump compresses by zlib, whose levels mean other things than libdeflate's.
const ZLIB_DEFAULT_LEVEL: u8 = 6;
const ZLIB_MAX_LEVEL: u8 = 9;
const MAX_THREADS: u8 = 64;

/// One of a few words; the first is the default.
pub fn choice<T: Copy>(
    name: &str,
    value: Option<&str>,
    choices: &[(&str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let value = match value {
        None => return choices.first().map(|(_, choice)| *choice),
        Some(value) => value.trim(),
    };
    let found = choices
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(value));
    if found.is_none() {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        problems.say(format!(
            "{name}={value} is unknown: use {}",
            words.join(" or ")
        ));
    }
    found.map(|(_, choice)| *choice)
}

/// A whole number within bounds.
pub fn number<T: FromStr + PartialOrd + std::fmt::Display + Copy>(
    name: &str,
    value: Option<&str>,
    default: T,
    (min, max): (T, T),
    problems: &mut Problems,
) -> T {
    let Some(value) = value.map(str::trim) else {
        return default;
    };
    match value.parse::<T>() {
        Ok(number) if number >= min && number <= max => number,
        _ => {
            problems.say(format!(
                "{name}={value} is not a whole number from {min} to {max}"
            ));
            default
        }
    }
}

/// An absolute path.
pub fn absolute(name: &str, value: &str, problems: &mut Problems) -> Option<PathBuf> {
    let path = PathBuf::from(value.trim());
    if path.is_absolute() {
        Some(path)
    } else {
        problems.say(format!(
            "{name}={value} is not an absolute path: begin it with /"
        ));
        None
    }
}

/// `BACKUP_DUMP_FORMAT`, `BACKUP_COMPRESSION`, `BACKUP_COMPRESSION_LEVEL`, `BACKUP_THREADS`.
pub fn format_and_encoding(
    vars: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> (DumpFormat, Encoding) {
    let raw: raw::Writing = raw::read(vars);
    let format = choice(
        "BACKUP_DUMP_FORMAT",
        raw.backup_dump_format.as_deref(),
        &[("plain", DumpFormat::Plain), ("custom", DumpFormat::Custom)],
        problems,
    )
    .unwrap_or(DumpFormat::Plain);
    let (gzip_level, gzip_max) = match format {
        DumpFormat::Plain => (DEFAULT_GZIP_LEVEL, 12),
        DumpFormat::Custom => (ZLIB_DEFAULT_LEVEL, ZLIB_MAX_LEVEL),
    };
    let gzip = Compression::Gzip { level: gzip_level };
    let zstd = Compression::Zstd {
        level: DEFAULT_ZSTD_LEVEL,
    };
    let compression = choice(
        "BACKUP_COMPRESSION",
        raw.backup_compression.as_deref(),
        &[("gzip", gzip), ("zstd", zstd)],
        problems,
    )
    .unwrap_or(gzip);
    let level = raw.backup_compression_level.as_deref();
    let name = "BACKUP_COMPRESSION_LEVEL";
    let compression = match compression {
        Compression::Gzip { level: default } => Compression::Gzip {
            level: number(name, level, default, (1, gzip_max), problems),
        },
        Compression::Zstd { level: default } => Compression::Zstd {
            level: number(name, level, default, (1, 19), problems),
        },
        Compression::None => Compression::None,
    };
    let cores = std::thread::available_parallelism()
        .ok()
        .and_then(|cores| u8::try_from(cores.get()).ok())
        .unwrap_or(MAX_THREADS)
        .min(MAX_THREADS);
    let threads = number(
        "BACKUP_THREADS",
        raw.backup_threads.as_deref(),
        cores,
        (1, MAX_THREADS),
        problems,
    );
    let encoding = Encoding {
        compression,
        threads: usize::from(threads),
    };
    (format, encoding)
}

/// `BACKUP_STEP_TIMEOUT`: `90`, `90s`, `45m`, `6h`, `2d`, or `off`.
pub fn step_timeout(vars: &BTreeMap<String, String>, problems: &mut Problems) -> Option<Duration> {
    let raw: raw::Writing = raw::read(vars);
    let Some(value) = raw.backup_step_timeout else {
        return Some(DEFAULT_STEP_TIMEOUT);
    };
    duration_or_off("BACKUP_STEP_TIMEOUT", &value, problems)
}

/// `BACKUP_LOCK_TIMEOUT`, as [`step_timeout`].
pub fn lock_timeout(vars: &BTreeMap<String, String>, problems: &mut Problems) -> Option<Duration> {
    let raw: raw::Writing = raw::read(vars);
    let Some(value) = raw.backup_lock_timeout else {
        return Some(DEFAULT_LOCK_TIMEOUT);
    };
    duration_or_off("BACKUP_LOCK_TIMEOUT", &value, problems)
}

/// A span of time, or none for `off`.
pub fn duration_or_off(name: &str, value: &str, problems: &mut Problems) -> Option<Duration> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("off") {
        return None;
    }
    let parsed = duration(value);
    if parsed.is_none() {
        problems.say(format!(
            "{name}={value} is no span of time: use seconds (5400), a unit (90m, 6h, 2d) or off"
        ));
    }
    parsed
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, seconds) = match text.char_indices().last()? {
        (at, 's') => (&text[..at], 1),
        (at, 'm') => (&text[..at], 60),
        (at, 'h') => (&text[..at], 3600),
        (at, 'd') => (&text[..at], 24 * 3600),
        _ => (text, 1),
    };
    let count: u64 = digits.parse().ok().filter(|count| *count > 0)?;
    Some(Duration::from_secs(count.checked_mul(seconds)?))
}

/// `BACKUP_ANOMALY_*`.
pub fn anomaly(vars: &BTreeMap<String, String>, problems: &mut Problems) -> anomaly::Settings {
    let raw: raw::Retention = raw::read(vars);
    let drop_percent = number(
        "BACKUP_ANOMALY_DROP_PERCENT",
        raw.backup_anomaly_drop_percent.as_deref(),
        anomaly::Settings::DROP_PERCENT,
        // To lose more than all is not possible: 100 looks at no falls.
        (1, 100),
        problems,
    );
    let mut ignore = Vec::new();
    let names = raw.backup_anomaly_ignore.unwrap_or_default();
    let names = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    for name in names {
        match name.parse() {
            Ok(pattern) => ignore.push(pattern),
            Err(error) => problems.say(format!("BACKUP_ANOMALY_IGNORE: {error}")),
        }
    }
    anomaly::Settings {
        drop_percent,
        ignore,
    }
}

/// `BACKUP_RETENTION_*` and `BACKUP_KEEP_*`.
pub fn retention(vars: &BTreeMap<String, String>, problems: &mut Problems) -> Option<Policy> {
    /// More than any installation keeps; keeps sums of days far from overflow.
    const MANY: u32 = 36_500;
    let raw: raw::Retention = raw::read(vars);
    let before = problems.0.len();
    let keep = |name: &str, value: &Option<String>, problems: &mut Problems| {
        number(name, value.as_deref(), 0, (0, MANY), problems)
    };
    let last = keep("BACKUP_KEEP_LAST", &raw.backup_keep_last, problems);
    let daily = keep("BACKUP_KEEP_DAILY", &raw.backup_keep_daily, problems);
    let weekly = keep("BACKUP_KEEP_WEEKLY", &raw.backup_keep_weekly, problems);
    let monthly = keep("BACKUP_KEEP_MONTHLY", &raw.backup_keep_monthly, problems);
    let min = number(
        "BACKUP_RETENTION_MIN",
        raw.backup_retention_min.as_deref(),
        1,
        (1, MANY),
        problems,
    );
    let days = number(
        "BACKUP_RETENTION_DAYS",
        raw.backup_retention_days.as_deref(),
        DEFAULT_RETENTION_DAYS,
        (0, MANY),
        problems,
    );
    (problems.0.len() == before).then(|| Policy {
        // Zero days is how one says that the other rules alone decide.
        days: (days > 0).then_some(days),
        last,
        daily,
        weekly,
        monthly,
        min,
    })
}
