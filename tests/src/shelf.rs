//! A backup directory with sets of many ages and kinds, alone in a directory: small, so that a case is a fraction of a second. Knows what
//! each set is and which of them the policy keeps, and tells of any state what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use chrono::Duration;
use serde_json::{Value, json};

use crate::backupd::{Backupd, Outcome};
use crate::fault::{Action, Fault, Report};
use crate::host::command;
use crate::server::PgServer;
use crate::set::{CENSUS, older, rewrite};
use crate::stack::{manifest, names, sets};
use crate::tree::{self, Node};

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;
/// What `.backupd` may hold when nothing is at work.
const PRIVATE: [&str; 5] = [
    "accepted.json",
    "drills",
    "history.jsonl",
    "history.lock",
    "lock",
];
/// What a set of the database must hold.
const ROW: &str = "a row of the database";
/// A table, and the objects of [`Shelf::storage`].
const DATABASE: &str = "
CREATE TABLE t AS SELECT 'ROW' AS content;
CREATE SCHEMA storage;
CREATE TABLE storage.objects (bucket_id text, name text, version text);
INSERT INTO storage.objects VALUES ('a', 'b', 'one'), ('a', 'two', NULL), ('c', 'three', NULL), ('c', 'again', NULL);
";

/// Sets, a tree and perhaps a database to make more of, and what all of them were.
#[derive(Debug)]
pub struct Shelf {
    dir: tempfile::TempDir,
    database: Option<String>,
    /// Each set before anything happens.
    before: BTreeMap<String, BTreeMap<PathBuf, Node>>,
    /// Whether each is good.
    good: BTreeMap<String, bool>,
    /// Sets that the policy keeps as things are, and those that it lets go.
    pub fate: [BTreeSet<String>; 2],
    /// The newest set, which is good.
    pub newest: String,
    /// A set with a byte that differs, which nobody has found yet.
    pub spoilt: String,
}

/// A backup directory as it was found.
#[derive(Debug)]
pub struct Found {
    /// Sets that were there before.
    pub old: BTreeSet<String>,
    /// New ones, and whether they are good.
    pub new: BTreeMap<String, bool>,
}

impl Shelf {
    /// Sets of a tree, and of a database where there is a server; one of them with an open anomaly or not.
    pub fn new(server: Option<&PgServer>, is_odd: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Self {
            dir,
            database: server.map(|server| server.url("postgres")),
            before: BTreeMap::new(),
            good: BTreeMap::new(),
            fate: Default::default(),
            newest: String::new(),
            spoilt: String::new(),
        };
        if let Some(server) = server {
            server.psql("postgres", &DATABASE.replace("ROW", ROW));
        }
        shelf.fill();
        fs::create_dir(shelf.backups()).unwrap();
        shelf.backupd(&["run"]).succeed();
        let newest = sets(&shelf.backups()).remove(0);
        let aged = |seconds: i64| older(&newest, Duration::seconds(seconds));
        let fail = |set: &Path| {
            let mut manifest = manifest(set);
            manifest["status"] = "failed".into();
            rewrite(set, &manifest);
        };
        let odd = |set: &Path| {
            let mut manifest = manifest(set);
            manifest["anomalies"] = json!([{"kind": "not_compared", "why": "a test"}]);
            rewrite(set, &manifest);
        };
        aged(2);
        fail(&aged(3 * DAY));
        let week = aged(7 * DAY);
        aged(7 * DAY + 2);
        fail(&aged(9 * DAY));
        let damaged = aged(14 * DAY);
        let spoilt = aged(14 * DAY + 2);
        aged(14 * DAY + 4);
        let accepted = aged(21 * DAY);
        let last = aged(35 * DAY);
        for set in [&damaged, &spoilt] {
            spoil(&set.join("storage_buckets.tar.gz"));
        }
        let found = shelf.backupd(&["verify", &id(&damaged)]).run();
        assert_eq!(found.code, Some(4), "{found}");
        odd(&accepted);
        shelf.backupd(&["accept", &id(&accepted)]).succeed();
        if is_odd {
            odd(&week);
        }
        let drills = shelf.backups().join(".backupd/drills");
        fs::create_dir(&drills).unwrap();
        for set in [&week, &last] {
            fs::write(drills.join(format!("{}.json", id(set))), "{}").unwrap();
        }
        // As a killed run and a killed removal leave them.
        for name in [".20200101T000000Z.partial", ".20200102T000000Z.removed"] {
            let left = shelf.backups().join(name);
            fs::create_dir(&left).unwrap();
            fs::write(left.join("manifest.json"), "{}").unwrap();
        }
        (shelf.newest, shelf.spoilt) = (id(&newest), id(&spoilt));
        copy(&shelf.backups(), &shelf.path("template"));
        shelf.good = shelf.list().unwrap();
        for name in shelf.good.keys() {
            let set = tree::snapshot(&shelf.backups().join(name));
            shelf.before.insert(name.clone(), set);
        }
        let decided = shelf
            .backupd(&["prune", "--dry-run", "--json"])
            .succeed()
            .json();
        for decision in decided["decisions"].as_array().unwrap() {
            let fate = usize::from(decision["keep"] == false);
            shelf.fate[fate].insert(decision["set"].as_str().unwrap().to_owned());
        }
        let [keep, go] = &shelf.fate;
        assert!(keep.len() > 2 && !go.is_empty(), "{keep:?} {go:?}");
        shelf
    }

    fn fill(&self) {
        let root = self.storage();
        for (path, content) in [("a/b/one", "1"), ("a/two", "2"), ("c/three", "3")] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content.repeat(3000)).unwrap();
        }
        fs::create_dir(root.join("empty")).unwrap();
        symlink("a/two", root.join("link")).unwrap();
        fs::hard_link(root.join("a/two"), root.join("c/again")).unwrap();
        xattr::set(root.join("a/two"), "user.kind", b"text").unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `BACKUP_DIR`.
    pub fn backups(&self) -> PathBuf {
        self.path("backups")
    }

    /// The tree.
    pub fn storage(&self) -> PathBuf {
        self.path("storage")
    }

    /// The real binary, with this directory and policy.
    pub fn backupd(&self, arguments: &[&str]) -> Backupd {
        let call = Backupd::new(arguments)
            .env("BACKUP_SOURCES", "storage")
            .env("SUPABASE_STORAGE_PATH", self.storage())
            .env("BACKUP_RETENTION_DAYS", "0")
            .env("BACKUP_KEEP_WEEKLY", "3")
            .env("BACKUP_DIR", self.backups());
        match &self.database {
            Some(url) => call
                .env("BACKUP_SOURCES", "supabase,storage")
                .env("DATABASE_URL", url),
            None => call,
        }
    }

    /// The call with a fault in one of the directories: how it ended, and what became of the fault.
    pub fn faulty(
        &self,
        call: Backupd,
        kinds: &str,
        action: Action,
        nth: usize,
        directories: &[&Path],
    ) -> (Outcome, Report) {
        let fault = Fault::new(kinds, action, nth, directories, self.dir.path());
        let outcome = fault.around(call).run();
        (outcome, fault.report())
    }

    /// As before everything.
    pub fn reset(&self) {
        fs::remove_dir_all(self.backups()).unwrap();
        copy(&self.path("template"), &self.backups());
    }

    /// Lines of history since then, all of them whole, behind those of before.
    pub fn history(&self) -> Result<Vec<Value>, String> {
        let path = ".backupd/history.jsonl";
        let before = fs::read_to_string(self.path("template").join(path)).unwrap();
        let now = fs::read_to_string(self.backups().join(path)).unwrap();
        let news = now
            .strip_prefix(&before)
            .ok_or("history lost what it had")?;
        news.lines()
            .map(|line| {
                serde_json::from_str(line).map_err(|error| format!("history: {error}: {line}"))
            })
            .collect()
    }

    /// Each set by name, and whether backupd calls it good.
    fn list(&self) -> Result<BTreeMap<String, bool>, String> {
        let listed = self.backupd(&["list", "--json"]).run();
        if listed.code != Some(0) {
            return Err(format!("list: {listed}"));
        }
        let rows = listed.json();
        let rows = rows.as_array().unwrap().iter();
        Ok(rows
            .map(|row| {
                let name = row["set"].as_str().unwrap().to_owned();
                (name, row["good"] == true)
            })
            .collect())
    }

    /// What is there, read without backupd: every set of before that is there is what it was and counts as it did, every new one that is
    /// called good is whole, and none that the policy keeps is gone.
    pub fn look(&self) -> Result<Found, String> {
        let (mut old, mut new) = (BTreeSet::new(), BTreeMap::new());
        for (name, good) in self.list()? {
            let set = self.backups().join(&name);
            let Some(before) = self.before.get(&name) else {
                if good {
                    self.is_whole(&set)
                        .map_err(|what| format!("{name} is called good: {what}"))?;
                }
                new.insert(name, good);
                continue;
            };
            let differences = tree::differences(before, &tree::snapshot(&set));
            if !differences.is_empty() {
                return Err(format!("{name} is not what it was: {differences:?}"));
            }
            // What is found damaged does not count any more.
            if good != self.good[&name] && name != self.spoilt {
                return Err(format!("{name} is called good: {good}, and was not"));
            }
            old.insert(name);
        }
        Ok(Found { old, new })
    }

    /// Reads a set without backupd: names, sizes, digests, and what it holds beside what it was made of.
    fn is_whole(&self, set: &Path) -> Result<(), String> {
        let manifest = manifest(set);
        let sums = fs::read_to_string(set.join("SHA256SUMS")).map_err(|error| error.to_string())?;
        let mut files = BTreeSet::from(["SHA256SUMS".to_owned(), "manifest.json".to_owned()]);
        for artifact in manifest["artifacts"].as_array().unwrap() {
            let file = artifact["file"].as_str().unwrap();
            let bytes = fs::metadata(set.join(file)).map_err(|error| format!("{file}: {error}"))?;
            if artifact["bytes"] != bytes.len()
                || artifact["sha256"] != tree::sha256(&set.join(file))
            {
                return Err(format!("{file} is not what the manifest says"));
            }
            files.insert(file.to_owned());
        }
        if let Some(census) = manifest.get("census") {
            if census["sha256"] != tree::sha256(&set.join(CENSUS)) {
                return Err(format!("{CENSUS} is not what the manifest says"));
            }
            files.insert(CENSUS.to_owned());
        }
        let there: BTreeSet<String> = names(set).into_iter().collect();
        if there != files {
            return Err(format!("it holds {there:?}, the manifest says {files:?}"));
        }
        files.remove("SHA256SUMS");
        files.remove(CENSUS);
        let mut expected: Vec<String> = files
            .iter()
            .map(|file| format!("{}  {file}", tree::sha256(&set.join(file))))
            .collect();
        let mut lines: Vec<String> = sums.lines().map(str::to_owned).collect();
        expected.sort();
        lines.sort();
        if expected != lines {
            return Err(format!("SHA256SUMS says {lines:?}, not {expected:?}"));
        }
        let out = tempfile::tempdir().unwrap();
        let done = command("tar")
            .args(["--xattrs", "-xzpf"])
            .arg(set.join("storage_buckets.tar.gz"))
            .current_dir(out.path())
            .status();
        assert!(done.unwrap().success());
        let differences = tree::differences(
            &tree::snapshot(&self.storage()),
            &tree::snapshot(out.path()),
        );
        if !differences.is_empty() {
            return Err(format!("the archive is not the tree: {differences:?}"));
        }
        if self.database.is_some() {
            let dump = crate::set::unzipped(&set.join("supabase_db.sql.gz"));
            let roles = crate::set::unzipped(&set.join("supabase_roles.sql.gz"));
            let dump = String::from_utf8(dump).unwrap();
            let roles = String::from_utf8(roles).unwrap();
            let is_complete = dump.contains("-- PostgreSQL database dump complete")
                && roles.contains("-- PostgreSQL database cluster dump complete");
            if !is_complete || !dump.contains(ROW) {
                return Err("the dump is not the database".to_owned());
            }
        }
        Ok(())
    }

    /// What no fault may leave when backupd has run again without one: names that nobody knows, reports of sets that are gone, a history
    /// that does not say what became of the sets.
    pub fn settled(&self, found: &Found) -> Result<(), String> {
        for name in names(&self.backups()) {
            let known =
                name == ".backupd" || found.old.contains(&name) || found.new.contains_key(&name);
            if !known {
                return Err(format!("left: {name}"));
            }
        }
        let private = self.backups().join(".backupd");
        let left: Vec<String> = names(&private)
            .into_iter()
            .filter(|name| !PRIVATE.contains(&name.as_str()))
            .collect();
        if !left.is_empty() {
            return Err(format!("left in .backupd: {left:?}"));
        }
        for report in names(&private.join("drills")) {
            if !found
                .old
                .contains(report.strip_suffix(".json").unwrap_or(&report))
            {
                return Err(format!("left: the drill's report {report}"));
            }
        }
        let removed: Vec<String> = self
            .history()?
            .iter()
            .filter(|line| line["event"] == "set_removed")
            .map(|line| line["set"].as_str().unwrap().to_owned())
            .collect();
        for name in found.new.keys() {
            let lines = self.history()?;
            let told = lines
                .iter()
                .filter(|line| line["event"] == "run_finished" && line["set"] == **name)
                .count();
            if told != 1 {
                return Err(format!("history says {told} times that {name} was made"));
            }
        }
        for name in self.before.keys() {
            let told = removed.iter().filter(|one| *one == name).count();
            if told != usize::from(!found.old.contains(name)) {
                return Err(format!("history says {told} times that {name} was removed"));
            }
        }
        Ok(())
    }

    /// Sets that are gone of those before.
    pub fn gone(&self, found: &Found) -> BTreeSet<String> {
        let before = self.before.keys();
        before
            .filter(|name| !found.old.contains(*name))
            .cloned()
            .collect()
    }
}

fn id(set: &Path) -> String {
    set.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Another byte in the middle.
fn spoil(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let done = command("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}
