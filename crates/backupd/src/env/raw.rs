//! Settings as they stand in the environment: optional strings, one struct a theme. `envy` stops at its first error, so it must not
//! be the one that judges; strings never fail.

#![allow(
    clippy::struct_field_names,
    reason = "a field is a variable's name, and most begin with BACKUP_"
)]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Where data come from.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Sources {
    pub database_url: Option<String>,
    pub session_database_url: Option<String>,
    pub kc_db_url: Option<String>,
    pub kc_db_url_host: Option<String>,
    pub kc_db_url_port: Option<String>,
    pub kc_db_url_database: Option<String>,
    pub kc_db_url_properties: Option<String>,
    pub kc_db_schema: Option<String>,
    pub kc_db_username: Option<String>,
    pub kc_db_password: Option<String>,
    pub supabase_storage_path: Option<String>,
    pub backup_storage_prefix: Option<String>,
    pub backup_reconcile: Option<String>,
    pub backup_sources: Option<String>,
    pub backup_databases: Option<String>,
    pub backup_extra_databases: Option<String>,
    pub backup_extra_paths: Option<String>,
}

/// How artifacts are written.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Writing {
    pub backup_dump_format: Option<String>,
    pub backup_compression: Option<String>,
    pub backup_compression_level: Option<String>,
    pub backup_threads: Option<String>,
    pub backup_step_timeout: Option<String>,
    pub backup_lock_timeout: Option<String>,
}

/// What is kept.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Retention {
    pub backup_retention_days: Option<String>,
    pub backup_keep_last: Option<String>,
    pub backup_keep_daily: Option<String>,
    pub backup_keep_weekly: Option<String>,
    pub backup_keep_monthly: Option<String>,
    pub backup_retention_min: Option<String>,
    pub backup_min_free: Option<String>,
    pub backup_anomaly_drop_percent: Option<String>,
    pub backup_anomaly_ignore: Option<String>,
}

/// When the daemon runs, and where it is asked.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Service {
    pub backup_schedule: Option<String>,
    pub backup_timezone: Option<String>,
    pub backup_jitter: Option<String>,
    pub backup_catch_up: Option<String>,
    pub backup_retries: Option<String>,
    pub backup_max_age_hours: Option<String>,
    pub backup_drill: Option<String>,
    pub backup_drill_schedule: Option<String>,
    pub backup_max_drill_age_days: Option<String>,
    pub backup_http_addr: Option<String>,
    pub backup_http_hosts: Option<String>,
    pub backup_control_socket: Option<String>,
}

/// How logs are written.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Logs {
    pub backup_log: Option<String>,
    pub backup_log_format: Option<String>,
}

/// One theme's settings. With optional strings only, `envy` has nothing to refuse.
pub fn read<T: DeserializeOwned + Default>(vars: &BTreeMap<String, String>) -> T {
    envy::from_iter(
        vars.iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    )
    .unwrap_or_default()
}
