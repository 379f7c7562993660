//! What cannot be shown on this machine: said at once, and again in the last lines of `make test`, so that nobody takes it for shown.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::template::store;

/// Whether this is root. When it is not, `what` is noted as not tested.
pub fn is_root_for(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        note(&format!("{what} needs root"));
    }
    is_root
}

/// Whether a program is there. When it is not, `what` is noted as not tested.
pub fn has(program: &Path, what: &str) -> bool {
    let is_there = program.exists();
    if !is_there {
        note(&format!("{what} needs {}", program.display()));
    }
    is_there
}

/// Adds a line to `target/tmp/not-tested`, which `tests/run.sh` prints. A line is one write, so that tests at once do not mix theirs.
fn note(why: &str) {
    let test = std::thread::current();
    let line = format!("{}: {why}\n", test.name().unwrap_or("a test"));
    eprint!("NOT TESTED: {line}");
    File::options()
        .create(true)
        .append(true)
        .open(store().join("not-tested"))
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap();
}
