//! One database of a set, restored into a scratch server by the code that a restore uses, and compared with its source: the verdict is what
//! `restore` would have ended as, and what came back is compared row by row and object by object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use archive::{Listed, walk};
use catalog::drill::{DatabaseDrill, StorageDrill};
use catalog::layout;
use catalog::manifest::{Artifact, Kind, Manifest, Source};
use postgres::census::available_extensions;
use postgres::digest::{self, TableContent};
use postgres::dsn::Dsn;
use postgres::extension;
use postgres::restore::admin::Admin;
use postgres::restore::load::{LoadedTable, OnError};
use postgres::restore::{LoadFault, RestoreError};
use postgres::server::{Server, ServerError, ident};
use postgres::sql::QualifiedName;
use stream::artifact::Meter;
use stream::read::ArtifactReader;
use tokio_util::sync::CancellationToken;

use super::{DrillError, DrillRequest, name_in_source};
use crate::event::{Event, Observer};
use crate::ledger::{millis, tell_while};
use crate::reconcile::{Layout, LayoutSource, ReconcileError, Reconciler};
use crate::restore::database::{Job, PG_CRON, Progress, RolesWanted, read_script};
use crate::stack::objects::ObjectsError;
use crate::steps::database::take_census;

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
/// Statements that a report names for each thing that the scratch server lacks.
const EXCUSED_NAMED: usize = 10;
const NEEDS_EXTENSION: &str = "needs an extension that the scratch server lacks";
/// Extensions whose library a server must load as it starts, which a private server does not: creating them fails without it, or (pgsodium,
/// which has its key from there) whatever calls their functions does.
const PRELOADED: [&str; 4] = ["pgaudit", "pg_net", "pgsodium", "timescaledb"];
/// How an event trigger that is not disabled fires (`pg_event_trigger.evtenabled`), and the words that make it.
const FIRING: [(char, &str); 3] = [
    ('O', "ENABLE"),
    ('R', "ENABLE REPLICA"),
    ('A', "ENABLE ALWAYS"),
];
/// Supabase's extension for secrets.
const VAULT: &str = "supabase_vault";
const SECRETS: &str = "vault.secrets";
const DECRYPTED_SECRETS: &str = "vault.decrypted_secrets";

/// A database to drill.
pub(super) struct Drill<'a> {
    pub request: &'a DrillRequest<'a>,
    pub manifest: &'a Manifest,
    pub artifact: &'a Artifact,
    pub roles: &'a Artifact,
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
        let Some(census) = &self.artifact.census else {
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
        let Some(census) = &self.artifact.census else {
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

    /// Every row of every table, and every large object, by digest. Gives the rows of each table.
    async fn compare_content(
        &self,
        server: &Server,
        tables: &[LoadedTable],
        found: &mut DatabaseDrill,
    ) -> Result<BTreeMap<String, u64>, ServerError> {
        digest::prepare(server).await?;
        let mut counted = BTreeMap::new();
        for expected in self.artifact.tables.as_deref().unwrap_or_default() {
            let Some(table) = tables.iter().find(|table| table.listed == expected.table) else {
                // The load says so too, where no block of the dump was this table's.
                let missing = format!("{} is missing", expected.table);
                if !found.differences.contains(&missing) {
                    found.differences.push(missing);
                }
                continue;
            };
            found.tables += 1;
            found.rows += expected.rows;
            let back = match digest::of_table(server, &table.target, &table.encoding).await? {
                TableContent::Digest(back) => back,
                TableContent::Absent => {
                    let gone = format!("{} did not come back", expected.table);
                    found.differences.push(gone);
                    continue;
                }
                TableContent::NotAsked => {
                    found.not_proven.push(format!(
                        "{}: its rows were counted, not compared: a dump has those of a condition that is no superuser's, which is not \
                         evaluated",
                        expected.table
                    ));
                    continue;
                }
            };
            counted.insert(expected.table.clone(), back.rows);
            match &expected.digest {
                Some(wanted) if back.digest == *wanted => found.digests += 1,
                _ if back.rows != expected.rows => found.differences.push(format!(
                    "{} came back with {} rows, not {}",
                    expected.table, back.rows, expected.rows
                )),
                Some(_) => found.differences.push(format!(
                    "{} came back with other content in its {} rows",
                    expected.table, expected.rows
                )),
                None => {}
            }
        }
        if let Some(expected) = &self.artifact.large_objects {
            let back = digest::of_large_objects(server).await?;
            if back.count != expected.count {
                found.differences.push(format!(
                    "{} large objects came back, not {}",
                    back.count, expected.count
                ));
            } else if back.digest != expected.digest {
                found
                    .differences
                    .push("large objects came back with other content".to_owned());
            }
        }
        Ok(counted)
    }

    /// Tables that stood in for those of absent extensions go, with what was made for them: in the census they would look like the
    /// users'. Event triggers keep still: their functions may be anybody's, and would run as the superuser who drops.
    async fn remove_stand_ins(
        &self,
        server: &Server,
        tables: &[LoadedTable],
    ) -> Result<(), ServerError> {
        let stand_ins: Vec<&LoadedTable> = tables.iter().filter(|table| table.stand_in).collect();
        if stand_ins.is_empty() {
            return Ok(());
        }
        let mut awake = Vec::new();
        for (state, words) in FIRING {
            let question = format!(
                "SELECT evtname FROM pg_catalog.pg_event_trigger WHERE evtenabled = '{state}'"
            );
            for name in server.names(&question).await? {
                awake.push((ident(&name), words));
            }
        }
        for (name, _) in &awake {
            server
                .execute(&format!("ALTER EVENT TRIGGER {name} DISABLE"))
                .await?;
        }
        let schemas = self.artifact.census.as_ref();
        let schemas = schemas.and_then(|census| census.kinds.get("schema"));
        for table in stand_ins {
            server
                .execute(&format!("DROP TABLE {} CASCADE", table.name))
                .await?;
            let of_users = schemas.is_some_and(|known| {
                known.names.contains(&table.name.schema)
                    || known.names.contains(&ident(&table.name.schema))
            });
            if !of_users {
                // Others may lie in it: then it stays until the last of them goes.
                let _ = server
                    .execute(&format!("DROP SCHEMA {}", ident(&table.name.schema)))
                    .await;
            }
        }
        for (name, words) in awake {
            server
                .execute(&format!("ALTER EVENT TRIGGER {name} {words}"))
                .await?;
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
        let back = take_census(server).await?;
        let compared = if self.request.url.is_none() {
            census.compare(&back, absent, same_major)
        } else {
            // A server that somebody named has roles of its own.
            census.compare_database(&back, absent, same_major)
        };
        found.objects = census.kinds.values().map(|names| names.count).sum();
        if self.lacks_roles {
            // Owners, grants, policies and memberships cannot be as they were there.
            let unlike = compared.differences.into_iter();
            found.not_proven.extend(
                unlike.map(|what| format!("{what} (the scratch server lacks roles of the source)")),
            );
        } else {
            found.differences.extend(compared.differences);
        }
        found.not_proven.extend(compared.not_proven);
        Ok(())
    }

    /// Questions whose answers tell a person whether this is their stack.
    async fn answer(
        &self,
        server: &Server,
        rows: &BTreeMap<String, u64>,
        found: &mut DatabaseDrill,
    ) -> Result<(), ServerError> {
        for (question, table) in QUESTIONS {
            if let Some(rows) = rows.get(&self.in_schema(table)) {
                found.answers.insert(question.to_owned(), rows.to_string());
            }
        }
        let secrets = rows.get(SECRETS).copied().unwrap_or_default();
        if self.request.url.is_none() && secrets > 0 {
            self.open_vault(server, secrets, found).await?;
        }
        Ok(())
    }

    /// One of Supabase's secrets is decrypted, by the extension's own view of its own table alone: any other of that name is a user's
    /// code.
    async fn open_vault(
        &self,
        server: &Server,
        secrets: u64,
        found: &mut DatabaseDrill,
    ) -> Result<(), ServerError> {
        for relation in [SECRETS, DECRYPTED_SECRETS] {
            if !extension::owns(server, VAULT, relation).await? {
                return Ok(());
            }
        }
        let decrypted = server
            .number(
                &format!("SELECT pg_catalog.count(*) FROM (SELECT decrypted_secret FROM {DECRYPTED_SECRETS} LIMIT 1) AS one
                 WHERE decrypted_secret IS NOT NULL"),
            )
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
        found: &mut DatabaseDrill,
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
        let dir = layout::private(self.request.backup_dir);
        server.execute("BEGIN").await?;
        let objects = Reconciler::begin(&dir, server, layout).await;
        server.execute("COMMIT").await?;
        let lost = "objects could not be compared";
        if let Err(ReconcileError::Objects(unlike @ ObjectsError::Unlike(_))) = &objects {
            found
                .not_proven
                .push(format!("storage.objects, compared with no file: {unlike}"));
            return Ok(None);
        }
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

/// Names some of what failed for a reason that is not the set's.
fn list(words: &str, faults: &[&LoadFault], found: &mut DatabaseDrill) {
    let more = faults.len().saturating_sub(EXCUSED_NAMED);
    let named = faults.iter().take(EXCUSED_NAMED);
    found
        .not_proven
        .extend(named.map(|fault| format!("{words}: {fault}")));
    if more > 0 {
        found.not_proven.push(format!("{words}: {more} more"));
    }
}

/// What a fault of the scratch server, and not of the set, looks like.
struct Excuses {
    /// Names of extensions that are absent there, and of what needs them.
    absent: BTreeSet<String>,
    /// It is somebody's server, and lacks roles.
    lacks_roles: bool,
    /// It reaches nobody.
    no_network: bool,
}

impl Excuses {
    /// Tells what failed for the scratch server's sake from what a restore would have failed with, too.
    fn sort(&self, done: &mut Progress, found: &mut DatabaseDrill) {
        let mut excused: BTreeMap<&str, Vec<&LoadFault>> = BTreeMap::new();
        // Members of an extension that this server does not have, or not with all that it brought.
        if self.absent.is_empty() {
            done.tell_left_out();
        } else {
            excused.insert(NEEDS_EXTENSION, done.left_out.iter().collect());
        }
        for fault in &done.faults {
            match self.excuse(fault) {
                Some(words) => excused.entry(words).or_default().push(fault),
                None => found.differences.push(fault.to_string()),
            }
        }
        for (words, faults) in excused {
            list(words, &faults, found);
        }
    }

    fn excuse(&self, fault: &LoadFault) -> Option<&'static str> {
        let code = fault.code.as_deref()?;
        // Class 08: no connection; HV: foreign data (PostgreSQL manual, appendix A).
        let foreign = code.starts_with("08") || code.starts_with("HV");
        let of_absent = |name: &String| {
            fault.statement.contains(name.as_str()) || fault.reason.contains(name.as_str())
        };
        // A provider is loaded as a server starts; what it would refuse a label for is not asked (22023: invalid parameter value).
        let no_provider = fault.statement.starts_with("SECURITY LABEL FOR ") && code == "22023";
        // A table that stands in for an extension's has no keys, and columns of text (42830: invalid foreign key, 42804: datatype mismatch).
        let refers_to_stand_in =
            ["42830", "42804"].contains(&code) && fault.statement.contains(" FOREIGN KEY ");
        if (fault.is_of_missing_thing() || refers_to_stand_in) && self.absent.iter().any(of_absent)
        {
            Some(NEEDS_EXTENSION)
        } else if no_provider && self.no_network {
            Some("needs a provider of security labels, which a private server does not load")
        } else if self.lacks_roles && code == "42704" {
            Some("needs a role that the scratch server lacks")
        } else if self.no_network && foreign && fault.statement.starts_with("REFRESH") {
            Some("needs a foreign server, which a drill does not reach")
        } else {
            None
        }
    }
}
