//! The pages that promise something name the tests that show it: there are such tests, and no promise of `docs/security.md` is without one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Pages that name tests.
const PAGES: [&str; 2] = ["docs/security.md", "docs/reliability.md"];
/// A test's name is a sentence; a setting's, a role's or a table's has fewer words.
const WORDS_OF_A_TEST: usize = 4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of Rust or C below a directory.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path
            .extension()
            .is_some_and(|end| end == "rs" || end == "c")
        {
            found.push(path);
        }
    }
}

/// The functions that have the attribute of a test, and the names that begin a line of a macro's call, which makes tests of them.
fn tests(text: &str, found: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some((name, _)) = line.split_once(',')
            && is_name_of_a_test(name)
        {
            found.insert(name.to_owned());
        }
        let name = line.strip_prefix("async ").unwrap_or(line);
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((name, _)) = name
            .strip_prefix("fn ")
            .and_then(|rest| rest.split_once(['(', '<']))
        {
            if is_test {
                found.insert(name.to_owned());
            }
            is_test = false;
        }
    }
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_name_of_a_test(name: &str) -> bool {
    name.split('_').count() >= WORDS_OF_A_TEST
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn tests_that_pages_name_are_there() {
    let mut files = Vec::new();
    for directory in ["tests/tests", "tests/src", "crates"] {
        sources(&root().join(directory), &mut files);
    }
    let mut known = BTreeSet::new();
    for file in &files {
        tests(&fs::read_to_string(file).unwrap(), &mut known);
    }
    assert!(known.len() > 400, "{}", known.len());
    let mut missing = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let mut named = 0;
        for word in quoted(&text) {
            let is_file = [".rs", ".c"].iter().any(|end| word.ends_with(end));
            if is_file && !files.iter().any(|file| file.ends_with(word)) {
                missing.push(format!("{page}: file {word}"));
            }
            if is_name_of_a_test(word) {
                named += 1;
                if !known.contains(word) {
                    missing.push(format!("{page}: test {word}"));
                }
            }
        }
        println!("{page}: {named} tests named");
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Tables and lists alike: a row or a point says by which test it is shown.
#[test]
fn every_promise_of_the_threat_model_is_shown() {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut promises: Vec<String> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        let is_row = line.starts_with('|') && !line.starts_with("|---") && line.len() > 3;
        if is_row || line.starts_with("- ") {
            promises.push(line.to_owned());
            within = !is_row;
        } else if within && line.starts_with("  ") {
            promises.last_mut().unwrap().push_str(line);
        } else {
            within = false;
        }
    }
    // A table's first row is its heading.
    let is_heading = |promise: &&String| promise.ends_with("| shown by |");
    let unshown: Vec<_> = promises
        .iter()
        .filter(|promise| !is_heading(promise) && !quoted(promise).any(is_name_of_a_test))
        .collect();
    assert!(promises.len() > 30, "{}", promises.len());
    assert!(unshown.is_empty(), "{unshown:#?}");
}
