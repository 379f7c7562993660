//! Settings by table: what an operator writes, and what they are told.

use super::*;
use engine::config::OtherDatabases;

use super::setting::Fallback;

fn good() -> BTreeMap<String, String> {
    [
        (
            "DATABASE_URL",
            "postgres://supabase_admin:secret@db:5432/postgres",
        ),
        (
            "KC_DB_URL",
            "jdbc:postgresql://kc-db:5432/keycloak?sslmode=require",
        ),
        ("KC_DB_USERNAME", "keycloak"),
        ("KC_DB_PASSWORD", "hidden"),
        ("SUPABASE_STORAGE_PATH", "/storage"),
        ("PATH", "/usr/bin"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn environment(changes: &[(&str, Option<&str>)]) -> Environment {
    let mut vars = good();
    for (name, value) in changes {
        match value {
            Some(value) => vars.insert((*name).to_owned(), (*value).to_owned()),
            None => vars.remove(*name),
        };
    }
    Environment::new(vars, Problems::default())
}

fn config(changes: &[(&str, Option<&str>)]) -> Result<Config, Problems> {
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    environment(changes).config(now)
}

fn complaint(changes: &[(&str, Option<&str>)]) -> String {
    config(changes).expect_err("must be refused").to_string()
}

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let config = config(&[]).unwrap();
    assert_eq!(config.backup_dir, PathBuf::from("/backups"));
    assert_eq!(config.databases.len(), 2);
    assert_eq!(config.databases[1].dsn.user, "keycloak");
    assert_eq!(config.trees.len(), 1);
    assert_eq!(config.retention.days, Some(7));
    assert_eq!(config.retention.min, 1);
}

#[test]
fn every_missing_setting_is_named() {
    for name in [
        "DATABASE_URL",
        "KC_DB_URL",
        "KC_DB_USERNAME",
        "KC_DB_PASSWORD",
        "SUPABASE_STORAGE_PATH",
    ] {
        let text = complaint(&[(name, None)]);
        assert!(text.contains(&format!("{name} is missing")), "{text}");
        assert!(text.starts_with("one setting is wrong"), "{text}");
        assert!(
            complaint(&[(name, Some("  "))]).contains(name),
            "empty is missing"
        );
    }
}

#[test]
fn all_problems_come_in_one_message() {
    let text = complaint(&[
        ("DATABASE_URL", None),
        ("KC_DB_PASSWORD", None),
        ("SUPABASE_STORAGE_PATH", Some("storage")),
        ("BACKUP_DIR", Some("backups")),
        ("BACKUP_RETENTION_DAY", Some("3")),
        ("BACKUP_KEEP_LAST", Some("-1")),
        ("BACKUP_THREADS", Some("many")),
        ("BACKUP_COMPRESSION", Some("brotli")),
        ("BACKUP_COMPRESSION_LEVEL", Some("99")),
        ("BACKUP_DUMP_FORMAT", Some("tar")),
        ("BACKUP_STEP_TIMEOUT", Some("soon")),
        ("BACKUP_LOG_FORMAT", Some("xml")),
        ("BACKUP_PORT", Some("8080")),
        ("BACKUP_EXTRA_PATHS", Some("env=.env")),
        (
            "BACKUP_EXTRA_DATABASES",
            Some("supabase=postgres://u:p@h/d"),
        ),
    ]);
    for part in [
        "15 settings are wrong",
        "DATABASE_URL is missing",
        "KC_DB_PASSWORD is missing",
        "SUPABASE_STORAGE_PATH=storage is not an absolute path",
        "BACKUP_DIR=backups is not an absolute path",
        "BACKUP_RETENTION_DAY is no setting of backupd: did you mean BACKUP_RETENTION_DAYS?",
        "BACKUP_KEEP_LAST=-1",
        "BACKUP_THREADS=many",
        "BACKUP_COMPRESSION=brotli is unknown: use gzip or zstd",
        "BACKUP_COMPRESSION_LEVEL=99 is not a whole number from 1 to 19",
        "BACKUP_DUMP_FORMAT=tar is unknown: use plain or custom",
        "BACKUP_STEP_TIMEOUT=soon",
        "BACKUP_LOG_FORMAT=xml",
        "BACKUP_PORT is for Compose, not for backupd: move it from backup.env to .env",
        "BACKUP_EXTRA_PATHS=env=.env has env=.env, which is not an absolute path",
        "the label `supabase` is taken",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

/// Misspelt, it would silence the daemon for good.
#[test]
fn a_log_level_is_one_and_a_filter_has_one() {
    let refused = |level: &str| complaint(&[("BACKUP_LOG", Some(level))]);
    for level in [
        "inof",
        "postgres=debug",
        "info,debgu",
        "info,postgres=debgu",
        ",",
    ] {
        let words = format!("BACKUP_LOG={level} is no log level: use error, warn, info");
        assert!(refused(level).contains(&words), "{}", refused(level));
    }
    for level in [
        "warn",
        "DEBUG",
        "info,postgres=debug",
        "postgres=trace,warn",
    ] {
        assert!(config(&[("BACKUP_LOG", Some(level))]).is_ok(), "{level}");
    }
}

/// What our Compose files read is told apart from what nobody knows.
#[test]
fn every_variable_of_the_compose_files_is_known_as_one() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for file in [
        "compose.backup.yml",
        "compose.alone.yml",
        "compose.keycloak.yml",
    ] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        for name in text.split("${").skip(1) {
            let name = name.split(['}', ':']).next().unwrap();
            let complaint = unknown(name).unwrap_or_default();
            let is_known = complaint.is_empty() || complaint.contains("is for Compose");
            assert!(is_known, "{file}: {complaint}");
        }
    }
}

#[test]
fn a_level_is_its_compressors() {
    for (format, compression, level, most) in [
        ("plain", "gzip", "13", "from 1 to 12"),
        ("custom", "gzip", "10", "from 1 to 9"),
        ("plain", "zstd", "20", "from 1 to 19"),
    ] {
        let text = complaint(&[
            ("BACKUP_DUMP_FORMAT", Some(format)),
            ("BACKUP_COMPRESSION", Some(compression)),
            ("BACKUP_COMPRESSION_LEVEL", Some(level)),
        ]);
        assert!(text.contains(most), "{text}");
    }
}

#[test]
fn no_message_holds_a_password() {
    let text = complaint(&[
        ("DATABASE_URL", Some("postgres://u:s3cret-word@[half/x")),
        (
            "BACKUP_EXTRA_DATABASES",
            Some("x=mysql://u:s3cret-word@h/d"),
        ),
        ("KC_DB_URL", Some("jdbc:mysql://h/d?password=s3cret-word")),
    ]);
    assert!(!text.contains("s3cret-word"), "{text}");
    let config = config(&[("KC_DB_PASSWORD", Some("s3cret-word"))]).unwrap();
    assert!(!format!("{config:?}").contains("s3cret-word"));
}

#[test]
fn secrets_come_from_files_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kc");
    std::fs::write(&file, "from-file\n").unwrap();
    let path = file.to_str();
    let read = config(&[("KC_DB_PASSWORD", None), ("KC_DB_PASSWORD_FILE", path)]).unwrap();
    assert_eq!(
        read.databases[1].dsn.password().unwrap().reveal(),
        "from-file"
    );

    assert!(complaint(&[("KC_DB_PASSWORD_FILE", path)]).contains("both set"));
    let gone = complaint(&[
        ("KC_DB_PASSWORD", None),
        ("KC_DB_PASSWORD_FILE", Some("/no/such")),
    ]);
    assert!(
        gone.contains("one setting is wrong")
            && gone.contains("KC_DB_PASSWORD_FILE=/no/such cannot be read"),
        "{gone}"
    );
    let session = complaint(&[
        ("DATABASE_URL", None),
        ("SESSION_DATABASE_URL_FILE", Some("/no/such")),
    ]);
    assert!(
        session.contains("one setting is wrong")
            && session.contains("SESSION_DATABASE_URL_FILE=/no/such cannot be read"),
        "{session}"
    );
}

/// A command that asks for one setting says why it has none, and takes no other way for want of it.
#[test]
fn a_secret_that_cannot_be_read_is_told_as_that_by_restores_and_drills() {
    let gone = Some("/no/such");
    let asked = environment(&[
        ("DATABASE_URL", None),
        ("DATABASE_URL_FILE", gone),
        ("BACKUP_DRILL_URL_FILE", gone),
    ]);
    let target = asked.restore_targets(&["supabase".to_owned()], None);
    let told = target.map(drop).unwrap_err().to_string();
    assert!(
        told.contains("DATABASE_URL_FILE=/no/such cannot be read") && !told.contains("missing"),
        "{told}"
    );
    let told = asked.drilling().map(drop).unwrap_err().to_string();
    assert!(
        told.contains("BACKUP_DRILL_URL_FILE=/no/such cannot be read"),
        "{told}"
    );
    let asked = environment(&[("BACKUP_RESTORE_URLS_FILE", gone)]);
    let target = asked.restore_targets(&["keycloak".to_owned()], None);
    let told = target.map(drop).unwrap_err().to_string();
    assert!(
        told.contains("BACKUP_RESTORE_URLS_FILE=/no/such cannot be read"),
        "{told}"
    );
}

#[test]
fn keycloak_can_be_named_by_parts_and_in_postgres_form() {
    let parts = config(&[
        ("KC_DB_URL", None),
        ("KC_DB_URL_HOST", Some("kc-db")),
        ("KC_DB_URL_DATABASE", Some("kc")),
        ("KC_DB_URL_PROPERTIES", Some("?sslmode=require")),
        ("KC_DB_SCHEMA", Some("kc_schema")),
    ])
    .unwrap();
    let dsn = &parts.databases[1].dsn;
    assert_eq!(
        (dsn.host.as_str(), dsn.port, dsn.database.as_str()),
        ("kc-db", 5432, "kc")
    );
    assert_eq!(dsn.schema.as_deref(), Some("kc_schema"));

    let form = config(&[("KC_DB_URL", Some("postgres://a:b@kc-db/keycloak"))]).unwrap();
    assert_eq!(
        form.databases[1].dsn.user, "keycloak",
        "KC_DB_USERNAME wins"
    );
}

#[test]
fn sources_can_be_chosen() {
    let only = config(&[
        ("BACKUP_SOURCES", Some("supabase")),
        ("KC_DB_URL", None),
        ("SUPABASE_STORAGE_PATH", None),
    ])
    .unwrap();
    assert_eq!((only.databases.len(), only.trees.len()), (1, 0));
    assert!(complaint(&[("BACKUP_SOURCES", Some("supabase,storag"))]).contains("`storag`"));
    assert!(complaint(&[("BACKUP_SOURCES", Some(","))]).contains("names no source"));
}

#[test]
fn extra_sources_keep_their_order_and_values_with_commas() {
    let read = config(&[
        (
            "BACKUP_EXTRA_DATABASES",
            Some("a=postgres://u:p%2C@h/a, b=postgres://u@h/b"),
        ),
        ("BACKUP_EXTRA_PATHS", Some("env=/srv/a,b/.env,keys=/keys")),
    ])
    .unwrap();
    let labels: Vec<&str> = read.databases.iter().map(|d| d.label.as_str()).collect();
    assert_eq!(labels, ["supabase", "keycloak", "a", "b"]);
    assert_eq!(read.trees[1].root, PathBuf::from("/srv/a,b/.env"));
    assert_eq!(read.trees[2].file_stem(), "extra_keys.tar");
}

#[test]
fn other_databases_by_table() {
    let named = |names: &[&str]| {
        OtherDatabases::Named(names.iter().map(|name| (*name).to_owned()).collect())
    };
    for (value, others) in [
        (None, OtherDatabases::Told),
        (Some("all"), OtherDatabases::All),
        (Some("none"), OtherDatabases::LeftOut),
        (Some("_supabase"), named(&["_supabase"])),
        (Some("_supabase, All"), named(&["_supabase", "All"])),
    ] {
        let read = config(&[("BACKUP_DATABASES", value)]).unwrap();
        assert_eq!(read.others, others, "{value:?}");
    }
    assert!(complaint(&[("BACKUP_DATABASES", Some(","))]).contains("names no database"));
    for mixed in ["all,shop", "shop, none"] {
        assert!(complaint(&[("BACKUP_DATABASES", Some(mixed))]).contains("with names: say "));
    }
    let elsewhere = complaint(&[
        ("BACKUP_DATABASES", Some("all")),
        ("BACKUP_SOURCES", Some("keycloak")),
    ]);
    assert!(elsewhere.contains("is of Supabase's server"), "{elsewhere}");
}

#[test]
fn a_set_names_databases_of_its_own_server_alone() {
    let artifact = |label: &str, host: &str, database: &str| {
        serde_json::json!({
            "file": format!("{label}_db.sql.gz"), "kind": "database", "label": label, "format": "plain", "compression": "gzip",
            "bytes": 1, "raw_bytes": 1, "sha256": "00",
            "source": {"host": host, "port": 5432, "database": database, "user": "u", "server_version": "15.8"}
        })
    };
    let mut set = Manifest::begin(
        "20261120T020000Z".parse().unwrap(),
        "manual",
        "2026-11-20T02:00:00Z".parse().unwrap(),
    );
    set.artifacts = [
        artifact("supabase", "old-db", "postgres"),
        artifact("_supabase", "old-db", "_supabase"),
        artifact("elsewhere", "other", "_supabase"),
        // Would come over Supabase's own.
        artifact("twin", "old-db", "postgres"),
    ]
    .map(|artifact| serde_json::from_value(artifact).unwrap())
    .into();
    let environment = Environment::new(good(), Problems::default());
    assert_eq!(
        environment.database_labels(Some(&set)),
        ["supabase", "keycloak", "_supabase"]
    );
    let targets = environment
        .restore_targets(&["_supabase".to_owned()], Some(&set))
        .unwrap();
    let dsn = &targets[0].source.dsn;
    assert_eq!(
        (dsn.host.as_str(), dsn.database.as_str()),
        ("db", "_supabase")
    );
    for label in ["elsewhere", "twin"] {
        assert!(
            environment
                .restore_targets(&[label.to_owned()], Some(&set))
                .is_err(),
            "{label}"
        );
    }
}

#[test]
fn the_session_url_wins() {
    let read = config(&[(
        "SESSION_DATABASE_URL",
        Some("postgres://a:b@direct:5433/postgres"),
    )])
    .unwrap();
    assert_eq!(read.databases[0].dsn.host, "direct");
}

fn service(changes: &[(&str, &str)]) -> Result<Service, Problems> {
    let mut vars = good();
    for (name, value) in changes {
        vars.insert((*name).to_owned(), (*value).to_owned());
    }
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    Environment::new(vars, Problems::default()).service(now)
}

#[test]
fn the_daemon_has_the_documented_defaults() {
    let service = service(&[]).unwrap();
    assert_eq!(service.schedule.unwrap().to_string(), "0 2 * * * (UTC)");
    assert_eq!(service.jitter, std::time::Duration::ZERO);
    assert_eq!((service.catch_up, service.retries), (true, 2));
    assert_eq!(service.max_age, chrono::TimeDelta::hours(26));
    assert_eq!(service.http_addr.to_string(), "0.0.0.0:8484");
    assert_eq!(
        service.control_socket,
        PathBuf::from("/run/backupd/control.sock")
    );
}

#[test]
fn the_daemons_settings_by_table() {
    for (name, value, complaint) in [
        ("BACKUP_SCHEDULE", "off", None),
        ("BACKUP_SCHEDULE", "@hourly", None),
        ("BACKUP_SCHEDULE", "0 0 2 * * *", None),
        ("BACKUP_SCHEDULE", "nightly", Some("1 field")),
        ("BACKUP_TIMEZONE", "Asia/Kathmandu", None),
        (
            "BACKUP_TIMEZONE",
            "europe/berlin",
            Some("did you mean Europe/Berlin?"),
        ),
        ("BACKUP_JITTER", "15m", None),
        ("BACKUP_JITTER", "0", None),
        ("BACKUP_JITTER", "24h", Some("shortest pause")),
        ("BACKUP_JITTER", "-3", Some("no span of time")),
        ("BACKUP_DRILL_FENCE", "maybe", Some("use on or off")),
        ("BACKUP_RETRIES", "21", Some("from 0 to 20")),
        ("BACKUP_HTTP_ADDR", "[::]:8484", None),
        ("BACKUP_HTTP_ADDR", "8484", Some("IP:PORT")),
        ("BACKUP_HTTP_HOSTS", "status.example.org, Backup", None),
        (
            "BACKUP_HTTP_HOSTS",
            "https://status.example.org",
            Some("no name of a host"),
        ),
        (
            "BACKUP_CONTROL_SOCKET",
            "control.sock",
            Some("not an absolute path"),
        ),
        (
            "BACKUP_CONTROL_SOCKET",
            &format!("/{}", "x".repeat(107)),
            Some("longer than the 107 bytes"),
        ),
    ] {
        match (service(&[(name, value)]), complaint) {
            (Ok(_), None) => {}
            (Err(problems), Some(words)) => {
                let text = problems.to_string();
                assert!(text.contains(name) && text.contains(words), "{text}");
                // `check` and `run` say the same.
                let of_run = config(&[(name, Some(value))]).unwrap_err();
                assert_eq!(of_run.to_string(), text);
            }
            (read, _) => panic!("{name}={value}: {read:?}"),
        }
    }
}

#[test]
fn what_a_default_says_is_what_holds_without_it() {
    let said: Vec<(&str, &str)> = SETTINGS
        .iter()
        .filter_map(|setting| match setting.fallback {
            Fallback::Text(text) => Some((setting.name, text)),
            _ => None,
        })
        .collect();
    assert!(said.len() > 20);
    assert_eq!(
        format!("{:?}", service(&said).unwrap()),
        format!("{:?}", service(&[]).unwrap())
    );
}
