//! Which of the three sources are backed up.

use std::collections::BTreeSet;

use super::parse::list;

pub const SUPABASE: &str = "supabase";
pub const KEYCLOAK: &str = "keycloak";
pub const STORAGE: &str = "storage";
const SOURCES: [&str; 3] = [SUPABASE, KEYCLOAK, STORAGE];

/// Which of the three sources are backed up.
pub type Wanted = BTreeSet<&'static str>;

/// `BACKUP_SOURCES`.
pub fn wanted(value: &str) -> Result<Wanted, String> {
    let words = list(value);
    if words.is_empty() {
        return Err(format!(
            "names no source: use any of {}",
            SOURCES.join(", ")
        ));
    }
    let known = |word: &String| {
        let found = SOURCES.iter().find(|known| *known == word).copied();
        found.ok_or_else(|| {
            format!(
                "names `{word}`, which is no source: use any of {}, separated by commas",
                SOURCES.join(", ")
            )
        })
    };
    words.iter().map(known).collect()
}
