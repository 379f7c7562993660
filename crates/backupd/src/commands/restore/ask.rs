//! Asks a person before something is moved aside.

use std::io::{BufRead, IsTerminal, Write};

use postgres::words::{one_line, printable};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::commands::exit::Refusal;
use crate::signals::Signals;

/// How often a signal is looked for while nobody types.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Lets a person type a name to go on. Without a terminal there is nobody to ask; Ctrl-C ends it.
pub fn for_name(what: &str, name: &str, signals: &Signals) -> Result<(), Refusal> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        eprint!("{}", printable(what));
        return Err(Refusal::Usage(
            "there is no terminal to ask on: say --yes to go on; nothing was touched".to_owned(),
        ));
    }
    eprint!("{}\nType {} to go on: ", printable(what), one_line(name));
    std::io::stderr().flush()?;
    let not_confirmed =
        |why: &str| Refusal::Unusable(format!("not confirmed ({why}): nothing was touched"));
    loop {
        if signals.token.is_cancelled() {
            eprintln!();
            return Err(not_confirmed("interrupted"));
        }
        let mut fds = [PollFd::new(&input, PollFlags::IN)];
        // A signal wakes it, too: then the token is looked at again.
        if matches!(poll(&mut fds, Some(&LOOK_EVERY)), Ok(1..)) {
            break;
        }
    }
    let mut typed = String::new();
    input.lock().read_line(&mut typed)?;
    if typed.trim() == name {
        return Ok(());
    }
    Err(not_confirmed(&format!("{name} was not typed")))
}
