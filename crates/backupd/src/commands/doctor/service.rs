//! What the sets and the daemon are like: what `status` tells, found without the daemon.

use std::time::Duration;

use catalog::remembered::Remembered;
use chrono::SecondsFormat;
use engine::backup::strangers::waits;
use engine::clock;
use engine::finding::{Check, Fault};
use engine::hint;
use engine::keep::survey::{Probe, survey};
use policy::verdict::Concern;
use postgres::restore::admin::Admin;
use postgres::scratch::{Fencing, ScratchError, is_ready};
use postgres::tools::Tools;
use postgres::words::counted;
use tokio::net::TcpStream;

use super::findings::Findings;
use crate::commands::health::{answer, reachable};
use crate::daemon::control::{Answer, Client, Request};
use crate::daemon::state::{Report, State};
use crate::render::anomaly::in_short;
use crate::render::remedy::Where;
use crate::settings::Service;

/// A port of this machine answers at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const DAEMON: &str = "daemon";
const DRILLS: &str = "drills";
const SETS: &str = "sets";

pub async fn look(service: Service, tools: Option<&Tools>, at: Where, found: &mut Findings) {
    let (config, now) = (&service.config, clock::now());
    let mut remembered = Remembered::default();
    // A daemon's look, which leaves no trace.
    let survey = survey(
        &config.backup_dir,
        &config.retention,
        now,
        Probe::Ask,
        &mut remembered,
    );
    let state = State::of(service, survey, remembered, now);
    sets(&state, found);
    if state.service.schedule.is_none() {
        let text = "BACKUP_SCHEDULE is off: no set is made by itself";
        found.add(Check::warning(DAEMON, text, Fault::NoSchedule));
    }
    daemon(&state.service, at, found).await;
    drills(&state.service, tools, found).await;
}

fn sets(state: &State, found: &mut Findings) {
    let now = clock::now();
    let survey = state.survey();
    for entry in survey.odd() {
        let text = format!(
            "{} has an anomaly that nobody has accepted: {}",
            entry.id,
            in_short(entry.anomalies())
        );
        found.add(Check::warning(SETS, text, Fault::Anomaly(entry.id)));
    }
    let dir = &state.service.config.backup_dir;
    for (set, why) in survey.unread() {
        let text = format!("{set} could not be looked at: {why}");
        found.add(Check::warning(SETS, text, Fault::Unread(dir.clone(), set)));
    }
    if !survey.waiting.is_empty() {
        let text = waits(dir, &survey.waiting);
        found.add(Check::warning(SETS, text, Fault::Waits));
    }
    let (newest, future) = (survey.newest_good(now), survey.future_sets(now));
    if newest.is_some() && future > 0 {
        let sets = counted(future as u64, "good set");
        let text = format!(
            "{sets} dated in the future: the clock is or was wrong, and they count for nothing"
        );
        found.add(Check::warning(SETS, text, Fault::OnlyFuture));
    }
    for fault in state.faults(now) {
        let (subject, kind) = match fault.of {
            Concern::LastRun => (SETS, Fault::NoRecentSet),
            Concern::Age if newest.is_some() => (SETS, Fault::NoRecentSet),
            Concern::Drills => (DRILLS, Fault::NoProof),
            // Found above, by preflight, or where a restore looks for its set.
            Concern::Age
            | Concern::Future
            | Concern::Odd
            | Concern::Directory
            | Concern::Scheduler => continue,
        };
        found.add(Check::warning(subject, fault.text, kind));
    }
}

async fn daemon(service: &Service, at: Where, found: &mut Findings) {
    if let Some(report) = status(service).await {
        let next = report.next_run.map_or_else(
            || "no run is due".to_owned(),
            |next| {
                format!(
                    "the next run is due at {}",
                    next.at.to_rfc3339_opts(SecondsFormat::Secs, true)
                )
            },
        );
        found.add(Check::passed(DAEMON, format!("it answers; {next}")));
        return;
    }
    if at == Where::Compose && !service.control_socket.exists() {
        let text = "it is not in this container: `docker exec backup backupd status` asks it";
        found.add(Check::passed(DAEMON, text));
        return;
    }
    let addr = reachable(service.http_addr);
    let listens = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(addr)).await;
    if matches!(listens, Ok(Ok(_))) && answer(addr).await.is_err() {
        let text = format!(
            "another program has port {} of BACKUP_HTTP_ADDR",
            addr.port()
        );
        found.add(Check::warning(DAEMON, text, Fault::PortTaken(addr.port())));
    }
    let text = format!("none answers at {}", service.control_socket.display());
    found.add(Check::warning(DAEMON, text, Fault::NoDaemon));
}

async fn status(service: &Service) -> Option<Report> {
    let mut client = Client::ask(&service.control_socket, &Request::Status)
        .await
        .ok()?;
    match client.next().await {
        Ok(Answer::Report(report)) => Some(*report),
        _ => None,
    }
}

/// Whether a drill could be made. It stops no restore.
async fn drills(service: &Service, tools: Option<&Tools>, found: &mut Findings) {
    let drills = &service.drills;
    if let Some(url) = &drills.url {
        match Admin::connect(url, "").await {
            Ok(_) => found.add(Check::passed(DRILLS, format!("they are made on {url}"))),
            Err(error) => {
                let text = format!("BACKUP_DRILL_URL: {error}");
                found.add(Check::warning(DRILLS, text, Fault::NoProof));
            }
        }
        return;
    }
    let Some(tools) = tools else { return };
    let fenced = match drills.fencing {
        Fencing::Required => "behind a fence",
        Fencing::Off => "without a fence (BACKUP_DRILL_FENCE=off)",
    };
    match is_ready(&tools.bindir, tools.version.major, drills.fencing) {
        Ok(()) => {
            let text = format!("they have a server of their own, {fenced}");
            found.add(Check::passed(DRILLS, text));
        }
        Err(error) => {
            let fault = match &error {
                ScratchError::NoServer { major, .. } => Fault::NoScratchServer(*major),
                _ => Fault::NoFence,
            };
            found.add(Check::warning(DRILLS, hint::scratch(&error), fault));
        }
    }
}
