//! Trees of many small files: what a run asks the kernel for each of them.

use std::fs;
use std::path::Path;

use tests::backupd::Backupd;
use tests::fault::{Action, Fault};

const FILES: usize = 1_000;
const DIRECTORIES: usize = 10;
/// Calls that no number of files changes: roots, marks, directories.
const BESIDES: usize = 200;

fn fill(root: &Path) {
    for directory in 0..DIRECTORIES {
        let directory = root.join(directory.to_string());
        fs::create_dir_all(&directory).unwrap();
        for file in 0..FILES / DIRECTORIES {
            fs::write(directory.join(file.to_string()), [b'x'; 500]).unwrap();
        }
    }
}

#[test]
fn a_file_costs_few_calls() {
    let dir = tempfile::tempdir().unwrap();
    let (root, backups) = (dir.path().join("storage"), dir.path().join("backups"));
    fill(&root);
    let call = Backupd::new(["run"])
        .env("BACKUP_SOURCES", "storage")
        .env("SUPABASE_STORAGE_PATH", &root)
        .env("BACKUP_DIR", &backups);
    fs::create_dir(&backups).unwrap();
    // The first set's room is estimated by a sample of files, that of others by the set before.
    call.clone().succeed();
    // A stat before and one behind the content.
    for (kind, most) in [("open", 1), ("stat", 2), ("attributes", 1), ("read", 1)] {
        let fault = Fault::new(kind, Action::Kill, 0, &[&root], dir.path());
        fault.around(call.clone()).succeed();
        let calls = fault.report().calls;
        assert!(calls >= FILES, "{calls} calls of {kind}: not counted");
        assert!(calls <= most * FILES + BESIDES, "{calls} calls of {kind}");
    }
}
