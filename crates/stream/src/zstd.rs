//! A Zstandard writer on worker threads, with content checksums. The threads are libzstd's own.

use std::io::{self, Write};

use ::zstd::stream::write::Encoder;

/// Writes zstd to `W`.
pub struct ZstdWriter<W: Write>(Encoder<'static, W>);

impl<W: Write> ZstdWriter<W> {
    /// Begins a frame at `level` (1–19) on `threads` threads.
    pub fn new(sink: W, level: u8, threads: usize) -> io::Result<Self> {
        let mut encoder = Encoder::new(sink, i32::from(level))?;
        encoder.include_checksum(true)?;
        encoder.multithread(u32::try_from(threads).unwrap_or(1))?;
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
