//! `/metrics`, in Prometheus' text format. Everything comes from the report and the survey; nothing is counted in memory, so a restart
//! resets nothing. Names, units and labels are described in docs/operations.md.

use catalog::artifact::{Artifact, Kind};
use catalog::drill::DrillVerdict;
use catalog::manifest::StepStatus;
use chrono::{DateTime, Utc};
use engine::keep::survey::{RunResult, Survey};
use policy::verdict::Health;
use prometheus::{Encoder, GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

use super::state::Report;

const NAMESPACE: &str = "backupd";

/// A registry for one answer.
struct Page {
    registry: Registry,
}

impl Page {
    fn gauge(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        self.gauges(name, help, &[], [(vec![], value)])
    }

    fn gauges<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) -> prometheus::Result<()> {
        let gauge = GaugeVec::new(Opts::new(name, help).namespace(NAMESPACE), labels)?;
        for (labels, value) in values {
            gauge.get_metric_with_label_values(&labels)?.set(value);
        }
        self.registry.register(Box::new(gauge))
    }
}

/// The text.
#[allow(
    clippy::cast_precision_loss,
    reason = "Prometheus' values are f64; byte counts stay exact up to 9 PB"
)]
pub fn render(report: &Report, survey: &Survey, now: DateTime<Utc>) -> prometheus::Result<String> {
    let page = Page {
        registry: Registry::new(),
    };
    page.gauges(
        "build_info",
        "Always 1; the version is a label.",
        &["version"],
        [(vec![report.backupd.as_str()], 1.0)],
    )?;
    page.gauge(
        "healthy",
        "1 when /health says healthy.",
        flag(report.verdict.health == Health::Healthy),
    )?;
    page.gauge(
        "run_in_progress",
        "1 while a run is at work.",
        flag(report.current_run.is_some()),
    )?;
    page.gauge(
        "scheduler_heartbeat_age_seconds",
        "Age of the scheduler's heartbeat.",
        report.heartbeat_age_seconds as f64,
    )?;
    page.gauge(
        "sets",
        "Sets that are kept, good or failed.",
        report.disk.sets as f64,
    )?;
    page.gauge(
        "good_sets",
        "Good sets that are kept, but those from the future.",
        report.disk.good_sets as f64,
    )?;
    page.gauge(
        "future_sets",
        "Good sets dated later than the clock allows, which count for nothing.",
        report.disk.future_sets as f64,
    )?;
    page.gauge(
        "open_anomalies",
        "Good sets with an anomaly that nobody has accepted.",
        report.anomalies.len() as f64,
    )?;
    page.gauge(
        "waiting_for_a_person",
        "1 while the sets are of other sources than those that are there, and nothing is backed up by itself.",
        flag(!report.waiting.is_empty()),
    )?;
    page.gauge(
        "sets_bytes",
        "Bytes of all sets.",
        report.disk.set_bytes as f64,
    )?;
    page.gauge(
        "free_bytes",
        "Bytes that can still be written in the backup directory.",
        report.disk.free_bytes as f64,
    )?;
    if let Some(next) = &report.next_run {
        page.gauge(
            "next_run_timestamp_seconds",
            "When the next run begins.",
            next.at.timestamp() as f64,
        )?;
    }
    drills(&page, report)?;
    runs(&page, survey)?;
    last_run(&page, report)?;
    newest_good(&page, survey, now)?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&page.registry.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[allow(clippy::cast_precision_loss, reason = "as in `render`")]
fn drills(page: &Page, report: &Report) -> prometheus::Result<()> {
    page.gauge(
        "drill_in_progress",
        "1 while a drill is at work.",
        flag(report.drilling),
    )?;
    if let Some(next) = report.next_drill {
        let at = next.timestamp() as f64;
        page.gauge(
            "next_drill_timestamp_seconds",
            "When the next drill begins.",
            at,
        )?;
    }
    if let Some(drill) = &report.last_drill {
        page.gauge(
            "last_drill_success",
            "1 when the last drill found nothing amiss, 0 when it failed.",
            flag(drill.verdict != DrillVerdict::Failed),
        )?;
        page.gauge(
            "last_drill_timestamp_seconds",
            "When the last drill ended.",
            drill.ended_at.timestamp() as f64,
        )?;
        page.gauge(
            "last_drill_duration_seconds",
            "How long the last drill took.",
            seconds(drill.duration_ms),
        )?;
        page.gauge(
            "last_drill_not_proven",
            "Objects that the last drill could not prove, because the scratch server lacks an extension.",
            drill.not_proven as f64,
        )?;
    }
    if let Some(proof) = &report.last_proof {
        page.gauge(
            "last_proof_timestamp_seconds",
            "When a drill last found nothing amiss.",
            proof.ended_at.timestamp() as f64,
        )?;
    }
    Ok(())
}

fn runs(page: &Page, survey: &Survey) -> prometheus::Result<()> {
    let counter = IntCounterVec::new(
        Opts::new("runs_total", "Runs since the history began, by result.").namespace(NAMESPACE),
        &["result"],
    )?;
    for (result, count) in [
        ("succeeded", survey.runs.succeeded),
        ("anomaly", survey.runs.odd),
        ("failed", survey.runs.failed),
        ("interrupted", survey.runs.interrupted),
    ] {
        counter
            .get_metric_with_label_values(&[result])?
            .inc_by(count);
    }
    page.registry.register(Box::new(counter))
}

#[allow(clippy::cast_precision_loss, reason = "as in `render`")]
fn last_run(page: &Page, report: &Report) -> prometheus::Result<()> {
    let Some(run) = &report.last_run else {
        return Ok(());
    };
    page.gauge(
        "last_run_success",
        "1 when the last run made a good set without an anomaly, 0 when it did not, failed or was cut off.",
        flag(run.result == RunResult::Succeeded),
    )?;
    page.gauge(
        "last_run_timestamp_seconds",
        "When the last run ended.",
        run.ended_at.timestamp() as f64,
    )?;
    page.gauge(
        "last_run_duration_seconds",
        "How long the last run took.",
        seconds(run.duration_ms),
    )?;
    let steps = run.steps.iter();
    page.gauges(
        "step_duration_seconds",
        "How long each step of the last run took.",
        &["step"],
        steps
            .clone()
            .map(|step| (vec![step.name.as_str()], seconds(step.duration_ms))),
    )?;
    page.gauges(
        "step_success",
        "1 for each step of the last run that succeeded, 0 for one that failed or was skipped.",
        &["step"],
        steps.map(|step| {
            let well = matches!(step.status, StepStatus::Succeeded | StepStatus::Warning);
            (vec![step.name.as_str()], flag(well))
        }),
    )
}

#[allow(clippy::cast_precision_loss, reason = "as in `render`")]
fn newest_good(page: &Page, survey: &Survey, now: DateTime<Utc>) -> prometheus::Result<()> {
    let Some(entry) = survey.newest_good(now) else {
        return Ok(());
    };
    page.gauge(
        "last_success_timestamp_seconds",
        "When the run of the newest good set began: the point in time it restores to.",
        entry.id.time().timestamp() as f64,
    )?;
    page.gauge(
        "last_good_age_seconds",
        "Age of the newest good set.",
        (now - entry.id.time()).num_seconds().max(0) as f64,
    )?;
    let Ok(manifest) = &entry.manifest else {
        return Ok(());
    };
    let artifacts = manifest.artifacts.iter();
    let labels = |artifact: &'_ Artifact| vec![artifact.file.to_string(), artifact.label.clone()];
    for (name, help, value) in [
        (
            "artifact_bytes",
            "Bytes of each file of the newest good set.",
            (|artifact| artifact.bytes) as fn(&Artifact) -> u64,
        ),
        (
            "artifact_raw_bytes",
            "Bytes of each file of the newest good set before compression.",
            |artifact| artifact.raw_bytes,
        ),
    ] {
        let rows: Vec<_> = artifacts
            .clone()
            .map(|artifact| (labels(artifact), value(artifact)))
            .collect();
        page.gauges(
            name,
            help,
            &["file", "source"],
            rows.iter().map(|(labels, value)| {
                (labels.iter().map(String::as_str).collect(), *value as f64)
            }),
        )?;
    }
    page.gauges(
        "rows",
        "Rows in each database of the newest good set.",
        &["source"],
        artifacts
            .clone()
            .filter(|artifact| artifact.kind() == Kind::Database)
            .filter_map(|artifact| {
                let rows: u64 = artifact.tables()?.iter().map(|table| table.rows).sum();
                Some((vec![artifact.label.as_str()], rows as f64))
            }),
    )?;
    let objects = manifest
        .storage
        .as_ref()
        .and_then(|storage| storage.reconcile.as_ref());
    page.gauges(
        "storage_objects",
        "Objects of the newest good set by how they agree with its files; extra counts files without an object.",
        &["state"],
        objects.into_iter().flat_map(|result| {
            [
                ("matched", result.matched),
                ("missing", result.missing.total),
                ("size_mismatch", result.size_mismatch.total),
                ("content_mismatch", result.content_mismatch.total),
                ("deleted_meanwhile", result.deleted_meanwhile.total),
                ("extra", result.extra.total),
            ]
            .map(|(state, count)| (vec![state], count as f64))
        }),
    )?;
    page.gauges(
        "files",
        "Files in each tree of the newest good set.",
        &["source"],
        artifacts.filter_map(|artifact| {
            let tree = artifact.tree()?;
            Some((vec![artifact.label.as_str()], tree.files as f64))
        }),
    )
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

#[allow(clippy::cast_precision_loss, reason = "as in `render`")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
