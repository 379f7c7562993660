//! The only readers of the environment. Every problem is collected and told at once; nothing happens before all settings are right.

mod logging;
mod names;
mod parse;
mod raw;
mod service;
mod size;
mod sources;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use catalog::manifest::Manifest;
use catalog::retention::Policy;
use chrono::{DateTime, Utc};
use engine::Config;
use engine::config::{DatabaseSource, ToolSearch, TreeSource};
use engine::restore::database::ways_in;

pub use logging::{LogFormat, Logging};
use names::Setting;
use postgres::dsn::Dsn;
use postgres::scratch::Fencing;
pub use service::Service;

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn say(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// The value, unless there is any problem.
    fn unless<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.len() {
            1 => write!(f, "one setting is wrong; nothing was done:")?,
            n => write!(f, "{n} settings are wrong; nothing was done:")?,
        }
        for problem in &self.0 {
            write!(f, "\n  - {problem}")?;
        }
        write!(f, "\nSettings are described in docs/configuration.md.")
    }
}

impl std::error::Error for Problems {}

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
                Err(_) if names::is_ours(&name) => {
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
            if let Some(problem) = names::unknown(name) {
                problems.say(problem);
            }
        }
        for setting in names::SETTINGS.iter().filter(|setting| setting.secret) {
            read_secret_file(setting, &mut vars, &mut problems);
        }
        let path = vars
            .get("PATH")
            .map(|path| std::env::split_paths(path).collect())
            .unwrap_or_default();
        Self {
            vars,
            problems,
            path,
        }
    }

    /// Everything a run needs. The daemon's settings are judged with it: they are of the same environment.
    pub fn config(&self, now: DateTime<Utc>) -> Result<Config, Problems> {
        let mut problems = self.problems.clone();
        let config = self.read_config(&mut problems);
        service::read(&self.vars, None, now, &mut problems);
        problems.unless(config)
    }

    /// Everything the daemon needs.
    pub fn service(&self, now: DateTime<Utc>) -> Result<Service, Problems> {
        let mut problems = self.problems.clone();
        let config = self.read_config(&mut problems);
        let service = service::read(&self.vars, config, now, &mut problems);
        problems.unless(service)
    }

    /// Where the daemon's control socket is.
    pub fn control_socket(&self) -> Result<PathBuf, Problems> {
        let mut problems = Problems::default();
        let socket = service::control_socket(&self.vars, &mut problems);
        problems.unless(socket)
    }

    /// Where the daemon's status server listens.
    pub fn http_addr(&self) -> Result<SocketAddr, Problems> {
        let mut problems = Problems::default();
        let addr = service::http_addr(&self.vars, &mut problems);
        problems.unless(addr)
    }

    fn read_config(&self, problems: &mut Problems) -> Option<Config> {
        let backup_dir = self.dir(problems);
        let (databases, trees) = sources::read(&self.vars, problems);
        let others = sources::other_databases(&self.vars, &databases, problems);
        let (format, encoding) = parse::format_and_encoding(&self.vars, problems);
        let retention = parse::retention(&self.vars, problems);
        let (reconcile, storage_prefix) = sources::reconcile(&self.vars, problems);
        let step_timeout = parse::step_timeout(&self.vars, problems);
        let lock_timeout = parse::lock_timeout(&self.vars, problems);
        let restore_urls = sources::restore_urls(&self.vars, problems);
        let min_free = size::min_free(&self.vars, problems);
        let anomaly = parse::anomaly(&self.vars, problems);
        // Judged here too, so that one message names all problems.
        logging::read(&self.vars, problems);
        backup_dir
            .zip(retention)
            .map(|(backup_dir, retention)| Config {
                backup_dir,
                databases,
                others,
                restore_urls,
                trees,
                format,
                encoding,
                reconcile,
                storage_prefix,
                retention,
                min_free,
                anomaly,
                step_timeout,
                lock_timeout,
                // What is wrong with it is said by the settings of drills.
                drill_url: sources::drill_url(&self.vars, &mut Problems::default()),
                tools: self.tool_search(),
            })
    }

    /// `BACKUP_DIR`: all that commands on finished sets need, so that they work on the worst day with nothing else set.
    pub fn backup_dir(&self) -> Result<PathBuf, Problems> {
        let mut problems = Problems::default();
        let dir = self.dir(&mut problems);
        problems.unless(dir)
    }

    /// What `prune` needs: it removes sets, so a misspelt setting must stop it.
    pub fn retention(&self) -> Result<(PathBuf, Policy), Problems> {
        let mut problems = self.problems.clone();
        let dir = self.dir(&mut problems);
        let policy = parse::retention(&self.vars, &mut problems);
        problems.unless(dir.zip(policy))
    }

    /// Where the storage tree is restored to.
    pub fn storage_root(&self) -> Result<PathBuf, Problems> {
        let mut problems = Problems::default();
        let root = if let Some(path) = self.vars.get("SUPABASE_STORAGE_PATH") {
            parse::absolute("SUPABASE_STORAGE_PATH", path, &mut problems)
        } else {
            problems.say("SUPABASE_STORAGE_PATH is missing: set it to the storage directory, or restore by --only what you want");
            None
        };
        problems.unless(root)
    }

    /// The databases that the settings name rightly, and those of a set that `BACKUP_DATABASES` brought into it.
    pub fn database_labels(&self, set: Option<&Manifest>) -> Vec<String> {
        let (databases, _) = sources::read(&self.vars, &mut Problems::default());
        let others = sources::others_of(set, &databases);
        let all = databases.into_iter().chain(others);
        all.map(|source| source.label).collect()
    }

    /// What the settings name rightly and a restore of everything brings back: databases, and Storage.
    pub fn labels(&self) -> Vec<String> {
        let (databases, trees) = sources::read(&self.vars, &mut Problems::default());
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
        let mut problems = Problems::default();
        let (mut databases, _) = sources::read(&self.vars, &mut problems);
        databases.extend(sources::others_of(set, &databases));
        let mut urls_problems = Problems::default();
        let urls = sources::restore_urls(&self.vars, &mut urls_problems);
        if !urls_problems.0.is_empty() {
            return Err(urls_problems);
        }
        let found = |label: &String| databases.iter().find(|source| source.label == *label);
        let targets: Option<Vec<_>> = labels
            .iter()
            .map(|label| {
                let source = found(label)?.clone();
                let dsns = ways_in(&source, &urls, &databases);
                Some(RestoreTarget { source, dsns })
            })
            .collect();
        if targets.is_none() {
            for label in labels.iter().filter(|label| found(label).is_none()) {
                problems.say(format!("the settings say no database for `{label}`"));
            }
        }
        targets.ok_or(problems)
    }

    /// Whether every good run is followed by a drill.
    pub fn drill_always(&self) -> Result<bool, Problems> {
        let mut problems = Problems::default();
        let always = service::drill_always(&self.vars, &mut problems);
        problems.unless(Some(always))
    }

    /// Longest time that one step, or a drill, may take.
    pub fn step_timeout(&self) -> Result<Option<std::time::Duration>, Problems> {
        let mut problems = Problems::default();
        let timeout = parse::step_timeout(&self.vars, &mut problems);
        problems.unless(Some(timeout))
    }

    /// A server for drills, where one is named.
    pub fn drill_url(&self) -> Result<Option<Dsn>, Problems> {
        let mut problems = Problems::default();
        let url = sources::drill_url(&self.vars, &mut problems);
        if problems.0.is_empty() {
            Ok(url)
        } else {
            Err(problems)
        }
    }

    /// Whether a drill's own server must be fenced.
    pub fn drill_fence(&self) -> Result<Fencing, Problems> {
        let mut problems = Problems::default();
        let fencing = sources::drill_fence(&self.vars, &mut problems);
        problems.unless(Some(fencing))
    }

    /// How logs are written.
    pub fn logging(&self) -> Result<Logging, Problems> {
        let mut problems = Problems::default();
        let logging = logging::read(&self.vars, &mut problems);
        problems.unless(logging)
    }

    /// Where PostgreSQL's programs are looked for.
    pub fn tool_search(&self) -> ToolSearch {
        ToolSearch {
            bindir: self.vars.get("BACKUP_PG_BINDIR").map(PathBuf::from),
            path: self.path.clone(),
        }
    }

    fn dir(&self, problems: &mut Problems) -> Option<PathBuf> {
        let text = self.vars.get("BACKUP_DIR").map_or("/backups", |v| v.trim());
        parse::absolute("BACKUP_DIR", text, problems)
    }
}

/// `NAME_FILE` for a secret: the file's content, trimmed, stands for the value.
fn read_secret_file(
    setting: &Setting,
    vars: &mut BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let name = setting.name;
    let by_file = format!("{name}_FILE");
    let Some(path) = vars.get(&by_file).cloned() else {
        return;
    };
    if vars.contains_key(name) {
        problems.say(format!(
            "{name} and {by_file} are both set: keep one of them"
        ));
        return;
    }
    match std::fs::read_to_string(Path::new(path.trim())) {
        Ok(text) if text.trim().is_empty() => {
            problems.say(format!("{by_file}={path} is empty: write the value of {name} into it"));
        }
        Ok(text) => {
            vars.insert(name.to_owned(), text.trim().to_owned());
        }
        Err(error) => problems.say(format!(
            "{by_file}={path} cannot be read: {error}; is the secret mounted, and readable to this user?"
        )),
    }
}

#[cfg(test)]
mod tests;
