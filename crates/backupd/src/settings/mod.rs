//! The only readers of the environment. Every problem is collected and told at once; nothing happens before all settings are right.

#[cfg(test)]
mod documents;
mod logging;
mod names;
mod parse;
mod problems;
mod reader;
mod service;
mod setting;
mod size;
mod sources;
mod table;
mod wanted;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use catalog::manifest::Manifest;
use chrono::{DateTime, Utc};
use engine::Config;
use engine::config::{DatabaseSource, ToolSearch, TreeSource};
use engine::source::database::ways_in;
use policy::retention::Policy;

use policy::anomaly;
use postgres::dsn::Dsn;
use postgres::dump::DumpFormat;
use postgres::scratch::Fencing;
use stream::artifact::{Compression, Encoding};

pub use logging::Logging;
pub use problems::Problems;
pub use service::Service;
pub use setting::Fallback;
pub use table::LogFormat;

use names::{is_ours, unknown};
use reader::Reader;
use setting::{Entry, Setting};
use table::{
    BACKUP_ANOMALY_DROP_PERCENT, BACKUP_ANOMALY_IGNORE, BACKUP_COMPRESSION,
    BACKUP_COMPRESSION_LEVEL, BACKUP_CONTROL_SOCKET, BACKUP_DIR, BACKUP_DRILL, BACKUP_DRILL_FENCE,
    BACKUP_DRILL_URL, BACKUP_DUMP_FORMAT, BACKUP_HTTP_ADDR, BACKUP_KEEP_DAILY, BACKUP_KEEP_LAST,
    BACKUP_KEEP_MONTHLY, BACKUP_KEEP_WEEKLY, BACKUP_LOCK_TIMEOUT, BACKUP_MIN_FREE,
    BACKUP_PG_BINDIR, BACKUP_RECONCILE, BACKUP_RESTORE_URLS, BACKUP_RETENTION_DAYS,
    BACKUP_RETENTION_MIN, BACKUP_STEP_TIMEOUT, BACKUP_STORAGE_PREFIX, BACKUP_THREADS, Compressor,
    MAX_THREADS, SETTINGS, SUPABASE_STORAGE_PATH,
};

/// A database to restore to.
pub struct RestoreTarget {
    /// The source that it is.
    pub source: DatabaseSource,
    /// Ways to its server, the likeliest first; the first that is a superuser's is taken.
    pub dsns: Vec<Dsn>,
}

/// The environment as it was when the process began, with secrets read from their files.
pub struct Environment {
    vars: BTreeMap<String, String>,
    /// Secrets whose file gave nothing, with the reason.
    unread: BTreeMap<&'static str, String>,
    /// What is wrong whatever the command: unknown names, unreadable secret files.
    problems: Problems,
    path: Vec<PathBuf>,
}

impl Environment {
    /// Reads the process's environment.
    #[allow(
        clippy::disallowed_methods,
        reason = "this module is the one reader of the environment"
    )]
    pub fn read() -> Self {
        let mut problems = Problems::default();
        let mut vars = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                Ok(value) => {
                    vars.insert(name, value);
                }
                Err(_) if is_ours(&name) => {
                    problems.say(format!("{name} is not valid UTF-8"));
                }
                Err(_) => {}
            }
        }
        Self::new(vars, problems)
    }

    fn new(mut vars: BTreeMap<String, String>, mut problems: Problems) -> Self {
        // An empty value is what Compose passes for `NAME=${NAME:-}`: the same as none.
        vars.retain(|_, value| !value.trim().is_empty());
        for name in vars.keys() {
            if let Some(problem) = unknown(name) {
                problems.say(problem);
            }
        }
        let mut unread = BTreeMap::new();
        for setting in SETTINGS.iter().filter(|setting| setting.secret) {
            match read_secret_file(setting, &vars) {
                Ok(None) => {}
                Ok(Some(text)) => {
                    vars.insert(setting.name.to_owned(), text);
                }
                Err(why) => {
                    problems.say(why.clone());
                    if !vars.contains_key(setting.name) {
                        unread.insert(setting.name, why);
                    }
                }
            }
        }
        let path = vars
            .get("PATH")
            .map(|path| std::env::split_paths(path).collect())
            .unwrap_or_default();
        Self {
            vars,
            unread,
            problems,
            path,
        }
    }

    /// Everything a run needs. The daemon's settings are judged with it: they are of the same environment.
    pub fn config(&self, now: DateTime<Utc>) -> Result<Config, Problems> {
        let mut reader = self.reader();
        let config = self.read_config(&mut reader);
        service::read(&mut reader, None, now);
        reader.problems.unless(config)
    }

    /// Everything the daemon needs.
    pub fn service(&self, now: DateTime<Utc>) -> Result<Service, Problems> {
        let mut reader = self.reader();
        let config = self.read_config(&mut reader);
        let service = service::read(&mut reader, config, now);
        reader.problems.unless(service)
    }

    /// Every setting, and its text where it is set.
    pub fn each(&self) -> impl Iterator<Item = (&'static Entry, Option<&str>)> {
        SETTINGS.iter().map(|setting| {
            let text = self.vars.get(setting.name).map(String::as_str);
            (setting, text)
        })
    }

    /// Whether all settings are right together.
    pub fn judge(&self, now: DateTime<Utc>) -> Result<(), Problems> {
        self.service(now).map(drop)
    }

    /// Where the daemon's control socket is.
    pub fn control_socket(&self) -> Result<PathBuf, Problems> {
        self.one(&BACKUP_CONTROL_SOCKET)
    }

    /// Where the daemon's status server listens.
    pub fn http_addr(&self) -> Result<SocketAddr, Problems> {
        self.one(&BACKUP_HTTP_ADDR)
    }

    /// `BACKUP_DIR`: all that commands on finished sets need, so that they work on the worst day with nothing else set.
    pub fn backup_dir(&self) -> Result<PathBuf, Problems> {
        self.one(&BACKUP_DIR)
    }

    /// What `prune` needs: it removes sets, so a misspelt setting must stop it.
    pub fn retention(&self) -> Result<(PathBuf, Policy), Problems> {
        let mut reader = self.reader();
        let dir = reader.read(&BACKUP_DIR);
        let policy = retention(&mut reader);
        reader.problems.unless(dir.zip(policy))
    }

    /// Where the storage tree is restored to.
    pub fn storage_root(&self) -> Result<PathBuf, Problems> {
        self.one(&SUPABASE_STORAGE_PATH)
    }

    /// The databases that the settings name rightly, and those of a set that `BACKUP_DATABASES` brought into it.
    pub fn database_labels(&self, set: Option<&Manifest>) -> Vec<String> {
        let (databases, _) = sources::read(&mut self.unbegun());
        let others = sources::others_of(set, &databases);
        let all = databases.into_iter().chain(others);
        all.map(|source| source.label).collect()
    }

    /// What the settings name rightly and a restore of everything brings back: databases, and Storage.
    pub fn labels(&self) -> Vec<String> {
        let (databases, trees) = sources::read(&mut self.unbegun());
        let storage = trees.into_iter().filter(TreeSource::is_storage);
        let databases = databases.into_iter().map(|source| source.label);
        databases.chain(storage.map(|tree| tree.label)).collect()
    }

    /// Where databases are restored to: the sources themselves, and as whom. On the worst day not everything is set: what is wrong
    /// with other sources does not matter. A label without a setting is looked up in the set.
    pub fn restore_targets(
        &self,
        labels: &[String],
        set: Option<&Manifest>,
    ) -> Result<Vec<RestoreTarget>, Problems> {
        let mut reader = self.unbegun();
        let (mut databases, _) = sources::read(&mut reader);
        databases.extend(sources::others_of(set, &databases));
        let mut other = self.unbegun();
        let urls = other.read(&BACKUP_RESTORE_URLS).unwrap_or_default();
        let urls = other.problems.unless(Some(urls))?;
        let found = |label: &String| databases.iter().find(|source| source.label == *label);
        let targets: Option<Vec<_>> = labels
            .iter()
            .map(|label| {
                let source = found(label)?.clone();
                let dsns = ways_in(&source, &urls, &databases);
                Some(RestoreTarget { source, dsns })
            })
            .collect();
        let mut problems = reader.problems;
        if targets.is_none() {
            for label in labels.iter().filter(|label| found(label).is_none()) {
                problems.say(format!("the settings say no database for `{label}`"));
            }
        }
        targets.ok_or(problems)
    }

    /// Whether every good run is followed by a drill.
    pub fn drill_always(&self) -> Result<bool, Problems> {
        self.one(&BACKUP_DRILL)
    }

    /// What a drill needs.
    pub fn drilling(&self) -> Result<Drilling, Problems> {
        let mut reader = self.unbegun();
        let (dir, url, fencing, time_limit) = (
            reader.read(&BACKUP_DIR),
            reader.read(&BACKUP_DRILL_URL),
            reader.read(&BACKUP_DRILL_FENCE),
            reader.read(&BACKUP_STEP_TIMEOUT),
        );
        let all = dir
            .zip(fencing)
            .zip(time_limit)
            .map(|((backup_dir, fencing), time_limit)| Drilling {
                backup_dir,
                url,
                fencing,
                time_limit,
            });
        reader.problems.unless(all)
    }

    /// How logs are written.
    pub fn logging(&self) -> Result<Logging, Problems> {
        let mut reader = self.unbegun();
        let logging = logging::read(&mut reader, self.has_color());
        reader.problems.unless(logging)
    }

    /// Where PostgreSQL's programs are looked for.
    pub fn tool_search(&self) -> ToolSearch {
        ToolSearch {
            bindir: self.one(&BACKUP_PG_BINDIR).ok(),
            path: self.path.clone(),
        }
    }

    /// Reads, with nothing said yet.
    fn unbegun(&self) -> Reader<'_> {
        Reader::new(&self.vars, &self.unread)
    }

    /// Reads, beginning with what is wrong whatever the command.
    fn reader(&self) -> Reader<'_> {
        let mut reader = self.unbegun();
        reader.problems = self.problems.clone();
        reader
    }

    /// One setting, for a command that works whatever else is wrong.
    fn one<T>(&self, setting: &Setting<T>) -> Result<T, Problems> {
        let mut reader = self.unbegun();
        let value = reader.read(setting);
        reader.problems.unless(value)
    }

    fn has_color(&self) -> bool {
        !self.vars.contains_key("NO_COLOR")
    }

    fn read_config(&self, reader: &mut Reader<'_>) -> Option<Config> {
        let backup_dir = reader.read(&BACKUP_DIR);
        let (databases, trees) = sources::read(reader);
        let others = sources::other_databases(&databases, reader);
        let written = format_and_encoding(reader);
        let retention = retention(reader);
        let anomaly = anomalies(reader);
        let min_free = reader.read(&BACKUP_MIN_FREE);
        let (reconcile, storage_prefix, step_timeout, lock_timeout) = (
            reader.read(&BACKUP_RECONCILE),
            reader.read(&BACKUP_STORAGE_PREFIX),
            reader.read(&BACKUP_STEP_TIMEOUT),
            reader.read(&BACKUP_LOCK_TIMEOUT),
        );
        let restore_urls = reader.read(&BACKUP_RESTORE_URLS).unwrap_or_default();
        let bindir = reader.read(&BACKUP_PG_BINDIR);
        // Judged here too, so that one message names all problems.
        logging::read(reader, self.has_color());
        let (format, encoding) = written?;
        Some(Config {
            backup_dir: backup_dir?,
            databases,
            others,
            restore_urls,
            trees,
            format,
            encoding,
            reconcile: reconcile?,
            storage_prefix,
            retention: retention?,
            min_free: min_free?,
            anomaly: anomaly?,
            step_timeout: step_timeout?,
            lock_timeout: lock_timeout?,
            // What is wrong with it is said by the settings of drills.
            drill_url: self.one(&BACKUP_DRILL_URL).ok(),
            tools: ToolSearch {
                bindir,
                path: self.path.clone(),
            },
        })
    }
}

/// What a drill needs.
pub struct Drilling {
    /// The backup directory.
    pub backup_dir: PathBuf,
    /// A server to restore into; without, a private one is made.
    pub url: Option<Dsn>,
    /// Whether the private one must be fenced.
    pub fencing: Fencing,
    /// Longest time that it may take.
    pub time_limit: Option<Duration>,
}

/// How dumps and archives are written. A compressor's levels are its own.
fn format_and_encoding(reader: &mut Reader<'_>) -> Option<(DumpFormat, Encoding)> {
    /// libdeflate's level 2: four times as fast as `gzip -6` and smaller; level 4 gains half a percent and costs a tenth more time
    /// (docs/configuration.md).
    const GZIP_LEVEL: u8 = 2;
    const ZSTD_LEVEL: u8 = 3;
    const GZIP_MAX_LEVEL: u8 = 12;
    /// In the custom format pg_dump compresses by zlib, whose levels mean other things than libdeflate's.
    const ZLIB_LEVEL: u8 = 6;
    const ZLIB_MAX_LEVEL: u8 = 9;
    let (format, compressor, level, threads) = (
        reader.read(&BACKUP_DUMP_FORMAT),
        reader.read(&BACKUP_COMPRESSION),
        reader.read(&BACKUP_COMPRESSION_LEVEL),
        reader.read(&BACKUP_THREADS),
    );
    let (format, compressor) = (format?, compressor?);
    let (most, usual) = match (compressor, format) {
        (Compressor::Gzip, DumpFormat::Plain) => (GZIP_MAX_LEVEL, GZIP_LEVEL),
        (Compressor::Gzip, DumpFormat::Custom) => (ZLIB_MAX_LEVEL, ZLIB_LEVEL),
        (Compressor::Zstd, _) => (table::MAX_LEVEL, ZSTD_LEVEL),
    };
    let level = level.unwrap_or(usual);
    if level > most {
        reader.problems.say(format!(
            "{}={level} is not a whole number from 1 to {most}",
            BACKUP_COMPRESSION_LEVEL.name
        ));
    }
    let compression = match compressor {
        Compressor::Gzip => Compression::Gzip { level },
        Compressor::Zstd => Compression::Zstd { level },
    };
    let threads = threads.unwrap_or_else(|| {
        std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u8::try_from(cores.get()).ok())
            .unwrap_or(MAX_THREADS)
            .min(MAX_THREADS)
    });
    let encoding = Encoding {
        compression,
        threads: usize::from(threads),
    };
    Some((format, encoding))
}

fn anomalies(reader: &mut Reader<'_>) -> Option<anomaly::Settings> {
    let (drop_percent, ignore) = (
        reader.read(&BACKUP_ANOMALY_DROP_PERCENT),
        reader.read(&BACKUP_ANOMALY_IGNORE),
    );
    Some(anomaly::Settings {
        drop_percent: drop_percent?,
        ignore: ignore.unwrap_or_default(),
    })
}

fn retention(reader: &mut Reader<'_>) -> Option<Policy> {
    let (days, last, daily, weekly, monthly, min) = (
        reader.read(&BACKUP_RETENTION_DAYS),
        reader.read(&BACKUP_KEEP_LAST),
        reader.read(&BACKUP_KEEP_DAILY),
        reader.read(&BACKUP_KEEP_WEEKLY),
        reader.read(&BACKUP_KEEP_MONTHLY),
        reader.read(&BACKUP_RETENTION_MIN),
    );
    Some(Policy {
        // Zero days is how one says that the other rules alone decide.
        days: days.filter(|days| *days > 0),
        last: last?,
        daily: daily?,
        weekly: weekly?,
        monthly: monthly?,
        min: min?,
    })
}

/// `NAME_FILE` for a secret: the file's content, trimmed, stands for the value.
fn read_secret_file(
    setting: &Entry,
    vars: &BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    let name = setting.name;
    let by_file = format!("{name}_FILE");
    let Some(path) = vars.get(&by_file) else {
        return Ok(None);
    };
    if vars.contains_key(name) {
        return Err(format!(
            "{name} and {by_file} are both set: keep one of them"
        ));
    }
    let text = std::fs::read_to_string(Path::new(path.trim())).map_err(|error| {
        format!("{by_file}={path} cannot be read: {error}; is the secret mounted, and readable to this user?")
    })?;
    match text.trim() {
        "" => Err(format!(
            "{by_file}={path} is empty: write the value of {name} into it"
        )),
        text => Ok(Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests;
