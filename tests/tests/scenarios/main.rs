//! The scenarios: the real binary on real servers, a module for each subject.
//!
//! One binary, because linking one for each module took longer than the slowest test. Each test has a process of its own under
//! `cargo nextest`; under `cargo test` they are threads of one, so a test must leave the process as it found it: environment, umask,
//! working directory, signals. A new subject is a file here and a line below.

#![allow(
    clippy::unwrap_used,
    reason = "a scenario that cannot go on is a failed one"
)]

mod anomaly;
mod bounded;
mod daemon;
mod doctor;
mod drill;
mod drill_content;
mod encodings;
mod extensions;
mod failures;
mod fence;
mod fixtures;
mod hangs;
mod hostile;
mod imports;
mod injected;
mod interrupted;
mod keeping;
mod keeping_faults;
mod kinds;
mod locks;
mod many_files;
mod obstacles;
mod planted;
mod preflight;
mod published;
mod reconcile;
mod restorable;
mod restore_broken;
mod restore_database;
mod restore_faults;
mod restore_json;
mod restore_storage;
mod restore_tree;
mod room;
mod sets;
mod settings;
mod shown;
mod storage_faults;
mod variants;
mod words;
