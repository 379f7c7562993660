//! Reaching a server, or being told why not.

use postgres::dsn::Dsn;
use postgres::dump::{DumpFormat, dump};
use postgres::server::{Server, ServerError};
use tokio_util::sync::CancellationToken;

use crate::private::server;
use crate::{GZIP, request, tools};

async fn refusal(dsn: &Dsn) -> ServerError {
    let error = Server::connect(dsn)
        .await
        .err()
        .expect("the server must refuse");
    for told in [format!("{error}"), format!("{error:?}")] {
        assert!(
            !told.contains("s3cret") && !told.contains("wr0ng"),
            "{told}"
        );
    }
    error
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let server = server();
    let wrong = refusal(&server.dsn_of("supabase_admin:wr0ng", "postgres")).await;
    assert!(
        matches!(wrong, ServerError::Authentication { .. }),
        "{wrong}"
    );
    assert!(
        wrong.to_string().contains("password authentication failed"),
        "{wrong}"
    );
    let none = refusal(&server.dsn_of("supabase_admin", "postgres")).await;
    assert!(matches!(none, ServerError::Authentication { .. }), "{none}");
    let unknown = refusal(&server.dsn("no_such")).await;
    assert!(
        matches!(unknown, ServerError::UnknownDatabase { .. }),
        "{unknown}"
    );
    let mut down = server.dsn("postgres");
    down.port = 1;
    let down = refusal(&down).await;
    assert!(
        matches!(down, ServerError::Unreachable { .. }) && down.is_transient(),
        "{down}"
    );
    let nowhere = refusal(&Dsn::parse("postgres://u:s3cret@no-such-host.invalid/d").unwrap()).await;
    assert!(
        matches!(nowhere, ServerError::Unreachable { .. }),
        "{nowhere}"
    );
}

#[tokio::test]
async fn tls_modes_mean_what_libpq_means() {
    const ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let (server, tools) = (server(), tools().await);
    let cancel = CancellationToken::new();
    let (ca, other) = (server.path("ca.crt"), server.path("other.crt"));
    let (ca, other) = (ca.display(), other.display());
    let itself = server.path("server.crt");
    let itself = itself.display();
    // Host, parameters, whether it connects encrypted (None: it must not connect).
    let table = [
        ("127.0.0.1", "sslmode=disable".to_owned(), Some(false)),
        ("127.0.0.1", "sslmode=prefer".to_owned(), Some(true)),
        ("127.0.0.1", "sslmode=require".to_owned(), Some(true)),
        (
            "127.0.0.1",
            "sslmode=require&channel_binding=require".to_owned(),
            Some(true),
        ),
        (
            "127.0.0.1",
            format!("sslmode=require&sslrootcert={other}"),
            None,
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca&sslrootcert={ca}"),
            Some(true),
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca&sslrootcert={itself}"),
            None,
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca&sslrootcert={other}"),
            None,
        ),
        ("127.0.0.1", "sslmode=verify-ca".to_owned(), None),
        (
            "127.0.0.1",
            format!("sslmode=verify-full&sslrootcert={ca}"),
            None,
        ),
        (
            "127.0.0.1",
            "sslmode=verify-ca&sslrootcert=/no/such".to_owned(),
            None,
        ),
        (
            "localhost",
            format!("sslmode=verify-full&sslrootcert={ca}"),
            Some(true),
        ),
    ];
    for (host, parameters, encrypted) in table {
        let mut dsn = server.dsn(&format!("postgres?{parameters}"));
        host.clone_into(&mut dsn.host);
        let dir = tempfile::tempdir().unwrap();
        let dumped = dump(
            request(&tools, &dsn, dir.path(), DumpFormat::Plain, GZIP),
            &cancel,
        )
        .await;
        assert_eq!(
            dumped.is_ok(),
            encrypted.is_some(),
            "pg_dump, {parameters}: {dumped:?}"
        );
        if let Some(encrypted) = encrypted {
            let connected = Server::connect(&dsn)
                .await
                .unwrap_or_else(|error| panic!("{parameters}: {error}"));
            let row = connected.client().query_one(ENCRYPTED, &[]).await.unwrap();
            assert_eq!(row.get::<_, bool>(0), encrypted, "{parameters}");
        } else {
            let error = refusal(&dsn).await;
            assert!(
                matches!(
                    error,
                    ServerError::Tls { .. } | ServerError::TlsSetup { .. }
                ),
                "{parameters}: {error}"
            );
        }
    }
    let socket = format!(
        "supabase_admin:s3cret%2Fp%40ss@{}",
        server
            .path("")
            .display()
            .to_string()
            .trim_end_matches('/')
            .replace('/', "%2F")
    );
    let dsn = Dsn::parse(&format!(
        "postgres://{socket}:{}/postgres?sslmode=require",
        server.port()
    ))
    .unwrap();
    Server::connect(&dsn).await.unwrap();
}
