//! What tells a source from another: asked of the server, or of the tree's root.

use std::path::Path;

use catalog::artifact::{Artifact, Kind};
use catalog::identity::Identity;
use chrono::{DateTime, SecondsFormat, Utc};
use postgres::dsn::Dsn;
use postgres::server::{Facts, Server};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// Of the database that these facts are of; none where the role may not ask its server.
pub(crate) fn of_facts(facts: &Facts) -> Option<Identity> {
    Some(Identity::Server {
        system: facts.system_identifier.clone()?,
        database: facts.database_oid,
    })
}

/// Of a database, by the first of these ways that leads to it.
pub async fn of_database(dsns: &[Dsn]) -> Option<Identity> {
    for dsn in dsns {
        if let Ok(server) = Server::connect(dsn).await
            && let Ok(facts) = Facts::ask(&server).await
        {
            return of_facts(&facts);
        }
    }
    None
}

/// Of a directory; none where its file system does not keep when it was made (NFS, FUSE).
pub fn of_tree(root: &Path) -> Option<Identity> {
    let asked = StatxFlags::INO | StatxFlags::BTIME;
    let told = statx(CWD, root, AtFlags::empty(), asked).ok()?;
    if !StatxFlags::from_bits_retain(told.stx_mask).contains(asked) {
        return None;
    }
    let born: DateTime<Utc> =
        DateTime::from_timestamp(told.stx_btime.tv_sec, told.stx_btime.tv_nsec)?;
    Some(Identity::Directory {
        inode: told.stx_ino,
        born: born.to_rfc3339_opts(SecondsFormat::Nanos, true),
    })
}

/// Gives Storage's archive its source's identity. Extra paths have none: files and themes are replaced as wholes all the time.
pub(crate) fn name_trees(artifacts: &mut [Artifact]) {
    for artifact in artifacts
        .iter_mut()
        .filter(|one| one.kind() == Kind::Storage)
    {
        artifact.identity = artifact
            .archive()
            .and_then(|archive| archive.path.as_ref())
            .and_then(|root| of_tree(Path::new(root)));
    }
}
