//! The `postgres://` form. Facts: PostgreSQL manual, 34.1.1.2 "Connection URIs" and 34.1.2 "Parameter Key Words".

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::{Dsn, DsnError, PORT, Secret, SslMode};

const FORM: &str = "postgres://USER:PASSWORD@HOST:5432/DATABASE";
/// Parameters of libpq that change nothing for a dump, or that backupd sets itself.
const WITHOUT_EFFECT: [&str; 21] = [
    "application_name",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcompression",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];
const NO_CLIENT_CERTIFICATE: &str = "client certificates are not supported; use a password";
/// Parameters of libpq that say something backupd cannot do: better refused than dropped.
const UNSUPPORTED: [(&str, &str); 12] = [
    ("hostaddr", "write the address as the host"),
    (
        "passfile",
        "put the password into the URL, or the URL into a file",
    ),
    ("replication", "a dump needs an ordinary connection"),
    (
        "require_auth",
        "leave it out; the server decides how to ask for the password",
    ),
    ("requirepeer", "leave it out"),
    ("service", "write the address itself"),
    ("sslcert", NO_CLIENT_CERTIFICATE),
    ("sslcertmode", NO_CLIENT_CERTIFICATE),
    ("sslcrl", "revocation lists are not supported"),
    ("sslcrldir", "revocation lists are not supported"),
    ("sslkey", NO_CLIENT_CERTIFICATE),
    ("sslpassword", NO_CLIENT_CERTIFICATE),
];
/// libpq's values of `sslmode`.
pub(super) const SSL_MODES: &str = "disable, allow, prefer, require, verify-ca, verify-full";

impl Dsn {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?name=value…` as libpq does: percent-encoded parts, IPv6 in brackets, a socket's
    /// directory as the encoded host or as the parameter `host`. Unlike libpq it wants host and user to be said.
    pub fn parse(text: &str) -> Result<Self, DsnError> {
        let dsn = parse(text)?;
        if dsn.user.is_empty() {
            return Err(DsnError::Missing(
                "no user: write postgres://USER:PASSWORD@HOST:5432/DATABASE",
            ));
        }
        Ok(dsn)
    }
}

/// Reads the form; the user may be missing.
pub(super) fn parse(text: &str) -> Result<Dsn, DsnError> {
    let text = text.trim();
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
        .ok_or(DsnError::Scheme(FORM))?;
    // One @ at most, and none behind the authority: anything else is a password that was not encoded, and every later message
    // could show a piece of it.
    let authority_ends = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_ends);
    if rest.contains('#') || tail.contains('@') || authority.matches('@').count() > 1 {
        return Err(DsnError::NotEncoded);
    }
    let (credentials, place) = match authority.split_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, authority),
    };
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let (host, port) = split_place(place)?;
    let mut dsn = Dsn::at(
        decode(host, "the host")?,
        port,
        decode(path.strip_prefix('/').unwrap_or(path), "the database")?,
    );
    if let Some(credentials) = credentials {
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (credentials, None),
        };
        dsn.user = decode(user, "the user")?;
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            dsn.password = Some(Secret::new(decode(password, "the password")?));
        }
    }
    let parameters = parameters(query)?;
    let tells_password = parameters.iter().any(|(name, _)| name == "password");
    for (name, value) in parameters {
        set(&mut dsn, &name, value, tells_password)?;
    }
    finish(dsn)
}

/// What holds of every form.
pub(super) fn finish(mut dsn: Dsn) -> Result<Dsn, DsnError> {
    if dsn.host.is_empty() {
        return Err(DsnError::Missing(
            "no host: name the server, or a socket's directory by ?host=/run/postgresql",
        ));
    }
    if dsn.host.contains(',') {
        return Err(DsnError::SeveralHosts);
    }
    if dsn.database.is_empty() {
        // libpq's default.
        dsn.database.clone_from(&dsn.user);
    }
    if dsn.database.is_empty() {
        return Err(DsnError::Missing(
            "no database: write it after the host, as in HOST:5432/DATABASE",
        ));
    }
    Ok(dsn)
}

/// `host`, `host:port`, `[address]:port`; an empty host stays empty.
pub(super) fn split_place(place: &str) -> Result<(&str, u16), DsnError> {
    if place.contains(',') {
        return Err(DsnError::SeveralHosts);
    }
    let (host, port) = if let Some(inside) = place.strip_prefix('[') {
        let (host, rest) = inside.split_once(']').ok_or(DsnError::Brackets)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, port),
            None if rest.is_empty() => (host, ""),
            None => return Err(DsnError::Brackets),
        }
    } else {
        match place.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(DsnError::Brackets),
            Some((host, port)) => (host, port),
            None => (place, ""),
        }
    };
    Ok((
        host,
        if port.is_empty() {
            PORT
        } else {
            port_of(port)?
        },
    ))
}

pub(super) fn port_of(text: &str) -> Result<u16, DsnError> {
    match text.parse() {
        Ok(0) | Err(_) => Err(DsnError::Port),
        Ok(port) => Ok(port),
    }
}

/// Decoded names and values.
fn parameters(query: &str) -> Result<Vec<(String, String)>, DsnError> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(DsnError::Parameter)?;
        pairs.push((
            decode(name, "a parameter's name")?,
            decode(value, "a parameter")?,
        ));
    }
    Ok(pairs)
}

fn set(dsn: &mut Dsn, name: &str, value: String, tells_password: bool) -> Result<(), DsnError> {
    match name {
        "host" => dsn.host = value,
        "port" => dsn.port = port_of(&value)?,
        "user" => dsn.user = value,
        "password" => dsn.password = Some(Secret::new(value)),
        "dbname" => dsn.database = value,
        "sslmode" => dsn.ssl_mode = ssl_mode(&value)?,
        "sslrootcert" => set_root_cert(dsn, value)?,
        "options" => dsn.options = Some(value),
        "channel_binding" => {
            dsn.channel_binding = match value.as_str() {
                "require" => true,
                "prefer" | "disable" => false,
                _ => {
                    return Err(DsnError::Value {
                        name: "channel_binding",
                        known: "require, prefer, disable",
                    });
                }
            };
        }
        "sslnegotiation" if value == "postgres" => {}
        "sslnegotiation" => {
            return Err(DsnError::Unsupported {
                name: "sslnegotiation",
                instead: "only `postgres` is supported; leave it out",
            });
        }
        _ => {
            if let Some((name, instead)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
                return Err(DsnError::Unsupported { name, instead });
            }
            if !WITHOUT_EFFECT.contains(&name) {
                // A password with a bare & ends in a parameter of its own: then the name is not shown.
                let name = (!tells_password).then(|| name.to_owned());
                return Err(DsnError::UnknownParameter(name));
            }
        }
    }
    Ok(())
}

pub(super) fn ssl_mode(value: &str) -> Result<SslMode, DsnError> {
    SslMode::from_name(value).ok_or(DsnError::Value {
        name: "sslmode",
        known: SSL_MODES,
    })
}

pub(super) fn set_root_cert(dsn: &mut Dsn, value: String) -> Result<(), DsnError> {
    // The system's authorities are what the verifying modes use by themselves; libpq makes this mean verify-full.
    if value == "system" {
        dsn.ssl_mode = SslMode::VerifyFull;
        return Ok(());
    }
    if !value.starts_with('/') {
        return Err(DsnError::Unsupported {
            name: "sslrootcert",
            instead: "write the absolute path of a PEM file, or `system`",
        });
    }
    dsn.ssl_root_cert = Some(PathBuf::from(value));
    Ok(())
}

/// Undoes percent-encoding. `what` names the part.
pub(super) fn decode(text: &str, what: &'static str) -> Result<String, DsnError> {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        let digits = bytes.get(at + 1..at + 3).unwrap_or_default();
        if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(DsnError::Percent(what));
        }
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| DsnError::Percent(what))?;
    // No name or password of PostgreSQL holds a zero byte, and no environment variable can.
    if decoded.contains('\0') {
        return Err(DsnError::Percent(what));
    }
    Ok(decoded.into_owned())
}
