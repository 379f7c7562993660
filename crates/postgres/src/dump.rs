//! The dump of one database: `pg_dump` straight into an artifact.
//!
//! Nothing is left out of it: never `--no-owner` or `--no-acl` (whole APIs live on grants), never `--enable-row-security`
//! (a role under row security must get an error, not empty tables). `--create` is not used: the dump goes into any empty database;
//! the database's own properties are in the roles artifact.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stream::artifact::{ArtifactWriter, Compression, Encoding, Meter, Written};
use stream::child::{ChildError, Program};
use tokio_util::sync::CancellationToken;

use crate::dsn::Dsn;
use crate::inventory::{Census, Inventory};
use crate::server::ServerError;
use crate::tools::Tools;

/// zlib's highest level; libdeflate, which writes plain dumps, counts to 12.
const ZLIB_MAX_LEVEL: u8 = 9;
/// The first pg_dump that writes zstd.
const ZSTD_SINCE: u32 = 16;

/// The form of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpFormat {
    /// SQL text, which psql loads.
    Plain,
    /// pg_dump's archive, which pg_restore loads.
    Custom,
}

impl DumpFormat {
    /// pg_dump's name, also the manifest's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Custom => "custom",
        }
    }
}

/// What to dump, and where to.
#[derive(Debug, Clone)]
pub struct DumpRequest<'a> {
    /// PostgreSQL's programs.
    pub tools: &'a Tools,
    /// The database.
    pub dsn: &'a Dsn,
    /// The snapshot that is dumped; without, one of pg_dump's own.
    pub snapshot: Option<&'a str>,
    /// How long pg_dump waits for the lock of a table; without, for ever.
    pub lock_timeout: Option<Duration>,
    /// The form; a roles artifact is always SQL text.
    pub format: DumpFormat,
    /// The encoding of its text ([`Facts::dump_encoding`](crate::server::Facts::dump_encoding)); a roles artifact is always in UTF-8.
    pub characters: &'a str,
    /// Compression; in the custom format pg_dump's own.
    pub encoding: Encoding,
    /// The set's directory.
    pub dir: &'a Path,
    /// The artifact's name in it.
    pub file: &'a str,
    /// Counts the bytes.
    pub meter: Arc<Meter>,
}

/// A dump that is complete.
#[derive(Debug, Clone)]
pub struct Dumped {
    /// The artifact.
    pub written: Written,
    /// What it holds; none for the custom format, which is looked at when it is read back.
    pub content: Option<Census>,
}

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// PostgreSQL's program failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The server did not answer.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The run was ended.
    #[error("the work was cancelled")]
    Cancelled,
    /// It said that it succeeded, and its output has no end.
    #[error(
        "{program} exited with 0, but its output does not end with \"{trailer}\": it is not complete"
    )]
    MissingTrailer {
        /// The program.
        program: &'static str,
        /// The words it ends with.
        trailer: &'static str,
    },
    /// The artifact could not be written.
    #[error("{file} cannot be written: {source}")]
    Io {
        /// The artifact or file.
        file: String,
        /// What happened.
        source: io::Error,
    },
    /// The programs are too old for what is asked.
    #[error(
        "pg_dump {version} cannot write zstd into the custom format: install PostgreSQL's client 16 or newer, or set gzip"
    )]
    ZstdUnsupported {
        /// Of the programs.
        version: String,
    },
    /// A listing that cannot be understood.
    #[error("pg_restore's list of {file} cannot be read: {line}")]
    List {
        /// The archive.
        file: String,
        /// The line.
        line: String,
    },
}

/// What PostgreSQL's programs say when the server went away or takes nobody now.
const LOST: [&str; 7] = [
    "connection to server",
    "could not connect",
    "server closed the connection",
    "terminating connection",
    "the database system is",
    "connection has been closed",
    "no connection to the server",
];
/// What they say besides when the server will never take them as they come.
const REJECTED: [&str; 4] = [
    "authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "certificate",
];

impl DumpError {
    /// Whether the same dump may go well a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Child(ChildError::Failed { stderr, .. }) => {
                let says = |words: &[&str]| words.iter().any(|words| stderr.contains(words));
                says(&LOST) && !says(&REJECTED)
            }
            Self::Server(error) => error.is_transient(),
            _ => false,
        }
    }

    /// The program's exit status, where it exited by itself.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Child(error) => error.exit_code(),
            _ => None,
        }
    }
}

/// Dumps a database. The artifact has its name only if pg_dump exited with 0 and, in SQL text, its trailer is there.
pub async fn dump(
    request: DumpRequest<'_>,
    cancel: &CancellationToken,
) -> Result<Dumped, DumpError> {
    match request.format {
        DumpFormat::Plain => plain(request, cancel).await,
        DumpFormat::Custom => custom(request, cancel).await,
    }
}

async fn plain(request: DumpRequest<'_>, cancel: &CancellationToken) -> Result<Dumped, DumpError> {
    let program = pg_dump(&request).arg("--format=plain");
    let writer = create(&request, request.encoding)?;
    let (inventory, finished) = program.stream_into(Inventory::new(writer), cancel).await?;
    let (writer, census) = inventory.finish();
    if !census.complete {
        return Err(DumpError::MissingTrailer {
            program: "pg_dump",
            trailer: "PostgreSQL database dump complete",
        });
    }
    let written = commit(writer, finished, request.file).await?;
    Ok(Dumped {
        written,
        content: Some(census),
    })
}

async fn custom(request: DumpRequest<'_>, cancel: &CancellationToken) -> Result<Dumped, DumpError> {
    let compress = compress_option(request.encoding.compression, request.tools)?;
    let program = pg_dump(&request).args(["--format=custom".to_owned(), compress]);
    let uncompressed = Encoding {
        compression: Compression::None,
        ..request.encoding
    };
    let writer = create(&request, uncompressed)?;
    let (writer, finished) = program.stream_into(writer, cancel).await?;
    let written = commit(writer, finished, request.file).await?;
    Ok(Dumped {
        written,
        content: None,
    })
}

fn compress_option(compression: Compression, tools: &Tools) -> Result<String, DumpError> {
    Ok(match compression {
        Compression::None => "--compress=0".to_owned(),
        // A bare number is zlib's level in every version.
        Compression::Gzip { level } => format!("--compress={}", level.min(ZLIB_MAX_LEVEL)),
        Compression::Zstd { level } if tools.version.major >= ZSTD_SINCE => {
            format!("--compress=zstd:{level}")
        }
        Compression::Zstd { .. } => {
            return Err(DumpError::ZstdUnsupported {
                version: tools.version.text.clone(),
            });
        }
    })
}

fn pg_dump(request: &DumpRequest<'_>) -> Program {
    let program = Program::new(request.tools.pg_dump())
        .envs(request.dsn.child_env())
        // There is nobody to ask.
        .arg("--no-password")
        // Without, whoever owns the database decides, by ALTER DATABASE.
        .arg(format!("--encoding={}", request.characters));
    let options = [
        request.snapshot.map(|id| format!("--snapshot={id}")),
        // A bare number is of milliseconds.
        request
            .lock_timeout
            .map(|limit| format!("--lock-wait-timeout={}", limit.as_millis())),
    ];
    program.args(options.into_iter().flatten())
}

/// Begins the request's artifact.
pub(crate) fn create(
    request: &DumpRequest<'_>,
    encoding: Encoding,
) -> Result<ArtifactWriter, DumpError> {
    ArtifactWriter::create(request.dir, request.file, encoding, request.meter.clone())
        .map_err(|source| failed(request.file, source))
}

/// Commits, off the runtime: it waits for the compressor and the disk.
pub(crate) async fn commit(
    writer: ArtifactWriter,
    finished: stream::Finished,
    file: &str,
) -> Result<Written, DumpError> {
    tokio::task::spawn_blocking(move || writer.commit(finished))
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|source| failed(file, source))
}

pub(crate) fn failed(file: &str, source: io::Error) -> DumpError {
    DumpError::Io {
        file: file.to_owned(),
        source,
    }
}
