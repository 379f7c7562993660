//! A storage tree and a set of another one, alone in a directory: small, so that a restore is a fraction of a second. Knows what the tree
//! is like before and after a restore, and tells of any state what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::backupd::{Backupd, Outcome};
use crate::fault::{Action, Fault, Report};
use crate::host::command;
use crate::stack::names;
use crate::tree::{self, Kind, Node};

/// Where the tree lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An ordinary directory.
    Plain,
    /// The same, where renames know no flags.
    Bare,
    /// A mount point.
    Mounted,
}

/// What is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The whole tree.
    Tree,
    /// All that is in a bucket, as one object is.
    Object,
}

/// What is in use of a tree, by path.
pub type Live = BTreeMap<PathBuf, Node>;

/// A tree, a set that is another tree, and what both are like.
#[derive(Debug)]
pub struct World {
    dir: tempfile::TempDir,
    /// Where the tree lies.
    pub place: Place,
    /// What [`Self::restore`] restores.
    pub what: What,
    /// What is in use before a restore.
    pub before: Live,
    /// And after it.
    pub after: Live,
}

/// Files of the set: one that is the same, one that is another, some that are gone since.
pub const SET: [(&str, &str); 6] = [
    ("stub/stub/b/same/v1", "same"),
    ("stub/stub/b/other/v1", "of the set"),
    ("stub/stub/b/gone/deep/v1", "gone since"),
    ("stub/stub/b/gone/v2", "gone since, too"),
    ("both/file", "of the set, too"),
    ("top", "top"),
];
/// Files of today.
const SINCE: [(&str, &str); 4] = [
    ("stub/stub/b/same/v1", "same"),
    ("stub/stub/b/other/v1", "of today"),
    ("stub/stub/c/mine", "mine"),
    ("only here", "only here"),
];

impl World {
    /// Makes the tree and the set.
    pub fn new(place: Place, what: What) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self {
            dir,
            place,
            what,
            before: Live::new(),
            after: Live::new(),
        };
        for name in ["home", "backups", "since"] {
            fs::create_dir(world.path(name)).unwrap();
        }
        let root = world.root();
        fs::create_dir(&root).unwrap();
        if place == Place::Mounted {
            fs::create_dir(world.path("volume")).unwrap();
            mount(&["--bind", text(&world.path("volume")), text(&root)]);
        }
        fill(&root, &SET);
        xattr::set(root.join(SET[1].0), "user.kind", b"text").unwrap();
        world.backupd(&["run"]).succeed();
        world.after = live(&root);
        fill(&world.path("since"), &SINCE);
        fs::remove_file(world.path("since").join(SINCE[0].0)).unwrap();
        let same = SET[0].0;
        copy(&root.join(same), &world.path("since").join(same));
        world.reset();
        world.before = live(&root);
        if what == What::Object {
            let set = std::mem::replace(&mut world.after, world.before.clone());
            let of_object = |(path, _): &(PathBuf, Node)| path.starts_with("stub/stub/b");
            world.after.extend(set.into_iter().filter(of_object));
        }
        world
    }

    /// A file beside the tree.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The tree's root.
    pub fn root(&self) -> PathBuf {
        self.path("home/storage")
    }

    /// The real binary, on this tree alone.
    pub fn backupd(&self, arguments: &[&str]) -> Backupd {
        Backupd::new(arguments)
            .env("BACKUP_SOURCES", "storage")
            .env("SUPABASE_STORAGE_PATH", self.root())
            .env("BACKUP_DIR", self.path("backups"))
    }

    /// Restores what is to be restored.
    pub fn restore(&self) -> Backupd {
        match self.what {
            What::Tree => self.backupd(&["restore", "--yes"]),
            What::Object => self.backupd(&["restore", "--object", "b"]),
        }
    }

    /// Undoes it.
    pub fn undo(&self) -> Backupd {
        self.backupd(&["restore", "--undo"])
    }

    /// The call with a fault at files around the tree, or of the sets: how it ended, and what became of the fault.
    pub fn faulty(
        &self,
        call: Backupd,
        kinds: &str,
        action: Action,
        nth: usize,
    ) -> (Outcome, Report) {
        let bare = if self.place == Place::Bare {
            ",bare"
        } else {
            ""
        };
        let kinds = format!("{kinds}{bare}");
        let fault = Fault::new(
            &kinds,
            action,
            nth,
            &[&self.path("home"), &self.path("backups")],
            self.dir.path(),
        );
        let outcome = fault.around(call).run();
        (outcome, fault.report())
    }

    /// How many calls of the kinds a whole restore makes.
    pub fn calls(&self, kinds: &str) -> usize {
        self.reset();
        let (outcome, report) = self.faulty(self.restore(), kinds, Action::Kill, 0);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        report.calls
    }

    /// Directories that a restore works with, which nobody has mended.
    pub fn left(&self) -> Vec<String> {
        [self.path("home"), self.root()]
            .iter()
            .filter(|dir| dir.is_dir())
            .flat_map(|dir| names(dir))
            .filter(|name| name.starts_with(".backupd-"))
            .collect()
    }

    /// As before the first restore.
    pub fn reset(&self) {
        let root = self.root();
        for name in names(&self.path("home")) {
            if self.place != Place::Mounted {
                let path = self.path("home").join(name);
                fs::remove_dir_all(path).unwrap();
            }
        }
        if self.place == Place::Mounted {
            for name in names(&root) {
                let path = root.join(name);
                fs::remove_dir_all(&path)
                    .or_else(|_| fs::remove_file(&path))
                    .unwrap();
            }
        } else {
            fs::create_dir(&root).unwrap();
        }
        copy(&self.path("since/."), &root);
    }

    /// What a service does that is not stopped: it makes what it misses, and writes.
    fn served(&self, turn: usize) -> BTreeSet<PathBuf> {
        let mut made = BTreeSet::new();
        for path in [
            format!("stub/stub/b/made-{turn}/v1"),
            format!("both/made-{turn}"),
            format!("stub/stub/b/gone/made-{turn}"),
            "top".to_owned(),
        ] {
            let path = PathBuf::from(path);
            let full = self.root().join(&path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            if !full.exists() {
                fs::write(full, format!("served {turn} {}", path.display())).unwrap();
                made.extend(path.ancestors().map(Path::to_owned));
            }
        }
        made
    }

    /// What is wrong, by what the last command said too; otherwise which of both the tree is. Where another restore had begun `since`, "as
    /// before" may mean either.
    pub fn verify(&self, last: &Outcome, served: &Served, since: bool) -> Result<End, String> {
        let said = format!("{}{}", last.stdout, last.stderr);
        let mut contents = BTreeSet::new();
        for node in tree::snapshot(&self.path("home")).into_values() {
            if let Kind::File { sha256, .. } = node.kind {
                contents.insert(sha256);
            }
        }
        let had = self.before.values().filter_map(|node| match &node.kind {
            Kind::File { sha256, .. } => Some(sha256),
            _ => None,
        });
        if had
            .chain(&served.contents)
            .any(|content| !contents.contains(content))
        {
            return Err("something that was in use is lost".to_owned());
        }
        let left = self.left();
        if !left.is_empty() {
            return Err(format!("left: {left:?}"));
        }
        let now = live(&self.root());
        let is = |expected: &Live| {
            expected
                .iter()
                .all(|(path, node)| now.get(path) == Some(node) || served.has(path, &now))
                && now
                    .keys()
                    .all(|path| expected.contains_key(path) || served.paths.contains(path))
        };
        let (as_before, restored) = (is(&self.before), is(&self.after));
        let is_back = said.contains(" is back");
        let claims = said.contains("as it was before") || said.contains("was not touched");
        if claims && !is_back && !since && !as_before {
            return Err(format!(
                "said to be as before, and is not: {:?}",
                tree::differences(&self.before, &now)
            ));
        }
        if (said.contains("was complete") || is_back) && !restored {
            return Err(format!(
                "said to be restored, and is not: {:?}",
                tree::differences(&self.after, &now)
            ));
        }
        match (as_before, restored) {
            (true, _) => Ok(End::AsBefore),
            (_, true) => Ok(End::Restored),
            _ => Err(format!(
                "neither: {:?}",
                tree::differences(&self.before, &now)
            )),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.place == Place::Mounted {
            let _ = command("umount").arg(self.root()).status(); // A test that failed before it was mounted.
        }
    }
}

/// What services made, ever.
#[derive(Debug, Default)]
pub struct Served {
    paths: BTreeSet<PathBuf>,
    contents: BTreeSet<String>,
}

impl Served {
    /// Something more; `turn` makes it another.
    pub fn serve(&mut self, world: &World, turn: usize) {
        let paths = world.served(turn);
        for path in &paths {
            let full = world.root().join(path);
            if full.is_file() {
                self.contents.insert(tree::sha256(&full));
            }
        }
        self.paths.extend(paths);
    }

    /// Whether a path is a service's own by now.
    fn has(&self, path: &Path, now: &Live) -> bool {
        match now.get(path).map(|node| &node.kind) {
            Some(Kind::File { sha256, .. }) => self.contents.contains(sha256),
            Some(Kind::Directory) => self.paths.contains(path),
            _ => false,
        }
    }
}

/// What a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The tree of before.
    AsBefore,
    /// The set's.
    Restored,
}

/// Files and directories in use; directories without their times.
pub fn live(root: &Path) -> Live {
    let is_aside = |path: &Path| {
        let first = path
            .components()
            .next()
            .map(|first| first.as_os_str().to_string_lossy());
        first.is_some_and(|first| {
            first.starts_with(".backupd-")
                || first.contains(".before-")
                || first.contains(".meanwhile-")
        })
    };
    if !root.exists() {
        return Live::new();
    }
    let mut nodes = tree::snapshot(root);
    nodes.retain(|path, _| !is_aside(path));
    for node in nodes
        .values_mut()
        .filter(|node| node.kind == Kind::Directory)
    {
        node.mtime = (0, 0);
    }
    nodes
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn mount(arguments: &[&str]) {
    assert!(command("mount").args(arguments).status().unwrap().success());
}

fn copy(from: &Path, to: &Path) {
    let done = command("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}

fn fill(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}
