//! Asks a person before something is moved aside.

use std::io::{BufRead, IsTerminal, Write};

use crate::commands::Refusal;

/// Lets a person type a name to go on. Without a terminal there is nobody to ask.
pub fn for_name(what: &str, name: &str) -> Result<(), Refusal> {
    if !std::io::stdin().is_terminal() {
        return Err(Refusal::Usage(format!(
            "{what}: there is no terminal to ask on, so say --yes to go on"
        )));
    }
    eprint!("{what}\nType {name} to go on: ");
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() == name {
        return Ok(());
    }
    Err(Refusal::Unusable(format!(
        "not confirmed ({name} was not typed): nothing was touched"
    )))
}
