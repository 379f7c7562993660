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

/// What an installation of its own (`/usr/local/pgsql`) has beside its programs. One that was moved finds its files by the way that leads
/// to them from its programs; Debian's are in `lib/postgresql/17/bin` and `share/postgresql/17`.
fn beside(bindir: &Path) -> Vec<PathBuf> {
    let real = bindir.canonicalize();
    let Some(own) = real.as_deref().unwrap_or(bindir).parent() else {
        return Vec::new();
    };
    let mut directories: Vec<PathBuf> = ["lib", "lib64", "share"].map(|name| own.join(name)).into();
    if let (Some(version), Some(all)) = (own.file_name(), own.parent())
        && all.ends_with("lib/postgresql")
        && let Some(prefix) = all.ancestors().nth(2)
    {
        directories.push(prefix.join("lib"));
        directories.push(prefix.join("share/postgresql").join(version));
    }
    directories
}
