//! `backupd settings`: every setting, what holds for it now, and what it means.

use serde::Serialize;

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use crate::cli::Output;
use crate::render::table::Table;
use crate::settings::{Environment, Fallback};

#[derive(Serialize)]
struct Row {
    setting: &'static str,
    secret: bool,
    /// Whether the environment has it.
    is_set: bool,
    /// What holds; never a secret's text.
    value: Option<String>,
    /// What holds without it, and what it means, in Markdown.
    default: String,
    help: &'static str,
    /// The part of docs/configuration.md that it stands in.
    part: &'static str,
}

pub fn execute(output: &Output, environment: &Environment) -> Result<Exit, Refusal> {
    let rows: Vec<Row> = environment
        .each()
        .map(|(setting, text)| Row {
            setting: setting.name,
            secret: setting.secret,
            is_set: text.is_some(),
            value: match (text, setting.fallback) {
                (Some(_), _) if setting.secret => None,
                (Some(text), _) | (None, Fallback::Text(text)) => Some(text.to_owned()),
                (None, Fallback::Absent(_) | Fallback::Required(_)) => None,
            },
            default: setting.fallback.in_words(),
            help: setting.help,
            part: setting.theme.title(),
        })
        .collect();
    if output.json {
        print_json(&rows)?;
    } else {
        let mut table = Table::new(&["SETTING", "SET", "VALUE", "MEANING"]);
        for (row, (setting, _)) in rows.iter().zip(environment.each()) {
            let value = match (&row.value, row.is_set) {
                (Some(value), _) => value,
                (None, true) => "(secret)",
                (None, false) => "",
            };
            let set = if row.is_set { "yes" } else { "" };
            table.row([row.setting, set, value, &setting.sentence()]);
        }
        print_text(&table.to_string())?;
    }
    environment.judge(engine::clock::now())?;
    Ok(Exit::Done)
}
