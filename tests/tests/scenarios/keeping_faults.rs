//! `prune`, `verify` and `run` that are killed, or meet a disk's errors, at any system call on the backup directory and on the tree: no set
//! that the policy keeps is gone, none that is called good is not whole, what is said is so, and the next run finds everything in order.

use std::collections::BTreeSet;
use std::path::Path;

use tests::backupd::{Backupd, Outcome};
use tests::campaign::Campaign;
use tests::fault::{Action, EDQUOT, EIO, ENOSPC, Report};
use tests::server::PgServer;
use tests::shelf::{Found, Shelf};
use tests::stack::names;

/// Cases of a slice that runs each time.
const SLICE: usize = 20;
/// What a soak tries: all, or as many of a run, whose calls are thousands, half of them the same look at another set.
const ALL: usize = usize::MAX;
/// See [`ALL`].
const MOST: usize = 2000;
/// Calls behind which the directory is another one.
const KILLS: &str = "open,write,size,mkdir,rename,remove,sync";
/// Errors are met by each of these kinds of calls.
const DISK: [&str; 14] = [
    "open",
    "read",
    "write",
    "size",
    "list",
    "stat",
    "mkdir",
    "rename",
    "remove",
    "sync",
    "attributes",
    "target",
    "access",
    "space",
];

/// What meets the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Prune,
    Verify,
    VerifySpoilt,
    Run,
    /// At the tree alone.
    RunAtTree,
}

struct Trials<'a> {
    shelf: &'a Shelf,
    command: Command,
    /// Sets that a whole command leaves of those before.
    kept: BTreeSet<String>,
}

impl<'a> Trials<'a> {
    fn new(shelf: &'a Shelf, command: Command) -> Self {
        let mut trials = Self {
            shelf,
            command,
            kept: shelf.fate[0].clone(),
        };
        shelf.reset();
        let whole = trials.call().run();
        let expected = match command {
            Command::VerifySpoilt => 4,
            _ => 0,
        };
        assert_eq!(whole.code, Some(expected), "{whole}");
        trials.kept = shelf.look().unwrap().old;
        trials
    }

    fn call(&self) -> Backupd {
        match self.command {
            Command::Prune => self.shelf.backupd(&["prune", "--json"]),
            Command::Verify => self.shelf.backupd(&["verify"]),
            Command::VerifySpoilt => self.shelf.backupd(&["verify", &self.shelf.spoilt]),
            Command::Run | Command::RunAtTree => self.shelf.backupd(&["run"]),
        }
    }

    fn faulty(&self, kinds: &str, action: Action, nth: usize) -> (Outcome, Report) {
        self.shelf.reset();
        let (backups, tree) = (self.shelf.backups(), self.shelf.storage());
        let directories: &[&Path] = match self.command {
            Command::RunAtTree => &[&tree],
            _ => &[&backups, &tree],
        };
        self.shelf
            .faulty(self.call(), kinds, action, nth, directories)
    }

    fn calls(&self, kinds: &str) -> usize {
        self.faulty(kinds, Action::Kill, 0).1.calls
    }

    /// Every case, or `wanted` of them; a few are of all kinds at once, which are counted in one run.
    fn all(&self, wanted: usize, campaign: &mut Campaign) {
        let at_once = [DISK.join(",")];
        let kinds: Vec<&str> = if wanted > SLICE {
            DISK.into()
        } else {
            at_once.iter().map(String::as_str).collect()
        };
        let mut cases: Vec<(&str, Action, usize)> = Vec::new();
        cases.extend((1..=self.calls(KILLS)).map(|nth| (KILLS, Action::Kill, nth)));
        for kind in kinds {
            let errors =
                [EIO, ENOSPC].map(|number| [Action::Error(number), Action::ErrorsOn(number)]);
            let mut actions = errors.concat();
            if ["read", "write"].contains(&kind) {
                actions.push(Action::Short);
            }
            if actions.contains(&Action::Short) {
                cases.push((kind, Action::ShortOn, 1));
            }
            for nth in 1..=self.calls(kind) {
                cases.extend(actions.iter().map(|action| (kind, *action, nth)));
            }
        }
        // Of neither 4 nor 5, the numbers of actions at a call, so that each of them has its turn.
        let least = (cases.len() / wanted).max(1);
        let step = (least..least + 10)
            .find(|step| step % 2 > 0 && step % 5 > 0)
            .unwrap();
        for (kinds, action, nth) in cases.into_iter().step_by(step) {
            self.one(kinds, action, nth, campaign);
        }
    }

    fn one(&self, kinds: &str, action: Action, nth: usize, campaign: &mut Campaign) {
        let (outcome, report) = self.faulty(kinds, action, nth);
        let Some(hit) = report.hit else {
            return;
        };
        let end = self.judge(&outcome, action, &hit);
        let call = hit.split(' ').next().unwrap_or_default();
        let kind = match action {
            Action::Kill => "killed".to_owned(),
            Action::Short | Action::ShortOn => format!("a short {call}"),
            Action::Hold => format!("{call} hung"),
            Action::Error(_) => format!("an error of {call}"),
            Action::ErrorsOn(_) if kinds == call => format!("errors of {call} from there on"),
            Action::ErrorsOn(_) => "errors of all from there on".to_owned(),
        };
        let case = |wrong| {
            format!(
                "{:?}, {kinds} {nth} {action:?} ({hit}): {wrong}; {outcome}",
                self.command
            )
        };
        campaign.count(&format!("{:?}, {kind}", self.command), end.map_err(case));
    }

    fn judge(&self, outcome: &Outcome, action: Action, hit: &str) -> Result<&'static str, String> {
        let found = self.shelf.look()?;
        if let Some(lost) = self.kept.difference(&found.old).next() {
            return Err(format!("{lost} is gone, which the policy keeps"));
        }
        self.shelf.history()?;
        let is_killed = action == Action::Kill && outcome.code == Some(137);
        if matches!(action, Action::Short | Action::ShortOn) && !self.is_well(outcome) {
            return Err("half a read or write is no fault".to_owned());
        }
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        let errors = ["os error", "Input/output error", "No space left"];
        if !is_killed && !self.is_well(outcome) && !errors.iter().any(|word| said.contains(word)) {
            return Err("what the disk said is not told".to_owned());
        }
        let end = match self.command {
            _ if is_killed => "killed",
            Command::Prune => self.pruned(outcome, &found)?,
            Command::Verify | Command::VerifySpoilt => self.verified(outcome, &found)?,
            Command::Run | Command::RunAtTree => self.ran(outcome, &found, action, hit)?,
        };
        if matches!(self.command, Command::Verify | Command::VerifySpoilt) {
            return Ok(end);
        }
        let again = self.shelf.backupd(&["run"]).run();
        if !matches!(again.code, Some(0)) {
            return Err(format!("the next run: {again}"));
        }
        let found = self.shelf.look()?;
        self.shelf
            .settled(&found)
            .map_err(|wrong| format!("behind the next run: {wrong}"))?;
        Ok(end)
    }

    fn is_well(&self, outcome: &Outcome) -> bool {
        outcome.code
            == Some(if self.command == Command::VerifySpoilt {
                4
            } else {
                0
            })
    }

    fn pruned(&self, outcome: &Outcome, found: &Found) -> Result<&'static str, String> {
        let gone = self.shelf.gone(found);
        if !outcome.stdout.is_empty() {
            let said = outcome.json();
            let removed = said["removed"].as_array().unwrap().iter();
            let removed = removed.map(|set| set.as_str().unwrap().to_owned());
            if removed.collect::<BTreeSet<_>>() != gone {
                return Err(format!("gone is {gone:?}"));
            }
        }
        match outcome.code {
            Some(0) if found.old == self.kept => Ok("done"),
            Some(0) if outcome.stderr.contains("counts as open") => Ok("kept more, and said why"),
            Some(0) => Err(format!("exit code 0, and there is {:?}", found.old)),
            Some(1) => Ok("told"),
            _ => Err("another exit code".to_owned()),
        }
    }

    fn verified(&self, outcome: &Outcome, found: &Found) -> Result<&'static str, String> {
        if found.old != self.kept {
            return Err("a set is gone".to_owned());
        }
        let is_spoilt = self.command == Command::VerifySpoilt;
        let whole = format!("{} is whole", self.shelf.newest);
        match outcome.code {
            Some(0) if !is_spoilt && outcome.stdout.contains(&whole) => Ok("read whole"),
            Some(4) if is_spoilt && outcome.stdout.contains("is DAMAGED") => Ok("found"),
            Some(1) if outcome.stdout.contains("DAMAGED") => Err("exit code 1".to_owned()),
            Some(1) => Ok("told"),
            _ => Err("another exit code or set".to_owned()),
        }
    }

    fn ran(
        &self,
        outcome: &Outcome,
        found: &Found,
        action: Action,
        hit: &str,
    ) -> Result<&'static str, String> {
        let good = found.new.values().filter(|good| **good).count();
        let is_open = outcome.stderr.contains("counts as open");
        if outcome.code == Some(0) && found.old != self.kept && !is_open {
            return Err("retention did not do its work, and the exit code is 0".to_owned());
        }
        let failed_behind = ["retention failed: ", "the history could not be written: "]
            .iter()
            .any(|words| outcome.stderr.contains(words));
        if outcome.code == Some(0) && failed_behind {
            return Err("something failed behind the set, and the exit code is 0".to_owned());
        }
        let lines = self.shelf.history()?;
        let is_kept = lines
            .iter()
            .any(|line| ["run_finished", "run_refused"].contains(&line["event"].as_str().unwrap()));
        let may_be_silent = matches!(action, Action::ErrorsOn(_))
            || hit.contains("/.backupd")
            || outcome
                .stderr
                .contains("the backup directory could not be opened");
        if !is_kept && !may_be_silent {
            return Err("history has no word of it".to_owned());
        }
        match (outcome.code, good) {
            (Some(0), 1) if outcome.stdout.contains("is good") => Ok("a good set"),
            (Some(4), 1) if outcome.stdout.contains("is good") => Ok("a good set, and an anomaly"),
            (Some(1), 1) if outcome.stdout.contains("is good") && failed_behind => {
                Ok("a good set, and a failure behind it")
            }
            (Some(1), 0) if found.new.is_empty() => Ok("told, no set"),
            (Some(1), 0) if outcome.stdout.contains("FAILED") => Ok("told, a failed set"),
            _ => Err(format!("{good} new good sets")),
        }
    }
}

fn campaign(shelf: &Shelf, commands: &[Command], wanted: usize) -> usize {
    let mut campaign = Campaign::default();
    for command in commands {
        Trials::new(shelf, *command).all(wanted, &mut campaign);
    }
    campaign.end()
}

#[test]
fn removals_that_meet_faults_keep_what_the_policy_keeps() {
    for is_odd in [false, true] {
        let cases = campaign(&Shelf::new(None, is_odd), &[Command::Prune], SLICE);
        assert!(cases >= SLICE / 2, "only {cases} cases");
    }
}

#[test]
fn readings_that_meet_faults_condemn_no_set_and_clear_none() {
    let commands = [Command::Verify, Command::VerifySpoilt];
    let cases = campaign(&Shelf::new(None, false), &commands, SLICE / 2);
    assert!(cases >= SLICE / 2, "only {cases} cases");
}

#[test]
fn runs_that_meet_faults_make_a_whole_set_or_say_why_not() {
    let cases = campaign(&Shelf::new(None, false), &[Command::Run], SLICE);
    assert!(cases >= SLICE / 2, "only {cases} cases");
}

#[test]
fn runs_with_a_database_that_meet_faults_make_a_whole_set_or_say_why_not() {
    let server = PgServer::bare();
    let shelf = Shelf::new(Some(&server), false);
    let cases = campaign(&shelf, &[Command::Run], SLICE / 2);
    assert!(cases >= SLICE / 4, "only {cases} cases");
}

/// Removals make the room that their own line of history needs, those that were cut off too. Whether the disk is full or what this user
/// may have of it.
#[test]
fn no_removal_waits_for_room_in_history() {
    let shelf = Shelf::new(None, false);
    let private = shelf.backups().join(".backupd");
    let prune = |action, nth| {
        shelf.reset();
        let call = shelf.backupd(&["prune"]);
        shelf.faulty(call, "write", action, nth, &[&private])
    };
    for number in [ENOSPC, EDQUOT] {
        let mut lines = 0;
        for nth in 1.. {
            let (outcome, report) = prune(Action::Error(number), nth);
            let Some(hit) = report.hit else { break };
            if !hit.contains("history.jsonl") {
                continue;
            }
            lines += 1;
            assert_eq!(outcome.code, Some(0), "{hit}: {outcome}");
            assert_eq!(shelf.look().unwrap().old, shelf.fate[0], "{outcome}");
            shelf.backupd(&["prune"]).succeed();
            shelf.settled(&shelf.look().unwrap()).unwrap();
        }
        // One a set, the one that was killed, and the one whose removal was.
        assert_eq!(lines, shelf.fate[1].len() + 2);
        // There is never room: what is let go goes, and is told of when there is.
        let history = private.join("history.jsonl");
        shelf.reset();
        let call = shelf.backupd(&["prune"]);
        let (outcome, _) = shelf.faulty(call, "write", Action::ErrorsOn(number), 1, &[&history]);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        let left = shelf.look().unwrap();
        assert_eq!(left.old, shelf.fate[0], "{outcome}");
        for set in &shelf.fate[1] {
            let dir = shelf.backups().join(format!(".{set}.removed"));
            assert_eq!(names(&dir), Vec::<String>::new(), "{outcome}");
        }
        shelf.backupd(&["prune"]).succeed();
        shelf.settled(&shelf.look().unwrap()).unwrap();
    }
}

/// Killed when its set had its name, before it was told of: the set is there, and the next run says how it came.
#[test]
fn a_set_that_nobody_told_of_is_told_of_by_the_next_run() {
    let shelf = Shelf::new(None, false);
    let history = shelf.backups().join(".backupd/history.jsonl");
    let mut untold = 0;
    for nth in 1.. {
        shelf.reset();
        let call = shelf.backupd(&["run"]);
        let (outcome, report) = shelf.faulty(call, "write", Action::Kill, nth, &[&history]);
        if report.hit.is_none() {
            break;
        }
        assert_eq!(outcome.code, Some(137), "{outcome}");
        let found = shelf.look().unwrap();
        let Some((set, good)) = found.new.first_key_value() else {
            continue;
        };
        assert!(good, "{outcome}");
        let manifest = tests::stack::manifest(&shelf.backups().join(set));
        let told = |lines: &[serde_json::Value]| {
            let mut lines = lines.iter();
            let is_made = |line: &&serde_json::Value| line["event"] == "run_finished";
            lines
                .find(|line| is_made(line) && line["set"] == **set)
                .cloned()
        };
        let before = told(&shelf.history().unwrap());
        untold += usize::from(before.is_none());
        shelf.backupd(&["run"]).succeed();
        let line = told(&shelf.history().unwrap()).unwrap();
        for (field, value) in [
            ("event", &"run_finished".into()),
            ("status", &"succeeded".into()),
            ("trigger", &manifest["trigger"]),
        ] {
            assert_eq!(line[field], *value, "{line}");
        }
        if before.is_none() {
            let at = |value: &serde_json::Value| {
                chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap()
            };
            assert_eq!(at(&line["at"]), at(&manifest["finished_at"]));
        }
        shelf.settled(&shelf.look().unwrap()).unwrap();
    }
    assert_eq!(untold, 1);
}

/// Each look at the tree fails once: what could not be looked at is not taken for something else.
#[test]
fn a_tree_that_refuses_a_look_is_no_other_tree() {
    let (shelf, mut campaign) = (Shelf::new(None, false), Campaign::default());
    let trials = Trials::new(&shelf, Command::RunAtTree);
    for nth in 1..=trials.calls("stat") {
        trials.one("stat", Action::Error(EIO), nth, &mut campaign);
    }
    assert!(campaign.end() > 10);
}

/// Nobody can say what the newest set was: `latest` is no older one, and nothing is compared with, or goes for, one before it.
#[test]
fn a_newest_set_that_cannot_be_read_is_not_passed_over() {
    let shelf = Shelf::new(None, false);
    let newest = shelf.backups().join(&shelf.newest);
    let meets = |arguments: &[&str]| {
        shelf.reset();
        let call = shelf.backupd(arguments);
        let (outcome, _) = shelf.faulty(call, "open", Action::ErrorsOn(EIO), 1, &[&newest]);
        let found = shelf.look().unwrap();
        assert!(shelf.gone(&found).is_empty(), "{outcome}");
        outcome
    };
    for arguments in [&["verify"][..], &["show"], &["restore", "--yes"]] {
        let refused = meets(arguments);
        assert_eq!(refused.code, Some(1), "{refused}");
        let words = format!("{} could not be looked at", shelf.newest);
        assert!(refused.stderr.contains(&words), "{refused}");
    }
    let pruned = meets(&["prune"]);
    assert_eq!(pruned.code, Some(1), "{pruned}");
    assert!(
        pruned.stderr.contains("so it stays, and every older set"),
        "{pruned}"
    );
    // The set is good and has an anomaly; that retention could not do its work is the worse of the two.
    let odd = meets(&["run"]);
    assert_eq!(odd.code, Some(1), "{odd}");
    assert!(odd.stdout.contains("could not be looked at"), "{odd}");
    assert!(odd.stderr.contains("retention failed"), "{odd}");
}

/// Many cases.
macro_rules! soak {
    ($name:ident, $least:expr, $wanted:expr, $odd:expr, $($command:expr),+) => {
        #[test]
        #[ignore = "a soak: every call of a command on the backup directory, killed and by the disk's errors"]
        fn $name() {
            let cases = campaign(&Shelf::new(None, $odd), &[$($command),+], $wanted);
            assert!(cases > $least, "only {cases} cases");
        }
    };
}

soak!(any_fault_of_a_prune, 1000, ALL, false, Command::Prune);
soak!(
    any_fault_of_a_prune_beside_an_anomaly,
    700,
    ALL,
    true,
    Command::Prune
);
soak!(
    any_fault_of_a_reading,
    1000,
    ALL,
    false,
    Command::Verify,
    Command::VerifySpoilt
);
soak!(any_fault_of_a_run, 1000, MOST, false, Command::Run);
soak!(any_fault_at_a_tree, 200, ALL, false, Command::RunAtTree);

#[test]
#[ignore = "a soak: some of the calls of a run with a database"]
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by its environment"
)]
fn any_fault_of_a_run_with_a_database() {
    // CASES=200: evenly among them.
    let wanted = std::env::var("CASES").map_or(MOST / 3, |cases| cases.parse().unwrap());
    let server = PgServer::bare();
    let cases = campaign(&Shelf::new(Some(&server), false), &[Command::Run], wanted);
    assert!(cases > wanted / 2, "only {cases} of {wanted} cases");
}
