//! Restores of the storage tree and of single objects that are killed, or meet a disk's errors, at any system call; undone, undone again,
//! redone, with a service at work in between. No byte that was ever in use is lost, and what is said is so.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tests::backupd::Outcome;
use tests::campaign::Campaign;
use tests::fault::{Action, EIO, ENOSPC, NAMES};
use tests::skipped::is_root_for;
use tests::stack::names;
use tests::world::{End, Place, SET, Served, What, World, live};

/// Cases of a slice that runs each time, by place and by what is restored; all of them are a soak.
const SLICE: usize = 20;
/// What a soak of one place has at least.
const SOAK: usize = 500;
/// The calls between which a tree is neither one nor the other.
const RENAMES: &str = "rename";
/// Errors are met by each of these kinds of calls.
const DISK: [&str; 14] = [
    "open",
    "read",
    "write",
    "list",
    "stat",
    "mkdir",
    "rename",
    "remove",
    "sync",
    "chown",
    "chmod",
    "attribute",
    "link",
    "room",
];

/// Calls of an undo that meet errors, each once.
const UNDO: &str = "rename,mkdir,remove,open,list,stat,sync";

/// How a tree is mended behind a restore that was cut off.
#[derive(Debug, Clone, Copy)]
enum Mend {
    /// By `restore --undo`.
    Undo,
    /// By the next restore.
    Restore,
    /// By one of them that meets a fault itself, at the nth call; then a service works, and it is undone.
    Faulty {
        restore: bool,
        action: Action,
        nth: usize,
    },
}

impl Mend {
    fn kind(self) -> &'static str {
        match self {
            Self::Undo => "killed, undone",
            Self::Restore => "killed, restored again",
            Self::Faulty { restore: true, .. } => "killed, restored again and killed, undone",
            Self::Faulty {
                action: Action::Kill,
                ..
            } => "killed, undo killed, undone",
            Self::Faulty { .. } => "killed, undo met an error, undone",
        }
    }

    fn restores_again(self) -> bool {
        matches!(self, Self::Faulty { restore: true, .. })
    }
}

/// Cases in one world.
struct Trials<'a> {
    world: &'a World,
    campaign: &'a mut Campaign,
}

impl Trials<'_> {
    fn count(&mut self, kind: &str, case: &str, end: Result<End, String>, outcome: &Outcome) {
        let at = format!("{:?} {:?}", self.world.place, self.world.what);
        let end = match end {
            Ok(End::AsBefore) => Ok("as before"),
            Ok(End::Restored) => Ok("restored"),
            Err(wrong) => Err(format!("{at}, {case}: {wrong}; {outcome}")),
        };
        self.campaign.count(&format!("{at}, {kind}"), end);
    }

    /// What a restore left is mended, however the first command for it ended. Whether there was a call for its fault.
    fn mend(&mut self, kind: &str, case: &str, mut served: Served, mend: Mend) -> bool {
        let world = self.world;
        let case = format!("{case}, then {mend:?}");
        let mut more = true;
        let again = match mend {
            Mend::Undo => world.undo(),
            Mend::Restore => world.restore(),
            Mend::Faulty {
                restore,
                action,
                nth,
            } => {
                let (call, kinds) = match (restore, action) {
                    (true, _) => (world.restore(), RENAMES),
                    (false, Action::Kill) => (world.undo(), NAMES),
                    (false, _) => (world.undo(), UNDO),
                };
                let (outcome, report) = world.faulty(call, kinds, action, nth);
                more = report.hit.is_some();
                let is_told = outcome
                    .stderr
                    .contains("`backupd restore --undo --only storage` goes on");
                // A backup directory that cannot be read says so itself: no undo has begun.
                let has_begun = report.hit.is_some_and(|hit| hit.contains("/home"));
                if !matches!(outcome.code, Some(0 | 137)) && has_begun && !is_told {
                    let wrong = Err("the undo failed, and no command is named".to_owned());
                    self.count(kind, &case, wrong, &outcome);
                }
                served.serve(world, nth + 1);
                world.undo()
            }
        };
        let outcome = again.run();
        let mut end = world.verify(&outcome, &served, mend.restores_again());
        if outcome.code != Some(0) {
            end = Err("the second command failed".to_owned());
        }
        let twice = world.undo().run();
        if twice.code != Some(0) || !twice.stdout.contains("nothing was left") {
            end = Err(format!("a third command found something: {twice}"));
        }
        self.count(kind, &case, end, &outcome);
        more
    }

    /// Killed between any two names, mended in any way; `wanted` cases or all.
    fn kills(&mut self, wanted: usize) {
        let world = self.world;
        let (calls, renames) = (world.calls(NAMES), world.calls(RENAMES));
        let faulty = |restore, action, calls| {
            (1..=calls).map(move |nth| Mend::Faulty {
                restore,
                action,
                nth,
            })
        };
        let twice: Vec<Mend> = faulty(false, Action::Kill, calls)
            .chain(faulty(true, Action::Kill, 2 * renames))
            .chain(faulty(false, Action::Error(EIO), world.calls(UNDO)))
            .collect();
        let mut cases = Vec::new();
        for serve in [false, true] {
            for (kinds, calls, ways) in [
                (NAMES, calls, &[Mend::Undo, Mend::Restore][..]),
                (RENAMES, renames, &twice),
            ] {
                for nth in 1..=calls {
                    cases.extend(ways.iter().map(|mend| (kinds, nth, serve, *mend)));
                }
            }
        }
        let step = (cases.len() / wanted).max(1) | 1;
        // Where a fault met no call, no later one does.
        let mut ended = BTreeSet::new();
        for (kinds, nth, serve, mend) in cases.into_iter().step_by(step) {
            let kind = mend.kind();
            if ended.contains(&(nth, serve, kind)) {
                continue;
            }
            world.reset();
            let (killed, report) = world.faulty(world.restore(), kinds, Action::Kill, nth);
            let case = format!("killed at {nth} ({:?}), served {serve}", report.hit);
            assert_eq!(killed.code, Some(137), "{case}: {killed}");
            let mut served = Served::default();
            if serve {
                served.serve(world, 1);
            }
            if !self.mend(kind, &case, served, mend) {
                ended.insert((nth, serve, kind));
            }
        }
    }

    /// Errors of the disk at any call, once or for good; `wanted` cases or all.
    fn errors(&mut self, wanted: usize) {
        let world = self.world;
        let mut cases = Vec::new();
        for kind in DISK {
            let errors =
                [EIO, ENOSPC].map(|number| [Action::Error(number), Action::ErrorsOn(number)]);
            let mut actions = errors.concat();
            if ["read", "write"].contains(&kind) {
                actions.push(Action::Short);
                cases.push((kind, Action::ShortOn, 1));
            }
            for nth in 1..=world.calls(kind) {
                cases.extend(actions.iter().map(|action| (kind, *action, nth)));
            }
        }
        let step = (cases.len() / wanted).max(1) | 1;
        for (kind, action, nth) in cases.into_iter().step_by(step) {
            self.error(kind, action, nth);
        }
    }

    fn error(&mut self, kind: &str, action: Action, nth: usize) {
        let world = self.world;
        world.reset();
        let (outcome, report) = world.faulty(world.restore(), kind, action, nth);
        let case = format!("{kind} {nth} {action:?} ({:?})", report.hit);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        let left = !world.left().is_empty();
        let group = match action {
            Action::Error(_) => format!("an error of {kind}"),
            Action::Short | Action::ShortOn => format!("a short {kind}"),
            _ => format!("errors of {kind} from there on"),
        };
        if left {
            let is_told = outcome.code != Some(0);
            if !is_told {
                let wrong = Err("something is left, and nothing is said".to_owned());
                self.count(&group, &case, wrong, &outcome);
            }
            // While the disk is still broken, it may say so again, and must lose nothing.
            if matches!(action, Action::ErrorsOn(_)) {
                world.faulty(world.undo(), kind, action, 1);
            }
            self.mend(
                &group,
                &format!("{case}; {said}"),
                Served::default(),
                Mend::Undo,
            );
            return;
        }
        let mut end = world.verify(&outcome, &Served::default(), false);
        if matches!(action, Action::Short | Action::ShortOn) && outcome.code != Some(0) {
            end = Err("half a read or write is no fault".to_owned());
        }
        if outcome.code == Some(0) && end == Ok(End::AsBefore) {
            end = Err("exit code 0, and nothing is restored".to_owned());
        }
        // Where the directory cannot be read any more, nobody knows.
        let is_known = !said.contains("goes on");
        if outcome.code != Some(0) && end == Ok(End::Restored) && is_known {
            end = Err("restored, and the exit code says that it failed".to_owned());
        }
        self.count(&group, &case, end, &outcome);
    }
}

fn places() -> Vec<Place> {
    let mut places = vec![Place::Plain, Place::Bare];
    if is_root_for("mounting a tree") {
        places.push(Place::Mounted);
    }
    places
}

fn campaign(places: &[Place], what: What, wanted: usize) -> usize {
    let mut campaign = Campaign::default();
    for place in places {
        let world = World::new(*place, what);
        let campaign = &mut campaign;
        let mut trials = Trials {
            world: &world,
            campaign,
        };
        trials.kills(wanted);
        trials.errors(wanted);
    }
    campaign.end()
}

#[test]
fn a_tree_that_meets_faults_loses_nothing() {
    let places = places();
    assert!(campaign(&places, What::Tree, SLICE) >= SLICE * places.len());
}

#[test]
fn an_object_that_meets_faults_loses_nothing() {
    let places = places();
    assert!(campaign(&places, What::Object, SLICE) >= SLICE * places.len());
}

/// All cases, at one place each, so that they are tried at once.
macro_rules! soak {
    ($name:ident, $place:expr, $what:expr) => {
        #[test]
        #[ignore = "a soak: every call of a restore that changes a name, each undo of it, and the disk's errors"]
        fn $name() {
            if places().contains(&$place) {
                let cases = campaign(&[$place], $what, usize::MAX);
                assert!(cases > SOAK, "only {cases} cases");
            }
        }
    };
}

soak!(any_fault_a_tree, Place::Plain, What::Tree);
soak!(any_fault_a_tree_without_flags, Place::Bare, What::Tree);
soak!(any_fault_a_mounted_tree, Place::Mounted, What::Tree);
soak!(any_fault_an_object, Place::Plain, What::Object);
soak!(any_fault_an_object_without_flags, Place::Bare, What::Object);
soak!(any_fault_an_object_in_a_mount, Place::Mounted, What::Object);

/// The injector itself.
#[test]
fn a_fault_is_at_the_call_that_it_is_told() {
    let world = World::new(Place::Plain, What::Tree);
    let renames = world.calls(RENAMES);
    assert_eq!(
        renames, 4,
        "aside, exchanged, kept, and the place is known from now on"
    );
    let meets = |kinds, action, nth| {
        world.reset();
        let (outcome, report) = world.faulty(world.restore(), kinds, action, nth);
        (outcome, report.calls, report.hit.unwrap_or_default())
    };
    let (killed, calls, hit) = meets(RENAMES, Action::Kill, 1);
    assert_eq!((killed.code, calls), (Some(137), 1), "{killed}");
    assert!(
        hit.starts_with("rename /") && hit.contains("/home/.backupd-restoring-"),
        "{hit}"
    );
    assert_eq!(
        (world.left().len(), live(&world.root())),
        (1, world.before.clone())
    );
    let (failed, calls, _) = meets(RENAMES, Action::Error(EIO), 1);
    assert_eq!((failed.code, calls), (Some(1), 1), "{failed}");
    assert!(failed.stderr.contains("Input/output error"), "{failed}");
    let (failed, calls, _) = meets("mkdir", Action::ErrorsOn(ENOSPC), 1);
    assert_eq!(
        (failed.code, calls),
        (Some(1), 2),
        "that and the next: {failed}"
    );
    assert!(failed.stderr.contains("No space left"), "{failed}");
    let (done, _, hit) = meets("write", Action::Short, 1);
    assert_eq!(done.code, Some(0), "{done}");
    assert!(hit.starts_with("write /"), "{hit}");
    let (done, calls, hit) = meets(RENAMES, Action::Kill, renames + 1);
    assert_eq!(
        (done.code, calls, hit.as_str()),
        (Some(0), renames, ""),
        "{done}"
    );
}

/// No set is made of half a tree, and none is lost for it.
#[test]
fn no_run_takes_a_half_restored_tree_for_a_whole_one() {
    for place in places() {
        for what in [What::Tree, What::Object] {
            let world = World::new(place, what);
            let mut half = 0;
            for nth in 1.. {
                world.reset();
                let (killed, report) = world.faulty(world.restore(), RENAMES, Action::Kill, nth);
                if killed.code != Some(137) {
                    break;
                }
                let check = world.backupd(&["check"]).run();
                let now = live(&world.root());
                let words = format!("{place:?} {what:?} {nth} {report:?}: {check}");
                let said = check.stdout.contains("is half restored from")
                    && check
                        .stdout
                        .contains("`backupd restore --undo --only storage`");
                assert_eq!(said, check.code != Some(0), "{words}");
                assert!(said || now == world.before || now == world.after, "{words}");
                if said && half == 0 {
                    let run = world.backupd(&["run"]).run();
                    assert_ne!(run.code, Some(0), "{words}{run}");
                    assert!(run.stderr.contains("is half restored from"), "{words}{run}");
                    let list = world.backupd(&["list", "--json"]).succeed();
                    let sets = list.json();
                    let good = sets
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|set| set["good"] == true);
                    assert_eq!(good.count(), 1, "{list}");
                }
                half += usize::from(said);
            }
            assert!(half > 0, "{place:?} {what:?}: nothing was killed half way");
        }
    }
}

/// One object, again and again, with another file there each time.
#[test]
fn what_an_object_replaces_is_kept_each_time_and_what_is_the_same_stays() {
    let world = World::new(Place::Plain, What::Object);
    let root = world.root();
    let (same, other) = (root.join(SET[0].0), root.join(SET[1].0));
    let inode = fs::metadata(&same).unwrap().ino();
    let modes = |path: &Path| {
        let meta = path.metadata().unwrap();
        (meta.mode(), meta.uid(), meta.gid())
    };
    let of_the_bucket = modes(&root.join("stub/stub/b"));
    for turn in 1..=3 {
        let outcome = world.restore().succeed();
        assert!(
            outcome.stdout.contains("is there already, the same"),
            "{outcome}"
        );
        assert_eq!(fs::metadata(&same).unwrap().ino(), inode);
        assert_eq!(fs::read_to_string(&other).unwrap(), "of the set");
        assert_eq!(modes(&root.join("stub/stub/b/gone/deep")), of_the_bucket);
        fs::write(&other, format!("of turn {turn}")).unwrap();
    }
    let mut kept: Vec<String> = names(&root)
        .iter()
        .filter(|name| name.contains(".before-"))
        .map(|name| fs::read_to_string(root.join(name).join(SET[1].0)).unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["of today", "of turn 1", "of turn 2"]);
    let again = world.restore().succeed();
    let idle = world.restore().succeed();
    assert!(again.stdout.contains("is kept as"), "{again}");
    assert!(!idle.stdout.contains("is kept as"), "{idle}");
    let history = fs::read_to_string(world.path("backups/.backupd/history.jsonl")).unwrap();
    let lines = history
        .lines()
        .filter(|line| line.contains("\"restored\"") && line.contains("storage: b"));
    assert_eq!(lines.count(), 5, "{history}");
    let nothing = world.undo().succeed();
    assert!(nothing.stdout.contains("nothing was left"), "{nothing}");
    // A directory where the set has a file.
    fs::remove_file(&other).unwrap();
    fs::create_dir(&other).unwrap();
    let refused = world.restore().run();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("is a directory now"), "{refused}");
    assert!(
        !names(&root)
            .iter()
            .any(|name| name.starts_with(".backupd-")),
        "{refused}"
    );
    assert_eq!(names(&other), Vec::<String>::new());
}
