//! A connection to one server, to ask what a dump will meet. Asks by the simple protocol, which every pooler passes on.

mod encoding;
mod error;
mod facts;
mod obstacles;
pub(crate) mod told;

use std::fmt::Write as _;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::{ChannelBinding, SslMode as WireSslMode};
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow};

pub(crate) use encoding::SQL_ASCII;
pub use error::ServerError;
pub use facts::Facts;

use crate::dsn::{Dsn, SslMode};
use crate::session;
use crate::tls;
pub use crate::tls::TlsSetupError;

/// Time to reach a server and log in. A server that starts up answers at once that it does; one that does not answer is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for one question. Only the large objects and the tables' privileges take longer than milliseconds, by their number.
const ANSWER: Duration = Duration::from_secs(60);

/// A connection. Ends when dropped.
pub struct Server {
    client: Client,
    connection: JoinHandle<()>,
    dsn: Dsn,
    patience: Option<Duration>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Server {
    /// Connects within 10 seconds, to a session that no role, database or pooler has given settings (see [`crate::session`]).
    pub async fn connect(dsn: &Dsn) -> Result<Self, ServerError> {
        let connector = tls::connector(dsn).map_err(|source| ServerError::TlsSetup {
            server: dsn.to_string(),
            source,
        })?;
        // Boxed: two handshakes make a large future, and it is part of every caller's.
        let connecting = Box::pin(async {
            let options = session::options(dsn.options());
            let refused = match config(dsn, Some(&options)).connect(connector.clone()).await {
                Ok(connected) => return Ok((connected, true)),
                Err(error) => error,
            };
            if !ServerError::may_be_of_options(&refused) {
                return Err(refused);
            }
            let connected = config(dsn, dsn.options()).connect(connector).await;
            connected.map(|connected| (connected, false))
        });
        let ((client, connection), has_options) = tokio::time::timeout(CONNECT, connecting)
            .await
            .map_err(|_| ServerError::Timeout {
                server: dsn.to_string(),
                seconds: CONNECT.as_secs(),
            })?
            .map_err(|error| ServerError::of_connecting(&error, dsn))?;
        let connection = tokio::spawn(async move {
            // Who waits for an answer is told that the connection ended; this is the reason, for the log.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection ended");
            }
        });
        let server = Self {
            client,
            connection,
            dsn: dsn.clone(),
            patience: Some(ANSWER),
        };
        server.settle(has_options).await?;
        Ok(server)
    }

    /// Looks whether the session has its settings, and gives it those that it has not.
    async fn settle(&self, has_options: bool) -> Result<(), ServerError> {
        let own = self.dsn.options();
        if !has_options {
            self.dsn.way().takes_no_options();
            // Before the first question; a statement timeout of milliseconds could end that.
            for statement in ["SET search_path = ''", "SET statement_timeout = 0"] {
                self.execute(statement).await?;
            }
        }
        let rows = self.rows(&session::question(own)).await?;
        let Some(told) = rows.first() else {
            return Ok(());
        };
        if told.get(0) == Some("on") {
            self.dsn.way().is_superusers();
        }
        if let Some(pid) = told.get(1).and_then(|pid| pid.parse().ok()) {
            self.dsn.way().has_session(pid);
        }
        let correction = session::correction(own, |at| told.try_get(at).ok().flatten());
        if correction.is_empty() {
            return Ok(());
        }
        self.execute(&correction).await
    }

    /// Waits for every answer as long as it takes: counting rows and rebuilding statistics are slow by their nature.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.patience = None;
        self
    }

    /// Where it is connected to.
    pub fn dsn(&self) -> &Dsn {
        &self.dsn
    }

    /// The connection itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs statements, and waits for their end.
    pub async fn execute(&self, statements: &str) -> Result<(), ServerError> {
        self.rows(statements).await.map(drop)
    }

    /// Runs one statement that somebody else wrote. The extended protocol takes no more than one: where the server finds several in it,
    /// it refuses them all.
    pub(crate) async fn one(&self, statement: &str) -> Result<(), tokio_postgres::Error> {
        self.client.query_typed(statement, &[]).await.map(drop)
    }

    /// The first column of every row.
    pub async fn names(&self, query: &str) -> Result<Vec<String>, ServerError> {
        let rows = self.rows(query).await?;
        Ok(rows
            .iter()
            .map(|row| row.get(0).unwrap_or_default().to_owned())
            .collect())
    }

    /// The one number that a query gives; 0 where it gives none.
    pub async fn number(&self, query: &str) -> Result<u64, ServerError> {
        let first = self.names(query).await?.into_iter().next();
        Ok(first.and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    /// Text that is in another encoding, which an SQL expression names; the server knows them all.
    pub(crate) async fn decoded(
        &self,
        bytes: &[u8],
        encoding: &str,
    ) -> Result<String, ServerError> {
        let mut hex = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            // A string takes everything.
            let _ = write!(hex, "{byte:02x}");
        }
        let question = format!(
            "SELECT pg_catalog.convert_from(pg_catalog.decode('{hex}', 'hex'), {encoding})"
        );
        Ok(self.names(&question).await?.concat())
    }

    /// The one JSON value that a query gives of catalogs that all databases share. A name in them is stored in the encoding of the
    /// database in which it was given, and told as if it were in that of the database in which it is asked for: so what is stored is
    /// read, as UTF-8 where it is that, and otherwise as this database tells it.
    pub(crate) async fn shared_json<T: serde::de::DeserializeOwned>(
        &self,
        query: &str,
    ) -> Result<T, ServerError> {
        let hex = format!(
            "SELECT pg_catalog.encode(pg_catalog.convert_to(({query})::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex')"
        );
        let told = self.names(&hex).await?.pop().unwrap_or_default();
        let stored = bytes_of_hex(&told);
        let mut text = Vec::with_capacity(stored.len());
        // Quotes part names from each other in every encoding of a server.
        for piece in stored.split_inclusive(|byte| *byte == b'"') {
            if std::str::from_utf8(piece).is_ok() {
                text.extend_from_slice(piece);
                continue;
            }
            let converted = self
                .decoded(piece, "pg_catalog.getdatabaseencoding()")
                .await?;
            text.extend_from_slice(converted.as_bytes());
        }
        serde_json::from_slice(&text).map_err(|error| ServerError::Query {
            server: self.dsn.to_string(),
            reason: format!("its catalogs told something else than what was asked for: {error}"),
        })
    }

    /// The rows that a query gives.
    pub async fn rows(&self, query: &str) -> Result<Vec<SimpleQueryRow>, ServerError> {
        let messages = self.answer(self.client.simple_query(query)).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    /// Waits for an answer as long as this connection has patience.
    pub(crate) async fn answer<T>(
        &self,
        asking: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ServerError> {
        let answer =
            match self.patience {
                None => asking.await,
                Some(patience) => tokio::time::timeout(patience, asking).await.map_err(|_| {
                    ServerError::Timeout {
                        server: self.dsn.to_string(),
                        seconds: patience.as_secs(),
                    }
                })?,
            };
        answer.map_err(|error| ServerError::of_asking(&error, &self.dsn))
    }
}

fn config(dsn: &Dsn, options: Option<&str>) -> Config {
    let mut config = Config::new();
    config
        // A path is a socket's directory to it.
        .host(&dsn.host)
        .port(dsn.port)
        .user(&dsn.user)
        .dbname(&dsn.database)
        .application_name(&dsn.application)
        .connect_timeout(CONNECT)
        .ssl_mode(match dsn.ssl_mode {
            SslMode::Disable => WireSslMode::Disable,
            SslMode::Prefer => WireSslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => WireSslMode::Require,
        });
    if dsn.is_socket() {
        // libpq, too, never encrypts what stays in the machine.
        config.ssl_mode(WireSslMode::Disable);
    }
    if dsn.requires_channel_binding() {
        config.channel_binding(ChannelBinding::Require);
    }
    if let Some(password) = dsn.password() {
        config.password(password.reveal());
    }
    if let Some(options) = options {
        config.options(options);
    }
    config
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits
        .filter_map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
        .collect()
}

/// An SQL string. Strings are standard-conforming in every server that pg_dump of our time reads, unless someone turned that off;
/// doubled backslashes in an `E''` string hold either way.
pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A name in SQL, quoted.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
