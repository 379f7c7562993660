//! What follows the rows of a load: they are counted, statistics are gathered, and what acts comes last.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::error::RestoreError;
use super::fault::LoadFault;
use super::load::{LoadedTable, OnError};
use crate::copy::CopyOut;
use crate::dsn::Dsn;
use crate::server::{Server, ServerError, ident, literal};
use crate::sql::QualifiedName;
use crate::sql::reader::Reader;

/// A question to be asked, and what it is about.
enum Task {
    Statement(String),
    /// The rows of a table: its name in the dump, and how many there should be.
    Rows {
        question: Question,
        table: String,
        expected: u64,
    },
}

/// How rows are counted.
enum Question {
    Count(String),
    /// A query that is planned evaluates what it finds in indexes and keys of partitions: these tables are read as they lie.
    Read(Vec<QualifiedName>),
}

/// Counts the rows of every loaded table, by several connections, and gives the differences.
pub async fn compare(
    dsn: &Dsn,
    jobs: u8,
    tables: &[LoadedTable],
) -> Result<Vec<String>, ServerError> {
    let server = Server::connect(dsn).await?.patient();
    let partitioned = relations(&server, "c.relkind = 'p'").await?;
    let mut tasks = VecDeque::new();
    for table in tables {
        let name = table.name.to_string();
        let mut expected = table.before + table.rows;
        let mut only = "ONLY ";
        let mut parts = vec![table.name.clone()];
        if partitioned.contains(&name) {
            // Some partitions are loaded through their root, others by themselves.
            only = "";
            parts = partitions(&server, &name).await?;
            let of_partitions = tables
                .iter()
                .filter(|other| other.name != table.name && parts.contains(&other.name));
            expected += of_partitions.map(|other| other.rows).sum::<u64>();
        }
        tasks.push_back(Task::Rows {
            question: if table.acts {
                Question::Read(parts)
            } else {
                Question::Count(format!("SELECT pg_catalog.count(*) FROM {only}{name}"))
            },
            table: table.target.table.clone(),
            expected,
        });
    }
    spread(dsn, server, jobs, tasks).await
}

/// Gathers statistics of all tables and materialized views, by several connections. Those of which none could be gathered (a partition
/// on a foreign server that does not answer) are given back with the reason: they cost plans, no content.
pub async fn analyze(dsn: &Dsn, jobs: u8) -> Result<Vec<String>, ServerError> {
    let server = Server::connect(dsn).await?.patient();
    let names = relations(&server, "c.relkind IN ('r', 'p', 'm')").await?;
    let tasks = names
        .into_iter()
        .map(|name| Task::Statement(format!("ANALYZE {name}")));
    spread(dsn, server, jobs, tasks.collect()).await
}

async fn spread(
    dsn: &Dsn,
    server: Server,
    jobs: u8,
    tasks: VecDeque<Task>,
) -> Result<Vec<String>, ServerError> {
    let tasks = Arc::new(Mutex::new(tasks));
    let mut working = JoinSet::new();
    let mut servers = vec![server];
    for _ in 1..jobs {
        servers.push(Server::connect(dsn).await?.patient());
    }
    for server in servers {
        let tasks = tasks.clone();
        working.spawn(async move { work(&server, &tasks).await });
    }
    let mut differences = Vec::new();
    while let Some(done) = working.join_next().await {
        match done {
            Ok(found) => differences.extend(found?),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    differences.sort();
    Ok(differences)
}

/// The partitions that hold rows here.
async fn partitions(server: &Server, root: &str) -> Result<Vec<QualifiedName>, ServerError> {
    let question = format!(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_partition_tree({}) t JOIN pg_catalog.pg_class c ON c.oid = t.relid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'",
        literal(root)
    );
    let rows = server.rows(&question).await?;
    let name = |row: &tokio_postgres::SimpleQueryRow| {
        Some(QualifiedName {
            schema: row.get(0)?.to_owned(),
            name: row.get(1)?.to_owned(),
        })
    };
    Ok(rows.iter().filter_map(name).collect())
}

async fn work(server: &Server, tasks: &Mutex<VecDeque<Task>>) -> Result<Vec<String>, ServerError> {
    let mut differences = Vec::new();
    loop {
        let next = tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(task) = next else {
            return Ok(differences);
        };
        match task {
            Task::Statement(statement) => match server.execute(&statement).await {
                Err(ServerError::Query { reason, .. }) => {
                    differences.push(format!("{statement}: {reason}"));
                }
                done => done?,
            },
            Task::Rows {
                question,
                table,
                expected,
            } => {
                let found = match question {
                    Question::Count(question) => server.number(&question).await?,
                    Question::Read(tables) => read(server, &tables).await?,
                };
                if found != expected {
                    differences.push(format!("{table} has {found} rows, not {expected}"));
                }
            }
        }
    }
}

/// Counts rows by reading them: a line each.
async fn read(server: &Server, tables: &[QualifiedName]) -> Result<u64, ServerError> {
    let mut rows = 0;
    for table in tables {
        let mut copy = CopyOut::begin(server, &format!("COPY {table} TO STDOUT")).await?;
        while let Some(piece) = copy.next().await? {
            rows += memchr::memchr_iter(b'\n', &piece).count() as u64;
        }
    }
    Ok(rows)
}

/// Names of relations, quoted, besides the system's and temporary ones.
async fn relations(server: &Server, condition: &str) -> Result<Vec<String>, ServerError> {
    let question = format!(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE {condition} AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE E'pg\\\\_%'"
    );
    let rows = server.rows(&question).await?;
    let name = |row: &tokio_postgres::SimpleQueryRow| {
        Some(format!("{}.{}", ident(row.get(0)?), ident(row.get(1)?)))
    };
    Ok(rows.iter().filter_map(name).collect())
}

/// Runs statements that were held back; those that fail are given back, or the first of them ends it.
pub async fn run_held(
    server: &Server,
    statements: &[String],
    on_error: OnError,
) -> Result<Vec<LoadFault>, RestoreError> {
    let mut faults = Vec::new();
    for statement in statements {
        let done = server.one(statement).await;
        faults.extend(gone_over(server, statement, done, on_error)?);
    }
    Ok(faults)
}

/// A statement's failure, if it failed and is gone over.
fn gone_over(
    server: &Server,
    statement: &str,
    done: Result<(), tokio_postgres::Error>,
    on_error: OnError,
) -> Result<Option<LoadFault>, RestoreError> {
    let Err(error) = done else { return Ok(None) };
    let fault = LoadFault::of(statement, &error);
    if on_error == OnError::Stop || server.client().is_closed() {
        return Err(fault.into());
    }
    Ok(Some(fault))
}

/// Every new database has a schema `public`, and no dump says that its database has none. One with anything in it stays.
pub async fn drop_public(server: &Server) -> Result<(), ServerError> {
    match server
        .execute("DROP SCHEMA IF EXISTS public RESTRICT")
        .await
    {
        Err(ServerError::Query { .. }) => Ok(()),
        done => done,
    }
}

/// What came of event triggers.
#[derive(Debug, Default)]
pub struct EventTriggers {
    /// Worth knowing.
    pub notes: Vec<String>,
    /// Statements that failed and were gone over.
    pub faults: Vec<LoadFault>,
}

/// Makes event triggers, and gives them their owners. A server gives them to superusers alone; an owner that was superuser then and is none
/// now got his by losing the attribute afterwards, and gets it in the same way: within one transaction, which nobody else sees.
pub async fn make_event_triggers(
    server: &Server,
    statements: &[String],
    on_error: OnError,
) -> Result<EventTriggers, RestoreError> {
    let mut made = EventTriggers::default();
    for statement in statements {
        let mut in_one = None;
        if let Some((trigger, owner)) = new_owner(statement)
            && is_ordinary(server, &owner).await?
        {
            let role = ident(&owner);
            in_one = Some(format!(
                "BEGIN; ALTER ROLE {role} SUPERUSER; ALTER EVENT TRIGGER {} OWNER TO {role}; ALTER ROLE {role} NOSUPERUSER; COMMIT",
                ident(&trigger)
            ));
            made.notes.push(format!(
                "event trigger {trigger} belongs to {owner} again, who is no superuser: as on the source's server"
            ));
        }
        let done = match &in_one {
            Some(text) => server.client().batch_execute(text).await,
            None => server.one(statement).await,
        };
        let text = in_one.as_deref().unwrap_or(statement);
        let fault = gone_over(server, text, done, on_error);
        // A failed statement leaves the transaction open; without one this is only a warning of the server's.
        let closed = server.execute("ROLLBACK").await;
        made.faults.extend(fault?);
        closed?;
    }
    Ok(made)
}

/// Event trigger and role of `ALTER EVENT TRIGGER name OWNER TO role;`.
fn new_owner(statement: &str) -> Option<(String, String)> {
    let mut words = Reader::of(statement);
    words
        .keywords(&["ALTER", "EVENT", "TRIGGER"])
        .then_some(())?;
    let trigger = words.name()?;
    words.keywords(&["OWNER", "TO"]).then_some(())?;
    Some((trigger, words.name()?))
}

async fn is_ordinary(server: &Server, role: &str) -> Result<bool, ServerError> {
    let question = format!(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles WHERE rolname = {} AND NOT rolsuper",
        literal(role)
    );
    Ok(server.number(&question).await? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_owner_is_one() {
        assert_eq!(
            new_owner("ALTER EVENT TRIGGER \"a b\" OWNER TO \"o\"\"p\";"),
            Some(("a b".to_owned(), "o\"p".to_owned()))
        );
        assert_eq!(new_owner("ALTER EVENT TRIGGER a ENABLE ALWAYS;"), None);
        assert_eq!(
            new_owner("CREATE EVENT TRIGGER a ON ddl_command_end EXECUTE FUNCTION f();"),
            None
        );
    }
}
