//! Restores that are interrupted at a statement, by whatever: what is said is true, and one command brings back what was.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Stdio;

use tests::proxy::{Proxy, Then, When};
use tests::server::PgServer;

/// The proxy itself: it halts where it is told to, and what was before and after the halt is what it says.
#[test]
fn the_proxy_halts_before_and_after_any_message() {
    let server = PgServer::start();
    server.psql("template1", "CREATE DATABASE scratch");
    let proxy = Proxy::before(server.port());
    let url = server
        .url("scratch")
        .replace(&server.port().to_string(), &proxy.port().to_string());
    let client = |sql: &str| {
        let mut psql = tests::host::command(tests::host::bindir().join("psql"));
        psql.arg("-Xq").arg(&url);
        for statement in sql.split('|') {
            psql.args(["-c", statement]);
        }
        psql.stderr(Stdio::null()).spawn().unwrap()
    };
    let script = "CREATE TABLE t (i integer)|INSERT INTO t VALUES (1)|INSERT INTO t VALUES (2)";
    let rows = || {
        server
            .try_psql("scratch", "SELECT count(*) FROM t")
            .unwrap_or_else(|_| "no table".to_owned())
    };
    proxy.begin(None);
    assert!(client(script).wait().unwrap().success());
    let words: Vec<String> = proxy.messages().into_iter().map(|m| m.words).collect();
    assert_eq!(words[..3], script.split('|').collect::<Vec<_>>()[..]);
    assert_eq!(words.len(), 4, "the end of the connection: {words:?}");
    for (at, when, expected) in [
        (0, When::Before, "no table"),
        (0, When::After, "0"),
        (1, When::Before, "0"),
        (1, When::After, "1"),
        (2, When::Before, "1"),
        (2, When::After, "2"),
    ] {
        for then in [Then::Drop, Then::DropAll, Then::Forward] {
            server.psql("scratch", "DROP TABLE IF EXISTS t");
            proxy.begin(Some((at, when)));
            let mut psql = client(script);
            let message = proxy.halted(|| false).unwrap();
            assert_eq!(message.words, words[at]);
            assert_eq!(rows(), expected, "{at} {when:?}");
            proxy.go_on(then);
            assert_eq!(psql.wait().unwrap().success(), then == Then::Forward);
            let end = if then == Then::Forward { "2" } else { expected };
            assert_eq!(rows(), end, "{at} {when:?} {then:?}");
        }
    }
    // A COPY: its data, its end, and what the server does at its end.
    server.psql(
        "scratch",
        "CREATE TABLE IF NOT EXISTS t (i integer); TRUNCATE t",
    );
    let copy = || {
        let mut psql = tests::host::command(tests::host::bindir().join("psql"));
        psql.args(["-Xq", &url, "-c", "\\copy t from program 'seq 3'"]);
        psql.stderr(Stdio::null()).spawn().unwrap()
    };
    proxy.begin(None);
    assert!(copy().wait().unwrap().success());
    let kinds: String = proxy.messages().iter().map(|m| m.kind).collect();
    assert!(kinds.starts_with("Qd") && kinds.ends_with("cX"), "{kinds}");
    for (kind, when, expected) in [('c', When::Before, "0"), ('c', When::After, "3")] {
        server.psql("scratch", "TRUNCATE t");
        proxy.begin(Some((kinds.find(kind).unwrap(), when)));
        let mut psql = copy();
        assert_eq!(proxy.halted(|| false).unwrap().kind, kind);
        assert_eq!(rows(), expected, "{kind} {when:?}");
        proxy.go_on(Then::Drop);
        assert!(!psql.wait().unwrap().success());
    }
}
