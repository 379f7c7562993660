#![allow(clippy::all)]
use std::io::Write;
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args[1] == "count" {
        let data = std::fs::read(&args[2]).unwrap();
        let t = std::time::Instant::now();
        let mut inv = postgres::inventory::Inventory::new(std::io::sink());
        for c in data.chunks(256 * 1024) {
            inv.write_all(c).unwrap();
        }
        let (_, c) = inv.finish();
        let e = t.elapsed();
        println!(
            "{} MB in {:?}: {:.2} GB/s {:?}",
            data.len() / 1_000_000,
            e,
            data.len() as f64 / e.as_secs_f64() / 1e9,
            c
        );
    } else {
        let dsn = postgres::dsn::Dsn::parse(&args[2]).unwrap();
        match postgres::server::Server::connect(&dsn).await {
            Ok(s) => {
                let t = std::time::Instant::now();
                let f = s.facts().await;
                println!("{:#?} {:?}", f, t.elapsed());
                if let Ok(f) = f {
                    println!("{:#?} {:#?}", f.obstacles(15), f.warnings());
                }
            }
            Err(e) => println!("{e}\n{e:?}"),
        }
    }
}
