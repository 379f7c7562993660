//! `backupd show`: one set's manifest.

use std::sync::Arc;

use super::exit::{Exit, Refusal};
use super::print::{print_json, print_text};
use super::sets::find;
use crate::cli::OneSet;
use crate::render;
use crate::settings::Environment;

pub fn execute(asked: &OneSet, environment: &Environment) -> Result<Exit, Refusal> {
    let entry = find(environment, &asked.set)?;
    let manifest = entry
        .manifest
        .map_err(|error| Refusal::Unusable(format!("{}: {error}", entry.path.display())))?;
    let mut manifest = Arc::unwrap_or_clone(manifest);
    if asked.output.json {
        // Settings of a database may be secrets (Supabase's jwt_secret): they stay in the set.
        for artifact in &mut manifest.artifacts {
            if let Some(dump) = artifact.dump_mut() {
                dump.properties = None;
            }
        }
        print_json(&manifest)?;
    } else {
        let mut text = render::set::manifest(&manifest);
        match entry.why_not_good {
            None => text.push_str("good: yes\n"),
            Some(why) => text.push_str(&format!("good: no, {why}\n")),
        }
        print_text(&text)?;
    }
    Ok(Exit::Done)
}
