//! What the table of settings says in documents: the tables of docs/configuration.md, and config/backup.env.example. With `BLESS=1` in the
//! environment of the test they are written anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::setting::{Entry, Fallback, Theme};
use super::table::SETTINGS;

/// Columns of the example file's comments.
const COLUMNS: usize = 140;

const EXAMPLE_HEAD: &str = "\
# Settings of backupd, with their defaults. Copy to backup.env beside your compose file, and give what has no default.
# A line that begins with # and a name shows the default, which holds while the line is as it is. docs/configuration.md says more.
# Secrets (marked so) are better given by file, NAME_FILE=/run/secrets/… instead of NAME: compose.backup.yml mounts ./secrets there.
";

/// Lines of the example file that are in force, for the stack of compose.backup.yml.
const GIVEN: [(&str, &str); 7] = [
    (
        "DATABASE_URL",
        "DATABASE_URL_FILE=/run/secrets/database_url",
    ),
    (
        "KC_DB_URL",
        "KC_DB_URL=jdbc:postgresql://keycloak-db:5432/keycloak",
    ),
    ("KC_DB_USERNAME", "KC_DB_USERNAME=keycloak"),
    (
        "KC_DB_PASSWORD",
        "KC_DB_PASSWORD_FILE=/run/secrets/keycloak_db_password",
    ),
    ("SUPABASE_STORAGE_PATH", "SUPABASE_STORAGE_PATH=/storage"),
    (
        "BACKUP_EXTRA_PATHS",
        "BACKUP_EXTRA_PATHS=env=/stack/.env,settings=/stack/backup.env,secrets=/run/secrets,db-config=/db-config",
    ),
    (
        "BACKUP_RESTORE_URLS",
        "#BACKUP_RESTORE_URLS_FILE=/run/secrets/restore_urls",
    ),
];

/// The commands that need a theme's settings; all of them are judged by `run`, `check`, `serve`, `doctor` and `settings`.
fn read_by(theme: Theme) -> &'static str {
    match theme {
        Theme::Sources => {
            "`run`, `check`, `serve`, `doctor`; by `restore` for where to, with what is wrong of other sources left aside"
        }
        Theme::Making => "`run`, `check`, `serve`, `doctor`; `BACKUP_DIR` by every command on sets",
        Theme::Keeping => "`run`, `serve`, `prune`",
        Theme::Anomalies => "`run`, `serve`",
        Theme::Daemon => "`serve`; its addresses by `status`, `trigger` and `health`",
        Theme::Restoring => "`restore`, `verify --drill`, `serve`, and `run` for drills behind it",
        Theme::Logs => "every command with progress or a log",
    }
}

fn of(theme: Theme) -> impl Iterator<Item = &'static Entry> {
    SETTINGS
        .iter()
        .filter(move |setting| setting.theme == theme)
}

fn themes() -> Vec<Theme> {
    let mut themes: Vec<Theme> = SETTINGS.iter().map(|setting| setting.theme).collect();
    themes.dedup();
    themes
}

fn table(theme: Theme) -> String {
    let mut text = format!(
        "Read by {}.\n\n| setting | default | meaning |\n|---|---|---|\n",
        read_by(theme)
    );
    for setting in of(theme) {
        let secret = if setting.secret { " *secret*" } else { "" };
        let default = setting.fallback.in_words();
        let (name, help) = (setting.name, setting.help);
        writeln!(text, "| `{name}`{secret} | {default} | {help} |").unwrap();
    }
    text.replace("|  |", "| |")
}

fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines += &line;
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line += word;
    }
    lines + &line + "\n"
}

fn example() -> String {
    let mut text = EXAMPLE_HEAD.to_owned();
    for theme in themes() {
        let head = format!("# --- {} ", theme.title());
        writeln!(text, "\n{head:-<COLUMNS$}").unwrap();
        for setting in of(theme) {
            let secret = if setting.secret { " (Secret.)" } else { "" };
            text += &wrapped(&format!("{}.{secret}", setting.sentence()));
            let given = GIVEN.iter().find(|(name, _)| *name == setting.name);
            match (given, setting.fallback) {
                (Some((_, line)), _) => writeln!(text, "{line}"),
                (None, Fallback::Text(default)) => writeln!(text, "#{}={default}", setting.name),
                (None, _) => writeln!(text, "#{}=", setting.name),
            }
            .unwrap();
        }
    }
    text
}

/// The page with each table between its marks made anew.
fn page(old: &str) -> String {
    let mut page = old.to_owned();
    for theme in themes() {
        let (begin, end) = (
            format!("<!-- settings: {theme:?} -->\n"),
            format!("<!-- end of settings: {theme:?} -->\n"),
        );
        let from = page
            .find(&begin)
            .unwrap_or_else(|| panic!("{begin} is missing"))
            + begin.len();
        let to = page
            .find(&end)
            .unwrap_or_else(|| panic!("{end} is missing"));
        page.replace_range(from..to, &format!("\n{}\n", table(theme)));
    }
    page
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

#[allow(clippy::disallowed_methods, reason = "a test")]
fn is_as_made(name: &str, make: impl Fn(&str) -> String) {
    let path = file(name);
    let old = std::fs::read_to_string(&path).unwrap();
    let new = make(&old);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, new).unwrap();
    } else {
        assert_eq!(
            old, new,
            "{name} is not what the table of settings makes: BLESS=1 cargo test -p backupd documents"
        );
    }
}

#[test]
fn the_configuration_page_has_the_table_of_settings() {
    is_as_made("docs/configuration.md", page);
}

#[test]
fn the_example_file_is_made_from_the_table_of_settings() {
    is_as_made("config/backup.env.example", |_| example());
}
