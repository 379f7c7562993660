//! The connections of a load, who is at work on which, and what is known so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::found::Found;
use super::loaded::{Calculated, Deferred, Loaded};
use super::made::{gives_privileges, made, made_schema};
use super::request::{LoadRequest, OnError};
use super::session;
use crate::restore::contain::Container;
use crate::restore::error::RestoreError;
use crate::restore::fault::LoadFault;
use crate::server::Server;
use crate::sql::QualifiedName;

/// The connection that is free again, and the rows that it brought into which of the loaded tables.
type Done = (usize, Result<Option<(usize, u64)>, LoadFault>);

/// Work that is done at once with other work of its class alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Rows of different tables.
    Rows,
    /// Keys and indexes: they lock their own table alone, and wait for each other at most.
    Indexes,
    /// Foreign keys: they lock two tables.
    ForeignKeys,
}

pub(super) struct Loader<'a> {
    pub(super) request: &'a LoadRequest<'a>,
    pub(super) main: Arc<Server>,
    /// Every connection, `main` first.
    pub(super) servers: Vec<Arc<Server>>,
    /// The tables that each is at work on, where it is; none for work that is in nobody's way.
    pub(super) busy: Vec<Option<Vec<QualifiedName>>>,
    pub(super) running: JoinSet<Done>,
    /// What runs at once with others of its kind alone.
    pub(super) class: Option<Class>,
    pub(super) encoding: String,
    /// Asked when the first rows come.
    pub(super) found: Option<Found>,
    /// Names of what was put off, by which others that name them are known.
    pub(super) waiting: BTreeSet<String>,
    /// Where bodies of functions are kept until everything is made.
    pub(super) asleep: Option<Container>,
    /// As which tables' rows are brought.
    pub(super) container: Option<Container>,
    pub(super) contained: BTreeMap<QualifiedName, String>,
    /// Whether ordinary roles made casts, which a foreign key may call.
    pub(super) casts: bool,
    /// Whether indexes that call functions may be there already.
    pub(super) late: bool,
    /// Schemas that everybody may look into until the dump's grants come.
    pub(super) open_schemas: Vec<String>,
    /// Functions that nobody but their owners may call until then.
    pub(super) closed_routines: Vec<String>,
    /// Tables whose rows needed privileges, and what rests on them.
    pub(super) again: BTreeSet<QualifiedName>,
    pub(super) after: Vec<String>,
    pub(super) privileges_given: bool,
    /// Names of indexes and statistics that are put off.
    pub(super) calculated: BTreeSet<String>,
    /// The statement that set the tablespace of what is made.
    pub(super) tablespace: Option<String>,
    pub(super) loaded: Loaded,
}

impl<'a> Loader<'a> {
    pub(super) async fn begin(request: &'a LoadRequest<'a>) -> Result<Self, RestoreError> {
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

    /// Runs a statement in every session.
    pub(super) async fn everywhere(&mut self, statement: &str) -> Result<(), RestoreError> {
        self.drain().await?;
        for server in &self.servers {
            session::run(server, statement)
                .await
                .map_err(RestoreError::from)?;
        }
        Ok(())
    }

    /// Whether a statement failed for want of what comes later.
    pub(super) fn waits(&self, statement: &str, fault: &LoadFault) -> bool {
        fault.is_of_missing_thing() && self.names_what_waits(statement)
    }

    pub(super) fn names_what_waits(&self, statement: &str) -> bool {
        let Some(later) = self.request.later else {
            return false;
        };
        let waits = |name: &str| statement.contains(name);
        !self.loaded.held.later.is_empty()
            && (waits(later.schema) || self.waiting.iter().any(|name| waits(name)))
    }

    pub(super) fn defer(&mut self, statement: &str) {
        if let Some(name) = made(statement) {
            self.waiting.insert(name);
        }
        let part = Deferred::Statement(statement.to_owned());
        self.loaded.held.later.push(part);
    }

    pub(super) fn fault(&mut self, fault: LoadFault) -> Result<(), RestoreError> {
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
            let name = made(&fault.statement).or_else(|| made_schema(&fault.statement));
            name.is_none_or(|name| statement.contains(&name))
        })
    }

    fn is_lost(&self) -> bool {
        self.servers
            .iter()
            .any(|server| server.client().is_closed())
    }

    /// Runs a statement at once with others of its class, but with none that is at work on one of its tables.
    pub(super) async fn spawn(
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
    pub(super) async fn spawn_in(
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
    pub(super) async fn begin_work(
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
    pub(super) async fn drain(&mut self) -> Result<(), RestoreError> {
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
        let (at, done) = joined.map_err(ended_early)?;
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

/// A task of the load ended without an answer.
pub(super) fn ended_early(panic: tokio::task::JoinError) -> RestoreError {
    RestoreError::Io {
        what: "a part of the load ended early",
        source: std::io::Error::other(panic),
    }
}
