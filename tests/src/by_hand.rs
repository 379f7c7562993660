//! The restore by hand: README's very lines, with a test's names in the place of README's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::host::{bindir, command};
use crate::server::{PASSWORD, PgServer};

/// The lines by which README restores a set by hand.
fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("By hand, without backupd:\n\n").unwrap();
    let lines = rest.lines().map_while(|line| line.strip_prefix("    "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs README's lines on a bare server, and gives the directory that Storage's files came to. Each line must succeed, and none may say
/// an error.
pub fn restore(set: &Path, target: &PgServer) -> PathBuf {
    let files = target.root().join("files");
    fs::create_dir(&files).unwrap();
    let lines = readme()
        .replace("/backups/20261120T020000Z", set.to_str().unwrap())
        .replace("/srv/supabase/volumes/storage", files.to_str().unwrap());
    assert!(lines.contains(set.to_str().unwrap()) && lines.contains(files.to_str().unwrap()));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bindir().display());
    let output = command("bash")
        .args(["-o", "pipefail", "-ec", &lines])
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", target.port().to_string())
        .env("PGPASSWORD", PASSWORD)
        .env("PATH", path)
        .current_dir(set)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !said.contains("ERROR") && !said.contains("rror:"),
        "{lines}\n{}\n{said}",
        output.status
    );
    files
}

/// What pg_dump tells of a database, in one order wherever that depends on when a role was made or a privilege given, and not on
/// what the database holds.
pub fn in_one_order(told: &str) -> String {
    let (mut kept, mut grants, mut grantor) = (Vec::new(), Vec::new(), "");
    for line in told.lines() {
        match line.split_once(" SESSION AUTHORIZATION") {
            Some(("SET", name)) => grantor = name,
            Some(("RESET", _)) => grantor = "",
            _ => {}
        }
        if line.starts_with("GRANT ") && line.contains(" ON DATABASE ") {
            grants.push(format!("{line}{grantor}"));
        } else {
            kept.push(roles_in_order(line));
        }
    }
    grants.sort_unstable();
    kept.extend(grants);
    kept.join("\n")
}

/// A policy names its roles by their OIDs' order.
fn roles_in_order(line: &str) -> String {
    let parts = line
        .strip_prefix("CREATE POLICY ")
        .and_then(|policy| policy.split_once(" TO "))
        .and_then(|(policy, rest)| Some((policy, rest.split_once(" USING ")?)));
    let Some((policy, (roles, using))) = parts else {
        return line.to_owned();
    };
    let mut roles: Vec<&str> = roles.split(", ").collect();
    roles.sort_unstable();
    format!(
        "CREATE POLICY {policy} TO {} USING {using}",
        roles.join(", ")
    )
}
