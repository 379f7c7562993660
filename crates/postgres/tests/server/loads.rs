//! Loading a dump: what waits for what.

use std::collections::BTreeSet;
use std::fs;

use postgres::dump::DumpFormat;
use postgres::restore::load::{Deferred, LoadRequest, OnError, Only, Source, load_deferred};
use postgres::sql::QualifiedName;
use stream::artifact::{Compression, Meter};
use tokio_util::sync::CancellationToken;

use crate::private::server;
use crate::tools;

/// One thread: what was begun and is not waited for has not happened, each time.
#[tokio::test(flavor = "current_thread")]
async fn rows_have_come_when_they_are_put_at_rest() {
    let (server, tools) = (server(), tools().await);
    server.sql("postgres", &["CREATE DATABASE resting"]).await;
    let tables = "CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigint, active boolean); CREATE TABLE cron.runs (runid bigint)";
    server.sql("resting", &[tables]).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dump.sql");
    let dump = "--\n-- PostgreSQL database dump\n--\n\nCOPY cron.job (jobid, active) FROM stdin;\n1\tt\n2\tf\n3\tt\n\\.\n\n\n\
                COPY cron.runs (runid) FROM stdin;\n7\n\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
    fs::write(&file, dump).unwrap();
    let dsn = server.dsn("resting");
    let request = LoadRequest {
        source: Source {
            tools,
            file,
            format: DumpFormat::Plain,
            compression: Compression::None,
            meter: std::sync::Arc::new(Meter::default()),
        },
        dsn: &dsn,
        server_major: 15,
        jobs: 1,
        only: Only::Everything,
        absent: BTreeSet::new(),
        later: None,
        on_error: OnError::Stop,
        makes_tablespaces: false,
    };
    let [job, runs] = ["cron.job", "cron.runs"].map(|name| QualifiedName::read(name).unwrap());
    let still = "UPDATE cron.job SET active = false WHERE active RETURNING jobid";
    let deferred = vec![Deferred::Rows(job.clone()), Deferred::Rows(runs)];
    let (loaded, mut stilled) = load_deferred(
        &request,
        deferred,
        Some((&job, still)),
        &CancellationToken::new(),
    )
    .await
    .unwrap();
    stilled.sort_unstable();
    assert_eq!(stilled, ["1", "3"]);
    assert_eq!(loaded.tables.len(), 2);
    let active = server
        .ask("resting", "SELECT jobid::text FROM cron.job WHERE active")
        .await;
    assert_eq!(active, "");
}
