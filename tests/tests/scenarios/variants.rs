//! The drill's verdict is what a restore comes to: on each of many databases that are whole, odd or broken, the two agree.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tests::backupd::{Backupd, Outcome};
use tests::hostile::Extension;
use tests::server::{Options, PgServer};
use tests::stack;
use tests::variants::{self, DUMPS, Expected, SOURCES};
use tests::{set, variants::Edit};

/// Each list is tried in so many parts, which are tests of their own: processors share them.
const PARTS: usize = 3;
/// A copy beside is made of each so manieth variant; a soak makes all.
const BESIDE: usize = 3;

/// One server with a database for each variant, and one set of all of them.
struct Batch {
    server: PgServer,
    names: Vec<String>,
}

/// A variant's content: in no order, since rows of partitions by OID lie elsewhere each time; without the lines about the database.
fn content(server: &PgServer, database: &str) -> Vec<String> {
    let told = server.told(database);
    let own = |line: &&str| {
        !line.starts_with("\\connect")
            && !line.contains(" DATABASE ")
            && !line.contains("; Type: DATABASE")
    };
    let mut lines: Vec<String> = told.lines().filter(own).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

impl Batch {
    fn new<'a>(variants: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let server = PgServer::start_with(&Options {
            settings: &[("max_connections", "100")],
            bare: true,
        });
        variants::prepare(&server);
        let tablespace =
            "SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''";
        server.psql("template1", tablespace);
        fs::create_dir(server.root().join("backups")).unwrap();
        let names = variants
            .map(|(name, sql)| {
                variants::make(&server, name, sql);
                name.to_owned()
            })
            .collect();
        let batch = Self { server, names };
        batch.backupd(["run"]).succeed();
        batch
    }

    fn backupd<const N: usize>(&self, arguments: [&str; N]) -> Backupd {
        let extra: Vec<_> = self
            .names
            .iter()
            .map(|name| format!("{}={}", name, self.server.url(name)))
            .collect();
        Backupd::new(arguments)
            .env("DATABASE_URL", self.server.url("postgres"))
            .env("BACKUP_SOURCES", "supabase")
            .env("BACKUP_EXTRA_DATABASES", extra.join(","))
            .env("BACKUP_DIR", self.server.root().join("backups"))
    }

    fn set(&self) -> PathBuf {
        stack::sets(&self.server.root().join("backups")).remove(0)
    }

    fn edit(&self, name: &str, edit: Edit) {
        let set = self.set();
        let dump = set.join(format!("{name}_db.sql.gz"));
        let text = String::from_utf8(set::unzipped(&dump)).unwrap();
        set::replace(&dump, edit.apply(&text));
    }

    /// What the drill says of each.
    fn drill(&self) -> (Value, Outcome) {
        let outcome = self.backupd(["verify", "--drill", "--json"]).run();
        assert!(matches!(outcome.code, Some(0 | 4)), "{outcome}");
        (outcome.json(), outcome)
    }

    /// Where drill and restores do not agree about a variant, or not with what is expected. A drill loads by one connection, these restores
    /// by several.
    fn judge(
        &self,
        name: &str,
        is_copied: bool,
        expected: Expected,
        before: &[String],
        report: &Value,
    ) -> Option<String> {
        let mut databases = report["databases"].as_array().unwrap().iter();
        let told = databases.find(|told| told["label"] == name);
        let none = |told: &Value, what: &str| told[what].as_array().is_some_and(Vec::is_empty);
        let proven = told.is_some_and(|told| none(told, "differences") && none(told, "not_proven"));
        // By its name: what a drill found damaged is no longer the latest.
        let set = self.set();
        let set = set.file_name().and_then(|set| set.to_str()).unwrap();
        let beside = is_copied.then(|| {
            self.backupd([
                "restore", set, "--yes", "--only", name, "--into", "beside", "--jobs", "4",
            ])
            .run()
        });
        let copied = beside
            .as_ref()
            .map(|beside| beside.code == Some(0) && content(&self.server, "beside") == before);
        let outcome = self
            .backupd([
                "restore",
                set,
                "--yes",
                "--only",
                name,
                "--drop-old",
                "--jobs",
                "4",
            ])
            .run();
        let same = content(&self.server, name) == before;
        let restored = outcome.code == Some(0) && same;
        let mut wrong = Vec::new();
        if outcome.code != Some(0) && !same {
            wrong.push("the database is not as it was".to_owned());
        }
        let mut left = self.server.databases();
        left.retain(|left| {
            !self.names.contains(left) && !["base", "beside", "postgres"].contains(&left.as_str())
        });
        wrong.extend(left.iter().map(|left| format!("{left} stays")));
        let whole = match expected {
            Expected::Whole => true,
            Expected::Broken => false,
            Expected::Either => restored,
        };
        for (what, is) in [
            ("drill", Some(proven)),
            ("restore", Some(restored)),
            ("copy beside", copied),
        ] {
            if let Some(is) = is
                && is != whole
            {
                wrong.push(format!("{what}: {}", if is { "whole" } else { "broken" }));
            }
        }
        for database in left.iter().map(String::as_str).chain(["beside", name]) {
            drop_database(&self.server, database);
        }
        (!wrong.is_empty()).then(|| {
            format!(
                "{name}, {expected:?}: {}\n  drill: {}\n  restore: {}\n  copy: {}",
                wrong.join("; "),
                told.map_or("not there".to_owned(), |told| told["differences"]
                    .to_string()),
                last(&outcome),
                beside.as_ref().map_or("none".to_owned(), last)
            )
        })
    }
}

/// With its subscriptions, which hold it: no publisher is asked.
fn drop_database(server: &PgServer, name: &str) {
    if !server.databases().iter().any(|there| there == name) {
        return;
    }
    let subscriptions = format!(
        "SELECT format('SET statement_timeout = 0; ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET (slot_name = NONE); DROP SUBSCRIPTION %1$I', subname)
         FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = '{name}'"
    );
    for statements in server.psql("template1", &subscriptions).lines() {
        server.psql(name, statements);
    }
    server.psql("template1", &format!("DROP DATABASE {name:?} WITH (FORCE)"));
}

fn last(outcome: &Outcome) -> String {
    let line = outcome
        .stderr
        .lines()
        .find(|line| line.starts_with("error"));
    format!("{:?} {}", outcome.code, line.unwrap_or_default())
}

fn assert_none(count: usize, wrong: &[String]) {
    println!(
        "{count} variants, {} where drill, restore and expectation differ",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn part<T: Copy>(all: &[T], nth: usize) -> Vec<T> {
    all.iter().skip(nth).step_by(PARTS).copied().collect()
}

fn odd_sources(nth: usize, beside: usize) {
    let _extension = Extension::install();
    let variants = part(SOURCES, nth);
    let batch = Batch::new(variants.iter().map(|(name, _, sql)| (*name, *sql)));
    let contents: Vec<_> = variants
        .iter()
        .map(|(name, _, _)| content(&batch.server, name))
        .collect();
    let (report, _) = batch.drill();
    let mut wrong = Vec::new();
    for (index, ((name, expected, _), before)) in variants.iter().zip(&contents).enumerate() {
        let is_copied = index.is_multiple_of(beside);
        wrong.extend(batch.judge(name, is_copied, *expected, before, &report));
    }
    assert_none(variants.len(), &wrong);
}

fn changed_dumps(nth: usize, beside: usize) {
    let variants = part(DUMPS, nth);
    let batch = Batch::new(variants.iter().map(|(name, _, _)| (*name, "")));
    for (name, _, edit) in &variants {
        batch.edit(name, *edit);
    }
    let before = content(&batch.server, variants[0].0);
    let (report, _) = batch.drill();
    let mut wrong = Vec::new();
    for (index, (name, expected, _)) in variants.iter().enumerate() {
        let is_copied = index.is_multiple_of(beside);
        wrong.extend(batch.judge(name, is_copied, *expected, &before, &report));
    }
    let made = "SELECT count(*) FROM pg_roles WHERE rolname = 'made_by_a_dump'";
    assert_eq!(batch.server.psql("template1", made), "0");
    assert_none(variants.len(), &wrong);
}

#[test]
fn enough_variants_are_broken() {
    let sources = SOURCES.iter().map(|(_, expected, _)| *expected);
    let dumps = DUMPS.iter().map(|(_, expected, _)| *expected);
    let broken = sources
        .chain(dumps)
        .filter(|expected| *expected == Expected::Broken)
        .count();
    assert!(broken >= 60, "{broken} broken variants");
}

/// [`PARTS`] tests of each list.
macro_rules! parts {
    ($($name:ident, $list:ident, $nth:literal;)+) => {$(
        #[test]
        fn $name() {
            $list($nth, BESIDE);
        }
    )+};
}

parts!(
    drill_and_restore_agree_on_odd_sources, odd_sources, 0;
    drill_and_restore_agree_on_more_odd_sources, odd_sources, 1;
    drill_and_restore_agree_on_yet_more_odd_sources, odd_sources, 2;
    drill_and_restore_agree_on_changed_dumps, changed_dumps, 0;
    drill_and_restore_agree_on_more_changed_dumps, changed_dumps, 1;
    drill_and_restore_agree_on_yet_more_changed_dumps, changed_dumps, 2;
);

#[test]
#[ignore = "a soak: a copy beside of every variant"]
fn drill_restore_and_copy_agree_on_all() {
    for nth in 0..PARTS {
        odd_sources(nth, 1);
        changed_dumps(nth, 1);
    }
}
