//! The JDBC form, as services in Java have it. Facts: pgjdbc manual, "Connecting to the Database", and its `Driver.parseURL`, which ignores
//! parameters that it does not know.

use super::{Dsn, DsnError, SslMode, uri};
use crate::dsn::Secret;

const FORM: &str = "jdbc:postgresql://HOST:5432/DATABASE";

impl Dsn {
    /// Reads `jdbc:postgresql://HOST:PORT/DATABASE?name=value…` as pgjdbc does, or the form of [`Dsn::parse`]. The user may be left to
    /// [`Dsn::with_credentials`].
    pub fn parse_jdbc(text: &str) -> Result<Self, DsnError> {
        match text.trim().strip_prefix("jdbc:") {
            Some(rest) => parse(rest),
            None => uri::parse(text),
        }
    }
}

/// Reads what follows `jdbc:`; the user may be missing.
fn parse(rest: &str) -> Result<Dsn, DsnError> {
    let rest = rest
        .strip_prefix("postgresql:")
        .ok_or(DsnError::Scheme(FORM))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    // An @ is the end of credentials, which may have been cut at the wrong place; only as a value of theirs may one stand.
    if place.contains('@') {
        return Err(DsnError::JdbcCredentials);
    }
    // Without slashes only the database is said, and it is on this machine.
    let (server, database) = match place.strip_prefix("//") {
        Some(place) => place.split_once('/').unwrap_or((place, "")),
        None => ("", place.trim_start_matches('/')),
    };
    let (host, port) = uri::split_place(server)?;
    let host = if host.is_empty() { "localhost" } else { host };
    let mut dsn = Dsn::at(
        host.to_owned(),
        port,
        uri::decode(database, "the database")?,
    );
    let mut ssl = Ssl::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        // A name without a value is an empty value.
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if pair.contains('@') && !matches!(name, "user" | "password") {
            return Err(DsnError::JdbcCredentials);
        }
        // pgjdbc reads values by java.net.URLDecoder, to which + is a space.
        let value = uri::decode(&value.replace('+', " "), "a parameter")?;
        set(&mut dsn, &mut ssl, name, value)?;
    }
    dsn.ssl_mode = match (ssl.mode, ssl.on) {
        (Some(mode), _) => mode,
        (None, true) if ssl.trusts_all => SslMode::Require,
        (None, true) => SslMode::VerifyFull,
        (None, false) => dsn.ssl_mode,
    };
    if dsn.database.is_empty() {
        return Err(DsnError::Missing(
            "no database: write jdbc:postgresql://HOST:5432/DATABASE",
        ));
    }
    uri::finish(dsn)
}

#[derive(Default)]
struct Ssl {
    mode: Option<SslMode>,
    on: bool,
    trusts_all: bool,
}

fn set(dsn: &mut Dsn, ssl: &mut Ssl, name: &str, value: String) -> Result<(), DsnError> {
    match name {
        "user" => dsn.user = value,
        "password" => dsn.password = Some(Secret::new(value)),
        "currentSchema" => {
            // A search path; the first is where a service makes its tables.
            let first = value.split(',').next().unwrap_or_default().trim();
            dsn.schema = (!first.is_empty()).then(|| first.to_owned());
        }
        "sslmode" => ssl.mode = Some(uri::ssl_mode(&value)?),
        "ssl" => ssl.on = value.is_empty() || value == "true",
        "sslfactory" => ssl.trusts_all = value.ends_with(".NonValidatingFactory"),
        "sslrootcert" => {
            uri::set_root_cert(dsn, value)?;
            // `system` is libpq's word; pgjdbc knows it not, but who writes it means it.
            if dsn.ssl_mode == SslMode::VerifyFull {
                ssl.mode = Some(SslMode::VerifyFull);
            }
        }
        "options" => dsn.options = Some(value),
        "channelBinding" => dsn.channel_binding = value == "require",
        "sslcert" | "sslkey" => {
            return Err(DsnError::Unsupported {
                name: "sslcert",
                instead: "client certificates are not supported; use a password",
            });
        }
        "socketFactory" => {
            return Err(DsnError::Unsupported {
                name: "socketFactory",
                instead: "name a server that is reached directly",
            });
        }
        _ => {}
    }
    Ok(())
}
