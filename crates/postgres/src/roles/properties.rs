//! The database's own properties, out of the archive that `pg_dump --create` writes.
//!
//! The archive is made without any schema (so no table is locked for it), its list is cut down to the database's own entries, and
//! `pg_restore` prints those. What would create a database or connect to it is taken out of the text: the one becomes a comment, which
//! shows encoding and locale to whoever creates it anew, the other goes.

use std::ffi::OsString;
use std::io::Write;

use stream::child::Program;
use tempfile::{NamedTempFile, TempPath};
use tokio_util::sync::CancellationToken;

use crate::dump::{DumpError, DumpRequest, failed};

/// Descriptions of entries in an archive's list that are about the database itself.
const OF_DATABASE: [&str; 5] = [
    "DATABASE - ",
    "DATABASE PROPERTIES - ",
    "ACL - DATABASE ",
    "COMMENT - DATABASE ",
    "SECURITY LABEL - DATABASE ",
];

/// SQL that gives the database its owner, settings, privileges and comment.
pub(super) async fn of_database(
    request: &DumpRequest<'_>,
    cancel: &CancellationToken,
) -> Result<Vec<u8>, DumpError> {
    let archive = temporary(request, b"")?;
    Program::new(request.tools.pg_dump())
        .envs(request.dsn.child_env())
        .args([
            "--format=custom",
            "--schema-only",
            "--create",
            "--exclude-schema=*",
            "--no-password",
        ])
        .arg(file_option(&archive))
        .output(cancel)
        .await?;
    let list = Program::new(request.tools.pg_restore())
        // Without --create the database's own entries are not listed.
        .args(["--list", "--create"])
        .arg(archive.as_os_str())
        .output(cancel)
        .await?
        .stdout;
    let kept = kept_entries(&list);
    // The entry of the database itself is in every such archive.
    if !kept
        .split(|byte| *byte == b'\n')
        .any(|line| describes(line, OF_DATABASE[0]))
    {
        return Err(DumpError::List {
            file: request.dsn.database.clone(),
            line: "it has no entry of the database".to_owned(),
        });
    }
    let kept = temporary(request, &kept)?;
    let mut use_list = OsString::from("--use-list=");
    use_list.push(kept.as_os_str());
    let text = Program::new(request.tools.pg_restore())
        .args(["--create", "--file=-"])
        .arg(use_list)
        .arg(archive.as_os_str())
        .output(cancel)
        .await?
        .stdout;
    Ok(without_creation(&text))
}

/// A file beside the artifact, for its owner alone, that goes when it is dropped.
fn temporary(request: &DumpRequest<'_>, content: &[u8]) -> Result<TempPath, DumpError> {
    let make = || {
        let mut file: NamedTempFile = tempfile::Builder::new()
            .prefix(".roles-")
            .tempfile_in(request.dir)?;
        file.write_all(content)?;
        Ok(file.into_temp_path())
    };
    make().map_err(|source| failed(request.file, source))
}

fn file_option(path: &TempPath) -> OsString {
    let mut option = OsString::from("--file=");
    option.push(path.as_os_str());
    option
}

/// The lines of a list that are about the database.
fn kept_entries(list: &[u8]) -> Vec<u8> {
    list.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| OF_DATABASE.iter().any(|what| describes(line, what)))
        .flatten()
        .copied()
        .collect()
}

/// Whether a line such as `3456; 1262 16384 DATABASE - name owner` is of this kind: id, catalog, object, then the description.
fn describes(line: &[u8], what: &str) -> bool {
    if !line.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let rest = line.splitn(4, |byte| *byte == b' ').nth(3);
    rest.is_some_and(|rest| rest.starts_with(what.as_bytes()))
}

/// Makes a comment of `CREATE DATABASE …;` and drops `\connect`, outside of quotes: a setting's value may hold lines of any look.
fn without_creation(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut quote = None;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if quote.is_none() {
            if line.starts_with(b"\\connect ") {
                continue;
            }
            if line.starts_with(b"--") {
                out.extend_from_slice(line);
                continue;
            }
            if line.starts_with(b"CREATE DATABASE ") {
                // pg_dump writes it on one line, and refuses names that hold newlines.
                out.extend_from_slice(b"-- ");
            }
        }
        out.extend_from_slice(line);
        for byte in line {
            match quote {
                None if matches!(byte, b'\'' | b'"') => quote = Some(*byte),
                Some(open) if open == *byte => quote = None,
                _ => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_of_the_database_are_kept() {
        let list = b"; Archive created at 2026-11-20\n;     dbname: app\n\
            2; 3079 16390 EXTENSION - pgcrypto \n\
            3300; 1262 16384 DATABASE - app owner\n\
            3301; 0 0 DATABASE PROPERTIES - app owner\n\
            3302; 0 0 COMMENT - DATABASE app owner\n\
            3303; 0 0 COMMENT - EXTENSION pgcrypto \n\
            3304; 0 0 ACL - DATABASE app owner\n\
            3305; 0 0 ACL - LANGUAGE plpgsql DATABASE - x\n";
        let kept = String::from_utf8(kept_entries(list)).unwrap();
        let ids: Vec<&str> = kept.lines().map(|line| &line[..4]).collect();
        assert_eq!(ids, ["3300", "3301", "3302", "3304"]);
    }

    #[test]
    fn creation_and_connection_are_taken_out_and_values_are_not_touched() {
        let text = b"-- it's a comment\nCREATE DATABASE app WITH TEMPLATE = template0;\nALTER DATABASE app OWNER TO o;\n\
            \\connect app\nALTER DATABASE app SET x TO 'a\n\\connect b\nCREATE DATABASE c;\n';\n\
            \\connect -reuse-previous=on \"dbname='a b'\"\nGRANT ALL ON DATABASE app TO PUBLIC;\n";
        let wanted = "-- it's a comment\n-- CREATE DATABASE app WITH TEMPLATE = template0;\nALTER DATABASE app OWNER TO o;\n\
            ALTER DATABASE app SET x TO 'a\n\\connect b\nCREATE DATABASE c;\n';\n\
            GRANT ALL ON DATABASE app TO PUBLIC;\n";
        assert_eq!(String::from_utf8(without_creation(text)).unwrap(), wanted);
    }
}
