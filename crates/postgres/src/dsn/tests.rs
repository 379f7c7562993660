use proptest::prelude::*;

use super::{Dsn, DsnError, SslMode};

fn env(dsn: &Dsn, name: &str) -> Option<String> {
    dsn.child_env()
        .into_iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

/// Host, port, user, password, database of a DSN.
fn parts(dsn: &Dsn) -> (&str, u16, &str, &str, &str) {
    let password = dsn.password().map_or("", |secret| secret.reveal());
    (&dsn.host, dsn.port, &dsn.user, password, &dsn.database)
}

#[test]
fn postgres_urls_are_read_as_libpq_reads_them() {
    let table = [
        ("postgres://u:p@h:1/d", ("h", 1, "u", "p", "d")),
        ("postgresql://u@h/d\n", ("h", 5432, "u", "", "d")),
        ("postgres://u:@h", ("h", 5432, "u", "", "u")),
        (
            "postgres://u%40x:p%40%2F%23%3F%25%3A@h/d%20b",
            ("h", 5432, "u@x", "p@/#?%:", "d b"),
        ),
        (
            "postgres://postgres.tenant:a:b@pooler:6543/postgres",
            ("pooler", 6543, "postgres.tenant", "a:b", "postgres"),
        ),
        (
            "postgres://u:p@[2001:db8::1]:5433/d",
            ("2001:db8::1", 5433, "u", "p", "d"),
        ),
        ("postgres://u@[::1]/d", ("::1", 5432, "u", "", "d")),
        (
            "postgres://u@%2Frun%2Fpostgresql:5433/d",
            ("/run/postgresql", 5433, "u", "", "d"),
        ),
        (
            "postgres:///d?host=/run/postgresql&user=u&password=p&port=7",
            ("/run/postgresql", 7, "u", "p", "d"),
        ),
        (
            "postgres://u@h?dbname=d&application_name=x&connect_timeout=3",
            ("h", 5432, "u", "", "d"),
        ),
        ("postgres://u:p%C3%A4@h/d", ("h", 5432, "u", "pä", "d")),
    ];
    for (text, expected) in table {
        let dsn = Dsn::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parts(&dsn), expected, "{text}");
    }
}

#[test]
fn faults_are_named_with_their_fix() {
    let table = [
        ("mysql://u:p@h/d", "not a PostgreSQL URL"),
        ("host=h user=u", "not a PostgreSQL URL"),
        ("postgres://u:p@ss@h/d", "@ as %40"),
        ("postgres://u:p/ss@h/d", "/ as %2F"),
        ("postgres://u:p#ss@h/d", "# as %23"),
        ("postgres://u:p?ss@h/d", "? as %3F"),
        ("postgres://u:p%ss@h/d", "the password holds a %"),
        ("postgres://u:p%00@h/d", "the password holds a %"),
        ("postgres://u:p%ff@h/d", "the password holds a %"),
        ("postgres://h/d", "no user"),
        ("postgres://u:p@/d", "no host"),
        ("postgres://u:p@h:x/d", "the port"),
        ("postgres://u:p@h:0/d", "the port"),
        ("postgres://u:p@h:65536/d", "the port"),
        ("postgres://u:p@a,b/d", "several hosts"),
        ("postgres://u:p@a:1,b:2/d", "several hosts"),
        ("postgres://u:p@[::1/d", "brackets"),
        ("postgres://u:p@::1/d", "brackets"),
        (
            "postgres://u@h/d?sslmode=on",
            "sslmode is none of disable, allow",
        ),
        ("postgres://u@h/d?sslmode", "no value"),
        (
            "postgres://u@h/d?pgbouncer=true",
            "`pgbouncer` is no parameter",
        ),
        (
            "postgres://u@h/d?sslcert=/c",
            "client certificates are not supported",
        ),
        ("postgres://u@h/d?sslrootcert=ca.pem", "absolute path"),
        ("postgres://u@h/d?service=x", "service cannot be used"),
    ];
    for (text, words) in table {
        let error = Dsn::parse(text).expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn jdbc_urls_are_read_as_pgjdbc_reads_them() {
    let table = [
        ("jdbc:postgresql://h:1/d", ("h", 1, "", "", "d")),
        (
            "jdbc:postgresql://h/d?user=u&password=a+b%2Bc@d",
            ("h", 5432, "u", "a b+c@d", "d"),
        ),
        ("jdbc:postgresql:d", ("localhost", 5432, "", "", "d")),
        ("jdbc:postgresql:///d", ("localhost", 5432, "", "", "d")),
        (
            "jdbc:postgresql://[::1]:5433/d?unknown=1&tcpKeepAlive",
            ("::1", 5433, "", "", "d"),
        ),
        ("postgres://u:p@h/d", ("h", 5432, "u", "p", "d")),
        ("postgresql://h/d", ("h", 5432, "", "", "d")),
    ];
    for (text, expected) in table {
        let dsn = Dsn::parse_jdbc(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parts(&dsn), expected, "{text}");
    }
    let schemas = [
        ("currentSchema=kc", Some("kc")),
        ("currentSchema=kc,public", Some("kc")),
        ("currentSchema=", None),
    ];
    for (query, schema) in schemas {
        let dsn = Dsn::parse_jdbc(&format!("jdbc:postgresql://h/d?{query}")).unwrap();
        assert_eq!(dsn.schema.as_deref(), schema);
    }
    let faults = [
        ("jdbc:mysql://h/d", "not a PostgreSQL URL"),
        (
            "jdbc:postgresql://u:p@h/d",
            "no user and password before its host",
        ),
        (
            "jdbc:postgresql://u:5/p@h/d",
            "no user and password before its host",
        ),
        (
            "jdbc:postgresql://u:/p?@h",
            "no user and password before its host",
        ),
        ("jdbc:postgresql://a,b/d", "several hosts"),
        ("jdbc:postgresql://h:5432/", "no database"),
        ("jdbc:postgresql://h:5432", "no database"),
        ("jdbc:postgresql://h/d?sslmode=x", "sslmode"),
    ];
    for (text, words) in faults {
        let error = Dsn::parse_jdbc(text).expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn tls_is_what_each_form_means() {
    use SslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
    let table = [
        ("postgres://u@h/d", Prefer),
        ("postgres://u@h/d?sslmode=allow", Prefer),
        ("postgres://u@h/d?sslmode=disable", Disable),
        ("postgres://u@h/d?sslmode=verify-ca", VerifyCa),
        ("postgres://u@h/d?sslrootcert=system", VerifyFull),
        ("jdbc:postgresql://h/d", Prefer),
        ("jdbc:postgresql://h/d?sslmode=require", Require),
        ("jdbc:postgresql://h/d?ssl=true", VerifyFull),
        (
            "jdbc:postgresql://h/d?ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory",
            Require,
        ),
        ("jdbc:postgresql://h/d?ssl=true&sslmode=verify-ca", VerifyCa),
    ];
    for (text, mode) in table {
        assert_eq!(Dsn::parse_jdbc(text).unwrap().ssl_mode, mode, "{text}");
    }
    let checked = Dsn::parse("postgres://u@h/d?sslmode=require&sslrootcert=/ca.pem").unwrap();
    assert_eq!(env(&checked, "PGSSLROOTCERT").as_deref(), Some("/ca.pem"));
    let unchecked = Dsn::parse("postgres://u@h/d?sslmode=require").unwrap();
    assert_eq!(env(&unchecked, "PGSSLROOTCERT"), None);
    let full = Dsn::parse("postgres://u@h/d?sslmode=verify-full").unwrap();
    assert!(env(&full, "PGSSLROOTCERT").is_some(), "libpq needs a file");
}

#[test]
fn children_get_everything_by_the_environment() {
    let dsn =
        Dsn::parse("postgres://u:p%40@h:6/d?options=-c%20a%3Db&channel_binding=require").unwrap();
    let expected = [
        ("PGHOST", "h"),
        ("PGPORT", "6"),
        ("PGUSER", "u"),
        ("PGPASSWORD", "p@"),
        ("PGDATABASE", "d"),
        ("PGSSLMODE", "prefer"),
        ("PGCHANNELBINDING", "require"),
        ("PGAPPNAME", "backupd"),
    ];
    for (name, value) in expected {
        assert_eq!(env(&dsn, name).as_deref(), Some(value), "{name}");
    }
    let options = env(&dsn, "PGOPTIONS").unwrap();
    assert!(options.starts_with("-c a=b -c search_path= "), "{options}");
}

#[test]
fn what_is_shown_can_be_read_again() {
    for text in [
        "postgres://u:p@h/d",
        "postgres://u@[::1]:1/d",
        "postgres://a%40b@%2Frun:5/d%2Fe",
        "postgres://ü@h/ö",
    ] {
        let dsn = Dsn::parse(text).unwrap();
        let shown = Dsn::parse(&dsn.to_string()).unwrap();
        assert_eq!(
            (shown.host, shown.port, shown.user, shown.database),
            (dsn.host, dsn.port, dsn.user, dsn.database)
        );
    }
}

#[test]
fn credentials_given_apart_win() {
    let dsn = Dsn::parse_jdbc("jdbc:postgresql://h/d?user=a&password=b").unwrap();
    let dsn = dsn.with_credentials(Some("kc".to_owned()), Some("s".to_owned()));
    assert_eq!(parts(&dsn), ("h", 5432, "kc", "s", "d"));
    let kept = dsn.clone().with_credentials(None, None);
    assert_eq!(dsn, kept);
}

const SECRET: &str = "Tr0ub4dor";

/// Whatever a reader is told, it is not the secret, nor a part of it worth knowing.
fn shows_nothing(read: Result<Dsn, DsnError>) {
    let told = match read {
        Ok(dsn) => format!("{dsn} {dsn:?} {dsn:#?} {:?}", dsn.password()),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!told.contains(SECRET), "{told}");
}

proptest! {
    /// The secret stands between any special characters, encoded or not, in every place that a password has.
    #[test]
    fn the_password_is_never_shown(
        before in "[-@/#?%:&=+,;.a\\[\\]]{0,4}",
        after in "[-@/#?%:&=+,;.a\\[\\]]{0,4}",
        tail in "(h|h:5432|\\[::1\\]|h:x|)(/d)?(\\?sslmode=(x|require))?",
    ) {
        let secret = format!("{before}{SECRET}{after}");
        for scheme in ["postgres", "postgresql", "postgre"] {
            shows_nothing(Dsn::parse(&format!("{scheme}://user:{secret}@{tail}")));
            shows_nothing(Dsn::parse_jdbc(&format!("{scheme}://user:{secret}@{tail}")));
            shows_nothing(Dsn::parse(&format!("{scheme}://user@h/d?password={secret}")));
            shows_nothing(Dsn::parse(&format!("{scheme}://user@h/d?sslmode=disable&password={secret}&port=1")));
        }
        shows_nothing(Dsn::parse_jdbc(&format!("jdbc:postgresql://user:{secret}@{tail}")));
        shows_nothing(Dsn::parse_jdbc(&format!("jdbc:postgresql://h/d?user=u&password={secret}&sslmode=x")));
        shows_nothing(Dsn::parse_jdbc(&format!("jdbc:postgresql://h/d?password={secret}&currentSchema=s")));
    }

    #[test]
    fn an_encoded_password_comes_through_whole(password in "[^\0]{1,20}", user in "[^\0]{1,10}") {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let dsn = Dsn::parse(&format!("postgres://{}:{}@h/d", encode(&user), encode(&password))).unwrap();
        prop_assert_eq!(parts(&dsn), ("h", 5432, user.as_str(), password.as_str(), "d"));
        let jdbc = Dsn::parse_jdbc(&format!("jdbc:postgresql://h/d?password={}", encode(&password))).unwrap();
        prop_assert_eq!(jdbc.password().unwrap().reveal(), password.as_str());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>(), tail in any::<String>()) {
        let _ = Dsn::parse(&text);
        let _ = Dsn::parse_jdbc(&format!("jdbc:postgresql:{text}"));
        let _ = Dsn::parse(&format!("postgres://{text}@{tail}"));
    }
}
