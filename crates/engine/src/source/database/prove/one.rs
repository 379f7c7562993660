//! One database of a set, restored into a scratch server by the code that a restore uses, and compared with its source: the verdict is what
//! `restore` would have ended as, and what came back is compared row by row and object by object.

use std::collections::BTreeSet;
use std::time::Instant;

use catalog::artifact::Artifact;
use catalog::census::Census;
use catalog::drill::{DatabaseDrill, StorageDrill};
use catalog::manifest::Manifest;
use postgres::census::available_extensions;
use postgres::dsn::Dsn;
use postgres::restore::RestoreError;
use postgres::restore::admin::Admin;
use postgres::restore::load::OnError;
use postgres::server::{Server, ServerError};
use postgres::sql::QualifiedName;
use tokio_util::sync::CancellationToken;

use super::excuses::Excuses;
use crate::event::{Event, Observer};
use crate::progress::millis;
use crate::source::database::restore::job::{Job, PG_CRON, Progress, RolesWanted};
use crate::source::database::restore::script::read_script;
use crate::source::proving::{DrillError, DrillRequest};

/// Complaints that a report keeps.
const COMPLAINTS: usize = 20;
/// Extensions whose library a server must load as it starts, which a private server does not: creating them fails without it, or (pgsodium,
/// which has its key from there) whatever calls their functions does.
const PRELOADED: [&str; 4] = ["pgaudit", "pg_net", "pgsodium", "timescaledb"];
/// A database to drill.
pub(super) struct Drill<'a> {
    pub request: &'a DrillRequest<'a>,
    pub manifest: &'a Manifest,
    pub artifact: &'a Artifact,
    pub roles: &'a Artifact,
    /// What the database held.
    pub census: Option<&'a Census>,
    /// The scratch server.
    pub dsn: Dsn,
    /// How databases of drills from this backup directory begin on a server that is not their own.
    pub prefix: &'a str,
    /// Whether that server lacks roles of the source, and keeps its own as they are.
    pub lacks_roles: bool,
}

/// What came of it.
pub(super) struct Found {
    pub database: DatabaseDrill,
    pub storage: Option<StorageDrill>,
}

/// The database's name where it was dumped.
pub(super) fn name_in_source(artifact: &Artifact) -> String {
    artifact
        .source()
        .map_or_else(|| artifact.label.clone(), |source| source.database.clone())
}

impl Drill<'_> {
    pub async fn perform(
        mut self,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<Found, DrillError> {
        let began = Instant::now();
        let label = self.artifact.label.as_str();
        let own = self.request.url.is_none();
        let set = self.manifest.set.to_string();
        let name = if own {
            name_in_source(self.artifact)
        } else {
            format!("{}{label}_{set}", self.prefix)
        };
        let unusable = |reason: String| DrillError::Unusable {
            set: set.clone(),
            reason,
        };
        let script = read_script(
            &self.request.entry.path.join(&self.roles.file),
            self.roles,
            self.artifact,
        )
        .map_err(|error| unusable(format!("{}: {error}", self.roles.file)))?;
        let failed = |error: RestoreError| match error {
            RestoreError::Interrupted => DrillError::Interrupted,
            error if own => unusable(format!("{label}: {error}")),
            error => DrillError::Url(error),
        };
        let server_failed = |error: ServerError| failed(error.into());
        let admin = Admin::connect(&self.dsn, &name).await.map_err(failed)?;
        if !own {
            admin.sweep(self.prefix).await.map_err(server_failed)?;
        }
        let absent = self.absent(&admin.server).await.map_err(server_failed)?;
        let roles_missing = script.missing(&admin.server).await.map_err(server_failed)?;
        drop(admin);
        self.lacks_roles = !own && !roles_missing.is_empty();
        let job = Job {
            label,
            set: &set,
            artifact: self.artifact,
            census: self.census,
            file: self.request.entry.path.join(&self.artifact.file),
            script: &script,
            tools: self.request.tools,
            dsn: self.dsn.clone(),
            name: &name,
            beside: !own,
            // A server that somebody named keeps its roles as they are.
            roles: if own {
                RolesWanted::All
            } else {
                RolesWanted::Untouched
            },
            force: true,
            jobs: 1,
            on_error: OnError::GoOn,
            absent: absent.clone(),
            table: None,
            thrown_away: own,
        };
        let mut database = DatabaseDrill {
            label: label.to_owned(),
            ..DatabaseDrill::default()
        };
        let mut done = Progress::default();
        let ended = job.perform(&mut done, observer, cancel).await;
        if cancel.is_cancelled() {
            return Err(DrillError::Interrupted);
        }
        let excuses = Excuses {
            absent: self.names_of_absent(&absent),
            lacks_roles: self.lacks_roles,
            no_network: own,
        };
        excuses.sort(&mut done, &mut database);
        database.complaints = std::mem::take(&mut done.notes);
        database.complaints.truncate(COMPLAINTS);
        let mut storage = None;
        match ended {
            Ok(()) => {
                storage = self
                    .compare(&name, &absent, &done, &mut database, observer, cancel)
                    .await
                    .map_err(failed)?;
            }
            Err(fault) => database.differences.push(format!(
                "a restore would end here: {}: {}",
                fault.what, fault.reason
            )),
        }
        if !own {
            let admin = Admin::connect(&self.dsn, &name).await.map_err(failed)?;
            admin.sweep(self.prefix).await.map_err(server_failed)?;
        }
        database.duration_ms = millis(began.elapsed());
        Ok(Found { database, storage })
    }

    async fn compare(
        &self,
        name: &str,
        absent: &BTreeSet<String>,
        done: &Progress,
        found: &mut DatabaseDrill,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<Option<StorageDrill>, RestoreError> {
        observer.on(&Event::StepStarted {
            step: format!("drill {} compare", self.artifact.label),
        });
        let server = Server::connect(&self.dsn.to_database(name))
            .await?
            .patient();
        let comparing = async {
            let rows = self.compare_content(&server, &done.tables, found).await?;
            self.answer(&server, &rows, found).await?;
            self.remove_stand_ins(&server, &done.tables).await?;
            self.compare_census(&server, absent, done.server_major, found)
                .await
        };
        tokio::select! {
            compared = comparing => compared?,
            () = cancel.cancelled() => return Err(RestoreError::Interrupted),
        }
        self.check_storage(&server, found, observer, cancel).await
    }

    /// Extensions of the source that this server cannot have.
    async fn absent(&self, server: &Server) -> Result<BTreeSet<String>, ServerError> {
        // It starts jobs, which must not happen in a copy, and can be only in the database that the server names.
        let cron = PG_CRON.extension.to_owned();
        let Some(census) = self.census else {
            return Ok(BTreeSet::from([cron]));
        };
        let available: BTreeSet<String> = available_extensions(server).await?.into_iter().collect();
        let mut absent: BTreeSet<String> = census
            .extensions()
            .difference(&available)
            .cloned()
            .collect();
        if census.extensions().contains(&cron) {
            absent.insert(cron);
        }
        let mut preloaded = BTreeSet::from(PRELOADED.map(str::to_owned));
        preloaded.retain(|name| census.extensions().contains(name));
        if !preloaded.is_empty() {
            for library in libraries(server).await? {
                preloaded.remove(&library);
            }
        }
        absent.append(&mut preloaded);
        Ok(absent)
    }

    /// Extensions that are absent, what needs them by the census, and the schemas of their tables.
    fn names_of_absent(&self, absent: &BTreeSet<String>) -> BTreeSet<String> {
        let mut names = absent.clone();
        let Some(census) = self.census else {
            return names;
        };
        let needing = census
            .needs
            .iter()
            .filter(|(extension, _)| absent.contains(*extension));
        for object in needing.flat_map(|(_, objects)| objects) {
            let of_extension = object.strip_prefix("table of an extension ");
            let schema = of_extension.and_then(QualifiedName::read);
            names.extend(schema.map(|name| format!("{}.", name.schema)));
            let name = object.rsplit(' ').next().unwrap_or(object);
            names.insert(name.split('(').next().unwrap_or(name).to_owned());
        }
        names.retain(|name| !name.is_empty());
        names
    }
}

/// The libraries that a server loaded as it started, without their directories.
async fn libraries(server: &Server) -> Result<Vec<String>, ServerError> {
    let listed = server
        .names("SELECT pg_catalog.current_setting('shared_preload_libraries')")
        .await?
        .concat();
    let named = listed.split(',').map(|library| {
        let library = library.trim().trim_matches('"');
        library.rsplit('/').next().unwrap_or(library).to_owned()
    });
    Ok(named.collect())
}
