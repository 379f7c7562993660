//! The proof that a producer ended cleanly. It is what an artifact's commit asks for, so that keeping the output of a failed dump as a
//! backup does not compile.

use std::io::{self, Write};

/// Yielded only by a child that reached the end of its output and exited with 0, by the tar packer at the end of its walk, and for a text
/// that was whole before its first byte was written.
#[derive(Debug)]
#[must_use = "without its proof an artifact cannot be committed"]
pub struct Finished(());

impl Finished {
    /// Writes a text that is whole.
    pub fn writing(sink: &mut impl Write, text: &[u8]) -> io::Result<Self> {
        sink.write_all(text)?;
        Ok(Self(()))
    }

    /// For the producers of this crate alone.
    pub(crate) fn new() -> Self {
        Self(())
    }
}
