//! A Zstandard writer on worker threads, with content checksums. The threads are libzstd's own.

use std::io::{self, Write};

use ::zstd::stream::raw::CParameter;
use ::zstd::stream::write::Encoder;

/// Bytes a worker takes at once. libzstd's own choice is four windows, 8 MiB at level 3, of which it holds several per thread.
const JOB_BYTES: u32 = 2 * 1024 * 1024;

/// Writes zstd to `W`.
pub struct ZstdWriter<W: Write>(Encoder<'static, W>);

impl<W: Write> ZstdWriter<W> {
    /// Begins a frame at `level` (1–19) on `threads` threads.
    pub fn new(sink: W, level: u8, threads: usize) -> io::Result<Self> {
        let mut encoder = Encoder::new(sink, i32::from(level))?;
        encoder.include_checksum(true)?;
        encoder.multithread(u32::try_from(threads).unwrap_or(1))?;
        encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
        Ok(Self(encoder))
    }

    /// Ends the frame and gives the sink back.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for ZstdWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
