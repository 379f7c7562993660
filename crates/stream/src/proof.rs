//! The proof that a producer ended cleanly. It is what an artifact's commit asks for, so that keeping the output of a failed dump as a
//! backup does not compile.

use std::io::{self, Write};

/// Yielded only by a child that reached the end of its output and exited with 0, and for the last bytes of what is whole with them: a text
/// that was known before its first byte was written, the end of an archive behind the last of its members.
#[derive(Debug)]
#[must_use = "without its proof an artifact cannot be committed"]
pub struct Finished(());

impl Finished {
    /// Writes a text that is whole, or the last bytes of one.
    pub fn writing(sink: &mut impl Write, last: &[u8]) -> io::Result<Self> {
        sink.write_all(last)?;
        Ok(Self(()))
    }

    /// For the producers of this crate alone.
    pub(crate) fn new() -> Self {
        Self(())
    }
}
