//! What a program of PostgreSQL needs of the machine beside its own files: the rest can be fenced off.

use std::path::{Path, PathBuf};

use stream::fence::Fence;

/// Libraries, extensions, time zones, dictionaries. Nothing of it is anybody's own, and programs are in other directories.
const READ: [&str; 11] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/usr/local/lib",
    "/usr/local/share",
    "/var/cache/postgresql/dicts",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
];
/// What starts a program that has shared libraries: of glibc and musl, on x86-64 and arm64.
const LOADERS: [&str; 4] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];

/// Around one of PostgreSQL's programs, which cannot start another and has no files yet.
pub fn around(bindir: &Path, program: &str) -> Fence {
    Fence::new()
        .read(READ)
        .read(beside(bindir))
        .execute(LOADERS)
        .execute([bindir.join(program)])
}

/// What an installation of its own (`/usr/local/pgsql`) has beside its programs.
fn beside(bindir: &Path) -> Vec<PathBuf> {
    let real = bindir.canonicalize();
    let prefix = real.as_deref().unwrap_or(bindir).parent();
    prefix.map_or_else(Vec::new, |prefix| {
        ["lib", "lib64", "share"]
            .map(|name| prefix.join(name))
            .into()
    })
}
