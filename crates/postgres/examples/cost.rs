//! What it costs to know a database's content: its dump as backupd takes it and the same without digests, in turns, and a census.
//!
//!     cost URL DIRECTORY ROUNDS
//!
//! Prints the medians of seconds: of a dump without digests, of one with them, of a census. make bench shows them.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::census;
use postgres::dsn::Dsn;
use postgres::inventory::Inventory;
use postgres::server::Server;
use stream::artifact::{ArtifactWriter, Compression, Encoding};
use stream::child::Program;
use tokio_util::sync::CancellationToken;

/// As backupd has it without settings.
const GZIP: Compression = Compression::Gzip { level: 2 };

type Fault = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let told: Vec<String> = std::env::args().skip(1).collect();
    let [url, directory, rounds] = told.as_slice() else {
        return Err("say: cost URL DIRECTORY ROUNDS".into());
    };
    let (dsn, directory) = (Dsn::parse(url)?, Path::new(directory));
    let (mut without, mut with, mut census) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.parse()? {
        without.push(timed(dump(&dsn, directory, |writer| writer, |writer| writer)).await?);
        let digests = |inventory: Inventory<_>| inventory.finish().0;
        with.push(timed(dump(&dsn, directory, Inventory::new, digests)).await?);
        census.push(timed(count(&dsn)).await?);
    }
    println!(
        "{:.2} {:.2} {:.2}",
        median(without),
        median(with),
        median(census)
    );
    Ok(())
}

/// A dump into a file that is flushed to disk and removed.
async fn dump<W: Write + Send + 'static>(
    dsn: &Dsn,
    directory: &Path,
    around: impl Fn(ArtifactWriter) -> W,
    inner: impl Fn(W) -> ArtifactWriter,
) -> Result<(), Fault> {
    let encoding = Encoding {
        compression: GZIP,
        threads: std::thread::available_parallelism()?.get(),
    };
    let file = "cost.sql.gz";
    let writer = ArtifactWriter::create(directory, file, encoding, Arc::default())?;
    let program = Program::new("pg_dump")
        .envs(dsn.child_env())
        .arg("--format=plain");
    let (sink, finished) = program
        .stream_into(around(writer), &CancellationToken::new())
        .await?;
    inner(sink).commit(finished)?;
    std::fs::remove_file(directory.join(file))?;
    Ok(())
}

async fn count(dsn: &Dsn) -> Result<(), Fault> {
    let server = Server::connect(dsn).await?;
    census::take(&server).await?;
    Ok(())
}

async fn timed(work: impl Future<Output = Result<(), Fault>>) -> Result<Duration, Fault> {
    let began = Instant::now();
    work.await?;
    Ok(began.elapsed())
}

fn median(mut of: Vec<Duration>) -> f64 {
    of.sort();
    of.get(of.len() / 2).map_or(0.0, Duration::as_secs_f64)
}
