//! The crate against a real server.
#![allow(
    clippy::unwrap_used,
    reason = "these are tests, which clippy sees only where #[test] stands"
)]

mod census;
mod connections;
mod digests;
mod dumps;
mod loads;
mod places;
mod private;
mod scratch;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use postgres::dsn::Dsn;
use postgres::dump::{DumpFormat, DumpRequest};
use postgres::tools::Tools;
use stream::artifact::{Compression, Encoding, Meter};
use stream::read::ArtifactReader;
use tokio_util::sync::CancellationToken;

pub const GZIP: Compression = Compression::Gzip { level: 4 };

pub async fn tools() -> Tools {
    Tools::find(None, &[], &CancellationToken::new())
        .await
        .unwrap()
}

pub fn request<'a>(
    tools: &'a Tools,
    dsn: &'a Dsn,
    dir: &'a Path,
    format: DumpFormat,
    compression: Compression,
) -> DumpRequest<'a> {
    DumpRequest {
        snapshot: None,
        lock_timeout: None,
        tools,
        dsn,
        format,
        characters: "UTF8",
        encoding: Encoding {
            compression,
            threads: 2,
        },
        dir,
        file: "artifact",
        meter: Arc::new(Meter::default()),
    }
}

pub fn decoded(dir: &Path) -> String {
    let mut reader = ArtifactReader::open(&dir.join("artifact"), GZIP, Arc::default()).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
