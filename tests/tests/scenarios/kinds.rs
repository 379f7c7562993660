//! The contract of every kind of source, whatever it is: checked, backed up, read back, proven, restored as it was; damage is found by
//! whoever reads; a source that is gone fails its own step and no other. A new kind is one more line.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use tests::backupd::Backupd;
use tests::stack::Stack;
use tests::tree;

/// A kind under contract.
struct Kind {
    /// The label of its source, and of one beside it that must not suffer.
    label: &'static str,
    beside: &'static str,
    /// Its file in a set.
    file: &'static str,
    stack: Stack,
    settings: Vec<(&'static str, String)>,
    holds: Holds,
}

/// Where the content of a source is.
enum Holds {
    Database(&'static str),
    Tree(PathBuf),
}

/// What a restore beside makes.
const COPY: &str = "copy";

impl Kind {
    fn database(format: &str, file: &'static str) -> Self {
        let stack = Stack::new();
        let url = stack.server.url("keycloak");
        Self {
            label: "other",
            beside: "storage",
            file,
            settings: vec![
                ("BACKUP_SOURCES", "storage".to_owned()),
                ("BACKUP_EXTRA_DATABASES", format!("other={url}")),
                ("BACKUP_DUMP_FORMAT", format.to_owned()),
            ],
            stack,
            holds: Holds::Database("keycloak"),
        }
    }

    fn tree(label: &'static str, beside: &'static str, file: &'static str) -> Self {
        let stack = Stack::new();
        let other = stack.server.root().join("other");
        fs::create_dir_all(other.join("below")).unwrap();
        fs::write(other.join("below/words"), "some words\n".repeat(1000)).unwrap();
        let holds = if label == "storage" {
            stack.storage.clone()
        } else {
            other.clone()
        };
        Self {
            label,
            beside,
            file,
            settings: vec![
                ("BACKUP_SOURCES", "storage".to_owned()),
                ("BACKUP_EXTRA_PATHS", format!("other={}", other.display())),
            ],
            stack,
            holds: Holds::Tree(holds),
        }
    }

    fn backupd(&self, arguments: &[&str]) -> Backupd {
        let settings = self.settings.iter().map(|(name, value)| (name, value));
        self.stack.backupd(arguments).envs(settings)
    }

    /// What a restore of it beside needs to be told.
    fn restore(&self) -> Backupd {
        let mut arguments = vec!["restore", "latest", "--yes", "--only", self.label];
        let to = self.copy();
        match &self.holds {
            Holds::Database(_) => arguments.extend(["--into", COPY]),
            Holds::Tree(_) => {
                arguments.extend(["--allow-outside-links", "--to", to.to_str().unwrap()]);
            }
        }
        self.backupd(&arguments)
    }

    fn copy(&self) -> PathBuf {
        self.stack.server.root().join(COPY)
    }

    fn is_copied(&self) -> bool {
        match &self.holds {
            Holds::Database(_) => self.stack.server.databases().contains(&COPY.to_owned()),
            Holds::Tree(_) => self.copy().exists(),
        }
    }

    fn assert_copy_is_the_source(&self) {
        match &self.holds {
            Holds::Database(name) => {
                let server = &self.stack.server;
                assert_eq!(server.table_hashes(COPY), server.table_hashes(name));
                server.psql("template1", &format!("DROP DATABASE {COPY}"));
            }
            Holds::Tree(root) => {
                let found = tree::differences(&tree::snapshot(root), &tree::snapshot(&self.copy()));
                assert_eq!(found, Vec::<String>::new());
                fs::remove_dir_all(self.copy()).unwrap();
            }
        }
    }

    fn lose_the_source(&self) {
        match &self.holds {
            Holds::Database(name) => {
                let closed = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
                self.stack.server.psql("template1", &closed);
            }
            Holds::Tree(root) => fs::remove_dir_all(root).unwrap(),
        }
    }

    fn keeps_its_contract(&self) {
        let checked = self.backupd(&["check", "--json"]).succeed().json();
        let checks = checked.as_array().unwrap();
        let own = |check: &&serde_json::Value| check["subject"] == self.label;
        assert!(
            checks
                .iter()
                .filter(own)
                .all(|check| check["outcome"] != "failed"),
            "{checked:#}"
        );
        assert!(checks.iter().any(|check| own(&check)), "{checked:#}");

        self.backupd(&["run"]).succeed();
        let set = self.stack.only_set();
        let manifest = self.stack.manifest(&set);
        let artifacts = manifest["artifacts"].as_array().unwrap();
        let made = artifacts
            .iter()
            .find(|artifact| artifact["file"] == self.file)
            .unwrap();
        assert_eq!(made["label"], self.label);
        self.backupd(&["verify"]).succeed();
        self.restore().succeed();
        self.assert_copy_is_the_source();
        let proven = self.backupd(&["verify", "--drill"]).succeed();
        assert!(proven.stdout.contains("PROVEN"), "{proven}");

        self.damage_is_found(&set.join(self.file));
        self.lose_the_source();
        let run = self.backupd(&["run"]).run();
        assert_eq!(run.code, Some(1), "{run}");
        let failed = self.stack.manifest(self.stack.sets().last().unwrap());
        let status = |step: &str| {
            let steps = failed["steps"].as_array().unwrap();
            let step = steps.iter().find(|found| found["name"] == step).unwrap();
            step["status"].as_str().unwrap().to_owned()
        };
        assert_eq!(status(self.label), "failed", "{failed:#}");
        // The sample's tree has a link that leads out, which is worth a warning.
        assert!(
            ["succeeded", "warning"].contains(&status(self.beside).as_str()),
            "{failed:#}"
        );
    }

    fn damage_is_found(&self, file: &std::path::Path) {
        let whole = fs::read(file).unwrap();
        let open = fs::File::options().write(true).open(file).unwrap();
        let at = whole.len() / 2;
        open.write_all_at(&[whole[at] ^ 0x10], at as u64).unwrap();
        let verified = self.backupd(&["verify"]).run();
        assert_eq!(verified.code, Some(4), "{verified}");
        assert!(verified.stdout.contains(self.file), "{verified}");
        // What was found damaged is no good set any more, so that it must be named.
        let id = file.parent().unwrap().file_name().unwrap();
        let drilled = self.backupd(&["verify", "--drill", id.to_str().unwrap()]);
        let drilled = drilled.run();
        assert_ne!(drilled.code, Some(0), "{drilled}");
        let restored = self.restore().run();
        assert_ne!(restored.code, Some(0), "{restored}");
        assert!(!self.is_copied(), "{restored}");
        fs::write(file, whole).unwrap();
        self.backupd(&["verify", id.to_str().unwrap()]).succeed();
    }
}

#[test]
fn a_database_in_plain_sql_keeps_the_contract() {
    Kind::database("plain", "other_db.sql.gz").keeps_its_contract();
}

#[test]
fn a_database_as_an_archive_keeps_the_contract() {
    Kind::database("custom", "other_db.dump").keeps_its_contract();
}

#[test]
fn supabases_storage_keeps_the_contract() {
    Kind::tree("storage", "other", "storage_buckets.tar.gz").keeps_its_contract();
}

#[test]
fn another_tree_keeps_the_contract() {
    Kind::tree("other", "storage", "extra_other.tar.gz").keeps_its_contract();
}
