//! `backupd health`: the status server's verdict as an exit code, so that an image needs no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use policy::verdict::Health;
use tokio::net::TcpStream;

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use crate::cli;
use crate::daemon::state::Report;
use crate::settings::Environment;

/// For one answer; within a healthcheck's timeout of ten seconds.
const WITHIN: Duration = Duration::from_secs(8);
/// Between two questions of `--wait`.
const PAUSE: Duration = Duration::from_secs(1);
/// A report has a few KiB.
const REPORT_BYTES: usize = 4 * 1024 * 1024;

pub async fn execute(arguments: &cli::Health, environment: &Environment) -> Result<Exit, Refusal> {
    let addr = reachable(environment.http_addr()?);
    let mut report = answer(addr).await?;
    while arguments.wait && report.verdict.health == Health::Starting {
        tokio::time::sleep(PAUSE).await;
        report = answer(addr).await?;
    }
    let (word, exit) = match report.verdict.health {
        Health::Healthy => ("healthy", Exit::Done),
        Health::Starting => ("starting", Exit::Failed),
        Health::Unhealthy => ("unhealthy", Exit::Failed),
    };
    if arguments.output.json {
        print_json(&report)?;
    } else {
        print_text(&format!("{word}: {}\n", report.verdict.reasons.join("; ")))?;
    }
    Ok(exit)
}

pub async fn answer(addr: SocketAddr) -> Result<Report, Refusal> {
    match tokio::time::timeout(WITHIN, ask(addr)).await {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(no_answer(addr, &error.to_string())),
        Err(_) => Err(no_answer(
            addr,
            &format!("nothing within {} s", WITHIN.as_secs()),
        )),
    }
}

fn no_answer(addr: SocketAddr, why: &str) -> Refusal {
    Refusal::Unusable(format!(
        "unhealthy: the status server at {addr} gives no answer ({why}); is `backupd serve` running, and is BACKUP_HTTP_ADDR the same?"
    ))
}

/// A server that listens on all addresses is asked on this machine's own.
pub fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    addr
}

async fn ask(addr: SocketAddr) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let connection = TcpStream::connect(addr).await?;
    let (mut sender, conversation) = http1::handshake(TokioIo::new(connection)).await?;
    tokio::spawn(conversation);
    let request = Request::get("/health")
        .header("host", addr.to_string())
        .body(Body::empty())?;
    let answer = sender.send_request(request).await?;
    let body = to_bytes(Body::new(answer.into_body()), REPORT_BYTES).await?;
    Ok(serde_json::from_slice(&body)?)
}
