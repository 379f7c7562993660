//! The repairs of what is wrong with a server or a database.

use engine::finding::{NoAnswer, Place};
use postgres::remark::About;
use postgres::server::ident;

use super::shell::{Url, Where, quoted, sudo};

pub fn server(place: &Place, how: NoAnswer, at: Where) -> (&'static str, Vec<String>) {
    match how {
        NoAnswer::Silent => (
            "The server is down, or is not to be found by this name from here.",
            match at {
                Where::Compose => ["up -d", "logs --tail 20"]
                    .map(|what| {
                        let line = format!("docker compose {what} {}", quoted(&place.host));
                        at.in_project_of(place, &line)
                    })
                    .to_vec(),
                Where::Host => vec![
                    format!("pg_isready -h {} -p {}", quoted(&place.host), place.port),
                    sudo("systemctl start postgresql"),
                ],
            },
        ),
        NoAnswer::Rejected if place.label == "keycloak" => (
            "The server does not take the password that the settings have.",
            at.either(
                &[
                    "read -rsp \"Keycloak's database password: \" PW && printf '%s' \"$PW\" > secrets/keycloak_db_password && \
                     docker compose up -d --force-recreate backup",
                ],
                &["read -rsp \"Keycloak's database password: \" PW && export KC_DB_PASSWORD=\"$PW\""],
            ),
        ),
        NoAnswer::Rejected if place.label == "supabase" => (
            "The server does not take the password that the settings have.",
            at.set_url(
                "DATABASE_URL",
                None,
                &Url {
                    user: &place.user,
                    host: &place.host,
                    port: place.port,
                    database: &place.database,
                },
            ),
        ),
        NoAnswer::Rejected => (
            "The server does not take the password that BACKUP_EXTRA_DATABASES has. This asks for one, and tells whether it is right.",
            vec![at.psql(place, &place.user, &place.database, "SELECT 1")],
        ),
        NoAnswer::NoDatabase => (
            "The settings name a database that the server does not have: these are there.",
            vec![at.psql(place, &place.user, "template1", "SELECT datname FROM pg_database")],
        ),
        NoAnswer::Tls => (
            "The server's certificate, or sslmode and sslrootcert of the URL, are not right.",
            vec![format!(
                "openssl s_client -starttls postgres -connect {} </dev/null",
                quoted(&format!("{}:{}", place.host, place.port))
            )],
        ),
        NoAnswer::Other => (
            "The server answers, and refuses.",
            vec![at.psql(place, &place.user, &place.database, "SELECT 1")],
        ),
    }
}

#[allow(
    clippy::too_many_lines,
    reason = "one arm a remark, each of a few lines"
)]
pub fn database(place: &Place, about: &About, at: Where) -> (&'static str, Vec<String>) {
    let sql = |user: &str, text: &str| at.psql(place, user, &place.database, text);
    match about {
        About::HalfRestored => (
            "A run takes no half-restored database for a whole one. When no restore is at work, this puts the one before back.",
            vec![at.restore(&format!("--undo --only {}", quoted(&place.label)))],
        ),
        About::Newer { major } => (
            "pg_dump refuses servers that are newer than itself.",
            match at {
                Where::Compose => vec![
                    format!("printf 'BACKUP_SUITE=forky\\nBACKUP_PG_MAJOR={major}\\n' >> .env"),
                    "docker compose build backup && docker compose up -d backup".to_owned(),
                ],
                Where::Host => vec![sudo(&format!(
                    "apt-get install -y postgresql-client-{major}"
                ))],
            },
        ),
        About::MayNotRead { able } => (
            "A dump that leaves out what its role may not read is no backup, so none is made.",
            match (place.label.as_str(), able.first()) {
                ("supabase", Some(able)) => at.set_url(
                    "DATABASE_URL",
                    None,
                    &Url {
                        user: able,
                        host: &place.host,
                        port: place.port,
                        database: &place.database,
                    },
                ),
                (_, able) => {
                    let role = ident(&place.user);
                    let able = able.map_or("postgres", String::as_str);
                    vec![sql(
                        able,
                        &format!("GRANT pg_read_all_data TO {role}; ALTER ROLE {role} BYPASSRLS"),
                    )]
                }
            },
        ),
        About::Pooler => (
            "A pooler gives each transaction another session, and a dump needs one that stays.",
            at.set_url(
                "SESSION_DATABASE_URL",
                None,
                &Url {
                    user: &place.user,
                    host: &place.host,
                    port: 5432,
                    database: &place.database,
                },
            ),
        ),
        About::Standby => (
            "A standby can be dumped, with care, and nothing can be restored to it: the settings must name the primary.",
            vec![sql(
                &place.user,
                "SELECT sender_host, sender_port FROM pg_stat_wal_receiver",
            )],
        ),
        About::NotUtf8 => (
            "The names that are said could not be made anew by a restore.",
            Vec::new(),
        ),
        About::Locks { wanted } => (
            "A dump locks every table at once, and the server has no room to note that many locks.",
            vec![
                sql(
                    &place.user,
                    &format!("ALTER SYSTEM SET max_locks_per_transaction = {wanted}"),
                ),
                at.restart(place),
            ],
        ),
        About::Prepared { names } => (
            "A prepared transaction holds its database until somebody ends it: nobody can exchange it. Roll it back where its program is \
             gone; COMMIT PREPARED where it was meant.",
            names
                .iter()
                .map(|name| sql(&place.user, &format!("ROLLBACK PREPARED {name}")))
                .collect(),
        ),
        About::InvalidIndexes { names } => (
            "An index whose building failed is in no dump.",
            names
                .iter()
                .map(|name| sql(&place.user, &format!("REINDEX INDEX {name}")))
                .collect(),
        ),
        About::ForeignRefreshes => (
            "A restore fills them anew, for which the other server must answer.",
            Vec::new(),
        ),
        About::LostNames => (
            "At load such a function does not find its table. Give each that is named its path: ALTER FUNCTION … SET search_path = public.",
            Vec::new(),
        ),
        About::UnsteadyChecks => (
            "A row that was right when it was written may be refused at load. A drill tells whether any is.",
            vec![at.backupd("verify --drill")],
        ),
        About::Tablespaces => (
            "The server to restore to needs tablespaces of these names; where they are, it does not matter.",
            vec![sql(&place.user, "SELECT spcname FROM pg_tablespace")],
        ),
    }
}
