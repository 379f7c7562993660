//! Every run compares the files that it packs with the objects of the database at the instant of its dump.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tests::backupd::{Backupd, Outcome};
use tests::stack::Stack;
use tests::storage::{self, Object};

/// The storage step and what it found.
fn reconciled(stack: &Stack) -> (Value, Value) {
    let manifest = stack.manifest(stack.sets().last().unwrap());
    let steps = manifest["steps"].as_array().unwrap();
    let step = steps
        .iter()
        .find(|step| step["name"] == "storage")
        .unwrap()
        .clone();
    (step, manifest["storage"]["reconcile"].clone())
}

/// What the step says besides that the sample has a link which leads out.
fn complaints(step: &Value) -> Vec<&str> {
    let notes = step["notes"].as_array().into_iter().flatten();
    notes
        .filter_map(Value::as_str)
        .filter(|note| !note.contains("out of the tree"))
        .collect()
}

fn path(stack: &Stack, object: &Object) -> PathBuf {
    stack.storage.join(object.path())
}

fn label(object: &Object) -> String {
    format!("{}/{}", object.bucket, object.name)
}

fn run(stack: &Stack) -> Outcome {
    stack.backupd(["run"]).succeed()
}

#[test]
fn a_stack_in_order_agrees() {
    let stack = Stack::new();
    let outcome = run(&stack);
    let (step, found) = reconciled(&stack);
    let objects = storage::objects().len();
    assert_eq!(
        (complaints(&step), &found["prefix"], &found["versioned"]),
        (vec![], &"stub/stub".into(), &true.into()),
        "{found:#}"
    );
    assert_eq!(
        (&found["objects"], &found["matched"]),
        (&objects.into(), &objects.into()),
        "{found:#}"
    );
    assert!(found["hashed"].as_u64().unwrap() > 5, "{found:#}");
    let extra = found["extra"]["names"].to_string();
    assert!(
        extra.contains(".emptyFolderPlaceholder") && extra.contains("multiparts/upload-1/part-1"),
        "{found:#}"
    );
    assert!(
        outcome
            .stderr
            .contains("files compared with storage.objects"),
        "{outcome}"
    );
    assert!(
        outcome.stdout.contains(&format!(
            "{objects} of {objects} objects in the database with their file"
        )),
        "{outcome}"
    );
    assert!(!stack.only_set().read_dir().unwrap().any(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("reconcile")
    }));
}

#[test]
fn each_fault_is_found_by_name() {
    let stack = Stack::new();
    let mut objects: Vec<Object> = storage::objects()
        .into_iter()
        .filter(|object| object.md5.is_some() && object.bytes > 0)
        .collect();
    // Names with spaces, slashes and unicode first: they are the hard ones.
    objects.sort_by_key(|object| object.name.is_ascii() && !object.name.contains([' ', '/']));
    let [deleted, truncated, altered] = &objects[..3] else {
        panic!("too few objects")
    };
    fs::remove_file(path(&stack, deleted)).unwrap();
    fs::File::options()
        .write(true)
        .open(path(&stack, truncated))
        .unwrap()
        .set_len(truncated.bytes as u64 - 1)
        .unwrap();
    let mut content = altered.content();
    content[0] ^= 1;
    fs::write(path(&stack, altered), content).unwrap();
    fs::write(stack.storage.join("stub/stub/documents/nobody's"), "extra").unwrap();
    let outcome = run(&stack);
    let (step, found) = reconciled(&stack);
    assert!(!complaints(&step).is_empty(), "{step:#}");
    for (list, object) in [
        ("missing", deleted),
        ("size_mismatch", truncated),
        ("content_mismatch", altered),
    ] {
        assert_eq!(
            found[list],
            serde_json::json!({"total": 1, "names": [label(object)]}),
            "{list}: {found:#}"
        );
    }
    assert!(
        found["extra"]["names"]
            .to_string()
            .contains("documents/nobody's"),
        "{found:#}"
    );
    assert!(
        outcome.stderr.contains("3 of")
            && outcome
                .stderr
                .contains(&format!("1 object has no file: {}", label(deleted))),
        "{outcome}"
    );

    // A drill knows that these were so when the set was made.
    let drill = stack.backupd(["verify", "--drill", "--json"]).succeed();
    assert_eq!(
        drill.json()["storage"]["matched"],
        found["matched"],
        "{drill}"
    );

    let strict = stack
        .backupd(["run"])
        .env("BACKUP_RECONCILE", "strict")
        .run();
    assert_eq!(strict.code, Some(1), "{strict}");
    assert!(
        strict.stderr.contains("BACKUP_RECONCILE=strict"),
        "{strict}"
    );
    let failed = stack.sets().pop().unwrap();
    assert!(failed.join("storage_buckets.tar.gz").exists());
    stack
        .backupd(["run"])
        .env("BACKUP_RECONCILE", "off")
        .succeed();
    assert_eq!(reconciled(&stack), (reconciled(&stack).0, Value::Null));
}

#[test]
fn what_happens_during_the_run_is_no_fault() {
    let stack = Stack::new();
    let root = stack.server.root().to_owned();
    fs::write(root.join("hold"), "").unwrap();
    let mut running = stack
        .backupd(["run"])
        .env("BACKUP_PG_BINDIR", stack.held_tools())
        .spawn();
    running.wait_until("the dump", |_| root.join("dumping").exists());
    let object = storage::objects()
        .into_iter()
        .find(|object| object.version.is_some())
        .unwrap();
    let allowed = "SET storage.allow_delete_query = 'true';";
    let name = object.name.replace('\'', "''");
    stack.server.psql(
        "postgres",
        &format!(
            "{allowed} DELETE FROM storage.objects WHERE name = '{name}' AND bucket_id = '{}'",
            object.bucket
        ),
    );
    fs::remove_file(path(&stack, &object)).unwrap();
    let insert = "INSERT INTO storage.objects (id, bucket_id, name, version, metadata) VALUES (gen_random_uuid(), 'documents', 'uploaded', 'v1', '{\"size\": 3}')";
    stack.server.psql("postgres", insert);
    fs::create_dir_all(stack.storage.join("stub/stub/documents/uploaded")).unwrap();
    fs::write(stack.storage.join("stub/stub/documents/uploaded/v1"), "new").unwrap();
    fs::remove_file(root.join("hold")).unwrap();
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let (step, found) = reconciled(&stack);
    assert_eq!(
        found["deleted_meanwhile"]["names"],
        serde_json::json!([label(&object)]),
        "{found:#}"
    );
    assert_eq!(
        (&found["missing"]["total"], complaints(&step)),
        (&0.into(), vec![]),
        "{found:#}"
    );
    assert!(
        found["extra"]["names"]
            .to_string()
            .contains("documents/uploaded/v1"),
        "{found:#}"
    );
    // Nor is it one for a drill.
    stack.backupd(["verify", "--drill"]).succeed();
}

#[test]
fn other_layouts_are_found_or_told() {
    // Without prefix, and without versions; an older storage service has no such column.
    let stack = Stack::new();
    for name in ["avatars", "documents"] {
        let (from, to) = (
            stack.storage.join("stub/stub").join(name),
            stack.storage.join(name),
        );
        #[allow(clippy::disallowed_methods, reason = "a test may rename")]
        fs::rename(from, to).unwrap();
    }
    run(&stack);
    let (_, found) = reconciled(&stack);
    assert_eq!(found["prefix"], "", "{found:#}");
    assert!(found["matched"].as_u64() > Some(5), "{found:#}");
    run_with_prefix(&stack);

    stack.server.psql(
        "postgres",
        "ALTER TABLE storage.objects DROP COLUMN version",
    );
    run(&stack);
    let (step, found) = reconciled(&stack);
    assert!(!complaints(&step).is_empty(), "{found:#}");
    stack.server.psql("postgres", "DROP SCHEMA storage CASCADE");
    run(&stack);
    assert_eq!(reconciled(&stack).1, Value::Null);
}

#[test]
fn a_table_of_objects_that_cannot_be_read_costs_no_dump() {
    let stack = Stack::new();
    let odd = "DROP SCHEMA storage CASCADE; CREATE SCHEMA storage;
        CREATE TABLE storage.objects AS SELECT 'b'::text AS bucket_id, 'n'::text AS name, 'no json'::text AS metadata";
    stack.server.psql("postgres", odd);
    let outcome = run(&stack);
    assert!(
        outcome
            .stdout
            .contains("files will not be compared with storage.objects"),
        "{outcome}"
    );
    assert_eq!(reconciled(&stack).1, Value::Null);
    let strict = |stack: &Stack| {
        let run = stack.backupd(["run"]).env("BACKUP_RECONCILE", "strict");
        let outcome = run.run();
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(
            outcome
                .stderr
                .contains("the files were not compared with storage.objects: they were not read")
                && outcome.stderr.contains("(BACKUP_RECONCILE=strict)"),
            "{outcome}"
        );
        let set = stack.sets().pop().unwrap();
        assert!(set.join("storage_buckets.tar.gz").exists());
    };
    strict(&stack);
    stack.server.psql("postgres", "DROP SCHEMA storage CASCADE");
    strict(&stack);
}

fn run_with_prefix(stack: &Stack) {
    std::thread::sleep(std::time::Duration::from_secs(1));
    stack
        .backupd(["run"])
        .env("BACKUP_STORAGE_PREFIX", "stub/stub")
        .succeed();
    let (_, found) = reconciled(stack);
    assert_eq!(
        (
            &found["prefix"],
            &found["matched"].as_u64().is_some_and(|matched| matched < 5)
        ),
        (&"stub/stub".into(), &true),
        "{found:#}"
    );
    let wrong = stack
        .backupd(["run"])
        .env("BACKUP_STORAGE_PREFIX", "../x")
        .run();
    assert_eq!(wrong.code, Some(2), "{wrong}");
}

#[test]
fn a_hundred_thousand_objects_fit() {
    const OBJECTS: usize = 100_000;
    /// KiB; it was 37,068.
    const PEAK: u64 = 75_000;
    let stack = Stack::new();
    let sql = format!(
        "INSERT INTO storage.objects (id, bucket_id, name, version, metadata)
         SELECT gen_random_uuid(), 'documents', 'many/' || i % 1000 || '/file ' || i, 'v', '{{\"size\": 0, \"eTag\": \"\\\"d41d8cd98f00b204e9800998ecf8427e\\\"\"}}'
         FROM generate_series(1, {OBJECTS}) i"
    );
    stack.server.psql("postgres", &sql);
    let many = stack.storage.join("stub/stub/documents/many");
    for number in 1..=OBJECTS {
        let directory = many.join(format!("{}/file {number}", number % 1000));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("v"), "").unwrap();
    }
    fs::remove_file(many.join("7/file 7/v")).unwrap();
    let measured = stack.server.root().join("peak");
    let time = ["-f", "%M", "-o", measured.to_str().unwrap()];
    Backupd::under("/usr/bin/time", time, stack.backupd(["run"])).succeed();
    let peak: u64 = fs::read_to_string(measured)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    println!("{OBJECTS} objects: {peak} KiB resident at the most");
    // Names are held, about 100 bytes each; contents and whole answers of the server are not.
    assert!(peak < PEAK, "{peak} KiB for {OBJECTS} objects");
    let (_, found) = reconciled(&stack);
    assert_eq!(
        found["missing"],
        serde_json::json!({"total": 1, "names": ["documents/many/7/file 7"]}),
        "{found:#}"
    );
    assert_eq!(
        found["objects"].as_u64(),
        Some((OBJECTS + storage::objects().len()) as u64)
    );
}
