//! `backupd prune`: retention now.

use catalog::catalog::Catalog;
use catalog::history::History;
use catalog::lock::Lock;
use engine::clock;
use engine::keep::prune::{Pruned, decide, prune};

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use super::sets::open;
use crate::cli::Prune;
use crate::render;
use crate::render::table::Table;
use crate::settings::Environment;

pub fn execute(asked: &Prune, environment: &Environment) -> Result<Exit, Refusal> {
    let (dir, policy) = environment.retention()?;
    let now = clock::now();
    let pruned = if asked.dry_run {
        decide(&open(&dir)?.list()?, &policy, now)
    } else {
        open(&dir)?;
        let catalog = Catalog::open(&dir)?;
        let _lock = Lock::acquire(&dir, now, "backupd prune")?;
        prune(
            &catalog,
            &History::open(&dir)?,
            &policy,
            now,
            &|_: &engine::Event| {},
        )?
    };
    if asked.output.json {
        print_json(&pruned)?;
    } else {
        print_text(&table(&pruned, asked.dry_run))?;
    }
    let faults = pruned.faults();
    if faults.is_empty() {
        return Ok(Exit::Done);
    }
    render::error::say(&faults.join("; "));
    Ok(Exit::Failed)
}

fn table(pruned: &Pruned, dry_run: bool) -> String {
    if pruned.decisions.is_empty() {
        return "there are no sets to prune\n".to_owned();
    }
    let mut table = Table::new(&["SET", "FATE", "BECAUSE"]);
    for decision in &pruned.decisions {
        let failed = pruned
            .failed
            .iter()
            .find(|(set, _)| *set == decision.id)
            .map(|(_, why)| why.as_str());
        let fate = match (decision.keep, failed, dry_run) {
            (true, _, _) => "kept",
            (false, Some(_), _) => "NOT REMOVED",
            (false, None, true) => "would go",
            (false, None, false) => "removed",
        };
        let because = failed.map_or_else(|| decision.reasons.join(", "), str::to_owned);
        table.row([decision.id.to_string().as_str(), fate, &because]);
    }
    table.to_string()
}
