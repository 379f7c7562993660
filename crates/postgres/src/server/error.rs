//! Why a server did not answer, in its own words, with what to do.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::told;
use crate::dsn::Dsn;
use crate::tls::TlsSetupError;

/// Why a server did not answer. `server` is a DSN without its password.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named in the messages")]
pub enum ServerError {
    /// Nobody listens, or the name is unknown.
    #[error(
        "{server} cannot be reached: {reason}; is the host name right, and is the server up and in the same network?"
    )]
    Unreachable { server: String, reason: String },
    /// Somebody listens and does not answer.
    #[error(
        "{server} did not answer within {seconds} s; is a firewall in between, or the server overloaded?"
    )]
    Timeout { server: String, seconds: u64 },
    /// It does not let this role in.
    #[error(
        "{server} rejected role {user}: {reason}; check user and password, and the server's pg_hba.conf"
    )]
    Authentication {
        server: String,
        user: String,
        reason: String,
    },
    /// It has no such database.
    #[error("{server}: {reason}; check the database's name in the URL")]
    UnknownDatabase { server: String, reason: String },
    /// No encrypted connection came about.
    #[error("{server}: no encrypted connection: {reason}; {hint}")]
    Tls {
        server: String,
        reason: String,
        hint: &'static str,
    },
    /// The certificates of this side.
    #[error("{server}: {source}")]
    TlsSetup {
        server: String,
        source: TlsSetupError,
    },
    /// It is up and takes nobody at the moment.
    #[error("{server} takes no connection now: {reason}")]
    Unavailable { server: String, reason: String },
    /// It is up, and something else is wrong.
    #[error("{server}: {reason}")]
    Query { server: String, reason: String },
}

impl ServerError {
    /// Whether the same question may be answered a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Unavailable { .. }
        )
    }

    pub(super) fn of_connecting(error: &Error, dsn: &Dsn) -> Self {
        let server = dsn.to_string();
        let reason = words(error);
        if let Some(told) = error.as_db_error() {
            return match *told.code() {
                SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                    Self::rejected(server, dsn, reason)
                }
                SqlState::INVALID_CATALOG_NAME => Self::UnknownDatabase { server, reason },
                _ => Self::of_code(told.code(), server, reason),
            };
        }
        // The kind of tokio-postgres' errors is private; their first words are part of its tests.
        let kind = error.to_string();
        if kind.starts_with("error performing TLS handshake") {
            let hint = tls_hint(&reason);
            return Self::Tls {
                server,
                reason,
                hint,
            };
        }
        if kind.starts_with("invalid configuration") || kind.starts_with("authentication error") {
            return Self::rejected(server, dsn, reason);
        }
        Self::Unreachable { server, reason }
    }

    /// Whether the server, or a pooler before it, may have refused the start-up options: it told an error, and not of the password, the
    /// database, or that it takes nobody now. Poolers have no code of their own for it.
    pub(super) fn may_be_of_options(error: &Error) -> bool {
        error.as_db_error().is_some_and(|told| {
            let code = told.code().code();
            !["28", "3D", "53", "57"]
                .iter()
                .any(|class| code.starts_with(class))
        })
    }

    pub(crate) fn of_asking(error: &Error, dsn: &Dsn) -> Self {
        let server = dsn.to_string();
        let reason = words(error);
        match error.code() {
            Some(code) => Self::of_code(code, server, reason),
            None => Self::Unreachable { server, reason },
        }
    }

    fn rejected(server: String, dsn: &Dsn, reason: String) -> Self {
        Self::Authentication {
            server,
            user: dsn.user.clone(),
            reason,
        }
    }

    fn of_code(code: &SqlState, server: String, reason: String) -> Self {
        // Class 53: out of connections, memory, disk. 57P0x: starting up, shutting down.
        let class = code.code();
        if class.starts_with("53") || class.starts_with("57P0") {
            Self::Unavailable { server, reason }
        } else {
            Self::Query { server, reason }
        }
    }
}

/// The innermost words, which are the server's or the system's own.
fn words(error: &Error) -> String {
    if let Some(told) = error.as_db_error() {
        let message = told::message(told);
        // Where the message is not told as it is, the hint is not either.
        let hint = told.hint().filter(|_| message == told.message());
        return hint.map_or_else(|| message.clone(), |hint| format!("{message} ({hint})"));
    }
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    reason
}

fn tls_hint(reason: &str) -> &'static str {
    if reason.contains("server does not support TLS") {
        "the server has ssl = off: turn it on, or set sslmode=disable where the network is trusted"
    } else if reason.contains("not valid for") || reason.contains("NotValidForName") {
        "sslmode=verify-full wants the host's name as subjectAltName of the server's certificate (a common name alone does not do): \
         issue it anew, connect by a name that it has, or set sslmode=verify-ca"
    } else if reason.contains("UnsupportedCertVersion") {
        "the server's certificate is of X.509 version 1, which backupd does not read: issue it anew with an extension such as \
         subjectAltName (openssl x509 -extfile), which makes it version 3"
    } else if reason.contains("UnknownIssuer") || reason.contains("CaUsedAsEndEntity") {
        "the server's certificate is of another authority: name the right one by sslrootcert"
    } else {
        "check the server's certificate, sslmode and sslrootcert"
    }
}
