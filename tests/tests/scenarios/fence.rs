//! What code in a database can do while a drill restores it: everything its server may, and that is nothing outside.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use tests::backupd::Outcome;
use tests::hostile::Plants;
use tests::stack::{Stack, names};

fn server(outcome: &Outcome) -> String {
    let report: Value = outcome.json();
    report["server"].as_str().unwrap().to_owned()
}

#[test]
fn a_restored_database_reaches_nothing_unless_the_fence_is_off() {
    let stack = Stack::new();
    Plants::set(&stack.server, "postgres");
    // An ordinary role's functions would run as that role; a superuser's may do anything that the server may.
    stack.server.psql(
        "postgres",
        "ALTER FUNCTION planted.reached(text) OWNER TO supabase_admin; ALTER FUNCTION planted.always(text) OWNER TO supabase_admin",
    );
    // Whoever the scratch server runs as could write there.
    let fruit = stack.server.root().join("fruit");
    fs::set_permissions(stack.server.root(), Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(&fruit, Permissions::from_mode(0o777)).unwrap();
    stack.backupd(["run"]).succeed();
    let drill = |fence: &str| {
        stack
            .backupd(["verify", "--drill", "--json"])
            .env("BACKUP_DRILL_FENCE", fence)
            .run()
    };
    let fenced = drill("on");
    assert!(matches!(fenced.code, Some(0 | 4)), "{fenced}");
    assert!(
        server(&fenced).contains("fenced: no other files, no other programs, no network"),
        "{fenced}"
    );
    assert_eq!(names(&fruit), Vec::<String>::new(), "{fenced}");
    let open = drill("off");
    assert!(
        server(&open).contains("without a fence (BACKUP_DRILL_FENCE=off): it starts programs"),
        "{open}"
    );
    let mut bore = names(&fruit);
    bore.sort();
    assert_eq!(bore, ["environment", "program", "written"], "{open}");
    // What it could not read there either: a program of ours is given no setting.
    let environment = fs::read_to_string(fruit.join("environment")).unwrap();
    assert!(
        !environment.contains("BACKUP_") && !environment.contains("_URL"),
        "{environment}"
    );
    let unknown = drill("maybe");
    assert_eq!(unknown.code, Some(2), "{unknown}");
    assert!(
        unknown
            .stderr
            .contains("BACKUP_DRILL_FENCE=maybe is unknown: use on or off"),
        "{unknown}"
    );
}
