//! Reads a dump on a thread and hands its statements and rows over, a bounded number ahead.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use stream::artifact::{Compression, Meter};
use stream::child::Program;
use stream::read::ArtifactReader;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::dump::DumpFormat;
use crate::restore::error::RestoreError;
use crate::sql::split::Rows;
use crate::sql::{CopyTarget, Piece, QualifiedName, Splitter};
use crate::tools::Tools;

/// Pieces read ahead, each of a mebibyte at most unless it is one statement.
const AHEAD: usize = 8;

/// Where a dump lies.
#[derive(Debug, Clone)]
pub struct Source {
    /// PostgreSQL's programs, for archives.
    pub tools: Tools,
    /// The artifact.
    pub file: PathBuf,
    /// Its form.
    pub format: DumpFormat,
    /// Its compression as a whole.
    pub compression: Compression,
    /// Counts bytes for whoever shows progress.
    pub meter: Arc<Meter>,
}

/// What comes out of a dump, in its order.
#[derive(Debug)]
pub(super) enum Fed {
    Statement(Vec<u8>),
    Copy(Vec<u8>),
    Rows(Rows),
    EndOfRows,
}

/// Which tables' rows are wanted.
pub(super) type Wanted = Box<dyn Fn(&QualifiedName) -> bool + Send>;

/// A dump being read. Dropped, the reading ends.
pub(super) struct Feed {
    receiver: mpsc::Receiver<Fed>,
    reading: Option<JoinHandle<Result<(), RestoreError>>>,
    _end: DropGuard,
}

impl Feed {
    pub fn begin(source: &Source, wanted: Wanted, cancel: &CancellationToken) -> Self {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let token = cancel.child_token();
        let end = token.clone().drop_guard();
        let source = source.clone();
        let reading = tokio::spawn(async move {
            match source.format {
                DumpFormat::Plain => {
                    let Source {
                        file,
                        compression,
                        meter,
                        ..
                    } = source;
                    blocking(move || {
                        split(
                            ArtifactReader::open(&file, compression, meter)?,
                            &wanted,
                            &sender,
                        )
                    })
                    .await
                }
                DumpFormat::Custom => of_archive(&source, wanted, sender, &token).await,
            }
        });
        Self {
            receiver,
            reading: Some(reading),
            _end: end,
        }
    }

    /// The next part; none at the end of the dump, which is proven by pg_dump's last words.
    pub async fn next(&mut self) -> Result<Option<Fed>, RestoreError> {
        if let Some(fed) = self.receiver.recv().await {
            return Ok(Some(fed));
        }
        if let Some(reading) = self.reading.take() {
            reading
                .await
                .unwrap_or_else(|panic| Err(RestoreError::Source(io::Error::other(panic))))?;
        }
        Ok(None)
    }

    /// The next rows of the block that is read; none at its end.
    pub async fn next_rows(&mut self) -> Result<Option<Rows>, RestoreError> {
        match self.next().await? {
            Some(Fed::Rows(rows)) => Ok(Some(rows)),
            Some(Fed::EndOfRows) => Ok(None),
            // The feed gives rows up to their end, or an error.
            _ => Err(RestoreError::Interrupted),
        }
    }

    /// Passes over the rest of the block.
    pub async fn skip_rows(&mut self) -> Result<(), RestoreError> {
        while let Some(Fed::Rows(_)) = self.next().await? {}
        Ok(())
    }
}

async fn blocking(
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), RestoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(RestoreError::Source)
}

/// An archive's text, from pg_restore.
async fn of_archive(
    source: &Source,
    wanted: Wanted,
    sender: mpsc::Sender<Fed>,
    cancel: &CancellationToken,
) -> Result<(), RestoreError> {
    let (reader, writer) = io::pipe().map_err(|source| RestoreError::Io {
        what: "a pipe could not be made",
        source,
    })?;
    let pg_restore = Program::new(source.tools.pg_restore())
        .arg("--file=-")
        .arg(&source.file);
    let meter = source.meter.clone();
    let splitting = blocking(move || {
        split(
            Metered {
                inner: reader,
                meter,
            },
            &wanted,
            &sender,
        )
    });
    // The writer goes with the program: its end is the text's.
    let printing = async { pg_restore.stream_into(writer, cancel).await.map(drop) };
    let (printed, fed) = tokio::join!(printing, splitting);
    // What could not be split is the cause of a broken pipe; what pg_restore complains of, that of a text without an end.
    match (printed, fed) {
        (Ok(()), fed) => fed,
        (Err(stream::child::ChildError::Sink { .. }), Err(error)) => Err(error),
        (Err(error), _) => Err(error.into()),
    }
}

struct Metered<R> {
    inner: R,
    meter: Arc<Meter>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.add_raw(read);
        Ok(read)
    }
}

fn split(input: impl Read, wanted: &Wanted, sender: &mpsc::Sender<Fed>) -> io::Result<()> {
    // Nobody listens any more: the load has ended, and says why.
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let mut splitter = Splitter::new(input);
    while let Some(piece) = splitter.piece()? {
        match piece {
            Piece::Statement(statement) => {
                sender
                    .blocking_send(Fed::Statement(statement))
                    .map_err(gone)?;
            }
            Piece::Copy(statement) => {
                let name = CopyTarget::parse(&statement).and_then(|target| target.name());
                if name.is_some_and(|name| !wanted(&name)) {
                    continue;
                }
                sender.blocking_send(Fed::Copy(statement)).map_err(gone)?;
                while let Some(rows) = splitter.rows()? {
                    sender.blocking_send(Fed::Rows(rows)).map_err(gone)?;
                }
                sender.blocking_send(Fed::EndOfRows).map_err(gone)?;
            }
        }
    }
    if splitter.is_complete() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "it ends without pg_dump's last words: it is cut off",
    ))
}
