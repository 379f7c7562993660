//! `manifest.json`, version 1: what a set is, how it was made, what each of its files holds. Names are a contract.

use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use stream::durable;
use stream::read::{hash_file, read_regular};

use crate::anomaly::Anomaly;
use crate::artifact::Artifact;
use crate::layout::{CENSUS, MANIFEST, SUMS};
use crate::set::SetId;
use crate::storage::Storage;

/// Bytes of a manifest that are read: some hundred thousand tables with all that is kept of them.
const BYTES_MOST: u64 = 256 * 1024 * 1024;
/// The version that is written, and the newest that is understood.
const VERSION: u32 = 1;

/// A set's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this format.
    pub version: u32,
    /// The set's id.
    pub set: SetId,
    /// How the run ended.
    pub status: RunStatus,
    /// Who asked for the run.
    pub trigger: String,
    /// When it began.
    #[serde(with = "crate::moment")]
    pub started_at: DateTime<Utc>,
    /// When it ended; none while it runs.
    #[serde(with = "crate::moment::optional")]
    pub finished_at: Option<DateTime<Utc>>,
    /// The machine.
    pub host: String,
    /// Version of backupd.
    pub backupd: String,
    /// Version of PostgreSQL's tools.
    #[serde(default)]
    pub tools: Option<String>,
    /// In the order they were done.
    pub steps: Vec<StepRecord>,
    /// Whole files only.
    pub artifacts: Vec<Artifact>,
    /// What each database held; none of a set without, or of one that has it in its artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub census: Option<CensusFile>,
    /// About the Storage archive.
    #[serde(default)]
    pub storage: Option<Storage>,
    /// About Keycloak's database.
    #[serde(default)]
    pub keycloak: Option<Keycloak>,
    /// What was found odd beside the sets before; of a good set alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Not yet; only ever in a `.partial` directory.
    Running,
    /// Every step went well.
    Succeeded,
    /// A step failed.
    Failed,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// `preflight`, `supabase`, `keycloak`, a label, `storage`, `manifest`, `verify`.
    pub name: String,
    /// How it ended.
    pub status: StepStatus,
    /// When it began.
    #[serde(with = "crate::moment")]
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: u64,
    /// Of the child that failed; 0 after success.
    pub exit_code: Option<i32>,
    /// Why it failed or was skipped.
    pub error: Option<String>,
    /// Worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Well.
    Succeeded,
    /// Well, with notes.
    Warning,
    /// Not.
    Failed,
    /// Not begun, because of another's failure.
    Skipped,
}

/// `census.json.gz`, as a manifest tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CensusFile {
    /// On disk.
    pub bytes: u64,
    /// Of the file on disk, in hex.
    pub sha256: String,
}

/// About Keycloak's database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keycloak {
    /// The Keycloak version that the schema belongs to.
    pub schema_version: Option<String>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("{MANIFEST} cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is not what it should be.
    #[error("{MANIFEST} is damaged: {0}")]
    Malformed(#[source] serde_json::Error),
    /// A newer backupd wrote it.
    #[error(
        "{MANIFEST} has version {found}, this backupd understands {VERSION}: use a newer backupd"
    )]
    Newer { found: u64 },
    /// It is another set's.
    #[error(
        "{MANIFEST} is that of set {found}: the directory was renamed or its files were exchanged"
    )]
    Foreign { found: SetId },
}

impl Manifest {
    /// The manifest of a run that begins.
    pub fn begin(set: SetId, trigger: &str, started_at: DateTime<Utc>) -> Self {
        Self {
            version: VERSION,
            set,
            status: RunStatus::Running,
            trigger: trigger.to_owned(),
            started_at,
            finished_at: None,
            host: String::new(),
            backupd: String::new(),
            tools: None,
            steps: Vec::new(),
            artifacts: Vec::new(),
            census: None,
            storage: None,
            keycloak: None,
            anomalies: Vec::new(),
        }
    }

    /// Reads the manifest of the set in `dir`. A newer version is refused before anything else of it is looked at.
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let text =
            read_regular(&dir.join(MANIFEST), BYTES_MOST).map_err(ManifestError::Unreadable)?;
        let Versioned { version } =
            serde_json::from_slice(&text).map_err(ManifestError::Malformed)?;
        if version > u64::from(VERSION) {
            return Err(ManifestError::Newer { found: version });
        }
        serde_json::from_slice(&text).map_err(ManifestError::Malformed)
    }

    /// Reads the manifest of the set of this id, which is in `dir`.
    pub fn of_set(dir: &Path, id: SetId) -> Result<Self, ManifestError> {
        let manifest = Self::read(dir)?;
        if manifest.set == id {
            Ok(manifest)
        } else {
            let found = manifest.set;
            Err(ManifestError::Foreign { found })
        }
    }

    /// Writes it into `dir`, durably.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        if text.len() as u64 > BYTES_MOST {
            let words = format!("{MANIFEST} would have more than {BYTES_MOST} bytes");
            return Err(io::Error::other(words));
        }
        durable::write_atomic(&dir.join(MANIFEST), &text)
    }

    /// Writes `SHA256SUMS` into `dir`: every artifact, and the manifest as it lies there.
    pub fn write_sums(&self, dir: &Path) -> io::Result<()> {
        let (_, sha256) = hash_file(&dir.join(MANIFEST))?;
        durable::write_atomic(&dir.join(SUMS), sums_text(self, &sha256).as_bytes())
    }

    /// The names of the files that its set has.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let artifacts = self.artifacts.iter().map(|artifact| artifact.file.as_str());
        let census = self.census.as_ref().map(|_| CENSUS);
        artifacts.chain(census).chain([MANIFEST, SUMS])
    }

    /// Whether the run succeeded and its content was read back whole.
    pub fn is_good(&self) -> bool {
        self.status == RunStatus::Succeeded
            && self.steps.iter().any(|step| {
                step.name == "verify"
                    && matches!(step.status, StepStatus::Succeeded | StepStatus::Warning)
            })
    }

    /// From beginning to end.
    pub fn duration_ms(&self) -> Option<u64> {
        let took = self.finished_at? - self.started_at;
        Some(u64::try_from(took.num_milliseconds()).unwrap_or(0))
    }

    /// Of all artifacts on disk.
    pub fn bytes(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.bytes).sum()
    }

    /// The first failed step with its words.
    pub fn first_error(&self) -> Option<String> {
        let failed = self
            .steps
            .iter()
            .find(|step| step.status == StepStatus::Failed)?;
        let words = failed.error.as_deref().unwrap_or("failed");
        Some(format!("{}: {words}", failed.name))
    }
}

/// The content of `SHA256SUMS`: a line an artifact, then the manifest's, which has the digest of the census: older readers know no more
/// lines.
pub fn sums_text(manifest: &Manifest, manifest_sha256: &str) -> String {
    let mut text = String::new();
    for artifact in &manifest.artifacts {
        text.push_str(&format!("{}  {}\n", artifact.sha256, artifact.file));
    }
    text.push_str(&format!("{manifest_sha256}  {MANIFEST}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const EXAMPLE: &str = r#"{"version":1,"set":"20261120T020000Z","status":"succeeded","trigger":"manual",
      "started_at":"2026-11-20T02:00:00.000Z","finished_at":"2026-11-20T02:01:00.500Z","host":"h","backupd":"0.1.0","tools":null,
      "steps":[{"name":"verify","status":"succeeded","started_at":"2026-11-20T02:00:00.000Z","duration_ms":1234,"exit_code":0,"error":null}],
      "artifacts":[{"file":"supabase_db.sql.gz","kind":"database","label":"supabase",
        "source":{"host":"db","port":5432,"database":"postgres","user":"supabase_admin","server_version":"15.8"},
        "tool":"pg_dump 17.6","format":"plain","compression":"gzip","bytes":1,"raw_bytes":2,"sha256":"00",
        "tables":[{"table":"auth.users","rows":42}]}],
      "storage":{"files":10,"bytes":123,"changed":[],"changed_total":0},"keycloak":null}"#;

    #[test]
    fn the_contracts_example_is_read_and_written_alike() {
        let manifest: Manifest = serde_json::from_str(EXAMPLE).unwrap();
        assert!(manifest.is_good());
        assert_eq!(manifest.duration_ms(), Some(60_500));
        let expected: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
        assert_eq!(serde_json::to_value(&manifest).unwrap(), expected);
    }

    #[test]
    fn it_survives_the_disk_and_a_newer_one_is_refused_with_words() {
        let dir = tempfile::tempdir().unwrap();
        let manifest: Manifest = serde_json::from_str(EXAMPLE).unwrap();
        manifest.write(dir.path()).unwrap();
        manifest.write_sums(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest);
        let sums = fs::read_to_string(dir.path().join(SUMS)).unwrap();
        assert!(
            sums.starts_with("00  supabase_db.sql.gz\n") && sums.ends_with("  manifest.json\n")
        );

        fs::write(dir.path().join(MANIFEST), br#"{"version":2,"all":"new"}"#).unwrap();
        let error = Manifest::read(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("version 2") && error.contains("newer backupd"),
            "{error}"
        );
    }

    #[test]
    fn no_name_of_a_manifest_leads_out_of_its_set() {
        let plain = EXAMPLE.replace("supabase_db.sql.gz", "a name..with dots");
        assert!(serde_json::from_str::<Manifest>(&plain).is_ok());
        let long = "x".repeat(256);
        for wrong in [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            "a/b",
            "a/",
            ".hidden",
            "a\\u0000b",
            &long,
        ] {
            for (field, right) in [("file", "supabase_db.sql.gz"), ("label", "supabase")] {
                let right = format!("\"{field}\":\"{right}\"");
                assert!(EXAMPLE.contains(&right), "{right}");
                let text = EXAMPLE.replace(&right, &format!("\"{field}\":\"{wrong}\""));
                let error = serde_json::from_str::<Manifest>(&text).unwrap_err();
                let words = error.to_string();
                assert!(words.contains("is no plain file name"), "{wrong}: {words}");
            }
        }
    }

    #[test]
    fn only_a_regular_file_of_a_sane_size_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MANIFEST);
        let words = || Manifest::read(dir.path()).unwrap_err().to_string();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        assert!(words().contains("is no regular file"), "{}", words());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(words().contains("is no regular file"), "{}", words());
        fs::remove_file(&path).unwrap();
        let sparse = fs::File::create(&path).unwrap();
        sparse.set_len(10 << 30).unwrap();
        assert!(
            words().contains("has more than 268435456 bytes"),
            "{}",
            words()
        );
    }

    #[test]
    fn only_a_verified_success_is_good() {
        let good: Manifest = serde_json::from_str(EXAMPLE).unwrap();
        let mut unverified = good.clone();
        unverified.steps[0].status = StepStatus::Failed;
        let mut failed = good.clone();
        failed.status = RunStatus::Failed;
        assert!(good.is_good() && !unverified.is_good() && !failed.is_good());
    }
}
