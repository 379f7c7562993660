//! What a dump of the custom format holds, read back by `pg_restore` without a server.

use std::io;
use std::path::Path;

use stream::child::Program;
use tokio_util::sync::CancellationToken;

use crate::dump::DumpError;
use crate::inventory::{Census, Inventory};
use crate::tools::Tools;

/// Reads every block of the archive: rows per table and their digests, and the large objects.
pub async fn custom_inventory(
    tools: &Tools,
    file: &Path,
    cancel: &CancellationToken,
) -> Result<Census, DumpError> {
    let program = Program::new(tools.pg_restore())
        .args(["--file=-"])
        .arg(file);
    let (inventory, _) = program
        .stream_into(Inventory::new(io::sink()), cancel)
        .await?;
    let (_, census) = inventory.finish();
    if !census.complete {
        return Err(DumpError::MissingTrailer {
            program: "pg_restore",
            trailer: "PostgreSQL database dump complete",
        });
    }
    Ok(census)
}

/// Entries in the archive's table of contents.
pub async fn custom_list(
    tools: &Tools,
    file: &Path,
    cancel: &CancellationToken,
) -> Result<usize, DumpError> {
    let program = Program::new(tools.pg_restore()).arg("--list").arg(file);
    let listing = program.output(cancel).await?.stdout;
    // Lines that begin with `;` are comments.
    let entries = listing
        .split(|byte| *byte == b'\n')
        .filter(|line| line.first().is_some_and(u8::is_ascii_digit));
    Ok(entries.count())
}
