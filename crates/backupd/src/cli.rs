//! The command line: subcommands, their options and their help.

use std::path::PathBuf;

use catalog::set::Selector;
use clap::{Args, Parser, Subcommand};

use crate::render::remedy::Where;

const AFTER_HELP: &str = "\
Settings come from the environment; `backupd settings` and docs/configuration.md list them all.
SET is a set's id (20261120T020000Z), a unique beginning of one, or `latest`, the newest good set without an open anomaly.
Exit codes: 0 done · 1 failed · 2 usage or settings · 3 another run holds the lock · 4 a difference or an anomaly was found · 130/143 \
interrupted.";

/// Backs up self-hosted Supabase and Keycloak as one recovery point, and proves it.
#[derive(Debug, Parser)]
#[command(name = "backupd", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The daemon: runs by schedule, status server, control socket
    ///
    /// Settings come from the environment; one that is wrong stops the start with exit code 2. SIGTERM ends it, and a run at work, in
    /// order.
    #[command(after_help = AFTER_HELP)]
    Serve,
    /// Ask the daemon for a run now, show its progress, and exit with its result
    ///
    /// Ending this command leaves the run going.
    #[command(after_help = AFTER_HELP)]
    Trigger(Trigger),
    /// Show the daemon's state: verdict, run at work, last run, newest good set, next run, room on disk
    #[command(after_help = AFTER_HELP)]
    Status(Output),
    /// Ask the daemon's status server for its verdict; exits 0 when healthy, 1 otherwise (for healthchecks)
    #[command(after_help = AFTER_HELP)]
    Health(Health),
    /// Make one backup set in this process: dump, pack, read back, apply retention
    ///
    /// Exits 0 when the set is good, 1 when a step or retention behind a good set failed or nothing could be made, 2 when settings are wrong, 3 when another run is
    /// at work, 4 when the set is good and has an anomaly: its source is another one, or lost much of what it had.
    #[command(after_help = AFTER_HELP)]
    Run(Run),
    /// Look at everything a run needs and change nothing
    #[command(after_help = AFTER_HELP)]
    Check(Output),
    /// Say what is not as it should be, what that means, and which line repairs it; and whether a restore could be made right now
    ///
    /// Puts together what `check`, `status` and `restore --dry-run` find, reads what a restore would read of the newest good set, and
    /// changes nothing. Its last line is the verdict. Exits 0 when the stack could be restored right now, 1 when not. In Compose it is
    /// asked where a restore is made: docker compose run --rm --entrypoint backupd restore doctor
    #[command(after_help = AFTER_HELP)]
    Doctor(Doctor),
    /// List the sets that are kept, oldest first
    #[command(after_help = AFTER_HELP)]
    List(Output),
    /// Show what a set holds
    #[command(after_help = AFTER_HELP)]
    Show(OneSet),
    /// Read a set back and compare it with its manifest
    ///
    /// Every file is read whole: size, SHA-256, decoding, the dump's closing line, rows per table, every archive entry. With --drill the
    /// set is restored as well, into a private scratch server that is thrown away, and compared with what its source held. Exits 4 when
    /// anything differs.
    #[command(after_help = AFTER_HELP)]
    Verify(Verify),
    /// Put back what a set holds: databases in place or beside, file trees
    ///
    /// A database is never loaded over: the present one is moved aside (renamed), an empty one of its name is made, the whole dump is
    /// loaded by a superuser, every table's rows are compared with the manifest. Whatever goes wrong puts the present one back. After
    /// success it is kept, and the statement that drops it is printed. Without --only everything that the set holds comes back, but the
    /// extra paths. Asks before it begins, unless --yes. Exits 4 when a file of the set is not what its manifest says.
    #[command(after_help = AFTER_HELP)]
    Restore(Restore),
    /// Apply retention now
    #[command(after_help = AFTER_HELP)]
    Prune(Prune),
    /// Say that what is odd about a set is as it should be
    ///
    /// While an anomaly is open, retention removes no set with one and none that is older, `latest` passes over such sets, and health
    /// complains. `backupd show SET` tells what was found.
    #[command(after_help = AFTER_HELP)]
    Accept(Accept),
    /// List every setting, what holds for it now, and what it means; exits 2 where the settings are wrong
    ///
    /// Secrets are named and never shown.
    #[command(after_help = AFTER_HELP)]
    Settings(Output),
}

/// Options of `trigger`.
#[derive(Debug, Args)]
pub struct Trigger {
    /// Print the run's id as soon as it has begun, and do not wait for its end
    #[arg(long, conflicts_with_all = ["wait", "json"])]
    pub no_wait: bool,
    /// When another run is at work, wait for it to end instead of exiting with 3
    #[arg(long)]
    pub wait: bool,
    /// Go on where there seems to be too little room: the estimate, and what BACKUP_MIN_FREE asks for, stop nothing
    #[arg(long)]
    pub ignore_space: bool,
    /// How facts are printed.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `health`.
#[derive(Debug, Args)]
pub struct Health {
    /// While the verdict is `starting`, wait for another: until the first set is good, or its run has failed
    #[arg(long)]
    pub wait: bool,
    /// How facts are printed.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// When another run is at work, wait for it to end instead of exiting with 3
    #[arg(long)]
    pub wait: bool,
    /// Go on where there seems to be too little room: the estimate, and what BACKUP_MIN_FREE asks for, stop nothing
    #[arg(long)]
    pub ignore_space: bool,
    /// How facts are printed.
    #[command(flatten)]
    pub output: Output,
}

/// How facts are printed.
#[derive(Debug, Default, Args)]
pub struct Output {
    /// Print JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Where the lines are to be typed; without it as this process runs: `compose` in a container, `host` elsewhere
    #[arg(long = "for", value_enum, value_name = "WHERE")]
    pub at: Option<Where>,
    /// How facts are printed.
    #[command(flatten)]
    pub output: Output,
}

/// A command on one set.
#[derive(Debug, Args)]
pub struct OneSet {
    /// The set: an id, a unique beginning of one, or `latest`
    #[arg(default_value = "latest", value_name = "SET")]
    pub set: Selector,
    /// How facts are printed.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The set.
    #[command(flatten)]
    pub one: OneSet,
    /// Restore it into a scratch server as well, and compare
    #[arg(long)]
    pub drill: bool,
}

/// Options of `restore`.
#[derive(Debug, Default, Args)]
#[allow(clippy::struct_excessive_bools, reason = "options of a command line")]
pub struct Restore {
    /// The set: an id, a unique beginning of one, or `latest`
    #[arg(default_value = "latest", value_name = "SET")]
    pub set: Selector,
    /// What is restored, and nothing else: `supabase`, `keycloak`, `storage` or a label; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Restore one database beside the others, under this new name
    #[arg(long, value_name = "DB", conflicts_with_all = ["to", "drop_old"])]
    pub into: Option<String>,
    /// The rows of one table alone (schema.name), in a database that holds the whole schema
    #[arg(long, value_name = "TABLE", requires = "into")]
    pub table: Option<String>,
    /// One object of the storage archive alone, with its versions
    #[arg(long, value_name = "BUCKET/NAME", conflicts_with_all = ["into", "table", "undo"])]
    pub object: Option<String>,
    /// Unpack a file tree into this directory, which is not there yet
    #[arg(long, value_name = "PATH")]
    pub to: Option<PathBuf>,
    /// Give roles that are there their passwords and attributes back too; without this only missing ones are made
    #[arg(long)]
    pub roles: bool,
    /// End the sessions of clients that are connected to the database
    #[arg(long)]
    pub force: bool,
    /// Drop the database that was moved aside, when the new one is complete
    #[arg(long)]
    pub drop_old: bool,
    /// Connections that load a database; without it as many as this machine has processors, 4 at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: Option<u8>,
    /// Go over what cannot be loaded, list it, and keep the database before: exit code 4 where there was any
    #[arg(long)]
    pub keep_going: bool,
    /// Say what would be moved, made and loaded, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Put back what a restore that was cut off left; with --into, what one into that name left
    #[arg(long, conflicts_with_all = ["table", "to", "dry_run"])]
    pub undo: bool,
    /// Go on where the target's file system, or this user, cannot keep extended attributes (content types)
    #[arg(long)]
    pub without_xattrs: bool,
    /// Make symbolic links that lead out of the tree; without this, an archive that has one is refused
    #[arg(long)]
    pub allow_outside_links: bool,
    /// How facts are printed.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `accept`.
#[derive(Debug, Args)]
pub struct Accept {
    /// The set: an id, or a unique beginning of one
    #[arg(
        value_name = "SET",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub set: Option<Selector>,
    /// Every open anomaly, and sources that a daemon waits for
    #[arg(long)]
    pub all: bool,
    /// How facts are printed.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How facts are printed.
    #[command(flatten)]
    pub output: Output,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What people read, whole: a change of it is looked at.
    #[test]
    fn the_help_of_every_command_is_the_one_that_was_read() {
        let mut cli = Cli::command().term_width(100);
        cli.build();
        let mut text = cli.render_long_help().to_string();
        for command in cli.get_subcommands_mut() {
            text += &format!("\n=== {}\n\n", command.get_name());
            text += &command.render_long_help().to_string();
        }
        insta::assert_snapshot!(text);
    }
}
