//! Lines as an operator types them: of Compose or of a host, each word quoted for the shell.

use std::path::Path;

use engine::finding::Place;

/// Where an operator types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// Beside the compose file, as docs/install.md makes it.
    Compose,
    /// In a shell that has backupd's settings.
    Host,
}

impl Where {
    /// Where this process runs: in a container, or not.
    pub fn here() -> Self {
        let marks = ["/.dockerenv", "/run/.containerenv"];
        if marks.iter().any(|mark| Path::new(mark).exists()) {
            Self::Compose
        } else {
            Self::Host
        }
    }

    /// A command of ours that leaves Storage's files alone.
    pub fn backupd(self, arguments: &str) -> String {
        match self {
            Self::Compose => format!("docker exec backup backupd {arguments}"),
            Self::Host => format!("backupd {arguments}"),
        }
    }

    /// A restore: in Compose by the service that may write to Storage.
    pub fn restore(self, arguments: &str) -> String {
        match self {
            Self::Compose => format!("docker compose run --rm restore {arguments}"),
            Self::Host => format!("backupd restore {arguments}"),
        }
    }

    /// This command, where a restore is made.
    pub fn doctor(self) -> String {
        match self {
            Self::Compose => {
                "docker compose run --rm --entrypoint backupd restore doctor".to_owned()
            }
            Self::Host => "backupd doctor".to_owned(),
        }
    }

    /// Gives a setting a value.
    pub fn set(self, name: &str, value: &str) -> Vec<String> {
        match self {
            Self::Compose => vec![
                format!("echo {} >> backup.env", quoted(&format!("{name}={value}"))),
                "docker compose up -d backup".to_owned(),
            ],
            Self::Host => vec![format!("export {name}={}", quoted(value))],
        }
    }

    /// Asks for a role's password, and gives a setting a URL with it. `label=` goes before a URL that is one of several: those stay.
    pub fn set_url(self, name: &str, label: Option<&str>, url: &Url<'_>) -> Vec<String> {
        // Every byte of it is percent-encoded: whatever it holds, the URL is right.
        let ask = format!(
            "read -rsp {} PW && PW=$(printf %s \"$PW\" | od -An -v -tx1 | tr -d '\\n' | tr ' ' %)",
            quoted(&format!("Password of {}: ", url.user))
        );
        let before = label.map_or(String::new(), |label| format!("{label}="));
        let shape = format!(
            "{before}postgres://{}:%s@{}:{}/{}",
            encoded(url.user),
            encoded(url.host),
            url.port,
            encoded(url.database)
        );
        match self {
            Self::Compose => {
                let file = name.to_lowercase();
                let file = file.strip_prefix("backup_").unwrap_or(&file);
                let (comma, onto) = label.map_or(("", ">"), |_| (",", ">>"));
                let shape = quoted(&format!("{comma}{shape}"));
                // What asks is the last: pasted with lines behind it, it would take the next one for the password.
                vec![
                    format!(
                        "grep -q '^{name}_FILE=' backup.env || echo '{name}_FILE=/run/secrets/{file}' >> backup.env"
                    ),
                    format!(
                        "{ask} && printf {shape} \"$PW\" {onto} secrets/{file} && docker compose up -d --force-recreate backup"
                    ),
                ]
            }
            Self::Host => {
                let others = label.map_or(String::new(), |_| format!("${{{name}:+${name},}}"));
                vec![format!(
                    "{ask} && export {name}=\"{others}$(printf {} \"$PW\")\"",
                    quoted(&shape)
                )]
            }
        }
    }

    /// SQL, as `user` in `database`.
    pub fn psql(self, place: &Place, user: &str, database: &str, sql: &str) -> String {
        let (user, database, sql) = (quoted(user), quoted(database), quoted(sql));
        match self {
            Self::Compose => self.in_project_of(
                place,
                &format!(
                    "docker compose exec {} psql -h 127.0.0.1 -U {user} -d {database} -c {sql}",
                    quoted(&place.host)
                ),
            ),
            Self::Host => format!(
                "psql -h {} -p {} -U {user} -d {database} -c {sql}",
                quoted(&place.host),
                place.port
            ),
        }
    }

    /// A line of Compose about a server: where it is Keycloak's, nobody here knows of which project it is.
    pub fn in_project_of(self, place: &Place, line: &str) -> String {
        if place.label == "keycloak" && self == Self::Compose {
            format!("{line}  # in Keycloak's directory, where it is a project of its own")
        } else {
            line.to_owned()
        }
    }

    /// One line or the other.
    pub fn either(self, compose: &[&str], host: &[&str]) -> Vec<String> {
        let lines = match self {
            Self::Compose => compose,
            Self::Host => host,
        };
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    /// A server's programs are started again.
    pub fn restart(self, place: &Place) -> String {
        match self {
            Self::Compose => self.in_project_of(
                place,
                &format!("docker compose restart {}", quoted(&place.host)),
            ),
            Self::Host => sudo("systemctl restart postgresql"),
        }
    }

    pub fn rebuilt(self, packages: &str) -> Vec<String> {
        match self {
            Self::Compose => self.either(
                &["docker compose build backup", "docker compose up -d backup"],
                &[],
            ),
            Self::Host => vec![sudo(&format!("apt-get install -y {packages}"))],
        }
    }
}

/// A database's URL but for its password.
pub struct Url<'a> {
    pub user: &'a str,
    pub host: &'a str,
    pub port: u16,
    pub database: &'a str,
}

pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `-o UID -g GID`, of this process.
pub fn owner() -> String {
    format!("-o {} -g {}", uid(), rustix::process::getegid().as_raw())
}

pub fn ids() -> String {
    format!("{}:{}", uid(), rustix::process::getegid().as_raw())
}

/// As root, who needs no `sudo`.
pub fn sudo(command: &str) -> String {
    if uid() == 0 {
        command.to_owned()
    } else {
        format!("sudo {command}")
    }
}

pub fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A part of a URL in a format of printf: every byte but letters, digits and the plainest percent-encoded.
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        byte => format!("%%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A word for the shell.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
