//! Changes to a finished set, as an attacker with all the time in the world would make them: with digests to match.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{Duration, NaiveDateTime};

use crate::host::command;
use crate::stack::manifest;

/// How a set is named.
const ID: &str = "%Y%m%dT%H%M%SZ";

/// What each database of a set held.
pub const CENSUS: &str = "census.json.gz";

/// A copy of a set as if it had been made earlier.
pub fn older(set: &Path, ago: Duration) -> PathBuf {
    let name = set.file_name().unwrap().to_str().unwrap();
    let moment = NaiveDateTime::parse_from_str(name, ID).unwrap() - ago;
    let id = moment.format(ID).to_string();
    let path = set.with_file_name(&id);
    let copied = command("cp").arg("-a").arg(set).arg(&path).status();
    assert!(copied.unwrap().success());
    let text = fs::read_to_string(path.join("manifest.json"))
        .unwrap()
        .replace(name, &id);
    rewrite(&path, &serde_json::from_str(&text).unwrap());
    path
}

/// What a gzipped file holds.
pub fn unzipped(path: &Path) -> Vec<u8> {
    let output = command("gzip").arg("-dc").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", path.display());
    output.stdout
}

/// Puts other content into a gzipped file of a set, with digests to match.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let plain = path.with_extension("");
    fs::write(&plain, content).unwrap();
    let status = command("gzip").arg("-f").arg(&plain).status().unwrap();
    assert!(status.success(), "{}", path.display());
    reseal(path.parent().unwrap());
}

/// Writes the sizes and digests of a set's files, as they are now, into its manifest and its list of digests.
pub fn reseal(set: &Path) {
    let mut manifest = manifest(set);
    for artifact in manifest["artifacts"].as_array_mut().unwrap() {
        let path = set.join(artifact["file"].as_str().unwrap());
        let bytes = fs::metadata(&path).unwrap().len();
        artifact["bytes"] = bytes.into();
        if artifact["compression"] == "gzip" {
            artifact["raw_bytes"] = unzipped(&path).len().into();
        }
        artifact["sha256"] = sha256(&path).into();
    }
    if let Some(census) = manifest.get_mut("census") {
        let path = set.join(CENSUS);
        census["bytes"] = fs::metadata(&path).unwrap().len().into();
        census["sha256"] = sha256(&path).into();
    }
    rewrite(set, &manifest);
}

/// Changes what a set says its databases held, with digests to match.
pub fn change_census(set: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = set.join(CENSUS);
    let mut held = serde_json::from_slice(&unzipped(&path)).unwrap();
    change(&mut held);
    replace(&path, held.to_string());
}

/// Puts what databases held into the manifest, where backupd had it before there was a file of its own.
pub fn census_into_manifest(set: &Path) {
    let path = set.join(CENSUS);
    let held: serde_json::Value = serde_json::from_slice(&unzipped(&path)).unwrap();
    let mut manifest = manifest(set);
    for artifact in manifest["artifacts"].as_array_mut().unwrap() {
        let label = artifact["label"].as_str().unwrap();
        if artifact["kind"] == "database" {
            artifact["census"] = held[label].clone();
        }
    }
    manifest.as_object_mut().unwrap().remove("census");
    fs::remove_file(path).unwrap();
    rewrite(set, &manifest);
}

/// Writes a changed manifest, and the list of digests that belongs to it.
pub fn rewrite(set: &Path, manifest: &serde_json::Value) {
    let path = set.join("manifest.json");
    fs::write(&path, format!("{manifest:#}\n")).unwrap();
    let artifacts = manifest["artifacts"].as_array().unwrap();
    let mut sums = String::new();
    for artifact in artifacts {
        let (sum, file) = (&artifact["sha256"], &artifact["file"]);
        sums.push_str(&format!(
            "{}  {}\n",
            sum.as_str().unwrap(),
            file.as_str().unwrap()
        ));
    }
    sums.push_str(&format!("{}  manifest.json\n", sha256(&path)));
    fs::write(set.join("SHA256SUMS"), sums).unwrap();
}

fn sha256(path: &Path) -> String {
    let output = command("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned()
}
