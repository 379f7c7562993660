//! The writer of an artifact: compresses, hashes, counts, and has one exit, [`ArtifactWriter::commit`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::Hashing;
use crate::durable;
use crate::gzip::GzipWriter;
use crate::proof::Finished;
use crate::zstd::ZstdWriter;

/// How an artifact's bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// A series of gzip members; `level` 1–12 as libdeflate counts them.
    Gzip {
        /// Effort.
        level: u8,
    },
    /// One zstd frame; `level` 1–19.
    Zstd {
        /// Effort.
        level: u8,
    },
}

impl Compression {
    /// The end of a file's name, with its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip { .. } => ".gz",
            Self::Zstd { .. } => ".zst",
        }
    }

    /// Bytes that data become.
    pub fn size_of(self, data: &[u8]) -> io::Result<u64> {
        let packed = match self {
            Self::None => return Ok(data.len() as u64),
            Self::Gzip { level } => {
                let mut writer = GzipWriter::new(Vec::new(), level, 1)?;
                writer.write_all(data)?;
                writer.finish()?
            }
            Self::Zstd { level } => {
                let mut writer = ZstdWriter::new(Vec::new(), level, 1)?;
                writer.write_all(data)?;
                writer.finish()?
            }
        };
        Ok(packed.len() as u64)
    }
}

/// Compression, and the threads it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The format.
    pub compression: Compression,
    /// Worker threads, at least 1.
    pub threads: usize,
}

/// Counts bytes for whoever shows progress.
#[derive(Debug, Default)]
pub struct Meter {
    raw: AtomicU64,
    written: AtomicU64,
}

impl Meter {
    /// Bytes before compression.
    pub fn raw(&self) -> u64 {
        self.raw.load(Ordering::Relaxed)
    }

    /// Bytes on disk.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Counts bytes before compression.
    pub fn add_raw(&self, bytes: usize) {
        self.raw.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A finished artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name in the set.
    pub file: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Of the file on disk, in hex.
    pub sha256: String,
}

/// Writes an artifact aside; dropped without [`commit`](Self::commit), it removes what it wrote.
pub struct ArtifactWriter {
    encoder: Option<Encoder>,
    file: String,
    path: PathBuf,
    raw_bytes: u64,
    meter: Arc<Meter>,
}

type Sink = Hashing<Metered>;

enum Encoder {
    None(Sink),
    Gzip(GzipWriter<Sink>),
    Zstd(ZstdWriter<Sink>),
}

struct Metered {
    file: File,
    meter: Arc<Meter>,
}

impl Write for Metered {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.meter
            .written
            .fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl ArtifactWriter {
    /// Begins `dir/file`, aside under another name until it is committed.
    pub fn create(
        dir: &Path,
        file: &str,
        encoding: Encoding,
        meter: Arc<Meter>,
    ) -> io::Result<Self> {
        let path = dir.join(file);
        let sink = Hashing::new(Metered {
            file: durable::create_private(&durable::aside(&path))?,
            meter: meter.clone(),
        });
        let encoder = match encoding.compression {
            Compression::None => Encoder::None(sink),
            Compression::Gzip { level } => {
                Encoder::Gzip(GzipWriter::new(sink, level, encoding.threads)?)
            }
            Compression::Zstd { level } => {
                Encoder::Zstd(ZstdWriter::new(sink, level, encoding.threads)?)
            }
        };
        Ok(Self {
            encoder: Some(encoder),
            file: file.to_owned(),
            path,
            raw_bytes: 0,
            meter,
        })
    }

    /// Completes the file, makes it survive a power cut and gives it its name. The proof says that its producer ended cleanly.
    pub fn commit(mut self, proof: Finished) -> io::Result<Written> {
        drop(proof);
        let Some(encoder) = self.encoder.take() else {
            return Err(io::Error::other("the artifact was committed before"));
        };
        let sink = match encoder {
            Encoder::None(sink) => sink,
            Encoder::Gzip(writer) => writer.finish()?,
            Encoder::Zstd(writer) => writer.finish()?,
        };
        let (metered, bytes, sha256) = sink.finish();
        metered.file.sync_all()?;
        durable::rename(&durable::aside(&self.path), &self.path)?;
        Ok(Written {
            file: std::mem::take(&mut self.file),
            bytes,
            raw_bytes: self.raw_bytes,
            sha256,
        })
    }
}

impl Write for ArtifactWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = match &mut self.encoder {
            Some(Encoder::None(sink)) => sink.write(data)?,
            Some(Encoder::Gzip(writer)) => writer.write(data)?,
            Some(Encoder::Zstd(writer)) => writer.write(data)?,
            None => return Err(io::Error::other("the artifact was committed before")),
        };
        self.raw_bytes += written as u64;
        self.meter.add_raw(written);
        Ok(written)
    }

    /// Nothing: the compressors decide when bytes go out, `commit` makes them durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ArtifactWriter {
    fn drop(&mut self) {
        drop(self.encoder.take());
        // After commit there is nothing under this name; otherwise the unfinished file goes, and a failure leaves it to the set's removal.
        let _ = fs::remove_file(durable::aside(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{ArtifactReader, hash_file};
    use std::io::Read;

    const ENCODINGS: [Compression; 3] = [
        Compression::None,
        Compression::Gzip { level: 4 },
        Compression::Zstd { level: 3 },
    ];

    fn writer(dir: &Path, compression: Compression) -> ArtifactWriter {
        let encoding = Encoding {
            compression,
            threads: 2,
        };
        ArtifactWriter::create(dir, "a.sql", encoding, Arc::default()).unwrap()
    }

    #[test]
    fn what_is_committed_reads_back_with_the_same_figures() {
        for compression in ENCODINGS {
            let dir = tempfile::tempdir().unwrap();
            let mut artifact = writer(dir.path(), compression);
            let text = "some rows\n".repeat(200_000);
            artifact.write_all(text.as_bytes()).unwrap();
            assert!(
                !dir.path().join("a.sql").exists(),
                "not visible before commit"
            );
            let written = artifact.commit(Finished::new()).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            let path = dir.path().join("a.sql");
            assert_eq!(
                hash_file(&path).unwrap(),
                (written.bytes, written.sha256.clone())
            );
            let mut reader = ArtifactReader::open(&path, compression, Arc::default()).unwrap();
            let mut back = String::new();
            reader.read_to_string(&mut back).unwrap();
            assert!(back == text);
            let read = reader.finish().unwrap();
            assert_eq!(
                (read.bytes, read.raw_bytes, read.sha256),
                (written.bytes, written.raw_bytes, written.sha256)
            );
        }
    }

    #[test]
    fn what_is_dropped_leaves_nothing() {
        for compression in ENCODINGS {
            let dir = tempfile::tempdir().unwrap();
            let mut artifact = writer(dir.path(), compression);
            artifact.write_all(&vec![7; 2_000_000]).unwrap();
            drop(artifact);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
