//! What it costs to know a database's content: the digests and rows of a dump (SQL text on standard input) and a census of the database
//! whose URL is the argument. Two numbers, in seconds; make bench prints them.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use postgres::census;
use postgres::dsn::Dsn;
use postgres::inventory::Inventory;
use postgres::server::Server;

/// As much as a dump's pump reads at once.
const PIECE_BYTES: usize = 64 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args()
        .nth(1)
        .ok_or("the database's URL is missing")?;
    let mut inventory = Inventory::new(io::sink());
    let mut piece = vec![0; PIECE_BYTES];
    let mut digests = Duration::ZERO;
    loop {
        let read = io::stdin().read(&mut piece)?;
        if read == 0 {
            break;
        }
        let began = Instant::now();
        inventory.write_all(&piece[..read])?;
        digests += began.elapsed();
    }
    if !inventory.finish().1.complete {
        return Err("standard input is no whole dump".into());
    }
    let server = Server::connect(&Dsn::parse(&url)?).await?;
    let began = Instant::now();
    census::take(&server).await?;
    println!(
        "{:.2} {:.2}",
        digests.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
