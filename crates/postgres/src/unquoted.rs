//! Definitions that PostgreSQL itself writes wrongly, so that a dump of them holds statements of whoever made them.
//!
//! The field of `EXTRACT(field FROM …)` may be any string where it is written in quotes, and is only looked at when it is computed. Views,
//! defaults, checks and the like keep it, and their definitions have it without the quotes (`get_func_sql_syntax` in `ruleutils.c`,
//! PostgreSQL 14 and later): `extract('year FROM x); …' from y)` ends the statement in the dump, and what follows would be run by whoever
//! restores it. No dump tells such a statement from pg_dump's own, so it is looked for before there is one.

use crate::server::{Server, ServerError};

/// Every expression that a dump writes, with the object that it is of; those that no user made are left out. Columns that only newer
/// servers have are asked for by name in a row's JSON, where they may be missing.
const QUESTION: &str = r"
WITH trees (class, object, tree) AS (
  SELECT 'pg_rewrite', oid, ev_action::pg_catalog.text FROM pg_catalog.pg_rewrite
  UNION ALL SELECT 'pg_rewrite', oid, ev_qual::pg_catalog.text FROM pg_catalog.pg_rewrite
  UNION ALL SELECT 'pg_proc', oid, pg_catalog.to_jsonb(p) ->> 'prosqlbody' FROM pg_catalog.pg_proc p WHERE oid >= 16384
  UNION ALL SELECT 'pg_proc', oid, proargdefaults::pg_catalog.text FROM pg_catalog.pg_proc
  UNION ALL SELECT 'pg_attrdef', oid, adbin::pg_catalog.text FROM pg_catalog.pg_attrdef
  UNION ALL SELECT 'pg_constraint', oid, conbin::pg_catalog.text FROM pg_catalog.pg_constraint
  UNION ALL SELECT 'pg_class', indexrelid, indexprs::pg_catalog.text FROM pg_catalog.pg_index
  UNION ALL SELECT 'pg_class', indexrelid, indpred::pg_catalog.text FROM pg_catalog.pg_index
  UNION ALL SELECT 'pg_class', partrelid, partexprs::pg_catalog.text FROM pg_catalog.pg_partitioned_table
  UNION ALL SELECT 'pg_class', oid, relpartbound::pg_catalog.text FROM pg_catalog.pg_class
  UNION ALL SELECT 'pg_policy', oid, polqual::pg_catalog.text FROM pg_catalog.pg_policy
  UNION ALL SELECT 'pg_policy', oid, polwithcheck::pg_catalog.text FROM pg_catalog.pg_policy
  UNION ALL SELECT 'pg_trigger', oid, tgqual::pg_catalog.text FROM pg_catalog.pg_trigger
  UNION ALL SELECT 'pg_statistic_ext', oid, pg_catalog.to_jsonb(s) ->> 'stxexprs' FROM pg_catalog.pg_statistic_ext s
  UNION ALL SELECT 'pg_publication_rel', oid, pg_catalog.to_jsonb(r) ->> 'prqual' FROM pg_catalog.pg_publication_rel r
  UNION ALL SELECT 'pg_type', oid, typdefaultbin::pg_catalog.text FROM pg_catalog.pg_type)
SELECT DISTINCT pg_catalog.pg_describe_object(t.class::pg_catalog.regclass, t.object, 0), found[2]
FROM trees t, LATERAL pg_catalog.regexp_matches(t.tree,
  ':funcid (\d+) [^{}]*:funcformat 3 [^{}]*:args \(\{CONST [^{}]*:constvalue \d+ \[ ([-0-9 ]*)\]', 'g') found
WHERE t.object >= 16384 AND t.tree LIKE '%:funcformat 3 %'
  AND found[1]::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_proc WHERE proname = 'extract' AND pronamespace = 'pg_catalog'::pg_catalog.regnamespace)
ORDER BY 1";
/// Bytes before a text's own, in which a value of any length begins.
const HEADER_BYTES: usize = 4;

/// The objects of a database whose definition would bring foreign words into a dump as SQL, in the server's words.
pub async fn unquoted(server: &Server) -> Result<Vec<String>, ServerError> {
    let rows = server.rows(QUESTION).await?;
    let mut objects: Vec<String> = rows
        .iter()
        .filter(|row| !row.get(1).is_some_and(is_word))
        .map(|row| row.get(0).unwrap_or_default().to_owned())
        .collect();
    objects.dedup();
    Ok(objects)
}

/// Whether the bytes of a value, as numbers, are letters, digits and underscores alone: all fields that there are.
fn is_word(bytes: &str) -> bool {
    let mut text = bytes.split_ascii_whitespace().skip(HEADER_BYTES).peekable();
    text.peek().is_some()
        && text.all(|number| {
            let byte: Option<u8> = number.parse().ok();
            byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_words() {
        assert!(is_word("32 0 0 0 121 101 97 114 "));
        for other in ["32 0 0 0 121 59 ", "32 0 0 0 -61 -68 ", "16 0 0 0 ", ""] {
            assert!(!is_word(other), "{other}");
        }
    }
}
