//! The files of an archive, told as their bytes go past: name, size, and MD5 of the whole content, holes as zeros.

use std::io;
use std::path::Path;

use md5::{Digest, Md5};
use tokio_util::sync::CancellationToken;

/// Zeros hashed at once for a hole.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// One file of an archive.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// Below the root.
    pub name: &'a Path,
    /// Its size and the MD5 of its content; none for a further name of a file that was told already.
    pub content: Option<(u64, [u8; 16])>,
}

/// Somebody who is told of every file.
pub type Lister<'a> = &'a mut dyn FnMut(Listed<'_>);

/// Hashes a file that comes in pieces, each with its place.
pub(super) struct Content<'a> {
    hash: Md5,
    at: u64,
    cancel: &'a CancellationToken,
}

impl<'a> Content<'a> {
    pub fn new(cancel: &'a CancellationToken) -> Self {
        Self {
            hash: Md5::new(),
            at: 0,
            cancel,
        }
    }

    /// Takes a piece; what lies between it and the last one is a hole.
    pub fn take(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.hole_until(offset)?;
        self.hash.update(data);
        self.at += data.len() as u64;
        Ok(())
    }

    /// The digest of a file of this size.
    pub fn finish(mut self, size: u64) -> io::Result<[u8; 16]> {
        self.hole_until(size)?;
        Ok(self.hash.finalize().into())
    }

    /// Holes cost an archive nothing, and may be of any size: they are hashed until somebody has enough.
    fn hole_until(&mut self, offset: u64) -> io::Result<()> {
        while self.at < offset {
            if self.cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let length = (offset - self.at).min(ZEROS.len() as u64);
            let length = usize::try_from(length).unwrap_or(ZEROS.len());
            self.hash.update(&ZEROS[..length]);
            self.at += length as u64;
        }
        Ok(())
    }
}
