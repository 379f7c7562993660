//! What a command says on standard output.

use std::io::Write;

use postgres::words::printable;
use serde::Serialize;

/// Prints a value as JSON on standard output.
pub fn print_json(value: &impl Serialize) -> Result<(), std::io::Error> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// Prints text on standard output; unlike `print!`, a closed pipe is an error and no panic. Names in it that hold line breaks must have
/// lost them before ([`postgres::words::one_line`]).
pub fn print_text(text: &str) -> Result<(), std::io::Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(printable(text).as_bytes())?;
    out.flush()
}
