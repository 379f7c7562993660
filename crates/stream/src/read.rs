//! Reads an artifact back: decodes it and hashes the very bytes that were decoded, in one pass.
//!
//! A file cut between two gzip members decodes cleanly, so completeness is digest, sizes and the content's own end, never "it decoded".

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};
use sha2::{Digest, Sha256};

use crate::artifact::{Compression, Meter};

/// Bytes asked of the disk at once.
const READ_BYTES: usize = 256 * 1024;

/// Figures of an artifact that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes they decode to.
    pub raw_bytes: u64,
    /// Of the file on disk, in hex.
    pub sha256: String,
}

/// Decodes an artifact as it is read.
pub struct ArtifactReader {
    decoder: Decoder,
    raw_bytes: u64,
    meter: Arc<Meter>,
}

type Source = BufReader<HashingReader>;

enum Decoder {
    None(Source),
    Gzip(Box<MultiGzDecoder<Source>>),
    Zstd(::zstd::stream::read::Decoder<'static, Source>),
}

struct HashingReader {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

impl HashingReader {
    /// Opens a file and drops what the page cache holds of it, so that the disk is read and not the memory of having written it.
    fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        // Advice alone: where the kernel keeps the pages, the read-back is still a read-back of the file.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        Ok(Self {
            file,
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    fn drain(mut self) -> io::Result<(u64, String)> {
        let mut buffer = vec![0; READ_BYTES];
        while self.read(&mut buffer)? > 0 {}
        Ok((self.bytes, hex::encode(self.hash.finalize())))
    }
}

impl ArtifactReader {
    /// Opens an artifact. The level of `compression` does not matter.
    pub fn open(path: &Path, compression: Compression, meter: Arc<Meter>) -> io::Result<Self> {
        let source = BufReader::with_capacity(READ_BYTES, HashingReader::open(path)?);
        let decoder = match compression {
            Compression::None => Decoder::None(source),
            Compression::Gzip { .. } => Decoder::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd { .. } => {
                Decoder::Zstd(::zstd::stream::read::Decoder::with_buffer(source)?)
            }
        };
        Ok(Self {
            decoder,
            raw_bytes: 0,
            meter,
        })
    }

    /// Reads what is left and gives the figures.
    pub fn finish(mut self) -> io::Result<ReadBack> {
        let mut buffer = vec![0; READ_BYTES];
        while self.read(&mut buffer)? > 0 {}
        let source = match self.decoder {
            Decoder::None(source) => source,
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
        };
        let (bytes, sha256) = source.into_inner().drain()?;
        Ok(ReadBack {
            bytes,
            raw_bytes: self.raw_bytes,
            sha256,
        })
    }
}

impl Read for ArtifactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::None(source) => source.read(buffer)?,
            Decoder::Gzip(decoder) => decoder.read(buffer)?,
            Decoder::Zstd(decoder) => decoder.read(buffer)?,
        };
        self.raw_bytes += read as u64;
        self.meter.add_raw(read);
        Ok(read)
    }
}

/// Opens a regular file, and nothing else: no symbolic link is followed, and a pipe or a device that stands there is an error at once.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| openat(CWD, path, flags, Mode::empty())) {
        Ok(file) => File::from(file),
        // A link, or a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Err(io::Error::other("is no regular file")),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("is no regular file"))
    }
}

/// Reads a regular file of no more than `most` bytes.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let size = file.metadata()?.len();
    let too_large = || io::Error::other(format!("has more than {most} bytes"));
    if size > most {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let read = file
        .take(most.saturating_add(1))
        .read_to_end(&mut content)?;
    if read as u64 > most {
        return Err(too_large());
    }
    Ok(content)
}

/// Size and SHA-256 (hex) of a file.
pub fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    HashingReader::open(path)?.drain()
}

#[cfg(test)]
pub(crate) mod tests_support {
    use std::io::Read;

    /// Decodes as `gunzip` does.
    pub fn gunzip(packed: &[u8]) -> Vec<u8> {
        let mut raw = Vec::new();
        flate2::bufread::MultiGzDecoder::new(packed)
            .read_to_end(&mut raw)
            .unwrap();
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gzip::GzipWriter;
    use std::io::Write;

    fn read(content: &[u8]) -> io::Result<ReadBack> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gz");
        std::fs::write(&path, content).unwrap();
        ArtifactReader::open(&path, Compression::Gzip { level: 4 }, Arc::default())?.finish()
    }

    fn packed(parts: &[&[u8]]) -> Vec<u8> {
        parts
            .iter()
            .flat_map(|part| {
                let mut writer = GzipWriter::new(Vec::new(), 4, 1).unwrap();
                writer.write_all(part).unwrap();
                writer.finish().unwrap()
            })
            .collect()
    }

    #[test]
    fn a_file_cut_between_members_shows_in_its_sizes() {
        let whole = packed(&[b"first", b"second"]);
        let cut = packed(&[b"first"]);
        assert_eq!(read(&whole).unwrap().raw_bytes, 11);
        assert_eq!(read(&cut).unwrap().raw_bytes, 5);
    }

    #[test]
    fn a_cut_member_a_flipped_byte_and_a_tail_are_errors_or_other_digests() {
        let whole = packed(&[&b"rows of a table\n".repeat(5000)]);
        let good = read(&whole).unwrap();
        assert!(read(&whole[..whole.len() - 1]).is_err());
        assert!(read(&[whole.as_slice(), b"tail"].concat()).is_err());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(
                read(&damaged).map_or(true, |back| back.sha256 != good.sha256),
                "byte {at}"
            );
        }
    }
}
