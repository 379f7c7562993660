//! An artifact read back: what is told of it, and what every kind compares.

use std::io;
use std::sync::Arc;

use catalog::artifact::Artifact;
use postgres::tools::Tools;
use serde::Serialize;
use stream::artifact::Meter;
use stream::read::ReadBack;
use tokio_util::sync::CancellationToken;

/// What reading a set back found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Files looked at.
    pub files: usize,
    /// Bytes read from the set.
    pub bytes: u64,
    /// Bytes they decode to.
    pub raw_bytes: u64,
    /// Rows counted in dumps.
    pub rows: u64,
    /// Entries walked in archives.
    pub entries: u64,
    /// Every difference; empty when the set is whole.
    pub problems: Vec<Problem>,
}

/// One difference between a set and its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File name inside the set.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
    /// Of what kind that is.
    pub flaw: Flaw,
}

/// What is known by a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flaw {
    /// Bytes were read, and they are not what they were.
    Damaged,
    /// A file is not there.
    Missing,
    /// A file is there that is none of the set's.
    Foreign,
    /// It could not be read: of its bytes nothing is known.
    Unread,
}

impl Report {
    /// Whether everything was as the manifest says.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether bytes were read that are not what they were: then it is no good set, until it is read whole.
    pub fn is_damaged(&self) -> bool {
        self.has(Flaw::Damaged)
    }

    /// Whether there is a difference of this kind.
    pub fn has(&self, flaw: Flaw) -> bool {
        self.problems.iter().any(|problem| problem.flaw == flaw)
    }

    pub(crate) fn say(&mut self, file: &str, what: impl Into<String>) {
        self.tell(file, Flaw::Damaged, what);
    }

    pub(crate) fn tell(&mut self, file: &str, flaw: Flaw, what: impl Into<String>) {
        self.problems.push(Problem {
            file: file.to_owned(),
            what: what.into(),
            flaw,
        });
    }
}

/// How artifacts are read.
pub struct Reading<'a> {
    /// For dumps in custom format, which only `pg_restore` can read.
    pub tools: Option<&'a Tools>,
    /// Counts decoded bytes.
    pub meter: Arc<Meter>,
    /// Ends the reading early.
    pub cancel: &'a CancellationToken,
}

/// Why an artifact was not read whole.
pub(crate) struct Unreadable {
    pub words: String,
    pub flaw: Flaw,
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self {
            words: format!("cannot be read whole: {error}"),
            flaw: flaw_of(&error),
        }
    }
}

fn is_of_the_system(error: &(dyn std::error::Error + 'static)) -> bool {
    let own = error.downcast_ref::<io::Error>();
    if own.is_some_and(|error| error.raw_os_error().is_some()) {
        return true;
    }
    // An error that carries another gives that one's source as its own.
    let carried = own.and_then(io::Error::get_ref);
    carried.is_some_and(|carried| is_of_the_system(carried))
        || error.source().is_some_and(is_of_the_system)
}

/// What an error says of a file's bytes. What the system refuses says nothing; what a decoder or a reader of archives refuses, it has read.
pub fn flaw_of(error: &io::Error) -> Flaw {
    if error.kind() == io::ErrorKind::NotFound {
        Flaw::Missing
    } else if is_of_the_system(error) {
        Flaw::Unread
    } else {
        Flaw::Damaged
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Unreadable> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Unreadable::from),
        Err(panic) => Err(unread(panic.to_string())),
    }
}

pub(crate) fn unread(words: String) -> Unreadable {
    Unreadable {
        words,
        flaw: Flaw::Unread,
    }
}

/// The file as it was read, against the manifest.
pub(crate) fn compare_file(artifact: &Artifact, back: &ReadBack, report: &mut Report) {
    let file = artifact.file.as_str();
    report.bytes += back.bytes;
    report.raw_bytes += back.raw_bytes;
    if back.bytes != artifact.bytes {
        report.say(
            file,
            format!(
                "is {} bytes, the manifest says {}",
                back.bytes, artifact.bytes
            ),
        );
    }
    if back.sha256 != artifact.sha256 {
        report.say(
            file,
            format!(
                "SHA-256 is {}, the manifest says {}",
                back.sha256, artifact.sha256
            ),
        );
    }
    if back.raw_bytes != artifact.raw_bytes {
        report.say(
            file,
            format!(
                "decodes to {} bytes, the manifest says {}",
                back.raw_bytes, artifact.raw_bytes
            ),
        );
    }
}
