//! What a fault means, and the lines that repair it: as they are typed where Compose runs backupd, or on a host.
//!
//! Names of databases and the like are chosen by users: each is quoted for the shell, and no line breaks in two.

mod servers;
mod shell;

use engine::finding::Fault;
use postgres::server::ident;
use postgres::words::one_line;

use servers::{database, server};
use shell::{Url, ids, owner, quoted, sudo, uid};
pub use shell::{Where, path};

/// A repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// What the fault means.
    pub meaning: &'static str,
    /// To paste; none where no line is right everywhere.
    pub lines: Vec<String>,
}

/// The repair of a fault.
pub fn remedy(fault: &Fault, at: Where) -> Remedy {
    let (meaning, lines) = told(fault, at);
    Remedy {
        meaning,
        lines: lines.iter().map(|line| one_line(line)).collect(),
    }
}

#[allow(
    clippy::too_many_lines,
    reason = "one arm a fault, each of a few lines"
)]
fn told(fault: &Fault, at: Where) -> (&'static str, Vec<String>) {
    match fault {
        Fault::Settings { wrong, right } => (
            "A command stops at a setting that is wrong before it does anything, and the daemon does not start.",
            renamed(wrong, right.as_deref(), at),
        ),
        Fault::NoDirectory(dir) => (
            "There is nowhere to keep sets, and those that are elsewhere are not seen.",
            match at {
                Where::Compose => at.either(
                    &[
                        "sudo install -d -o 10001 -g 10001 -m 0700 /srv/backups",
                        "docker compose up -d --force-recreate backup",
                    ],
                    &[],
                ),
                Where::Host => vec![sudo(&format!("install -d {} -m 0700 {}", owner(), path(dir)))],
            },
        ),
        Fault::DirectoryNotWritable(dir) => (
            "No set can be made. Those that are there can be restored as far as they can be read.",
            match at {
                Where::Compose => at.either(
                    &["docker compose run --rm --entrypoint sh restore -c 'chown -R 10001:10001 /backups && chmod -R u+rwX /backups'"],
                    &[],
                ),
                Where::Host => vec![
                    sudo(&format!("chown -R {} {}", ids(), path(dir))),
                    sudo(&format!("chmod -R u+rwX {}", path(dir))),
                ],
            },
        ),
        Fault::NoTools => (
            "Dumps and restores are PostgreSQL's own programs' work.",
            at.rebuilt("postgresql-client"),
        ),
        Fault::NoRoom(dir) => (
            "The next run would refuse to begin. What retention no longer keeps makes room first.",
            vec![at.backupd("prune"), format!("df -h {}", path(dir))],
        ),
        Fault::Server(place, how) => server(place, *how, at),
        Fault::Database(place, about) => database(place, about, at),
        Fault::Owners => (
            "Keycloak changes its own tables when it is upgraded, and may change only those that its role owns.",
            Vec::new(),
        ),
        Fault::NotKeycloak => (
            "A set would hold a database that is not Keycloak's.",
            at.either(&["grep KC_DB backup.env"], &["env | grep KC_DB_URL"]),
        ),
        Fault::MayNotRestore { place, able } => (
            "A dump takes a role that reads everything, a restore one that may make databases and roles: a superuser. On the worst day \
             somebody would have to find its password first.",
            at.set_url(
                "BACKUP_RESTORE_URLS",
                Some(&place.label),
                &Url {
                    user: able.first().map_or("postgres", String::as_str),
                    host: &place.host,
                    port: place.port,
                    database: "postgres",
                },
            ),
        ),
        Fault::InNoSet { of_supabase: true } => (
            "What is in no set cannot be restored.",
            at.set("BACKUP_DATABASES", "all"),
        ),
        Fault::InNoSet { of_supabase: false } => (
            "What is in no set cannot be restored; BACKUP_EXTRA_DATABASES takes it.",
            Vec::new(),
        ),
        Fault::Gone => (
            "A database that was backed up is gone from its server: was that meant? The set still has it.",
            vec![at.backupd("show")],
        ),
        Fault::NoTree(root) => (
            "The directory is not mounted, or is not the one that the storage service writes to.",
            match at {
                Where::Compose => at.either(&["ls volumes/storage", "grep BACKUP_STORAGE_DIR .env"], &[]),
                Where::Host => vec![format!("ls -la {}", path(root))],
            },
        ),
        Fault::NoParent(parent) => (
            "There is no directory to restore Storage into.",
            match at {
                Where::Compose => at.either(&["mkdir -p volumes/storage"], &[]),
                Where::Host => vec![sudo(&format!("mkdir -p {}", path(parent)))],
            },
        ),
        Fault::TreeUnreadable(root) => (
            "The storage service's files belong to its own user.",
            match at {
                Where::Compose => at.either(
                    &["sed -i '/^BACKUP_USER=/d' .env", "docker compose up -d --force-recreate backup"],
                    &[],
                ),
                Where::Host => vec![sudo(&format!("setfacl -R -m u:{}:rX {}", uid(), path(root)))],
            },
        ),
        Fault::TreeHalfRestored => (
            "Part of what is there is of a set, part of before. Nothing that was in use is removed when it is put back.",
            vec![at.restore("--undo --only storage")],
        ),
        Fault::TreeNotWritable(_) => (
            "Storage cannot be restored from here. The service `backup` has it read-only, as a backup needs no more; the service `restore` \
             has it writable. On a host a restore is made as root, who gives files back to their owners.",
            at.either(&[&at.doctor()], &["sudo -E backupd doctor"]),
        ),
        Fault::NoAttributes => (
            "Storage keeps content types in extended attributes: without them every file comes back as application/octet-stream.",
            vec![at.restore("latest --without-xattrs")],
        ),
        Fault::NoRoomForTree(dir) => (
            "The present files stay beside the restored ones until you remove them, so there must be room for both.",
            vec![format!("df -h {}", path(dir))],
        ),
        Fault::NoSet => (
            "There is nothing to restore.",
            at.either(&["docker exec backup backupd trigger"], &["backupd run"]),
        ),
        Fault::OnlyAnomalies => (
            "Every good set is of another source, or lost much: `latest` is none of them until you have looked.",
            vec![at.backupd("list"), at.backupd("accept --all")],
        ),
        Fault::OnlyFuture => (
            "Sets dated later than the clock count for nothing. Where the clock is right, a new set counts.",
            at.either(
                &["date -u", "docker exec backup backupd trigger"],
                &["date -u", "backupd run"],
            ),
        ),
        Fault::NotInSet => (
            "It is backed up from the next set on.",
            at.either(&["docker exec backup backupd trigger"], &["backupd run"]),
        ),
        Fault::NoTarget(_) => (
            "The set has it, and the settings do not say where it belongs.",
            at.either(&["\"${EDITOR:-vi}\" backup.env"], &[]),
        ),
        Fault::Damaged(set) => (
            "The disk, or somebody, changed it. `verify` writes that down, so that `latest` is the set before; then make a new one.",
            vec![
                at.backupd(&format!("verify {set}")),
                at.either(&["docker exec backup backupd trigger"], &["backupd run"])
                    .remove(0),
            ],
        ),
        Fault::NoExtension { place, major, names } => (
            "What needs the extension could not be made, and a restore ends there.",
            match at {
                Where::Compose => vec![at.in_project_of(
                    place,
                    &format!("docker compose pull {0} && docker compose up -d {0}", quoted(&place.host)),
                )],
                Where::Host => vec![sudo(&format!("apt-get install -y {}", packages(*major, names)))],
            },
        ),
        Fault::OlderServer(_) => (
            "PostgreSQL promises to load dumps of older versions, not of newer ones.",
            Vec::new(),
        ),
        Fault::Closed(place) => (
            "Somebody closed the database; nobody can connect to it, nor exchange it.",
            vec![at.psql(
                place,
                &place.user,
                "template1",
                &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(&place.database)),
            )],
        ),
        Fault::Clients => (
            "That is no fault: services are at work. Stop them before a restore (a Keycloak in a project of its own by the same words in \
             its directory), or say --force.",
            at.either(
                // Those that this project has: Compose stops none where one of the names is unknown, and everything where there is none.
                &["docker compose config --services | grep -xE 'auth|rest|realtime|storage|meta|functions|supavisor|analytics|keycloak' | xargs -r docker compose stop"],
                &[&at.restore("latest --force")],
            ),
        ),
        Fault::Anomaly(set) => (
            "A set differs so much from those before that somebody should look. Until then retention removes nothing older, and `latest` is \
             the set before it.",
            vec![at.backupd(&format!("show {set}")), at.backupd(&format!("accept {set}"))],
        ),
        Fault::Unread(dir, set) => (
            "The disk does not give it: it may be good, so retention removes neither it nor any older set, and sets pile up. Where that does \
             not pass, this moves it aside; nothing of it is removed, and `latest` may be a set before it.",
            match at {
                Where::Compose => vec![format!(
                    "docker compose run --rm --entrypoint mv restore /backups/{set} /backups/{set}.unread"
                )],
                Where::Host => {
                    let of = |name: String| path(&dir.join(name));
                    vec![sudo(&format!("mv {} {}", of(set.to_string()), of(format!("{set}.unread"))))]
                }
            },
        ),
        Fault::NoRecentSet => (
            "What came since the newest good set would be lost.",
            at.either(&["docker exec backup backupd trigger"], &["backupd run"]),
        ),
        Fault::Waits => (
            "The daemon makes no set by itself until you say what is right: put a set back, or go on with what is there.",
            vec![at.restore("latest --dry-run"), at.backupd("accept --all")],
        ),
        Fault::NoProof => (
            "Whether the sets restore is not proven.",
            vec![at.backupd("verify --drill")],
        ),
        Fault::NoScratchServer(major) => (
            "Drills restore into a server of their own, whose programs are not here.",
            at.rebuilt(&format!("postgresql-{major}")),
        ),
        Fault::NoFence => (
            "A drill runs code of the databases' users. Where it cannot be kept from everything else, none is made. A server that is kept \
             for drills alone (BACKUP_DRILL_URL) needs no fence; this line gives it up.",
            at.set("BACKUP_DRILL_FENCE", "off"),
        ),
        Fault::NoDaemon => (
            "Nothing is backed up by itself, unless cron or the like calls `backupd run`.",
            at.either(&["docker compose up -d backup"], &["backupd serve &"]),
        ),
        Fault::PortTaken(port) => (
            "The daemon could not start: its status server needs a port of its own.",
            at.set("BACKUP_HTTP_ADDR", &format!("127.0.0.1:{}", port.checked_add(1).unwrap_or(8484))),
        ),
        Fault::NoSchedule => (
            "Nothing is backed up by itself, unless cron or the like calls `backupd run`.",
            at.set("BACKUP_SCHEDULE", "0 2 * * *"),
        ),
    }
}

/// A setting whose name is wrong gets the right one; what a value should be, only its owner knows.
fn renamed(wrong: &str, right: Option<&str>, at: Where) -> Vec<String> {
    match (right, at) {
        (Some(right), Where::Compose) => vec![
            format!("sed -i 's/^{wrong}=/{right}=/' backup.env"),
            "docker compose up -d backup".to_owned(),
        ],
        (Some(right), Where::Host) => vec![format!("export {right}=\"${wrong}\"; unset {wrong}")],
        (None, Where::Compose) => vec![
            "\"${EDITOR:-vi}\" backup.env".to_owned(),
            "docker compose up -d backup".to_owned(),
        ],
        (None, Where::Host) => Vec::new(),
    }
}

/// Debian's packages of extensions, as far as their names are not the extension's own.
fn packages(major: u32, extensions: &[String]) -> String {
    let names = extensions.iter().map(|extension| {
        let package = match extension.as_str() {
            "vector" => "pgvector".to_owned(),
            "pg_cron" => "cron".to_owned(),
            "postgis" => "postgis-3".to_owned(),
            other => other.replace('_', "-"),
        };
        quoted(&format!("postgresql-{major}-{package}"))
    });
    names.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use engine::finding::{NoAnswer, Place};
    use postgres::remark::About;

    use super::*;

    fn place(label: &str, host: &str) -> Place {
        Place {
            label: label.to_owned(),
            host: host.to_owned(),
            port: 5432,
            user: "supabase_admin".to_owned(),
            database: "postgres".to_owned(),
        }
    }

    /// Pasted at once, the line behind `read` would be the password.
    #[test]
    fn what_asks_for_a_password_is_the_last_line() {
        let able = vec!["postgres".to_owned()];
        for fault in [
            Fault::MayNotRestore {
                place: place("keycloak", "keycloak-db"),
                able,
            },
            Fault::Server(place("keycloak", "keycloak-db"), NoAnswer::Rejected),
            Fault::Server(place("supabase", "db"), NoAnswer::Rejected),
        ] {
            for at in [Where::Compose, Where::Host] {
                let lines = remedy(&fault, at).lines;
                let (last, before) = lines.split_last().unwrap();
                assert!(last.contains("read -rsp"), "{lines:?}");
                assert!(!before.iter().any(|line| line.contains("read -rsp")));
            }
        }
    }

    #[test]
    fn keycloak_may_be_a_project_of_its_own() {
        let told = |label: &str, at: Where| {
            let lines = remedy(&Fault::Closed(place(label, "kc")), at).lines;
            lines[0].ends_with("  # in Keycloak's directory, where it is a project of its own")
        };
        assert!(told("keycloak", Where::Compose));
        assert!(!told("keycloak", Where::Host));
        assert!(!told("supabase", Where::Compose));
        let lines = remedy(&Fault::Clients, Where::Compose).lines;
        assert!(
            lines[0].contains("xargs -r docker compose stop"),
            "{lines:?}"
        );
    }

    #[test]
    fn names_that_users_chose_stay_one_word_of_the_shell() {
        assert_eq!(quoted("a-b_c/d"), "a-b_c/d");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("x'; rm -rf / #"), r"'x'\''; rm -rf / #'");
        let names = vec!["'a\nrm -rf /'".to_owned()];
        let fault = Fault::Database(place("supabase", "db"), About::Prepared { names });
        let lines = remedy(&fault, Where::Compose).lines;
        assert_eq!(
            lines,
            [
                r"docker compose exec db psql -h 127.0.0.1 -U supabase_admin -d postgres -c 'ROLLBACK PREPARED '\''a?rm -rf /'\'''"
            ]
        );
    }
}
