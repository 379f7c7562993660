//! One database of a set, restored into a scratch server and compared with the census of its source. The load goes over errors, because
//! extensions may be wanting there; what counts is what came back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use catalog::catalog::PRIVATE;
use catalog::census::Census;
use catalog::drill::{DatabaseDrill, StorageDrill};
use catalog::manifest::{Artifact, Kind, Manifest, Source};
use postgres::census::available_extensions;
use postgres::dsn::Dsn;
use postgres::dump::DumpFormat;
use postgres::restore::RestoreError;
use postgres::restore::admin::Admin;
use postgres::restore::compare::count;
use postgres::restore::entries::{Heading, Wanted};
use postgres::restore::load::{LoadRequest, OnError, load};
use postgres::restore::place::Place;
use postgres::restore::roles::RolesScript;
use postgres::server::{Server, ServerError};
use stream::artifact::Meter;
use stream::read::ArtifactReader;
use stream::tar::{Listed, walk};
use tokio_util::sync::CancellationToken;

use super::{DrillError, DrillRequest, name_in_source};
use crate::event::{Event, Observer};
use crate::ledger::{millis, tell_while};
use crate::reconcile::{Layout, LayoutSource, Reconciler};
use crate::restore::database::{PG_CRON, cron_lives_in, read_script};
use crate::steps::database::take_census;

/// Databases of drills on a server that is not their own begin so.
const PREFIX: &str = "backupd_drill_";
/// Complaints that a report keeps.
const COMPLAINTS: usize = 20;
/// What somebody would ask of a stack that came back: the question, and the table that answers it by its rows.
const QUESTIONS: [(&str, &str); 5] = [
    ("users of Supabase", "auth.users"),
    ("buckets", "storage.buckets"),
    ("objects", "storage.objects"),
    ("realms of Keycloak", "realm"),
    ("users of Keycloak", "user_entity"),
];
/// Holds the addresses of a running Keycloak's members: nobody may find them in a copy.
const LIVE_MEMBERS: &str = "jgroups_ping";

/// A database to drill.
pub(super) struct Drill<'a> {
    pub request: &'a DrillRequest<'a>,
    pub manifest: &'a Manifest,
    pub artifact: &'a Artifact,
    pub roles: &'a Artifact,
    /// The scratch server.
    pub dsn: Dsn,
}

/// What came of it.
pub(super) struct Found {
    pub database: DatabaseDrill,
    pub storage: Option<StorageDrill>,
}

impl Drill<'_> {
    pub async fn perform(
        &self,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<Found, DrillError> {
        let began = Instant::now();
        let label = &self.artifact.label;
        let own = self.request.url.is_none();
        let set = self.manifest.set.to_string();
        let name = if own {
            name_in_source(self.artifact)
        } else {
            format!("{PREFIX}{label}_{set}")
        };
        let script = read_script(
            &self.request.entry.path.join(&self.roles.file),
            self.roles,
            self.artifact,
        )
        .map_err(|error| DrillError::Unusable {
            set: set.clone(),
            reason: format!("{}: {error}", self.roles.file),
        })?;
        let failed = |error: RestoreError| match error {
            RestoreError::Interrupted => DrillError::Interrupted,
            error if own => DrillError::Unusable {
                set: set.clone(),
                reason: format!("{label}: {error}"),
            },
            error => DrillError::Url(error),
        };
        let server_failed = |error: ServerError| failed(error.into());
        let admin = Admin::connect(&self.dsn, &name).await.map_err(failed)?;
        if own {
            if admin.look(&name).await.map_err(server_failed)?.is_some() {
                admin.drop(&name).await.map_err(server_failed)?;
            }
        } else {
            admin.sweep(PREFIX).await.map_err(server_failed)?;
        }
        let mut database = DatabaseDrill {
            label: label.clone(),
            ..DatabaseDrill::default()
        };
        let roles = script
            .restore_roles(&admin.server, own, OnError::GoOn)
            .await
            .map_err(failed)?;
        database.complaints = roles.errors;
        let (place, note) = Place::prepare(&admin, &name, &set, &script, !own)
            .await
            .map_err(failed)?;
        database.complaints.extend(note);
        let filled = self
            .fill(&admin, &name, &script, &mut database, observer, cancel)
            .await;
        let dropped = place.put_back().await;
        let storage = filled.map_err(failed)?;
        dropped.map_err(failed)?;
        database.complaints.truncate(COMPLAINTS);
        database.duration_ms = millis(began.elapsed());
        Ok(Found { database, storage })
    }

    async fn fill(
        &self,
        admin: &Admin,
        name: &str,
        script: &RolesScript,
        found: &mut DatabaseDrill,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<Option<StorageDrill>, RestoreError> {
        found.complaints.extend(
            script
                .restore_properties(&admin.server, name, OnError::GoOn)
                .await?,
        );
        let server = Server::connect(&self.dsn.to_database(name))
            .await?
            .patient();
        let absent = self.absent(&server, name).await?;
        // First what rows need to be loaded, then the rows of tables that are there, then what rests on them.
        let before = self
            .load(
                admin,
                &server,
                before_rows(absent.clone()),
                observer,
                cancel,
            )
            .await?;
        let there = server
            .names("SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'")
            .await?;
        let after = self
            .load(admin, &server, from_rows_on(&there), observer, cancel)
            .await?;
        found.complaints.extend(before.into_iter().chain(after));
        observer.on(&Event::StepStarted {
            step: format!("drill {} compare", self.artifact.label),
        });
        self.compare_rows(&server, &absent, found).await?;
        self.compare_census(&server, &absent, admin.major, found)
            .await?;
        self.ask(&server, found).await?;
        self.check_storage(&server, observer, cancel).await
    }

    /// Extensions of the source that this server cannot have.
    async fn absent(&self, server: &Server, name: &str) -> Result<BTreeSet<String>, ServerError> {
        let Some(census) = &self.artifact.census else {
            return Ok(BTreeSet::new());
        };
        let available: BTreeSet<String> = available_extensions(server).await?.into_iter().collect();
        let mut absent: BTreeSet<String> = census
            .extensions()
            .difference(&available)
            .cloned()
            .collect();
        // It starts jobs, which must not happen in a copy, and can be only in the database that the server names.
        let cron = PG_CRON.0.to_owned();
        if census.extensions().contains(&cron)
            && (self.request.url.is_none() || !cron_lives_in(server, name).await?)
        {
            absent.insert(cron);
        }
        Ok(absent)
    }

    async fn load(
        &self,
        admin: &Admin,
        server: &Server,
        wanted: Wanted,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, RestoreError> {
        let artifact = self.artifact;
        let file = self.request.entry.path.join(&artifact.file);
        let meter = Arc::new(Meter::default());
        let plain = artifact.format == DumpFormat::Plain.name();
        let loading = Box::pin(load(
            LoadRequest {
                tools: self.request.tools,
                dsn: server.dsn(),
                server_major: admin.major,
                file: &file,
                format: if plain {
                    DumpFormat::Plain
                } else {
                    DumpFormat::Custom
                },
                compression: artifact.compression.decoded(),
                jobs: 1,
                wanted: Some(wanted),
                on_error: OnError::GoOn,
                low_priority: true,
                meter: meter.clone(),
            },
            cancel,
        ));
        let step = format!("drill {} load", artifact.label);
        let expected = plain.then_some(artifact.raw_bytes);
        let loaded = tell_while(loading, observer, &step, &meter, expected).await?;
        Ok(loaded.errors)
    }

    async fn compare_rows(
        &self,
        server: &Server,
        absent: &BTreeSet<String>,
        found: &mut DatabaseDrill,
    ) -> Result<(), ServerError> {
        let none = Census::default();
        let census = self.artifact.census.as_ref().unwrap_or(&none);
        for expected in self.artifact.tables.as_deref().unwrap_or_default() {
            let table = &expected.table;
            let back = count(server, table).await?;
            let needs = ["table", "table of an extension"]
                .iter()
                .find_map(|kind| census.needed_by(kind, table, absent));
            match (back, needs) {
                (Some(rows), _) if rows == expected.rows => {
                    found.tables += 1;
                    found.rows += rows;
                }
                (None, Some(extension)) => {
                    found.lacks_rows |= expected.rows > 0;
                    found.not_proven.push(format!(
                        "{} rows of {table}: not proven without extension {extension}",
                        expected.rows
                    ));
                }
                (Some(rows), _) => found.differences.push(format!(
                    "{table} came back with {rows} rows, not {}",
                    expected.rows
                )),
                (None, None) => found.differences.push(format!(
                    "{table} did not come back, with its {} rows",
                    expected.rows
                )),
            }
        }
        Ok(())
    }

    async fn compare_census(
        &self,
        server: &Server,
        absent: &BTreeSet<String>,
        server_major: u32,
        found: &mut DatabaseDrill,
    ) -> Result<(), ServerError> {
        let Some(census) = &self.artifact.census else {
            found
                .not_proven
                .push("objects: the set has no census of its source".to_owned());
            return Ok(());
        };
        let source = self.artifact.source.as_ref();
        let same_major = source.and_then(Source::major) == Some(server_major);
        let compared = census.compare(&take_census(server).await?, absent, same_major);
        found.objects = census.kinds.values().map(|names| names.count).sum();
        found.differences.extend(compared.differences);
        found.not_proven.extend(compared.not_proven);
        Ok(())
    }

    /// Questions whose answers tell a person whether this is their stack.
    async fn ask(&self, server: &Server, found: &mut DatabaseDrill) -> Result<(), ServerError> {
        for (question, table) in QUESTIONS {
            if let Some(rows) = count(server, &self.in_schema(table)).await? {
                found.answers.insert(question.to_owned(), rows.to_string());
            }
        }
        let members = self.in_schema(LIVE_MEMBERS);
        if count(server, &members).await?.is_some() {
            server.execute(&format!("TRUNCATE {members}")).await?;
        }
        let secrets = count(server, "vault.secrets").await?.unwrap_or_default();
        if secrets > 0 {
            let decrypted = server
                .number("SELECT count(*) FROM (SELECT decrypted_secret FROM vault.decrypted_secrets LIMIT 1) AS one WHERE decrypted_secret IS NOT NULL")
                .await;
            match decrypted {
                Ok(1) => {
                    found.answers.insert(
                        "Vault".to_owned(),
                        format!("one of {secrets} secrets was decrypted"),
                    );
                }
                Ok(_) => found.not_proven.push(format!(
                    "Vault: {secrets} secrets came back, the first is empty"
                )),
                Err(error) => found.not_proven.push(format!(
                    "Vault: {secrets} secrets came back, and none could be decrypted here: {error}"
                )),
            }
        }
        Ok(())
    }

    /// Keycloak's tables lie in one schema, which the dump names.
    fn in_schema(&self, table: &str) -> String {
        if table.contains('.') {
            return table.to_owned();
        }
        let tables = self.artifact.tables.as_deref().unwrap_or_default();
        let suffix = format!(".{table}");
        let found = tables.iter().find(|rows| rows.table.ends_with(&suffix));
        found.map_or_else(|| format!("public.{table}"), |rows| rows.table.clone())
    }

    /// The archive's files against the objects that came back, as they were compared when the set was made.
    async fn check_storage(
        &self,
        server: &Server,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<Option<StorageDrill>, RestoreError> {
        let mut artifacts = self.manifest.artifacts.iter();
        let archive = artifacts.find(|artifact| artifact.kind == Kind::Storage);
        let then = self.manifest.storage.as_ref();
        let (Some(archive), Some(then)) =
            (archive, then.and_then(|storage| storage.reconcile.as_ref()))
        else {
            return Ok(None);
        };
        let layout = LayoutSource::Known(Layout {
            prefix: then.prefix.clone(),
            versioned: then.versioned,
        });
        let failed = |what: &'static str| {
            move |error: std::io::Error| RestoreError::Io {
                what,
                source: error,
            }
        };
        let dir = self.request.backup_dir.join(PRIVATE);
        server.execute("BEGIN").await?;
        let objects = Reconciler::begin(&dir, server, layout).await;
        server.execute("COMMIT").await?;
        let lost = "objects could not be compared";
        let objects = objects.map_err(|error| failed(lost)(std::io::Error::other(error)))?;
        let Some(mut objects) = objects else {
            return Ok(None);
        };
        let step = "drill storage";
        observer.on(&Event::StepStarted {
            step: step.to_owned(),
        });
        let meter = Arc::new(Meter::default());
        let (path, compression) = (
            self.request.entry.path.join(&archive.file),
            archive.compression.decoded(),
        );
        let (counted, token) = (meter.clone(), cancel.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let mut reader = ArtifactReader::open(&path, compression, counted)?;
            let mut spilled = Ok(());
            let mut lister = |listed: Listed<'_>| {
                if spilled.is_ok() {
                    spilled = objects.file(listed);
                }
            };
            walk(&mut reader, Some(&mut lister), &token)?;
            spilled.map(|()| objects)
        });
        let read = tell_while(reading, observer, step, &meter, Some(archive.raw_bytes)).await;
        let objects = match read.map_err(std::io::Error::other).flatten() {
            Ok(objects) => objects,
            // What cannot be read is no less a finding than what differs.
            Err(error) => {
                return Ok(Some(StorageDrill {
                    differences: vec![format!("{}: {error}", archive.file)],
                    ..StorageDrill::default()
                }));
            }
        };
        let now = objects
            .finish(None)
            .await
            .map_err(|error| failed(lost)(std::io::Error::other(error)))?;
        let mut differences = then.new_faults(&now);
        if now.files != then.files {
            differences.push(format!(
                "{} files are in the archive, {} were packed",
                now.files, then.files
            ));
        }
        Ok(Some(StorageDrill {
            files: now.files,
            objects: now.objects,
            matched: now.matched,
            hashed: now.hashed,
            differences,
        }))
    }
}

/// Everything up to the first rows, without extensions that cannot be.
fn before_rows(absent: BTreeSet<String>) -> Wanted {
    let mut rows = false;
    Box::new(move |heading: &Heading| {
        rows |= heading.is_data();
        let extension = match heading.kind.as_str() {
            "EXTENSION" => Some(heading.name.as_str()),
            "COMMENT" => heading.name.strip_prefix("EXTENSION "),
            _ => None,
        };
        !rows && !extension.is_some_and(|name| absent.contains(name.trim_matches('"')))
    })
}

/// From the first rows on, without those of tables that are not there: what stands for rows would be taken for statements.
fn from_rows_on(there: &[String]) -> Wanted {
    let there: BTreeSet<String> = there.iter().map(|name| name.replace('\n', " ")).collect();
    let mut rows = false;
    Box::new(move |heading: &Heading| {
        rows |= heading.is_data();
        let lost = heading.kind == "TABLE DATA"
            && !there.contains(&format!("{}.{}", heading.schema, heading.name));
        rows && !lost
    })
}
