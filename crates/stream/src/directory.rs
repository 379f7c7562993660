//! Directories of any depth: no recursion, every name relative to an open directory, so that no path meets the kernel's PATH_MAX, and
//! few of them open at a time, so that no depth meets the limit of open files. What is held in memory of a tree does not grow with the
//! number of its names.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, fstat, openat, rmdir, statat, unlink, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

/// Directories of one way down that are open at a time. The upper ones are closed, and found again by `..`.
const OPEN_MOST: usize = 32;
/// Of the upper ones those stay open besides that have more names left than are worth holding: a place in a directory cannot be come back to
/// once it is closed, for not every file system gives it again when names come and go. Where more than this lie in one another, all their
/// names are held.
const LARGE_MOST: usize = 64;
/// Bytes of names taken from the kernel at once, as glibc does. A closed directory's are held, three times as many at the
/// most.
const NAMES_BYTES: usize = 32 * 1024;
/// Bytes of a path that messages show; a longer one is shown by its beginning and its end.
const SHOWN_BYTES: usize = 1024;

/// Opens a directory in another one, not through a symbolic link.
pub fn open_directory(parent: BorrowedFd<'_>, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    name.into_with_c_str(|name| retry_on_intr(|| openat(parent, name, flags, Mode::empty())))
}

/// A way down through directories, each with what its user knows of it.
pub struct Way<T> {
    steps: Vec<Step<T>>,
    /// How many at the end are open; the last one always is.
    open: usize,
    /// How many are open above these.
    large: usize,
}

/// What becomes of a directory on the way that would be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// All is known that is still asked of it.
    Closed,
    /// It is to stay open.
    Open,
}

struct Step<T> {
    directory: At,
    value: T,
}

enum At {
    Open(OwnedFd),
    /// Its device and inode.
    Closed(u64, u64),
}

impl<T> Way<T> {
    /// The way that begins here.
    pub fn begin(directory: OwnedFd, value: T) -> Self {
        let directory = At::Open(directory);
        Self {
            steps: vec![Step { directory, value }],
            open: 1,
            large: 0,
        }
    }

    /// The directories on the way, from the first.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.steps.iter().map(|step| &step.value)
    }

    /// The last directory; none when the way is at its end.
    pub fn last(&self) -> Option<BorrowedFd<'_>> {
        match &self.steps.last()?.directory {
            At::Open(directory) => Some(directory.as_fd()),
            At::Closed(..) => None,
        }
    }

    /// The last directory, with what is known of it.
    pub fn last_mut(&mut self) -> Option<(BorrowedFd<'_>, &mut T)> {
        let step = self.steps.last_mut()?;
        match &step.directory {
            At::Open(directory) => Some((directory.as_fd(), &mut step.value)),
            At::Closed(..) => None,
        }
    }

    /// Goes down. `closing` sees the directory that is closed for it, if one is, and whether it might stay open.
    pub fn down(
        &mut self,
        directory: OwnedFd,
        value: T,
        closing: impl FnOnce(BorrowedFd<'_>, &mut T, bool) -> io::Result<Closing>,
    ) -> io::Result<()> {
        if self.open == OPEN_MOST {
            let at = self.steps.len() - self.open;
            let step = &mut self.steps[at];
            if let At::Open(directory) = &step.directory {
                let may_stay = self.large < LARGE_MOST;
                match closing(directory.as_fd(), &mut step.value, may_stay)? {
                    Closing::Open => self.large += 1,
                    Closing::Closed => {
                        let stat = fstat(directory)?;
                        step.directory = At::Closed(stat.st_dev, stat.st_ino);
                    }
                }
            }
            self.open -= 1;
        }
        let directory = At::Open(directory);
        self.steps.push(Step { directory, value });
        self.open += 1;
        Ok(())
    }

    /// Goes up, and gives the directory that was the last. None at the way's end.
    pub fn up(&mut self) -> io::Result<Option<(OwnedFd, T)>> {
        let Some(Step {
            directory: At::Open(left),
            value,
        }) = self.steps.pop()
        else {
            return Ok(None);
        };
        self.open -= 1;
        if self.open == 0
            && let Some(step) = self.steps.last_mut()
        {
            self.open = 1;
            match step.directory {
                At::Open(_) => self.large -= 1,
                At::Closed(device, inode) => {
                    let parent = open_directory(left.as_fd(), c"..")?;
                    let stat = fstat(&parent)?;
                    if (stat.st_dev, stat.st_ino) != (device, inode) {
                        return Err(io::Error::other("a directory was moved meanwhile"));
                    }
                    step.directory = At::Open(parent);
                }
            }
        }
        Ok(Some((left, value)))
    }
}

/// A name in a directory.
#[derive(Debug)]
pub struct Name {
    /// As the file system has it.
    pub name: CString,
    /// As it was when the name was read.
    pub kind: FileType,
}

/// Gives every name of a tree, each directory before what is in it.
pub struct Descent {
    way: Way<Names>,
    /// Of the last directory, below the root.
    path: Vec<u8>,
    buffer: Vec<MaybeUninit<u8>>,
}

/// What is left to be given of a directory.
#[derive(Default)]
struct Names {
    /// Names that were read, each with a NUL at its end, as one text: an allocation each would be several times as much.
    text: Vec<u8>,
    kinds: Vec<FileType>,
    /// How many bytes and names of these were given.
    given: (usize, usize),
    ended: bool,
    /// Bytes of the path of the directory above.
    above: usize,
}

impl Descent {
    /// Opens the root, through symbolic links.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = OwnedFd::from(File::open(root)?);
        Ok(Self {
            way: Way::begin(root, Names::default()),
            path: Vec::new(),
            buffer: vec![MaybeUninit::uninit(); NAMES_BYTES],
        })
    }

    /// The last directory's path below the root.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// The path below the root of a name in the last directory.
    pub fn path_of(&self, name: &CStr) -> PathBuf {
        self.path().join(OsStr::from_bytes(name.to_bytes()))
    }

    /// The last directory.
    pub fn directory(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.way.last().ok_or(io::ErrorKind::NotFound)?)
    }

    /// The next name in the last directory; none when all were given.
    pub fn next_name(&mut self) -> io::Result<Option<Name>> {
        let Some((directory, names)) = self.way.last_mut() else {
            return Ok(None);
        };
        if names.are_given() && !names.ended {
            names.read(directory, &mut self.buffer)?;
        }
        let Some(mut name) = names.give() else {
            return Ok(None);
        };
        if name.kind == FileType::Unknown
            && let Ok(stat) = statat(directory, &*name.name, AtFlags::SYMLINK_NOFOLLOW)
        {
            name.kind = FileType::from_raw_mode(stat.st_mode);
        }
        Ok(Some(name))
    }

    /// Goes down into a directory that was opened in the last one.
    pub fn enter(&mut self, name: &CStr, directory: OwnedFd) -> io::Result<()> {
        let names = Names {
            above: self.path.len(),
            ..Names::default()
        };
        let buffer = &mut self.buffer;
        self.way.down(directory, names, |above, names, may_stay| {
            // A look ahead tells of most directories that these were all.
            let few = names.text.len() + NAMES_BYTES;
            while !names.ended {
                if may_stay && names.text.len() >= few {
                    return Ok(Closing::Open);
                }
                names.read(above, buffer)?;
            }
            names.forget_given();
            Ok(Closing::Closed)
        })?;
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.to_bytes());
        Ok(())
    }

    /// Goes up, and gives the name of the directory that was left; none when that was the root.
    pub fn leave(&mut self) -> io::Result<Option<OsString>> {
        let Some((_, names)) = self.way.up()? else {
            return Ok(None);
        };
        if self.path.is_empty() {
            return Ok(None);
        }
        let left = self.path.split_off(names.above);
        let name = left.strip_prefix(b"/").unwrap_or(&left);
        Ok(Some(OsStr::from_bytes(name).to_owned()))
    }
}

impl Names {
    fn are_given(&self) -> bool {
        self.given.1 == self.kinds.len()
    }

    /// The next of those that were read.
    fn give(&mut self) -> Option<Name> {
        let (at, number) = self.given;
        let kind = *self.kinds.get(number)?;
        let name = CStr::from_bytes_until_nul(&self.text[at..]).ok()?;
        self.given = (at + name.to_bytes_with_nul().len(), number + 1);
        Some(Name {
            name: name.to_owned(),
            kind,
        })
    }

    /// Takes no more memory than for what is left to be given.
    fn forget_given(&mut self) {
        let (bytes, names) = std::mem::take(&mut self.given);
        self.text.drain(..bytes);
        self.text.shrink_to_fit();
        self.kinds.drain(..names);
        self.kinds.shrink_to_fit();
    }

    /// Takes more names, as many as the kernel gives at once.
    fn read(
        &mut self,
        directory: BorrowedFd<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> io::Result<()> {
        if self.are_given() {
            self.text.clear();
            self.kinds.clear();
            self.given = (0, 0);
        }
        let mut entries = RawDir::new(directory, buffer);
        let before = self.kinds.len();
        loop {
            match entries.next() {
                // A directory that was removed meanwhile has no names.
                None | Some(Err(Errno::NOENT)) => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    return Err(error.into());
                }
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    if name != c"." && name != c".." {
                        self.text.extend_from_slice(name.to_bytes_with_nul());
                        self.kinds.push(entry.file_type());
                    }
                }
            }
            if self.ended || (entries.is_buffer_empty() && self.kinds.len() > before) {
                return Ok(());
            }
        }
    }
}

/// Removes a file, or a directory with all that is in it, however deep.
pub fn remove(path: &Path) -> io::Result<()> {
    let meta = path.symlink_metadata()?;
    if !meta.is_dir() {
        return Ok(unlink(path)?);
    }
    let mut descent = Descent::open(path)?;
    loop {
        while let Some(found) = descent.next_name()? {
            let directory = descent.directory()?;
            if found.kind.is_dir() {
                let below = open_directory(directory, &*found.name)?;
                descent.enter(&found.name, below)?;
            } else {
                gone(unlinkat(directory, &*found.name, AtFlags::empty()))?;
            }
        }
        let Some(left) = descent.leave()? else {
            return Ok(rmdir(path)?);
        };
        gone(unlinkat(descent.directory()?, left, AtFlags::REMOVEDIR))?;
    }
}

/// What somebody else removed first is removed.
fn gone(removed: rustix::io::Result<()>) -> io::Result<()> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A path for a message, shortened where nobody could read it.
pub fn shown(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let Some(end) = bytes.len().checked_sub(SHOWN_BYTES / 2) else {
        return path.display().to_string();
    };
    if bytes.len() <= SHOWN_BYTES {
        return path.display().to_string();
    }
    let (first, last) = (&bytes[..SHOWN_BYTES / 2], &bytes[end..]);
    format!(
        "{}…{}",
        String::from_utf8_lossy(first),
        String::from_utf8_lossy(last)
    )
}

#[cfg(test)]
mod tests;
