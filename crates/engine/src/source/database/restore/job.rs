//! One database of a set on its way into a server: the same for a restore in place, a copy beside, one table, and a drill.
//!
//! The new database is loaded under a name of its own, compared, and gets its name in the end; what can only live under that name
//! (pg_cron) and what would act (event triggers, jobs) follows. A caller that is told of a fault puts things back by looking at the server.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use catalog::artifact::{Artifact, TableRows};
use catalog::census::Census;
use postgres::dsn::Dsn;
use postgres::dump::DumpFormat;
use postgres::restore::admin::Admin;
use postgres::restore::compare::with_partitions;
use postgres::restore::extensions::mend;
use postgres::restore::finish::{analyze, compare, drop_public, make_event_triggers, run_held};
use postgres::restore::load::{
    Deferred, Held, Later, LoadRequest, Loaded, LoadedTable, OnError, Only, Source, load,
    load_calculated, load_deferred,
};
use postgres::restore::place::Place;
use postgres::restore::roles::RolesScript;
use postgres::restore::{LoadFault, RestoreError};
use postgres::server::{Server, ServerError};
use postgres::sql::QualifiedName;
use postgres::tools::Tools;
use postgres::words::counted;
use stream::artifact::Meter;
use tokio_util::sync::CancellationToken;

use super::stage::{Fault, during};
use super::table::near_to;
use crate::event::{Event, Observer};
use crate::progress::tell_while;
use crate::source::database::census::brought;

/// The extension that lives in one database of a server alone, and its schema.
pub(crate) const PG_CRON: Later = Later {
    extension: "pg_cron",
    schema: "cron",
};

/// Differences that a message names.
const NAMED: usize = 10;
/// What a fault at load is called, and one that `--keep-going` goes past.
const NOT_LOADED: &str = "the dump could not be loaded";
const NOT_ALL_LOADED: &str = "the dump could not be loaded (--keep-going loads the rest, lists what failed, and keeps the database before)";

/// What is to be done.
pub(crate) struct Job<'a> {
    pub label: &'a str,
    pub set: &'a str,
    pub artifact: &'a Artifact,
    /// What the database held, where that is known.
    pub census: Option<&'a Census>,
    /// The artifact's file.
    pub file: PathBuf,
    pub script: &'a RolesScript,
    pub tools: &'a Tools,
    /// The server, as a superuser.
    pub dsn: Dsn,
    /// The database's name in the end.
    pub name: &'a str,
    /// Whether there must be none of that name.
    pub beside: bool,
    pub roles: RolesWanted,
    pub force: bool,
    /// Connections that load it.
    pub jobs: u8,
    pub on_error: OnError,
    /// Extensions that this server cannot have.
    pub absent: BTreeSet<String>,
    /// The one table whose rows are wanted, as SQL names it.
    pub table: Option<String>,
    /// Whether the server is backupd's own, and goes when it is done.
    pub thrown_away: bool,
}

/// What becomes of the server's roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RolesWanted {
    /// None is made or changed.
    Untouched,
    /// Missing ones are made; those that are there get settings and memberships.
    Missing,
    /// Those that are there get attributes and passwords too.
    All,
}

/// What came of it so far. Also of a job that failed: what was done to roles stays.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub tables: Vec<LoadedTable>,
    pub roles_created: Vec<String>,
    /// Roles that were to be made: whether they were is not known where the answer was lost.
    pub roles_begun: Vec<String>,
    pub notes: Vec<String>,
    /// What failed or differs and was gone over.
    pub faults: Vec<LoadFault>,
    /// Privileges on what the server does not have and the dump does not make.
    pub left_out: Vec<LoadFault>,
    /// Where the database before lies.
    pub aside: Option<String>,
    pub workers: Vec<String>,
    pub server_major: u32,
    /// Roles that the server lacks and is not given.
    pub roles_lacking: Vec<String>,
    /// The new database, when the last transaction was begun: where its answer is lost, the server tells whether that came to its end.
    pub completing: Option<u32>,
}

impl Progress {
    /// Says of privileges that they were left out.
    pub fn tell_left_out(&mut self) {
        if let Some(first) = self.left_out.first() {
            self.notes.push(format!(
                "{} left out, on what no dump holds: members that an extension had in the source and does not have here; the first: {first}",
                counted(self.left_out.len() as u64, "privilege")
            ));
        }
    }
}

impl Job<'_> {
    /// Does it. The database is open when it is done.
    pub async fn perform(
        &self,
        done: &mut Progress,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<(), Fault> {
        let admin = self.admin().await?;
        let (place, note) = self.prepare(&admin).await?;
        done.notes.extend(note);
        if self.roles == RolesWanted::Untouched {
            done.roles_lacking = self
                .script
                .missing(&admin.server)
                .await
                .map_err(during("the server's roles could not be read"))?;
        } else {
            self.stage(observer, "roles");
            done.roles_begun = self
                .script
                .missing(&admin.server)
                .await
                .map_err(during("the server's roles could not be read"))?;
            self.script
                .create(&admin.server, &done.roles_begun)
                .await
                .map_err(during("the missing roles could not be made"))?;
            done.roles_created.clone_from(&done.roles_begun);
            if !done.roles_created.is_empty() {
                done.notes.push(format!(
                    "roles that were missing were created: {}",
                    done.roles_created.join(", ")
                ));
            }
        }
        let cron_here = cron_lives_in(&admin.server, self.name)
            .await
            .map_err(during("the server's settings could not be read"))?;
        if !self.beside {
            let sessions = admin.sessions(self.name).await;
            done.workers = sessions.map(|found| found.workers).unwrap_or_default();
        }
        let major = admin.major;
        done.server_major = major;
        // The connection may be to template1, which nobody can copy while it lasts; and a load can be long.
        drop(admin);
        let fresh = self.dsn.to_database(&place.fresh);
        let held = self
            .fill(&fresh, major, cron_here, done, observer, cancel)
            .await?;
        interrupted(cancel)?;
        self.stage(observer, "exchange");
        let admin = self.admin().await?;
        let newcomers = admin.sessions(self.name).await.unwrap_or_default().clients;
        observer.on(&Event::Exchanging);
        done.aside = place
            .take(&admin)
            .await
            .map_err(during("the new database could not get its name"))?;
        if !newcomers.is_empty() && !self.force && done.aside.is_some() {
            done.notes.push(format!(
                "sessions that came while it was loaded were ended: {}",
                newcomers.join(", ")
            ));
        }
        self.bring_what_acts(major, cron_here, held, done, cancel)
            .await?;
        interrupted(cancel)?;
        done.completing = Some(place.oid);
        place
            .complete(&admin, done.aside.as_deref(), &self.last_statements(done))
            .await
            .map_err(during("the database could not be opened"))
    }

    fn stage(&self, observer: &dyn Observer, name: &str) {
        observer.on(&Event::StepStarted {
            step: format!("{} {name}", self.label),
        });
    }

    async fn admin(&self) -> Result<Admin, Fault> {
        Admin::connect(&self.dsn, self.name)
            .await
            .map_err(during("the server cannot be reached"))
    }

    async fn prepare(&self, admin: &Admin) -> Result<(Place, Option<String>), Fault> {
        Place::prepare(
            admin,
            self.name,
            self.set,
            |name| self.script.creation(name),
            self.beside,
        )
        .await
        .map_err(during("a new database could not be made"))
    }

    /// Roles, owner, settings, privileges and limits: what ends the job, in one transaction. Passwords change last of all.
    fn last_statements(&self, done: &Progress) -> Vec<String> {
        if !done.roles_lacking.is_empty() {
            return Vec::new();
        }
        let mut statements = self.script.statements(self.name);
        statements.extend(self.script.limits(self.name));
        if self.roles == RolesWanted::Untouched {
            return statements;
        }
        let all = self.roles == RolesWanted::All;
        statements.extend(self.script.for_present(&done.roles_created, all));
        statements
    }

    fn request<'a>(&'a self, dsn: &'a Dsn, major: u32, meter: &Arc<Meter>) -> LoadRequest<'a> {
        let custom = self.artifact.format == DumpFormat::Custom.name();
        LoadRequest {
            source: Source {
                tools: self.tools.clone(),
                file: self.file.clone(),
                format: if custom {
                    DumpFormat::Custom
                } else {
                    DumpFormat::Plain
                },
                compression: self.artifact.compression.decoded(),
                meter: meter.clone(),
            },
            dsn,
            server_major: major,
            jobs: self.jobs,
            only: Only::Everything,
            absent: self.absent.clone(),
            later: None,
            on_error: self.on_error,
            makes_tablespaces: self.thrown_away,
        }
    }

    /// Loads and compares under the name of its own.
    async fn fill(
        &self,
        fresh: &Dsn,
        major: u32,
        cron_here: bool,
        done: &mut Progress,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<Held, Fault> {
        self.stage(observer, "load");
        let meter = Arc::new(Meter::default());
        let loading = Box::pin(self.load(fresh, major, cron_here, &meter, cancel));
        let plain = self.artifact.format == DumpFormat::Plain.name();
        let expected = plain.then_some(self.artifact.raw_bytes);
        let step = format!("{} load", self.label);
        let (loaded, selected) = tell_while(loading, observer, &step, &meter, expected).await?;
        done.faults.extend(loaded.faults);
        done.tables = loaded.tables;
        self.found_rows(&done.tables)?;
        let mut held = loaded.held;
        if self.leaves_cron_out(cron_here) && !held.later.is_empty() {
            done.notes.push(format!(
                "pg_cron and its jobs were left out ({} entries): it lives in one database of a server alone (cron.database_name)",
                held.later.len()
            ));
        }
        self.stage(observer, "compare");
        let later: BTreeSet<QualifiedName> = rows_of(&held.later).collect();
        let mut differences = self.against_manifest(&done.tables, selected.as_ref(), &later);
        let comparing = compare(fresh, self.jobs, &done.tables);
        let found = until(cancel, comparing)
            .await?
            .map_err(during("the rows could not be counted"))?;
        differences.extend(found);
        self.differ(done, differences)?;
        let request = self.request(fresh, major, &meter);
        let faults = load_calculated(&request, &held.calculated, cancel).await;
        done.faults.extend(faults.map_err(not_loaded)?);
        let server = patient(fresh).await?;
        let finishing = async {
            for statements in [&held.refreshes, &held.replication] {
                done.faults
                    .extend(run_held(&server, statements, self.on_error).await?);
            }
            if let Some(census) = self.census
                && !census.has_schema("public")
            {
                drop_public(&server).await?;
            }
            let source = self.census.map(brought);
            let mended = mend(&server, &source.unwrap_or_default(), loaded.left_out).await?;
            done.notes.extend(mended.notes);
            done.left_out = mended.left_out;
            Ok::<_, RestoreError>(())
        };
        until(cancel, finishing).await?.map_err(not_loaded)?;
        self.stage(observer, "analyze");
        let without = until(cancel, analyze(fresh, self.jobs))
            .await?
            .map_err(during("ANALYZE failed"))?;
        done.notes.extend(
            without
                .into_iter()
                .map(|reason| format!("no statistics: {reason}")),
        );
        if self.leaves_cron_out(cron_here) {
            held.later.clear();
        }
        Ok(held)
    }

    /// A table that was asked for has to be in the dump.
    fn found_rows(&self, tables: &[LoadedTable]) -> Result<(), Fault> {
        match &self.table {
            Some(table) if tables.is_empty() => Err(Fault {
                what: "there is no such table",
                reason: format!(
                    "{} has no rows of {table}; near to it are {}",
                    self.artifact.file,
                    near_to(self.artifact, table)
                ),
            }),
            _ => Ok(()),
        }
    }

    fn leaves_cron_out(&self, cron_here: bool) -> bool {
        self.beside && !cron_here
    }

    /// Loads the dump, or the schema and one table's rows. Gives the tables of which rows were wanted, where not all were.
    async fn load(
        &self,
        fresh: &Dsn,
        major: u32,
        cron_here: bool,
        meter: &Arc<Meter>,
        cancel: &CancellationToken,
    ) -> Result<(Loaded, Option<BTreeSet<QualifiedName>>), Fault> {
        let failed = not_loaded;
        let mut request = self.request(fresh, major, meter);
        let comes_later = cron_here || self.leaves_cron_out(cron_here);
        request.later = comes_later
            .then_some(PG_CRON)
            .filter(|cron| !self.absent.contains(cron.extension));
        let Some(table) = &self.table else {
            return Ok((load(&request, cancel).await.map_err(failed)?, None));
        };
        request.only = Only::Schema;
        let mut schema = load(&request, cancel).await.map_err(failed)?;
        let server = patient(fresh).await?;
        let tables = with_partitions(&server, table)
            .await
            .map_err(during("the table could not be found"))?;
        request.only = Only::Tables(tables.clone());
        let rows = load(&request, cancel).await.map_err(failed)?;
        schema.tables = rows.tables;
        schema.faults.extend(rows.faults);
        Ok((schema, Some(tables)))
    }

    /// Rows that the manifest says and the server did not take.
    fn against_manifest(
        &self,
        loaded: &[LoadedTable],
        selected: Option<&BTreeSet<QualifiedName>>,
        later: &BTreeSet<QualifiedName>,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        for TableRows { table, rows, .. } in self.artifact.tables().unwrap_or_default() {
            let Some(name) = QualifiedName::read(table) else {
                continue;
            };
            if later.contains(&name) || selected.is_some_and(|selected| !selected.contains(&name)) {
                continue;
            }
            let blocks: Vec<_> = loaded
                .iter()
                .filter(|block| block.name == name || block.listed == *table)
                .collect();
            let found: u64 = blocks.iter().map(|table| table.rows).sum();
            if blocks.is_empty() {
                differences.push(format!("{table} is missing"));
            } else if found != *rows {
                differences.push(format!("{table} has {found} rows, not {rows}"));
            }
        }
        differences
    }

    /// Differences end the job, or are kept as faults.
    fn differ(&self, done: &mut Progress, differences: Vec<String>) -> Result<(), Fault> {
        if differences.is_empty() {
            return Ok(());
        }
        if self.on_error == OnError::GoOn {
            done.faults
                .extend(differences.into_iter().map(|reason| LoadFault {
                    statement: String::new(),
                    reason,
                    code: None,
                }));
            return Ok(());
        }
        let named = &differences[..differences.len().min(NAMED)];
        Err(Fault {
            what: "what came back is not what was dumped",
            reason: format!(
                "{}: {}",
                counted(differences.len() as u64, "difference"),
                named.join("; ")
            ),
        })
    }

    /// Under the database's own name: pg_cron with its jobs, none of them active until they are compared, then event triggers.
    async fn bring_what_acts(
        &self,
        major: u32,
        cron_here: bool,
        held: Held,
        done: &mut Progress,
        cancel: &CancellationToken,
    ) -> Result<(), Fault> {
        let dsn = self.dsn.to_database(self.name);
        let failed = not_loaded;
        let mut activate = Vec::new();
        let mut triggers = Vec::new();
        if cron_here && !held.later.is_empty() {
            let meter = Arc::new(Meter::default());
            let mut request = self.request(&dsn, major, &meter);
            request.jobs = 1;
            let jobs = QualifiedName {
                schema: PG_CRON.schema.to_owned(),
                name: "job".to_owned(),
            };
            let still = "UPDATE cron.job SET active = false WHERE active RETURNING jobid";
            let loading = load_deferred(&request, held.later, Some((&jobs, still)), cancel);
            let (loaded, active) = until(cancel, loading).await?.map_err(failed)?;
            let differences = compare(&dsn, 1, &loaded.tables)
                .await
                .map_err(during("the rows could not be counted"))?;
            let expected: BTreeSet<QualifiedName> = loaded
                .tables
                .iter()
                .map(|table| table.name.clone())
                .collect();
            let mut all = self.against_manifest(&loaded.tables, Some(&expected), &BTreeSet::new());
            all.extend(differences);
            done.faults.extend(loaded.faults);
            done.left_out.extend(loaded.left_out);
            done.tables.extend(loaded.tables);
            self.differ(done, all)?;
            activate = active;
            triggers = loaded.held.later;
        }
        let server = patient(&dsn).await?;
        let made = make_event_triggers(&server, &held.event_triggers, self.on_error)
            .await
            .map_err(failed)?;
        done.notes.extend(made.notes);
        done.faults.extend(made.faults);
        if !activate.is_empty() {
            server
                .execute(&format!(
                    "UPDATE cron.job SET active = true WHERE jobid IN ({})",
                    activate.join(", ")
                ))
                .await
                .map_err(during("pg_cron's jobs could not be activated"))?;
        }
        let triggers: Vec<String> = triggers
            .into_iter()
            .filter_map(|part| match part {
                Deferred::Statement(statement) => Some(statement),
                Deferred::Rows(_) => None,
            })
            .collect();
        if triggers.is_empty() {
            return Ok(());
        }
        // Event triggers are not to take them for somebody's work.
        server
            .execute("SET session_replication_role = replica")
            .await
            .map_err(during("the server's settings could not be given"))?;
        let faults = run_held(&server, &triggers, self.on_error).await;
        done.faults.extend(faults.map_err(failed)?);
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "what `map_err` takes")]
fn not_loaded(error: RestoreError) -> Fault {
    let what = if error.can_be_gone_over() {
        NOT_ALL_LOADED
    } else {
        NOT_LOADED
    };
    Fault {
        what,
        reason: error.to_string(),
    }
}

fn rows_of(deferred: &[Deferred]) -> impl Iterator<Item = QualifiedName> {
    deferred.iter().filter_map(|part| match part {
        Deferred::Rows(name) => Some(name.clone()),
        Deferred::Statement(_) => None,
    })
}

async fn patient(dsn: &Dsn) -> Result<Server, Fault> {
    let server = Server::connect(dsn)
        .await
        .map_err(during("the new database cannot be reached"))?;
    Ok(server.patient())
}

fn interrupted(cancel: &CancellationToken) -> Result<(), Fault> {
    if cancel.is_cancelled() {
        return Err(Fault {
            what: "interrupted",
            reason: String::new(),
        });
    }
    Ok(())
}

/// Does work that may be left at any time.
async fn until<T>(cancel: &CancellationToken, work: impl Future<Output = T>) -> Result<T, Fault> {
    tokio::select! {
        done = work => Ok(done),
        () = cancel.cancelled() => Err(Fault { what: "interrupted", reason: String::new() }),
    }
}

/// Whether pg_cron, if it is there at all, lives in this database.
pub(crate) async fn cron_lives_in(server: &Server, name: &str) -> Result<bool, ServerError> {
    let found = server
        .names("SELECT pg_catalog.current_setting('cron.database_name', true)")
        .await?;
    Ok(found.first().is_some_and(|database| database == name))
}
