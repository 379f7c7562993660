//! Who a scratch server runs as. PostgreSQL refuses root; anybody else has only their own account.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use stream::fence::Account;

/// As root, whoever runs `initdb`: it wants to know its user's name. It loads nothing that a user of the database wrote.
const NAMED: &str = "nobody";
/// What `nobody` is nearly everywhere.
const NOBODY: Account = Account {
    uid: 65_534,
    gid: 65_534,
};
/// As root, whoever runs the server: nobody else. The user `postgres` may own the live server's files, and `nobody` may run other things,
/// which could then look into a restored copy. systemd's and Debian's tables of numbers leave these free.
const UNUSED: std::ops::RangeInclusive<u32> = 61_000..=61_183;

/// The accounts of `initdb` and of the server; `None` where they are our own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Accounts {
    pub initdb: Option<Account>,
    pub server: Option<Account>,
}

impl Accounts {
    /// Those to take here.
    pub fn find() -> Self {
        if !is_root() {
            return Self::default();
        }
        // Without the file nobody has a name.
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self {
            initdb: Some(named(&passwd).unwrap_or(NOBODY)),
            server: unused(&passwd),
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Lines of `/etc/passwd` are `name:password:uid:gid:…` (passwd(5)).
fn named(passwd: &str) -> Option<Account> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(NAMED))?;
    let mut numbers = line
        .split(':')
        .skip(2)
        .map_while(|field| field.parse().ok());
    Some(Account {
        uid: numbers.next()?,
        gid: numbers.next()?,
    })
}

fn unused(passwd: &str) -> Option<Account> {
    let taken: Vec<u32> = passwd
        .lines()
        .flat_map(|line| line.split(':').skip(2).take(2))
        .filter_map(|field| field.parse().ok())
        .collect();
    let id = UNUSED.rev().find(|id| !taken.contains(id))?;
    Some(Account { uid: id, gid: id })
}

/// Gives a directory and all below to an account.
pub(super) fn give(path: &Path, account: Account) -> io::Result<()> {
    lchown(path, Some(account.uid), Some(account.gid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), account)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:99:98:n:/:/sbin/nologin\n\
                          taken:x:61183:5::/:/bin/sh\nother:x:7:61182::/:/bin/sh\n";

    #[test]
    fn the_server_is_nobody_that_is_known() {
        assert_eq!(named(PASSWD), Some(Account { uid: 99, gid: 98 }));
        let server = unused(PASSWD).unwrap();
        assert_eq!(server.uid, 61_181, "neither a user nor a group");
        assert_eq!(named("nobody:x:broken"), None);
    }
}
