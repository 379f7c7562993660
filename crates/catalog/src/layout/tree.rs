//! The names that a restore gives to directories while it works on a file tree. They are all of its state: whatever ends it, the names tell
//! how far it came. docs/architecture.md has the table of every state and of what follows from it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::set::SetId;

/// In a directory of a restore: what is unpacked.
pub const NEW: &str = "new";
/// More directories of one set were not kept.
const KEPT_MOST: u32 = 99;
/// For its owner alone, and sticky: nobody who uploads can have that made, and mkdir(2) gives it at once.
const OWN_MODE: u32 = 0o1700;
/// Set-user-ID and set-group-ID may be inherited.
const OWN_BITS: u32 = 0o1777;
/// Links that the way to a tree may go through, as the kernel has it.
const LINKS_MOST: usize = 40;

/// What a directory of a restore is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// What is unpacked; nothing of it was ever in use.
    Restoring,
    /// The tree before, on its way out of use.
    Keeping,
    /// The tree of the set, on its way into use.
    Swapping,
    /// The tree before, on its way back into use.
    Returning,
    /// Files of one object, on their way into use.
    Placing,
    /// Files of one object are in use; those before want their name.
    Placed,
}

const MARKS: [Mark; 6] = [
    Mark::Restoring,
    Mark::Keeping,
    Mark::Swapping,
    Mark::Returning,
    Mark::Placing,
    Mark::Placed,
];

impl Mark {
    fn prefix(self) -> &'static str {
        match self {
            Self::Restoring => ".backupd-restoring-",
            Self::Keeping => ".backupd-keeping-",
            Self::Swapping => ".backupd-swapping-",
            Self::Returning => ".backupd-returning-",
            Self::Placing => ".backupd-placing-",
            Self::Placed => ".backupd-placed-",
        }
    }
}

/// What a directory that stays is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// What there was before a restore.
    Before,
    /// What was in use while a restore was cut off.
    Meanwhile,
}

impl Kept {
    fn infix(self) -> &'static str {
        match self {
            Self::Before => ".before-",
            Self::Meanwhile => ".meanwhile-",
        }
    }
}

/// Whether a name is one that a restore gives to a directory inside a tree. Whoever uploads may give it, too.
fn is_of_a_restore(name: &str) -> bool {
    let kept = [Kept::Before, Kept::Meanwhile].map(Kept::infix);
    let mut kept = kept.iter().filter_map(|infix| name.rsplit_once(infix));
    let mut works = MARKS
        .iter()
        .filter_map(|mark| name.strip_prefix(mark.prefix()));
    let is_number = |rest: &str| {
        rest.strip_prefix('-')
            .is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let after = |text: &'_ str| Some(text[set_of(text)?.len()..].to_owned());
    kept.any(|(_, text)| after(text).is_some_and(|rest| rest.is_empty() || is_number(&rest)))
        || works.any(|text| after(text).is_some_and(|rest| rest.is_empty()))
}

/// Makes a directory inside a tree, which [`is_own`] knows again from its first moment on.
pub fn make_own(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(OWN_MODE).create(path)?;
    if is_own(path)? {
        return Ok(());
    }
    fs::remove_dir(path)?;
    Err(io::Error::other(
        "its file system does not keep the modes of directories, by which restores know theirs: restore into a directory elsewhere (--to)",
    ))
}

/// Whether a restore made the directory at a path: by its mode, which no service gives to any directory.
pub fn is_own(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(meta.is_dir() && meta.mode() & OWN_BITS == OWN_MODE),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The set at a text's beginning.
fn set_of(text: &str) -> Option<&str> {
    let set = text.get(..16)?;
    set.parse::<SetId>().is_ok().then_some(set)
}

/// Whether anything is at a path, be it a link that leads nowhere.
pub fn is_there(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is in a directory.
pub fn everything(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

/// A directory that a restore left.
#[derive(Debug, Clone)]
pub struct Remain {
    pub path: PathBuf,
    pub mark: Mark,
    pub set: String,
    /// Of a tree beside: the inode that the set's tree has.
    inode: Option<u64>,
}

impl Remain {
    /// Whether the directory is the set's tree itself.
    pub fn is_of_the_set(&self) -> io::Result<bool> {
        Ok(Some(self.path.symlink_metadata()?.ino()) == self.inode)
    }
}

/// A tree, and the names around it.
#[derive(Debug)]
pub struct Names {
    /// Its root, behind all symbolic links; it need not be there.
    pub root: PathBuf,
    name: String,
}

impl Names {
    /// Of the tree at `root`.
    pub fn of(root: &Path) -> Self {
        let root = real(root);
        let name = root.file_name().unwrap_or_default();
        Self {
            name: name.to_string_lossy().into_owned(),
            root,
        }
    }

    /// Whether a path below the root is what a restore keeps or works with there: no part of the tree. What cannot be looked at is none:
    /// whoever reads it next meets the same error.
    pub fn is_aside(&self, below: &Path) -> bool {
        self.look_aside(below).unwrap_or(false)
    }

    fn look_aside(&self, below: &Path) -> io::Result<bool> {
        let mut parts = below.components();
        match (parts.next(), parts.next()) {
            (Some(first), None) if is_of_a_restore(&first.as_os_str().to_string_lossy()) => {
                is_own(&self.root.join(below))
            }
            _ => Ok(false),
        }
    }

    pub fn inside(&self, mark: Mark, set: &str) -> PathBuf {
        self.root.join(format!("{}{set}", mark.prefix()))
    }

    /// Everything that a restore of a set may work with inside the root.
    pub fn working(&self, set: &str) -> impl Iterator<Item = PathBuf> {
        MARKS.iter().map(move |mark| self.inside(*mark, set))
    }

    /// Next to the root. `inode` is told of the set's tree.
    pub fn beside(&self, mark: Mark, set: &str, inode: Option<u64>) -> PathBuf {
        let inode = inode.map_or(String::new(), |inode| format!("-{inode}"));
        self.parent()
            .join(format!("{}{}-{set}{inode}", mark.prefix(), self.name))
    }

    pub fn parent(&self) -> &Path {
        self.root.parent().unwrap_or(Path::new("/"))
    }

    /// What is left inside the root.
    pub fn left_inside(&self) -> io::Result<Vec<Remain>> {
        let mut found = Vec::new();
        for remain in left(&self.root, "")? {
            if is_own(&remain.path)? {
                found.push(remain);
            }
        }
        Ok(found)
    }

    /// What is left next to the root.
    pub fn left_beside(&self) -> io::Result<Vec<Remain>> {
        left(self.parent(), &format!("{}-", self.name))
    }

    /// The children of the root, without what restores keep there.
    pub fn children(&self) -> io::Result<Vec<PathBuf>> {
        let mut children = Vec::new();
        for path in everything(&self.root)? {
            let name = path.file_name().unwrap_or_default();
            // Nobody moves what a restore works with as if it were a part of the tree.
            if !self.look_aside(Path::new(name))? {
                children.push(path);
            }
        }
        Ok(children)
    }

    /// The names that what is kept in a directory may have, the first ones first.
    pub fn kept(&self, dir: &Path, kept: Kept, set: &str) -> impl Iterator<Item = PathBuf> + use<> {
        let first = format!("{}{}{set}", self.name, kept.infix());
        let dir = dir.to_owned();
        (1..=KEPT_MOST).map(move |number| match number {
            1 => dir.join(&first),
            _ => dir.join(format!("{first}-{number}")),
        })
    }

    /// What a restore from a set kept last.
    pub fn newest_before(&self, set: &str) -> Option<PathBuf> {
        let beside = self.kept(self.parent(), Kept::Before, set);
        let inside = self.kept(&self.root, Kept::Before, set);
        let there = beside.chain(inside.filter(|path| is_own(path).unwrap_or(false)));
        there
            .filter_map(|path| Some((path.symlink_metadata().ok()?.ctime(), path)))
            .max_by_key(|(changed, _)| *changed)
            .map(|(_, path)| path)
    }

    /// A name in a directory that nothing has.
    pub fn free(&self, dir: &Path, kept: Kept, set: &str) -> io::Result<PathBuf> {
        for path in self.kept(dir, kept, set) {
            if !is_there(&path)? {
                return Ok(path);
            }
        }
        Err(too_many(set))
    }
}

pub fn too_many(set: &str) -> io::Error {
    io::Error::other(format!(
        "{KEPT_MOST} directories of {set} are kept already: remove some"
    ))
}

/// A path without symbolic links, be the last name there or not.
fn real(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MOST {
        if let Ok(real) = path.canonicalize() {
            return real;
        }
        let parent = path.parent().map(Path::to_owned).unwrap_or_default();
        match fs::read_link(&path) {
            Ok(link) => path = parent.join(link),
            Err(_) => {
                return match (parent.canonicalize(), path.file_name()) {
                    (Ok(parent), Some(name)) => parent.join(name),
                    _ => path,
                };
            }
        }
    }
    path
}

fn left(dir: &Path, of: &str) -> io::Result<Vec<Remain>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        // Where there is no directory, or none that may be read, no restore worked.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let marked = MARKS.iter().find_map(|mark| {
            let rest = name.strip_prefix(mark.prefix())?.strip_prefix(of)?;
            let set = set_of(rest)?;
            let inode = match &rest[set.len()..] {
                "" => None,
                more => Some(more.strip_prefix('-')?.parse().ok()?),
            };
            Some((*mark, set.to_owned(), inode))
        });
        if let Some((mark, set, inode)) = marked {
            let path = entry.path();
            found.push(Remain {
                path,
                mark,
                set,
                inode,
            });
        }
    }
    Ok(found)
}

/// What a restore that was cut off left of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CutOff {
    /// It was unpacking; the tree was not touched. Its set.
    Unpacking(String),
    /// It was changing the tree, which may lack anything. Its set.
    Changing(String),
}

/// Whether a restore of the tree at `root` was cut off, or is at work; an error where that cannot be known.
pub fn cut_off(root: &Path) -> io::Result<Option<CutOff>> {
    let names = Names::of(root);
    let mut remains = names.left_inside()?;
    remains.extend(names.left_beside()?);
    let changing = remains.iter().find(|left| left.mark != Mark::Restoring);
    Ok(match (changing, remains.first()) {
        (Some(left), _) => Some(CutOff::Changing(left.set.clone())),
        (None, Some(left)) => Some(CutOff::Unpacking(left.set.clone())),
        (None, None) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_restores_keep_is_known_by_name_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names::of(dir.path());
        for name in [
            "storage.before-20261120T020000Z",
            "storage.before-20261120T020000Z-2",
            ".before-20261120T020000Z",
            "storage.meanwhile-20261120T020000Z",
            ".backupd-restoring-20261120T020000Z",
            ".backupd-returning-20261120T020000Z",
        ] {
            let (name, path) = (Path::new(name), dir.path().join(name));
            fs::create_dir(&path).unwrap();
            assert!(!names.is_aside(name), "{name:?} of an uploader");
            fs::remove_dir(&path).unwrap();
            make_own(&path).unwrap();
            assert!(names.is_aside(name), "{name:?}");
        }
        assert_eq!(names.left_inside().unwrap().len(), 2);
        assert_eq!(names.children().unwrap(), [] as [PathBuf; 0]);
        for name in [
            "stub",
            "photo.before-tuesday",
            "photo.before-20261120T020000Z-x",
            ".backupd-swapping-x",
            ".backupd-swapping-20261120T020000Z-7",
            ".before-",
        ] {
            make_own(&dir.path().join(name)).unwrap();
            assert!(!names.is_aside(Path::new(name)), "{name}");
        }
        assert!(!names.is_aside(Path::new("stub/x.before-20261120T020000Z")));
    }

    #[test]
    fn remains_are_of_one_tree_alone() {
        let dir = tempfile::tempdir().unwrap();
        let set = "20261120T020000Z";
        for name in ["storage", "storage-x", "storage-20261120T020000Z"] {
            let names = Names::of(&dir.path().join(name));
            fs::create_dir(names.beside(Mark::Swapping, set, Some(7))).unwrap();
        }
        let names = Names::of(&dir.path().join("storage"));
        let left = names.left_beside().unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!((left[0].set.as_str(), left[0].inode), (set, Some(7)));
        assert!(!left[0].is_of_the_set().unwrap());
        let none = Names::of(&dir.path().join("no/where"));
        assert!(none.left_beside().unwrap().is_empty() && none.left_inside().unwrap().is_empty());
    }
}
