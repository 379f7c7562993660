//! The proof that a producer ended cleanly. It is what an artifact's commit asks for, so that keeping the output of a failed dump as a
//! backup does not compile.

/// Yielded only by a child that reached the end of its output and exited with 0, and by the tar packer at the end of its walk.
#[derive(Debug)]
#[must_use = "without its proof an artifact cannot be committed"]
pub struct Finished(());

impl Finished {
    /// For the producers of this crate alone.
    pub(crate) fn new() -> Self {
        Self(())
    }
}
