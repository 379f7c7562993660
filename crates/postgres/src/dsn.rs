//! Where a database is and as whom to reach it. A [`Dsn`] exists only if it is right, is read from a `postgres://` or a `jdbc:` URL, and
//! shows its password to nobody who does not ask for it by name.
//!
//! Does not connect, and does not read the environment or `~/.pgpass`: what is not in the URL is not known.

mod jdbc;
mod uri;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::session::Way;

/// How connections name themselves unless told otherwise.
const APPLICATION: &str = "backupd";
/// PostgreSQL's port.
const PORT: u16 = 5432;
/// Seconds that PostgreSQL's tools wait for a server.
const CONNECT_SECONDS: &str = "10";
/// The file of trusted authorities, as Debian and Alpine (the first) and Red Hat install it. `verify-ca` and `verify-full` without
/// `sslrootcert` use it, in libpq and here alike.
const SYSTEM_AUTHORITIES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];
/// What would be misread in a URL's user, host or database.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b':')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b']');

/// A password. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever must send it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How much TLS is asked for, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server offers it (libpq's `allow` is treated as this).
    #[default]
    Prefer,
    /// Always, without looking at the certificate unless `sslrootcert` is given.
    Require,
    /// Always, with a certificate of a trusted authority.
    VerifyCa,
    /// Always, with a certificate of a trusted authority for this host.
    VerifyFull,
}

impl SslMode {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "disable" => Self::Disable,
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    /// libpq's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

/// A database, and as whom to reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    /// A name, an address without brackets, or a socket's directory (begins with `/`).
    pub host: String,
    /// Of the server; with a directory, the number in the socket's name.
    pub port: u16,
    /// The role. Empty only when a JDBC URL left it to [`Dsn::with_credentials`].
    pub user: String,
    /// The database.
    pub database: String,
    /// How much TLS.
    pub ssl_mode: SslMode,
    /// PEM file of trusted authorities.
    pub ssl_root_cert: Option<PathBuf>,
    /// JDBC's `currentSchema`.
    pub schema: Option<String>,
    /// The name by which the server's `pg_stat_activity` shows connections.
    pub application: String,
    password: Option<Secret>,
    options: Option<String>,
    channel_binding: bool,
    way: Way,
}

/// Why a text is no address of a database. Never holds a piece of the text that could be of the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DsnError {
    /// Of another kind.
    #[error("not a PostgreSQL URL: write {0}")]
    Scheme(&'static str),
    /// A special character stands where it cuts the URL at the wrong place.
    #[error(
        "the user or password holds a character that must be percent-encoded in a URL: write @ as %40, / as %2F, # as %23, ? as %3F, \
         % as %25"
    )]
    NotEncoded,
    /// `%` without two hexadecimal digits, or bytes that are no text.
    #[error(
        "{0} holds a % that is no percent-encoding (or encodes no text): write a literal % as %25"
    )]
    Percent(&'static str),
    /// A part that must be there.
    #[error("{0}")]
    Missing(&'static str),
    /// The host's brackets.
    #[error("the host's brackets do not fit: write an IPv6 address as [2001:db8::1]")]
    Brackets,
    /// The port.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// More than one host.
    #[error("several hosts: name the one server that is to be dumped")]
    SeveralHosts,
    /// Credentials where JDBC has none.
    #[error(
        "a JDBC URL holds no user and password before its host: give them apart, or as the parameters user and password"
    )]
    JdbcCredentials,
    /// A parameter without its value.
    #[error("a parameter after the ? has no value: write name=value, and & inside a value as %26")]
    Parameter,
    /// A parameter that is not libpq's.
    #[error("{} is no parameter of a PostgreSQL URL: take it out (a & inside a value is written %26)", named(.0.as_deref()))]
    UnknownParameter(Option<String>),
    /// A parameter that cannot be followed.
    #[error("the parameter {name} cannot be used: {instead}")]
    Unsupported {
        /// libpq's name.
        name: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// A value that is none.
    #[error("{name} is none of {known}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it may be.
        known: &'static str,
    },
}

fn named(name: Option<&str>) -> String {
    name.map_or_else(
        || "one name after the ?".to_owned(),
        |name| format!("`{name}`"),
    )
}

impl Dsn {
    /// A database of a server, as nobody yet.
    fn at(host: String, port: u16, database: String) -> Self {
        Self {
            host,
            port,
            user: String::new(),
            database,
            ssl_mode: SslMode::default(),
            ssl_root_cert: None,
            schema: None,
            application: APPLICATION.to_owned(),
            password: None,
            options: None,
            channel_binding: false,
            way: Way::default(),
        }
    }

    /// Replaces what is given.
    #[must_use]
    pub fn with_credentials(mut self, user: Option<String>, password: Option<String>) -> Self {
        if let Some(user) = user {
            self.user = user;
        }
        if let Some(password) = password {
            self.password = Some(Secret::new(password));
        }
        self
    }

    /// Another database of the same server, as the same role.
    #[must_use]
    pub fn to_database(&self, database: &str) -> Self {
        Self {
            database: database.to_owned(),
            ..self.clone()
        }
    }

    /// Whether both are of the same server, as far as their addresses tell.
    pub fn is_same_server(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

    /// The password, if one is known.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Server options to send when connecting (libpq's `options`).
    pub fn options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// Server options of PostgreSQL's tools: the URL's, and those by which no setting of role or database is in their way.
    pub fn child_options(&self) -> Option<String> {
        self.way.child_options(self.options())
    }

    /// What the way to the server takes.
    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    /// Whether the password's exchange must be bound to the TLS connection (libpq's `channel_binding=require`).
    pub fn requires_channel_binding(&self) -> bool {
        self.channel_binding
    }

    /// Whether the host is a socket's directory.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// The PEM file of authorities that the server's certificate is checked against; none when it is not checked. As in libpq,
    /// `require` checks when a file is given.
    pub fn authorities(&self) -> Option<PathBuf> {
        match (&self.ssl_root_cert, self.ssl_mode) {
            (_, SslMode::Disable | SslMode::Prefer) => None,
            (Some(path), _) => Some(path.clone()),
            (None, mode) if mode.verifies() => Some(system_authorities().to_owned()),
            (None, _) => None,
        }
    }

    /// The environment that makes PostgreSQL's tools reach this database without an argument: the password stays out of `ps`, and no
    /// setting of role or database is in their way.
    pub fn child_env(&self) -> Vec<(String, String)> {
        let mut vars = vec![
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.clone()),
            ("PGDATABASE", self.database.clone()),
            ("PGSSLMODE", self.ssl_mode.name().to_owned()),
            ("PGAPPNAME", self.application.clone()),
            ("PGCONNECT_TIMEOUT", CONNECT_SECONDS.to_owned()),
            // Poolers that take no options pass it on.
            ("PGCLIENTENCODING", "UTF8".to_owned()),
            // Nobody's passwords but ours, and no ticket: a wrong setting must fail the same way wherever backupd runs. (A path that is
            // not there: libpq warns about /dev/null, which is no plain file.)
            ("PGPASSFILE", "/nonexistent/pgpass".to_owned()),
            ("PGGSSENCMODE", "disable".to_owned()),
        ];
        if let Some(password) = &self.password {
            vars.push(("PGPASSWORD", password.reveal().to_owned()));
        }
        if let Some(path) = self.authorities() {
            vars.push(("PGSSLROOTCERT", path.display().to_string()));
        }
        if let Some(options) = self.child_options() {
            vars.push(("PGOPTIONS", options));
        }
        if self.channel_binding {
            vars.push(("PGCHANNELBINDING", "require".to_owned()));
        }
        vars.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

fn system_authorities() -> &'static Path {
    let there = SYSTEM_AUTHORITIES
        .iter()
        .find(|path| Path::new(path).exists());
    Path::new(there.unwrap_or(&SYSTEM_AUTHORITIES[0]))
}

/// `postgres://user@host:port/database`, without the password.
impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if !self.user.is_empty() {
            write!(f, "{}@", utf8_percent_encode(&self.user, ESCAPED))?;
        }
        if self.host.contains(':') && !self.is_socket() {
            write!(f, "[{}]", self.host)?;
        } else {
            write!(f, "{}", utf8_percent_encode(&self.host, ESCAPED))?;
        }
        write!(
            f,
            ":{}/{}",
            self.port,
            utf8_percent_encode(&self.database, ESCAPED)
        )
    }
}

/// As `Display`: a password has no way out by `{:?}`.
impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dsn({self})")
    }
}
