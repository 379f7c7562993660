//! Loads a dump into a database: the text is taken apart into statements and rows, which several connections bring to the server.
//!
//! One code and one set of rules for every load: a restore in place, a copy beside, one table, a drill. What could act on what follows it
//! is held back for the caller: event triggers, publications, subscriptions, refreshes of materialized views. What needs an extension
//! that can only be created later (pg_cron, under the database's real name) is put off until then. Rows of a table are spread over the
//! connections; indexes and keys are built by several at once. User triggers do not fire: a dump creates them behind its rows.

mod asleep;
mod calculated;
mod contained;
mod feed;
mod leftover;
mod owners;
mod rows;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use calculated::Calculated;
pub use feed::Source;
pub use session::LoadFault;

use self::feed::{Fed, Feed};
use self::rows::Found;
use super::contain::Container;
use super::error::RestoreError;
use crate::digest::CopyTarget;
use crate::dsn::Dsn;
use crate::server::{SQL_ASCII, Server, literal};
use crate::sql::words::Words;
use crate::sql::{Kind, QualifiedName, classify};

/// pg_dump 17 and later print it for every server; older servers do not know it.
const TRANSACTION_TIMEOUT: &str = "SET transaction_timeout";
/// The first server that knows it.
const TRANSACTION_TIMEOUT_SINCE: u32 = 17;
/// The encoding of the database that a session is in.
const DATABASE_ENCODING: &str = "SELECT pg_catalog.getdatabaseencoding()";

/// What follows a statement that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The load fails with it.
    Stop,
    /// The load goes on, and tells it in the end.
    GoOn,
}

/// What is loaded of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Only {
    /// All of it.
    Everything,
    /// No rows, and nothing that rests on them.
    Schema,
    /// The rows of these tables, and their keys.
    Tables(BTreeSet<QualifiedName>),
}

/// An extension that is created later, and the schema that it brings.
#[derive(Debug, Clone, Copy)]
pub struct Later {
    /// Its name.
    pub extension: &'static str,
    /// Its schema.
    pub schema: &'static str,
}

/// How a dump is loaded.
pub struct LoadRequest<'a> {
    /// The dump.
    pub source: Source,
    /// The database, as a superuser.
    pub dsn: &'a Dsn,
    /// The server's major version.
    pub server_major: u32,
    /// Connections.
    pub jobs: u8,
    /// What of it.
    pub only: Only,
    /// Extensions that this server cannot have: they are not created.
    pub absent: BTreeSet<String>,
    /// What is put off.
    pub later: Option<Later>,
    /// What follows an error.
    pub on_error: OnError,
    /// Whether tablespaces that the server lacks are made, in its own directory: a server that is thrown away has none.
    pub makes_tablespaces: bool,
}

/// Statements that the caller runs when the rest is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Refreshes of materialized views.
    pub refreshes: Vec<String>,
    /// Publications and subscriptions.
    pub replication: Vec<String>,
    /// Event triggers, what is said about them, and their owners.
    pub event_triggers: Vec<String>,
    /// What waits for the extension that comes later, in the dump's order.
    pub later: Vec<Deferred>,
    /// Indexes and statistics that call functions, and what is said about them; before anything else of this.
    pub calculated: Vec<Calculated>,
}

impl Held {
    fn add(&mut self, kind: &Kind, statement: String) {
        let list = match kind {
            Kind::Refresh => &mut self.refreshes,
            Kind::EventTrigger => &mut self.event_triggers,
            _ => &mut self.replication,
        };
        list.push(statement);
    }
}

/// A part of a dump that was put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deferred {
    /// A statement.
    Statement(String),
    /// Rows of a table, which the dump is read for again.
    Rows(QualifiedName),
}

/// A table that got rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedTable {
    /// Its name.
    pub name: QualifiedName,
    /// The same as the dump names it, and its columns.
    pub target: CopyTarget,
    /// The name in the set's own list; not the same where the dump is in another encoding than UTF-8, as they were up to 0.1.0.
    pub listed: String,
    /// The encoding of the dump's rows.
    pub encoding: String,
    /// Rows that were in it before: those that its extension brings.
    pub before: u64,
    /// Rows that the server took.
    pub rows: u64,
    /// Whether it stands in for a table of an extension that is absent.
    pub stand_in: bool,
    /// Whether code of ordinary roles may be in what a query on it evaluates.
    pub acts: bool,
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Tables, in the dump's order.
    pub tables: Vec<LoadedTable>,
    /// What is left to do.
    pub held: Held,
    /// Statements that failed and were gone over.
    pub faults: Vec<LoadFault>,
    /// Privileges on what the dump does not make and the server does not have: members of an extension that is absent, or that an event
    /// trigger made while the extension was created.
    pub left_out: Vec<LoadFault>,
}

/// What a COPY statement of a dump fills, by name.
fn copied(statement: &[u8]) -> Option<(QualifiedName, CopyTarget)> {
    let target = CopyTarget::parse(statement)?;
    Some((QualifiedName::read(&target.table)?, target))
}

/// The names in `a, b`.
fn column_names(columns: &str) -> Vec<String> {
    let words = Words::of(columns).filter(|word| word.quoted || word.value != ",");
    words.map(|word| word.value).collect()
}

/// Loads it.
pub async fn load(
    request: &LoadRequest<'_>,
    cancel: &CancellationToken,
) -> Result<Loaded, RestoreError> {
    let mut loader = Loader::begin(request).await?;
    let wanted: feed::Wanted = match &request.only {
        Only::Everything => Box::new(|_| true),
        Only::Schema => Box::new(|_| false),
        Only::Tables(tables) => {
            let tables = tables.clone();
            Box::new(move |name| tables.contains(name))
        }
    };
    let mut feed = Feed::begin(&request.source, wanted, cancel);
    let loading = async {
        if !matches!(request.only, Only::Tables(_)) {
            loader.begin_sleep().await?;
        }
        while let Some(fed) = feed.next().await? {
            match fed {
                Fed::Statement(bytes) => loader.statement(&bytes).await?,
                Fed::Copy(bytes) => loader.copy(&bytes, &mut feed).await?,
                Fed::Rows(_) | Fed::EndOfRows => {}
            }
        }
        loader.bring_again(cancel).await?;
        loader.end().await
    };
    tokio::select! {
        done = loading => done?,
        () = cancel.cancelled() => return Err(RestoreError::Interrupted),
    }
    Ok(loader.loaded)
}

/// Brings what was put off: the extension is created now, and the dump's rows that wait for it are read again. `at_rest` is run in the
/// transaction that brings a table's rows, and gives the first column of what it returns.
pub async fn load_deferred(
    request: &LoadRequest<'_>,
    deferred: Vec<Deferred>,
    at_rest: Option<(&QualifiedName, &str)>,
    cancel: &CancellationToken,
) -> Result<(Loaded, Vec<String>), RestoreError> {
    let mut loader = Loader::begin(request).await?;
    loader.ready().await?;
    loader.late = true;
    loader.begin_sleep().await?;
    loader.all_asleep().await?;
    let tables: BTreeSet<QualifiedName> = deferred
        .iter()
        .filter_map(|part| match part {
            Deferred::Rows(name) => Some(name.clone()),
            Deferred::Statement(_) => None,
        })
        .collect();
    let mut told = Vec::new();
    let mut rows_done = false;
    let (mut triggers, mut attached) = (Vec::new(), Vec::new());
    for part in deferred {
        match part {
            Deferred::Statement(statement) if attaches_an_index(&statement) => {
                attached.push(statement);
            }
            Deferred::Statement(statement) if classify(&statement) == Kind::Trigger => {
                triggers.push(statement);
            }
            Deferred::Statement(statement) => {
                let kind = classify(&statement);
                loader.one_by_one(&kind, &statement).await?;
            }
            Deferred::Rows(_) if rows_done => {}
            Deferred::Rows(_) => {
                rows_done = true;
                loader.wake().await?;
                let wanted = tables.clone();
                let wanted: feed::Wanted = Box::new(move |name| wanted.contains(name));
                let mut feed = Feed::begin(&request.source, wanted, cancel);
                while let Some(fed) = feed.next().await? {
                    if let Fed::Copy(bytes) = fed {
                        let rest = at_rest.filter(|(name, _)| is_copy_of(&bytes, name));
                        if let Some((_, sql)) = rest {
                            loader.everywhere("BEGIN").await?;
                            loader.copy(&bytes, &mut feed).await?;
                            // Rows of a small table are on their way still.
                            loader.drain().await?;
                            told.extend(loader.main.names(sql).await?);
                            loader.everywhere("COMMIT").await?;
                        } else {
                            loader.copy(&bytes, &mut feed).await?;
                        }
                        loader.drain().await?;
                    }
                }
            }
        }
    }
    loader.end().await?;
    let attached: Vec<&str> = attached.iter().map(String::as_str).collect();
    loader.in_sleep(&attached).await?;
    // Triggers on what was brought act for the caller's own changes, too: they come last, by the caller.
    loader.loaded.held.later = triggers.into_iter().map(Deferred::Statement).collect();
    Ok((loader.loaded, told))
}

/// Makes the indexes and statistics that were put off, several at once, and says what belongs to them.
pub async fn load_calculated(
    request: &LoadRequest<'_>,
    statements: &[Calculated],
    cancel: &CancellationToken,
) -> Result<Vec<LoadFault>, RestoreError> {
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let mut loader = Loader::begin(request).await?;
    let loading = async {
        loader.ready().await?;
        let (made, about): (Vec<_>, Vec<_>) = statements
            .iter()
            .partition(|one| matches!(classify(&one.statement), Kind::Index | Kind::Key(_)));
        for one in made {
            loader
                .spawn_in(Class::Indexes, Vec::new(), one.clone())
                .await?;
        }
        loader.drain().await?;
        let about: Vec<&str> = about.iter().map(|one| one.statement.as_str()).collect();
        loader.in_sleep(&about).await
    };
    tokio::select! {
        done = loading => done?,
        () = cancel.cancelled() => return Err(RestoreError::Interrupted),
    }
    Ok(loader.loaded.faults)
}

fn attaches_an_index(statement: &str) -> bool {
    statement.starts_with("ALTER INDEX ") && statement.contains(" ATTACH PARTITION ")
}

fn is_copy_of(statement: &[u8], table: &QualifiedName) -> bool {
    copied(statement).is_some_and(|(name, _)| name == *table)
}

/// The connection that is free again, and the rows that it brought into which of the loaded tables.
type Done = (usize, Result<Option<(usize, u64)>, LoadFault>);

/// Work that is done at once with other work of its class alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Rows of different tables.
    Rows,
    /// Keys and indexes: they lock their own table alone, and wait for each other at most.
    Indexes,
    /// Foreign keys: they lock two tables.
    ForeignKeys,
}

struct Loader<'a> {
    request: &'a LoadRequest<'a>,
    main: Arc<Server>,
    /// Every connection, `main` first.
    servers: Vec<Arc<Server>>,
    /// The tables that each is at work on, where it is; none for work that is in nobody's way.
    busy: Vec<Option<Vec<QualifiedName>>>,
    running: JoinSet<Done>,
    /// What runs at once with others of its kind alone.
    class: Option<Class>,
    encoding: String,
    /// Asked when the first rows come.
    found: Option<Found>,
    /// Names of what was put off, by which others that name them are known.
    waiting: BTreeSet<String>,
    /// Where bodies of functions are kept until everything is made.
    asleep: Option<Container>,
    /// As which tables' rows are brought.
    container: Option<Container>,
    contained: BTreeMap<QualifiedName, String>,
    /// Whether ordinary roles made casts, which a foreign key may call.
    casts: bool,
    /// Whether indexes that call functions may be there already.
    late: bool,
    /// Schemas that everybody may look into until the dump's grants come.
    open_schemas: Vec<String>,
    /// Functions that nobody but their owners may call until then.
    closed_routines: Vec<String>,
    /// Tables whose rows needed privileges, and what rests on them.
    again: BTreeSet<QualifiedName>,
    after: Vec<String>,
    privileges_given: bool,
    /// Names of indexes and statistics that are put off.
    calculated: BTreeSet<String>,
    /// The statement that set the tablespace of what is made.
    tablespace: Option<String>,
    loaded: Loaded,
}

impl<'a> Loader<'a> {
    async fn begin(request: &'a LoadRequest<'a>) -> Result<Self, RestoreError> {
        let mut servers = Vec::new();
        for _ in 0..request.jobs.max(1) {
            servers.push(Arc::new(session::connect(request.dsn).await?));
        }
        Ok(Self {
            request,
            main: servers[0].clone(),
            busy: vec![None; servers.len()],
            servers,
            running: JoinSet::new(),
            class: None,
            encoding: "UTF8".to_owned(),
            found: None,
            waiting: BTreeSet::new(),
            asleep: None,
            container: None,
            contained: BTreeMap::new(),
            casts: false,
            late: false,
            open_schemas: Vec::new(),
            closed_routines: Vec::new(),
            again: BTreeSet::new(),
            after: Vec::new(),
            privileges_given: false,
            calculated: BTreeSet::new(),
            tablespace: None,
            loaded: Loaded::default(),
        })
    }

    /// A statement's text, which connections take in UTF-8.
    async fn decoded(&self, bytes: &[u8]) -> Result<String, RestoreError> {
        if bytes.is_ascii() {
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        }
        if ["UTF8", SQL_ASCII].contains(&self.encoding.as_str()) {
            return String::from_utf8(bytes.to_vec()).map_err(|error| {
                let fault = LoadFault {
                    statement: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                    reason: format!(
                        "a name, a comment or a body in it is not UTF-8 ({error}): backupd cannot send it, psql can"
                    ),
                    code: None,
                };
                fault.into()
            });
        }
        let encoding = literal(&self.encoding);
        Ok(self.main.decoded(bytes, &encoding).await?)
    }

    async fn statement(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let statement = self.decoded(bytes).await?;
        let kind = classify(&statement);
        if !self.is_wanted(&kind) || self.puts_off(&kind, &statement).await? {
            return Ok(());
        }
        if rests_on_all(&kind) {
            self.wake().await?;
        }
        if self.waits_for_rows(&kind, &statement) {
            return Ok(());
        }
        match kind {
            Kind::Setting => self.setting(&statement).await,
            Kind::Forbidden => {
                let fault = LoadFault {
                    statement,
                    reason: "pg_dump never writes such a statement into a dump: it was not run"
                        .to_owned(),
                    code: None,
                };
                self.fault(fault)
            }
            Kind::Extension(name) => {
                let later = self
                    .request
                    .later
                    .is_some_and(|later| later.extension == name);
                if later {
                    self.defer(&statement);
                } else if !self.request.absent.contains(&name) {
                    return self.extension(&statement).await;
                }
                Ok(())
            }
            Kind::EventTrigger | Kind::Publication | Kind::Subscription | Kind::Refresh => {
                self.loaded.held.add(&kind, statement);
                Ok(())
            }
            Kind::Index | Kind::Key(_) => self.spawn(Class::Indexes, Vec::new(), statement).await,
            Kind::ForeignKey(ref table, ref other) if !self.acts_in(table, other.as_ref()) => {
                let tables = [Some(table), other.as_ref()];
                let tables = tables.into_iter().flatten().cloned().collect();
                self.spawn(Class::ForeignKeys, tables, statement).await
            }
            _ => self.one_by_one(&kind, &statement).await,
        }
    }

    /// Whether a statement is of what is loaded.
    fn is_wanted(&self, kind: &Kind) -> bool {
        match &self.request.only {
            Only::Everything => true,
            Only::Schema => matches!(
                kind,
                Kind::Setting
                    | Kind::Extension(_)
                    | Kind::Plain
                    | Kind::Check(_)
                    | Kind::DomainCheck(_)
                    | Kind::Roles
                    | Kind::Forbidden
            ),
            Only::Tables(tables) => match kind {
                Kind::Setting | Kind::Forbidden => true,
                Kind::Key(table) => tables.contains(table),
                _ => false,
            },
        }
    }

    async fn setting(&mut self, statement: &str) -> Result<(), RestoreError> {
        if self.request.server_major < TRANSACTION_TIMEOUT_SINCE
            && statement.starts_with(TRANSACTION_TIMEOUT)
        {
            return Ok(());
        }
        let encoding = statement.strip_prefix("SET client_encoding = '");
        if let Some(encoding) = encoding.and_then(|rest| rest.strip_suffix("';")) {
            return self.written_in(encoding).await;
        }
        if let Some(tablespace) = statement.strip_prefix("SET default_tablespace = ")
            && self.request.makes_tablespaces
            && !tablespace.starts_with('\'')
        {
            let make = format!(
                "CREATE TABLESPACE {} LOCATION ''",
                tablespace.trim_end_matches(';')
            );
            // One that is there already is as good; what is wrong besides is told by the setting itself.
            for statement in ["SET allow_in_place_tablespaces = on", &make] {
                let _ = session::run(&self.main, statement).await;
            }
        }
        if statement.starts_with("SET default_tablespace = ") {
            self.tablespace = Some(statement.to_owned());
        }
        if let Err(fault) = self.everywhere(statement).await {
            match fault {
                RestoreError::Load(fault) => return self.fault(*fault),
                other => return Err(other),
            }
        }
        Ok(())
    }

    /// What the dump says it is written in: UTF-8, no encoding, or its database's own, which dumps were written in up to 0.1.0. Another is
    /// no word of pg_dump: rows would be taken for other letters, and read back as the same bytes.
    ///
    /// Statements are decoded; rows go as they are, in their own encoding, by COPY's own option.
    async fn written_in(&mut self, encoding: &str) -> Result<(), RestoreError> {
        if !["UTF8", SQL_ASCII].contains(&encoding) {
            let rows = self.main.rows(DATABASE_ENCODING).await?;
            let own = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
            if own != encoding {
                return self.fault(LoadFault {
                    statement: format!("SET client_encoding = '{encoding}';"),
                    reason: format!("its database is in {own}: a dump of it is in that or in UTF8"),
                    code: None,
                });
            }
        }
        encoding.clone_into(&mut self.encoding);
        Ok(())
    }

    /// The settings that a dump begins with, where what is loaded is not read from its beginning.
    async fn ready(&mut self) -> Result<(), RestoreError> {
        for setting in [
            "SELECT pg_catalog.set_config('search_path', '', false)",
            "SET check_function_bodies = false",
            "SET xmloption = content",
            "SET row_security = off",
        ] {
            self.everywhere(setting).await?;
        }
        Ok(())
    }

    /// Nothing of the dump is left.
    async fn end(&mut self) -> Result<(), RestoreError> {
        self.drain().await?;
        self.wake().await?;
        self.give_back_privileges().await?;
        if let Some(container) = self.container.take() {
            container.close(&self.main).await?;
        }
        Ok(())
    }

    /// Runs a statement in every session.
    async fn everywhere(&mut self, statement: &str) -> Result<(), RestoreError> {
        self.drain().await?;
        for server in &self.servers {
            session::run(server, statement)
                .await
                .map_err(RestoreError::from)?;
        }
        Ok(())
    }

    /// Runs a statement when everything before it is done.
    async fn alone(&mut self, statement: &str) -> Result<(), RestoreError> {
        self.drain().await?;
        if gives_privileges(statement) {
            self.wake().await?;
            self.give_back_privileges().await?;
        }
        let done = session::run(&self.main, statement).await;
        self.follow(statement, done).await
    }

    /// What follows a statement that was run.
    async fn follow(
        &mut self,
        statement: &str,
        done: Result<(), LoadFault>,
    ) -> Result<(), RestoreError> {
        match done {
            Ok(()) => self.made(statement).await,
            Err(fault) if self.waits(statement, &fault) => {
                self.defer(statement);
                Ok(())
            }
            Err(fault) if self.replaces(&fault, statement).await? => self.made(statement).await,
            Err(fault) => {
                // What would belong to a superuser now is not to act as one.
                if self.request.on_error == OnError::GoOn
                    && self.gives_to_nobody(&fault, statement).await?
                {
                    self.made(statement).await?;
                }
                self.fault(fault)
            }
        }
    }

    /// Whether a statement failed for want of what comes later.
    fn waits(&self, statement: &str, fault: &LoadFault) -> bool {
        fault.is_of_missing_thing() && self.names_what_waits(statement)
    }

    fn names_what_waits(&self, statement: &str) -> bool {
        let Some(later) = self.request.later else {
            return false;
        };
        let waits = |name: &str| statement.contains(name);
        !self.loaded.held.later.is_empty()
            && (waits(later.schema) || self.waiting.iter().any(|name| waits(name)))
    }

    fn defer(&mut self, statement: &str) {
        if let Some(name) = made(statement) {
            self.waiting.insert(name);
        }
        let part = Deferred::Statement(statement.to_owned());
        self.loaded.held.later.push(part);
    }

    fn fault(&mut self, fault: LoadFault) -> Result<(), RestoreError> {
        // What the dump itself makes has had its owner by now, unless that failed, too.
        if gives_privileges(&fault.statement)
            && fault.is_of_missing_object()
            && !self.failed_to_make(&fault.statement)
        {
            self.loaded.left_out.push(fault);
            return Ok(());
        }
        if self.request.on_error == OnError::Stop || fault.code.is_none() && self.is_lost() {
            return Err(fault.into());
        }
        self.loaded.faults.push(fault);
        Ok(())
    }

    /// Whether what a statement is about should have been made by one that failed.
    fn failed_to_make(&self, statement: &str) -> bool {
        let faults = self.loaded.faults.iter();
        let mut making = faults.filter(|fault| fault.statement.starts_with("CREATE "));
        making.any(|fault| {
            let name = made(&fault.statement).or_else(|| asleep::made_schema(&fault.statement));
            name.is_none_or(|name| statement.contains(&name))
        })
    }

    fn is_lost(&self) -> bool {
        self.servers
            .iter()
            .any(|server| server.client().is_closed())
    }

    /// Runs a statement at once with others of its class, but with none that is at work on one of its tables.
    async fn spawn(
        &mut self,
        class: Class,
        tables: Vec<QualifiedName>,
        statement: String,
    ) -> Result<(), RestoreError> {
        let one = Calculated {
            tablespace: None,
            statement,
        };
        self.spawn_in(class, tables, one).await
    }

    /// The same, in a tablespace.
    async fn spawn_in(
        &mut self,
        class: Class,
        tables: Vec<QualifiedName>,
        one: Calculated,
    ) -> Result<(), RestoreError> {
        let (at, server) = self.begin_work(class, tables).await?;
        self.running.spawn(async move {
            let done = async {
                if let Some(tablespace) = &one.tablespace {
                    session::run(&server, tablespace).await?;
                }
                session::run(&server, &one.statement).await
            };
            (at, done.await.map(|()| None))
        });
        Ok(())
    }

    /// A connection for work of this class.
    async fn begin_work(
        &mut self,
        class: Class,
        tables: Vec<QualifiedName>,
    ) -> Result<(usize, Arc<Server>), RestoreError> {
        if self.class.replace(class) != Some(class) {
            self.drain().await?;
            self.class = Some(class);
        }
        let at = self.free(&tables).await?;
        self.busy[at] = Some(tables);
        Ok((at, self.servers[at].clone()))
    }

    /// A connection that is free while nobody is at work on these tables.
    async fn free(&mut self, tables: &[QualifiedName]) -> Result<usize, RestoreError> {
        loop {
            let in_the_way = self
                .busy
                .iter()
                .flatten()
                .any(|others| others.iter().any(|other| tables.contains(other)));
            let free = self.busy.iter().position(Option::is_none);
            if let (Some(at), false) = (free, in_the_way) {
                return Ok(at);
            }
            self.one_done().await?;
        }
    }

    /// Waits for everything that is at work.
    async fn drain(&mut self) -> Result<(), RestoreError> {
        while !self.running.is_empty() {
            self.one_done().await?;
        }
        self.class = None;
        Ok(())
    }

    async fn one_done(&mut self) -> Result<(), RestoreError> {
        let Some(joined) = self.running.join_next().await else {
            return Ok(());
        };
        let (at, done) = joined.map_err(rows::ended_early)?;
        self.busy[at] = None;
        match done {
            Ok(None) => Ok(()),
            Ok(Some((table, rows))) => {
                self.loaded.tables[table].rows += rows;
                Ok(())
            }
            Err(fault) if self.waits(&fault.statement, &fault) => {
                self.defer(&fault.statement);
                Ok(())
            }
            Err(fault) => self.fault(fault),
        }
    }
}

fn gives_privileges(statement: &str) -> bool {
    statement.starts_with("GRANT ") || statement.starts_with("REVOKE ")
}

/// Whether a statement comes when everything is made that rows rest on.
fn rests_on_all(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Index
            | Kind::Key(_)
            | Kind::ForeignKey(..)
            | Kind::Check(_)
            | Kind::DomainCheck(_)
            | Kind::Trigger
            | Kind::RestsOnOthers
            | Kind::Data
    )
}

/// The name of what a statement makes: the first qualified one in it.
fn made(statement: &str) -> Option<String> {
    let words: Vec<_> = Words::of(statement).take(12).collect();
    let dot = words.iter().position(|word| word.is("."))?;
    Some(words.get(dot + 1)?.value.clone())
}
